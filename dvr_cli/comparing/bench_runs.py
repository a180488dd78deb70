"""Running a suite: each scene is reconstructed, exported and evaluated by the very commands a user would give.

Every command is a process of its own, so a crash costs one scene. What is finished stands in `results/`; a suite that
is started again goes on with what is missing, in the middle of a reconstruction too.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from dvr_cli import __version__
from dvr_cli.comparing.suite import SuiteScene
from dvr_cli.comparing.suite_rows import SuiteRow, evaluation_from_json
from dvr_cli.files import write_text

INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)


@dataclass(frozen=True)
class SuiteResult:
    """What came of one scene and preset."""

    scene: str
    preset: str
    status: str
    """"done" or "failed"."""
    error: str = ""
    """The message of the command that failed."""
    commands: tuple[str, ...] = ()
    """As they can be given again."""
    seconds: float | None = None
    """Of `dvr reconstruct`; None when it was resumed."""
    peak_memory_gb: float | None = None
    mesh: str | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """As `dvr evaluate --json` gives them."""
    reused: bool = False
    """True when an earlier call made it."""

    def row(self) -> SuiteRow:
        """As the report of a suite wants it."""
        status: Literal["done", "failed"] = "done" if self.status == "done" else "failed"
        evaluations = tuple(map(evaluation_from_json, self.evaluations))
        error = self.error or None
        return SuiteRow(
            self.scene, self.preset, status, self.seconds, self.peak_memory_gb, evaluations, self.mesh, error
        )


class BenchInterruptedError(Exception):
    """The user has stopped the suite; what is finished is saved."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"stopped with exit code {exit_code}")
        self.exit_code = exit_code if exit_code > 0 else 128 - exit_code


@dataclass(frozen=True)
class BenchPlace:
    """Where a suite is run, and how."""

    folder: Path
    common: tuple[str, ...] = ()
    """Options for every reconstruction: device, threads, seed."""
    quiet: bool = False

    def result_file(self, scene: SuiteScene, preset: str) -> Path:
        return self.folder / "results" / f"{_folder_name(scene.name)}-{preset}.json"

    def run_folder(self, scene: SuiteScene, preset: str) -> Path:
        return self.folder / "runs" / f"{_folder_name(scene.name)}-{preset}"


def run_scene(scene: SuiteScene, preset: str, place: BenchPlace, note: Callable[[str], None]) -> SuiteResult:
    """One scene with one preset, or what an earlier call has finished of the same; failures are results, too."""
    file, digest = place.result_file(scene, preset), _digest(scene, preset, place)
    earlier = _read_result(file, digest)
    if earlier is not None:
        return earlier
    note(f"{scene.name}, preset {preset}")
    result = _worked(scene, preset, place, note)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({"inputs": digest, **asdict(result)}, indent=1))
    return result


def _worked(scene: SuiteScene, preset: str, place: BenchPlace, note: Callable[[str], None]) -> SuiteResult:
    run = place.run_folder(scene, preset)
    mesh = run / "mesh.ply"
    commands: list[str] = []
    folder, reference = _sources(scene, place, note)
    for command in (
        reconstruct_command_line(scene, preset, folder, run, place.common),
        ["export", str(mesh), "--run", str(run)],
        evaluate_command_line(scene, run, reference),
    ):
        # A run that was stopped goes on; the line that starts it anew is the one to remember.
        resumed = command[0] == "reconstruct" and (run / "scene.json").is_file()
        done = _dvr([*command, "--resume"] if resumed else command, place.quiet)
        commands.append(_shown(command))
        if done.returncode:
            return SuiteResult(scene.name, preset, "failed", done.stderr.strip()[-2000:], tuple(commands))
    summary = json.loads((run / "summary.json").read_text())
    return SuiteResult(
        scene.name,
        preset,
        "done",
        commands=tuple(commands),
        seconds=summary["seconds"] if summary.get("resumed_from") is None else None,
        peak_memory_gb=summary.get("peak_memory_gb"),
        mesh=str(mesh),
        evaluations=json.loads(done.stdout)["evaluations"],
    )


