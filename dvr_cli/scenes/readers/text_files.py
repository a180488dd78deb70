"""Text files of strangers: a limited size, decoded without failing, and numbers that are finite."""

import math
from collections.abc import Sequence
from pathlib import Path

from dvr_cli.errors import SceneError

MAX_BYTES = 100_000_000
"""A camera file of a hundred thousand photographs with a million points is below that."""


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file, undecodable bytes replaced; SceneError if it is missing or larger than `max_bytes`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as cause:
        raise SceneError(
            f"{path} cannot be read: {cause.strerror or cause}.\nCheck the path, or copy the file again."
        ) from cause
    if len(content) > max_bytes:
        raise SceneError(
            f"{path} is larger than {max_bytes / 1e6:.0f} MB: expected a file of camera parameters.\n"
            "Check that this is the right file."
        )
    return content.decode("utf-8-sig", errors="replace")


def finite_numbers(words: Sequence[str], where: str) -> list[float]:
    """The words as numbers; SceneError for one that is no finite number."""
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise SceneError(
                f"{where}: expected a finite number, found {word[:40]!r}.\nThe file is damaged; write it again."
            )
        values.append(value)
    return values


def whole_number(word: str, most: int, what: str, where: str) -> int:
    """The word as a number from 0 to `most`; SceneError for anything else. `what` names it in the message."""
    if word.isascii() and word.isdecimal() and len(word) <= 18 and int(word) <= most:
        return int(word)
    raise SceneError(
        f"{where}: {what} is {word[:40]!r}: expected a whole number from 0 to {most}.\n"
        "The file is damaged or cut off; write it again."
    )


def is_there(path: Path) -> bool:
    """True for a file; a name that no file can have (too long, for one) is no error."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
