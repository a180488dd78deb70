"""Writing files so that a crash, a full disk or a second reader never meets half a file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvr_cli.errors import DvrError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that takes its place, flushed to the disk, when the block ends well.

    When the block raises, `path` is as it was and the temporary file is gone. The temporary name keeps the suffix, for
    writers that choose their format by it.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step: a reader sees the old content or the new."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def disk_errors(path: Path, error_class: type[DvrError], advice: str) -> Iterator[None]:
    """Turn a failed write below `path` into an `error_class` that names the reason and ends with `advice`.

    An OSError that a C++ writer has hidden behind a RuntimeError (as torch.save does) counts too.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = _first_os_error(error)
        if cause is None:
            raise
        full = cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "there is no space left on the disk" if full else (cause.strerror or str(cause))
        raise error_class(f"Cannot write {path}: {reason}. {advice}") from error


def _first_os_error(error: BaseException | None) -> OSError | None:
    """The first OSError in a chain of exceptions."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where the system can flush folders at all."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
