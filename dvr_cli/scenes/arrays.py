"""NumPy archives from strangers: `.npz` and `.npy` files read without pickle, with sizes checked before allocation.

The headers inside the archive say how large each array claims to be; they are compared with a limit and with the bytes
that are really there before anything is allocated. Writing goes to a temporary name that is then renamed.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from dvr_cli.errors import DvrError
from dvr_cli.files import replacing

MAX_ARRAY_BYTES = 2 << 30


def read_npz(path: Path, error: type[DvrError], max_bytes: int = MAX_ARRAY_BYTES) -> dict[str, np.ndarray]:
    """All arrays of an archive by name; `error` if it is missing, damaged, holds pickled objects or is too large."""
    with readable(path, error):
        with zipfile.ZipFile(path) as archive:
            total = sum(_claimed_bytes(archive, member, path, error) for member in archive.infolist())
        if total > max_bytes:
            raise error(
                f"{path} would take {total / 2**30:.1f} GiB unpacked: expected at most {max_bytes / 2**30:.1f} GiB.\n"
                "Check that this is the right file, or thin it out."
            )
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def read_npy(path: Path, error: type[DvrError], max_bytes: int = MAX_ARRAY_BYTES) -> np.ndarray:
    """One array from a `.npy` file, with the checks of `read_npz`."""
    with readable(path, error):
        with path.open("rb") as stream:
            claimed = _header_bytes(stream, path.name, path, error)
        if claimed > min(max_bytes, path.stat().st_size):
            raise error(
                f"{path} claims {claimed} bytes and has {path.stat().st_size}: it is cut off or too large.\n"
                "Write it again with numpy.save."
            )
        return np.load(path, allow_pickle=False)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive under a temporary name and rename it, so that nobody ever reads half a file."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **cast(dict[str, Any], dict(arrays)))


@contextmanager
def readable(path: Path, error: type[DvrError]) -> Iterator[None]:
    """Turn everything that a missing or damaged NumPy file can raise into one `error`."""
    try:
        yield
    except FileNotFoundError:
        raise error(f"{path} does not exist.\nCheck the path, or write the file (docs/formats.md).") from None
    except DvrError:
        raise
    except Exception as cause:
        # A damaged archive makes zipfile, zlib and numpy raise nearly anything.
        raise error(f"{path} cannot be read: {cause}.\nExpected a file written by numpy; write it again.") from cause


def _claimed_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, error: type[DvrError]) -> int:
    with archive.open(member) as stream:
        claimed = _header_bytes(cast(io.BufferedIOBase, stream), member.filename, path, error)
    if claimed > member.file_size:
        raise error(
            f"{path}: array {member.filename} claims {claimed} bytes and the archive holds {member.file_size}.\n"
            "The file is damaged; write it again with numpy.savez."
        )
    return claimed


def _header_bytes(stream: io.BufferedIOBase, name: str, path: Path, error: type[DvrError]) -> int:
    """Bytes that an array needs according to its header."""
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(stream)
    if dtype.hasobject:
        raise error(
            f"{path}: array {name} is pickled, which could run code when it is read: expected plain numbers.\n"
            "Write it again with numpy.savez and arrays of float or int."
        )
    count = 1
    for side in shape:
        count *= int(side)
    return count * dtype.itemsize