def reconstruct_command_line(
    scene: SuiteScene, preset: str, folder: str, run: Path, common: tuple[str, ...]
) -> list[str]:
    """Arguments of `dvr` that reconstruct the scene."""
    command = ["reconstruct", folder, "--out", str(run), "--preset", preset, *common]
    command += ["--masks"] if scene.masks else []
    command += ["--depth", scene.depth] if scene.depth else []
    return command + (["--hold-out", str(scene.hold_out)] if scene.hold_out else [])


def evaluate_command_line(scene: SuiteScene, run: Path, reference: str | None) -> list[str]:
    """Arguments of `dvr` that judge the run; the run itself knows its scene."""
    command = ["evaluate", str(run), "--json"]
    values = {
        "--reference": reference,
        "--protocol": scene.protocol if reference else None,
        "--threshold": scene.threshold,
        "--obs-mask": scene.obs_mask,
        "--plane": scene.plane,
        "--crop": scene.crop,
        "--cull": scene.cull,
        "--every": scene.every,
    }
    for option, value in values.items():
        command += [] if value is None else [option, str(value)]
    return command


def _sources(scene: SuiteScene, place: BenchPlace, note: Callable[[str], None]) -> tuple[str, str | None]:
    """Folder of the photographs and the reference; a synthetic scene is made first, once."""
    if scene.synthetic is None:
        assert scene.path is not None
        return scene.path, scene.reference
    folder = place.folder / "scenes" / _folder_name(scene.name)
    reference = folder / "reference.ply"
    if not reference.is_file():
        from dvr_cli.scenes.synthetic import demo_shape, sphere, synthetic_scene, write_scene
        from dvr_cli.surfaces.exact import exact_surface
        from dvr_cli.surfaces.export import write_mesh

        note(f"Making {scene.synthetic.views} photographs in {folder}")
        made = scene.synthetic
        shape = demo_shape(made.seed) if made.shape == "demo" else sphere(0.6)
        described, views, shape = synthetic_scene(shape, made.views, made.image_size, made.seed)
        write_scene(folder, views, described.world_from_unit)
        write_mesh(exact_surface(shape, described.world_from_unit), reference)
    return str(folder), str(reference)


def _dvr(arguments: list[str], quiet: bool) -> subprocess.CompletedProcess[str]:
    """Run a command of ours; its stderr is passed on and kept. BenchInterruptedError when it was stopped.

    It has a process group of its own: Ctrl-C comes here and is handed on, once for each time, so that the first one
    lets it save.
    """
    command = [sys.executable, "-m", "dvr_cli", *arguments, *(["--quiet"] if quiet else [])]
    said: list[str] = []
    # Names of files are said in any alphabet, whatever the locale.
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        assert process.stderr is not None
        with process, _handing_on_signals(process):
            for line in process.stderr:
                said.append(line)
                print(line, end="", file=sys.stderr, flush=True)
            process.wait()
        output.seek(0)
        printed = output.read()
    if process.returncode in INTERRUPTED:
        raise BenchInterruptedError(process.returncode)
    return subprocess.CompletedProcess(command, process.returncode, printed, "".join(said))


@contextmanager
def _handing_on_signals(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Within the block SIGINT and SIGTERM go to the process instead of this one."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    earlier = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _digest(scene: SuiteScene, preset: str, place: BenchPlace) -> str:
    """What a result depends on, as far as the suite says it."""
    text = json.dumps([__version__, scene.model_dump(mode="json"), preset, place.common])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read_result(file: Path, digest: str) -> SuiteResult | None:
    """An earlier result, if it is one of the same entry and did not fail."""
    try:
        held = json.loads(file.read_text())
        if held.pop("inputs") != digest or held["status"] != "done":
            return None
        return SuiteResult(**{**held, "commands": tuple(held["commands"]), "reused": True})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _folder_name(name: str) -> str:
    return re.sub(r"\s+", "-", name.strip())


def _shown(arguments: list[str]) -> str:
    import shlex

    return shlex.join(["dvr", *arguments])
