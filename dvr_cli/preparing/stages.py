"""The work folder: what makes a preparation resumable.

Each stage ends by writing work/STAGE.json in one step: a fingerprint of everything that went into it, and what came
out. A stage whose marker carries the right fingerprint is done; any other is done again. A process that is killed
leaves no marker, so nothing half made is ever taken for whole.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, write_text

Report = Callable[[str, int, int], None]
"""Called with the name of the stage, what is done and what there is to do."""
Stop = Callable[[], bool]
"""True once the user has asked to stop."""

SPACE_ADVICE = "Free some space and give the same command again: it goes on where it stopped."
LARGEST_MARKER = 100_000_000


class Stopped(Exception):
    """The user asked to stop; everything finished so far is on the disk."""


def fingerprint(*parts: Any) -> str:
    """A name for values that JSON can hold: the same values have the same name, others another (SHA-256)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content; OSError when it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class WorkFolder:
    """OUT/work, locked for one process; a context manager."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out / "work"
        self._lock: IO[str] | None = None

    def __enter__(self) -> "WorkFolder":
        with disk_errors(self.path, SceneError, "Name another folder."):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / "lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise SceneError(
                f"Another dvr prepare works in {self.out}.\nWait for it to end, or name another folder."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def done(self, stage: str, wanted: str) -> dict[str, Any] | None:
        """What a stage left behind, if it was made from the same things; else None."""
        values = self.last(stage)
        return values if values is not None and values.get("fingerprint") == wanted else None

    def last(self, stage: str) -> dict[str, Any] | None:
        """What a stage left behind the last time, whatever it was made from."""
        marker = self.path / f"{stage}.json"
        try:
            if marker.stat().st_size > LARGEST_MARKER:
                return None
            values = json.loads(marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def finish(self, stage: str, made_from: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        """Mark a stage as done, with what came out of it."""
        content = json.dumps({"fingerprint": made_from, **(values or {})}, indent=1, ensure_ascii=False)
        with disk_errors(self.path, SceneError, SPACE_ADVICE):
            write_text(self.path / f"{stage}.json", content)
        # As it will be read the next time, tuples as lists, so that both times give the same.
        found: dict[str, Any] = json.loads(content)
        return found

    def begin(self, *stages: str) -> None:
        """Forget that stages were done, before what they left is touched."""
        for stage in stages:
            (self.path / f"{stage}.json").unlink(missing_ok=True)
