"""The folder of a run: its settings, the description of its scene, metrics, checkpoints, previews and summary.

docs/run_folder.md describes every file. One process at a time writes to a run: it holds a lock that the system frees
when the process ends, however it ends. Every file is written under another name and renamed, except the metrics, which
grow line by line; whoever reads them passes over a last line cut short.
"""

import fcntl
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from dvr_cli.config import Settings
from dvr_cli.config_io import changed_keys, read_settings, write_settings
from dvr_cli.errors import RunError
from dvr_cli.files import disk_errors, write_text
from dvr_cli.fitting.checkpoints import Checkpoints
from dvr_cli.fitting.events import Message
from dvr_cli.fitting.scene_description import MASKS_FOLDER, POINTS_FILE, changed_inputs, lacking_keys, located
from dvr_cli.fitting.seen_depth import FILE as SEEN_FILE

RESUME_MAY_CHANGE = ("device", "threads", "time_limit")
"""Settings that may differ when a run is resumed: they say where and how long, not what."""

MADE_FOLDERS = (MASKS_FOLDER, Path(POINTS_FILE).parts[0])
"""Folders of masks and points that are made before the run itself begins."""

_SPACE_ADVICE = "Free some space and go on with --resume: earlier checkpoints are intact."
_LARGEST_TEXT = 100_000_000


