"""Checkpoints: states of the optimisation on the disk, the last two of them, each verified before it is used.

A checkpoint is what torch.save writes: a zip archive whose entries carry CRC-32 sums. torch.load does not verify them
(a flipped bit goes unnoticed), the standard library does, at several GB/s: damage is found without a format of our own.
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvr_cli.errors import RunError
from dvr_cli.files import replacing
from dvr_cli.fitting.events import Message

_KEPT = 2


class Checkpoints:
    """The files checkpoint_STEP.pt of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._damaged: set[int] = set()

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, damaged or not, in rising order."""
        names = (path.name for path in self.folder.glob("checkpoint_*.pt"))
        matches = (re.fullmatch(r"checkpoint_(\d{1,12})\.pt", name) for name in names)
        return sorted(int(match[1]) for match in matches if match)

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of a step lies or would lie."""
        return self.folder / f"checkpoint_{step:06d}.pt"

    def newest_time(self) -> float | None:
        """When the last checkpoint was written, seconds since the epoch; None without one."""
        return max((self.path_of(step).stat().st_mtime for step in self.steps()), default=None)

    def save(self, state: dict[str, Any], step: int) -> None:
        """Write a checkpoint under another name, flush, rename; then remove all but the last two.

        Raises OSError, or the RuntimeError that torch.save makes of it, when the disk is full.
        """
        import torch

        self.folder.mkdir(exist_ok=True)
        # A process that was killed while saving leaves its temporary file behind.
        for leftover in self.folder.glob(".checkpoint_*.part.pt"):
            leftover.unlink(missing_ok=True)
        # An open file instead of a path: torch's own writer does not say why writing failed.
        with replacing(self.path_of(step)) as temporary, open(temporary, "wb", buffering=1 << 20) as file:
            torch.save(state, file)
        self._damaged.discard(step)
        self._remove_old(step)

    def load(self, report: Callable[[Message], None] | None = None) -> dict[str, Any] | None:
        """The newest undamaged state, on the CPU; None without any checkpoint; RunError when all are damaged."""
        steps, reason = self.steps(), ""
        for step in reversed(steps):
            try:
                return _load_verified(self.path_of(step))
            except _UnusableError as error:
                self._damaged.add(step)
                reason = str(error)
                if report is not None:
                    report(Message(f"{self.path_of(step)} cannot be used and is passed over: {reason}."))
        if not steps:
            return None
        raise RunError(
            f"No checkpoint in {self.folder} can be used (steps {', '.join(map(str, steps))}): {reason}. "
            "Start the run anew with --overwrite."
        )

    def remove_all(self) -> None:
        """Remove every checkpoint of the folder."""
        for step in self.steps():
            self.path_of(step).unlink(missing_ok=True)

    def _remove_old(self, step: int) -> None:
        """Keep the checkpoint just written and the best one before it.

        Damaged ones go, and so do later ones: they belong to a course of the run given up for an earlier state.
        """
        good = [other for other in self.steps() if other <= step and other not in self._damaged]
        for other in set(self.steps()) - set(good[-_KEPT:]):
            self.path_of(other).unlink(missing_ok=True)


class _UnusableError(Exception):
    """Why a checkpoint cannot be used."""


def _load_verified(path: Path) -> dict[str, Any]:
    """The state in a checkpoint; _UnusableError when the file is cut short, altered or not a checkpoint."""
    import pickle

    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            damaged_entry = archive.testzip()
        if damaged_entry is not None:
            raise _UnusableError("its checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile as error:
        raise _UnusableError("it is cut short or damaged") from error
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise _UnusableError(str(error).partition("\n")[0] or type(error).__name__) from error
    if not isinstance(state, dict):
        raise _UnusableError("it is not a checkpoint of a run")
    return state