class RunFolder:
    """A run on the disk; `create` it to write, `open` it to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._lock: IO[str] | None = None
        self._replaces: tuple[Settings, dict[str, Any]] | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        settings: Settings,
        scene_description: dict[str, Any],
        resume: bool = False,
        overwrite: bool = False,
    ) -> "RunFolder":
        """Lock a folder for writing and put settings and scene description into it; `close` frees it.

        With `resume` an earlier run there goes on; settings (except RESUME_MAY_CHANGE) and inputs must be the same.
        With `overwrite` the files of an earlier run are removed once the new one has something to save: input that
        turns out to be bad before costs nothing. Other files in the folder stay. With neither, a folder that holds
        results is refused. Raises RunError, also when another process works in the folder.
        """
        check_target(path, resume, overwrite)
        run = cls(path)
        with disk_errors(path, RunError, "Name another folder with --out."):
            path.mkdir(parents=True, exist_ok=True)
            run._acquire_lock()
        try:
            # Again, now that nobody else can write: another run may have ended here in between.
            check_target(path, resume, overwrite)
            with disk_errors(path, RunError, "Free some space, or name another folder with --out."):
                if overwrite and run.checkpoints.steps():
                    run._replaces = settings, scene_description
                    return run
                if resume:
                    run._check_unchanged(settings, scene_description)
                    run._drop_half_line()
                else:
                    run._remove_results()
                run._describe(settings, scene_description)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run, for reading; RunError when the folder holds none."""
        run = cls(path)
        if path.is_file():
            raise RunError(f"{path} is a file, and a run is a folder that dvr reconstruct has made. Name that folder.")
        if not run._scene_file.is_file():
            there = "has no scene.json" if path.is_dir() else "does not exist"
            raise RunError(f"{path} is not a run: it {there}. Make one with: dvr reconstruct SCENE --out {path}")
        return run

    @classmethod
    def latest(cls, folder: Path = Path("runs")) -> "RunFolder":
        """The run in `folder` that saved a checkpoint last; RunError when there is none."""
        runs = [cls(path.parent) for path in folder.glob("*/scene.json")]
        saved = [(run.checkpoints.newest_time(), run) for run in runs]
        usable = [(time, run) for time, run in saved if time is not None]
        if usable:
            return max(usable, key=lambda pair: pair[0])[1]
        found = f"the {len(runs)} there have no checkpoint yet" if runs else "there is none"
        raise RunError(
            f"No run in {folder.resolve()} can be used: {found}. "
            "Name one with --run, or make one with: dvr reconstruct SCENE"
        )

    def close(self) -> None:
        """Free the lock; the run can still be read."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        """The resolved settings of the run."""
        return read_settings(self._settings_file)

    @property
    def scene_description(self) -> dict[str, Any]:
        """What `describe_scene` said when the run began; RunError where that is damaged."""
        found = _read_object(self._scene_file)
        if lacking := lacking_keys(found):
            raise RunError(
                f"{self._scene_file} lacks {', '.join(lacking)}, or what stands there cannot be used.\n"
                "Restore the file, or start the run anew with --overwrite."
            )
        return found

    @property
    def reading(self) -> dict[str, Any]:
        """How to read the scene again (`scene_description.read_described_scene`)."""
        return located(self.scene_description["options"], self.path)

    @property
    def summary(self) -> dict[str, Any] | None:
        """What `write_summary` wrote last; None while the run goes on for the first time or was killed."""
        return _read_object(self._summary_file) if self._summary_file.is_file() else None

    @property
    def finished(self) -> bool:
        """True when the last reconstruction here came to its end; False too when a damaged summary cannot tell."""
        try:
            summary = self.summary
        except RunError:
            return False
        return bool(summary and summary.get("finished"))

    @property
    def untouched(self) -> bool:
        """True while an earlier run that is to be overwritten is still there, because nothing was saved yet."""
        return self._replaces is not None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the result in numbers; the key `finished` says whether the run came to its end.

        Without effect while the folder is `untouched`: the summary there is that of the earlier run.
        """
        if self.untouched:
            return
        with disk_errors(self._summary_file, RunError, _SPACE_ADVICE):
            write_text(self._summary_file, json.dumps(_finite(summary), indent=1))

    def save_checkpoint(self, state: dict[str, Any], step: int) -> None:
        """Save tensors and plain values (what `torch.load(weights_only=True)` accepts); the last two are kept.

        Raises RunError when the disk is full; earlier checkpoints are intact then.
        """
        with disk_errors(self.checkpoints.folder, RunError, _SPACE_ADVICE):
            self._replace_earlier()
            self.checkpoints.save(state, step)

    def load_checkpoint(self, report: Callable[[Message], None] | None = None) -> dict[str, Any] | None:
        """The newest undamaged checkpoint, on the CPU; None when the run has none; RunError when all are damaged.

        `report` is told when an older one has to serve.
        """
        return None if self.untouched else self.checkpoints.load(report)

    def append_metrics(self, metrics: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl; numbers that are not finite become null."""
        with disk_errors(self._metrics_file, RunError, _SPACE_ADVICE):
            self._replace_earlier()
            with open(self._metrics_file, "a") as file:
                file.write(json.dumps(_finite(metrics)) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl that still count, in order.

        A last line cut short is left out. When a run resumes from an earlier step, the lines of the work lost (those
        with a `step` not below the new one) are superseded and left out as well.
        """
        if not self._metrics_file.is_file():
            return []
        kept: list[dict[str, Any]] = []
        lines = self._metrics_file.read_text().split("\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                advice = "Remove the line."
                raise RunError(f"{self._metrics_file}, line {number}, is not JSON: {line[:60]!r}. {advice}") from error
            if "step" in entry:
                while kept and kept[-1].get("step", -math.inf) >= entry["step"]:
                    kept.pop()
            kept.append(entry)
        return kept

    def preview_path(self, name: str) -> Path:
        """Where the preview `name` (letters, digits, `_`, `-`) belongs: previews/NAME.png."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"A preview is named with letters, digits, _ and - only, not {name!r}.")
        folder = self.path / "previews"
        with disk_errors(folder, RunError, _SPACE_ADVICE):
            self._replace_earlier()
            folder.mkdir(exist_ok=True)
        return folder / f"{name}.png"

    @property
    def _scene_file(self) -> Path:
        return self.path / "scene.json"

    @property
    def _settings_file(self) -> Path:
        return self.path / "config.toml"

    @property
    def _metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def _summary_file(self) -> Path:
        return self.path / "summary.json"

    def _acquire_lock(self) -> None:
        # The file stays: removing it would let a third process lock a new one while a second waits on the old.
        self._lock = open(self.path / "lock", "a+")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read(20).strip() or "unknown"
            self.close()
            raise RunError(
                f"{self.path} is in use by process {holder}. Wait until it ends, or name another folder with --out."
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _check_unchanged(self, settings: Settings, scene_description: dict[str, Any]) -> None:
        changed = [key for key in changed_keys(self.settings, settings) if key not in RESUME_MAY_CHANGE]
        inputs = changed_inputs(self.scene_description, scene_description)
        if not changed and not inputs:
            return
        what = ("settings " + ", ".join(changed[:5])) if changed else ("inputs " + ", ".join(inputs[:5]))
        more = max(len(changed or inputs) - 5, 0)
        raise RunError(
            f"Cannot resume {self.path}: since it began these changed: {what}{f' and {more} more' if more else ''}. "
            "Undo the change, start a new run with --out, or discard the old one with --overwrite."
        )

    def _drop_half_line(self) -> None:
        """Cut off a last line of metrics that a killed process left without its end."""
        if not self._metrics_file.is_file():
            return
        content = self._metrics_file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._metrics_file, whole)

    def _replace_earlier(self) -> None:
        """Remove the run that is to be overwritten, if it is still there, and describe the new one."""
        if self._replaces is not None:
            settings, scene_description = self._replaces
            self._remove_results()
            self._describe(settings, scene_description)
            self._replaces = None

    def _describe(self, settings: Settings, scene_description: dict[str, Any]) -> None:
        write_text(self._scene_file, json.dumps(scene_description, indent=1))
        write_settings(settings, self._settings_file)

    def _remove_results(self) -> None:
        """Remove what an earlier run wrote here itself, and nothing else."""
        self.checkpoints.remove_all()
        for preview in (self.path / "previews").glob("*.png"):
            preview.unlink()
        for file in (self._summary_file, self._metrics_file, self.path / SEEN_FILE):
            file.unlink(missing_ok=True)


def check_target(path: Path, resume: bool, overwrite: bool) -> None:
    """Raise RunError when a reconstruction may not write to `path`; cheap, so it can come before any other work."""
    run = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file: a run is a folder. Name another one with --out.")
    is_run = run._scene_file.is_file()
    if resume and overwrite:
        raise RunError("--resume and --overwrite exclude each other: go on with the run, or discard it.")
    if resume and not is_run:
        raise RunError(f"{path} holds no run to resume. Leave out --resume to start one there.")
    if not is_run and path.is_dir() and any(map(_is_foreign, path.iterdir())):
        raise RunError(f"{path} is not empty and not a run. Name another folder with --out.")
    if is_run and not resume and not overwrite and run.checkpoints.steps():
        state = "a finished" if run.finished else "an unfinished"
        raise RunError(
            f"{path} already holds {state} run. Continue it with --resume, discard it with --overwrite, "
            "or name another folder with --out."
        )


def _is_foreign(path: Path) -> bool:
    """False for what a run leaves when it is killed before its first file, and for what is made before it begins."""
    return path.name not in ("lock", *MADE_FOLDERS) and not path.name.startswith(".")


def _finite(value: Any) -> Any:
    """The same value with None for numbers that JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file of reasonable size; RunError otherwise."""
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise RunError(f"{path} is larger than {_LARGEST_TEXT // 1_000_000} MB: this is not a file of a run.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}. Start the run anew with --overwrite.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} does not hold a JSON object. Start the run anew with --overwrite.")
    return value
