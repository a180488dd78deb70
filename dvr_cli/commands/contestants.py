"""Who takes part in a comparison: runs, mesh files and baselines by name, all on the scene of the first run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dvr_cli.errors import CompareError

if TYPE_CHECKING:
    from dvr_cli.fitting.run_folder import RunFolder


@dataclass(frozen=True)
class Entrants:
    """What the command line names, told apart."""

    runs: tuple["RunFolder", ...]
    files: tuple[Path, ...]
    baselines: tuple[str, ...]
    """Names in `comparing.opponents.BASELINES`."""


@dataclass(frozen=True)
class SceneToRead:
    """Where the scene is and how it is read."""

    root: Path
    reading: dict[str, Any]
    """As in scene.json."""
    used: Sequence[str] | None = None
    """Names of the views that the runs used; None when no run says."""


def tell_apart(runs: Sequence[Path], baselines: Sequence[str], latest: bool) -> Entrants:
    """Sort the arguments; with `latest` and no run named, the newest run in ./runs takes part.

    Usage error for a baseline that is neither a name nor a path; RunError and CompareError for paths that are no use.
    """
    from dvr_cli.comparing.opponents import BASELINES
    from dvr_cli.fitting.run_folder import RunFolder

    names = [name for name in baselines if name in BASELINES]
    paths = [*runs]
    for name in baselines:
        if name in BASELINES:
            continue
        if not Path(name).exists():
            raise typer.BadParameter(
                f"--baseline {name}: expected {', '.join(BASELINES)}, a mesh file or the folder of a run, and there "
                "is no such path."
            )
        paths.append(Path(name))
    for path in paths:
        if not path.exists():
            raise CompareError(f"{path} does not exist: expected the folder of a run, or a mesh file.")
    files = tuple(path for path in paths if path.is_file())
    folders = tuple(RunFolder.open(path) for path in paths if path.is_dir())
    if not folders and latest:
        folders = (RunFolder.latest(),)
    return Entrants(folders, files, tuple(dict.fromkeys(names)))


def scene_of(entrants: Entrants, scene: Path | None, reading: dict[str, Any]) -> SceneToRead:
    """The scene named, or that of the first run; CompareError when a run is of another scene."""
    if scene is not None:
        return SceneToRead(scene, reading)
    first = entrants.runs[0].scene_description
    found = SceneToRead(Path(first["root"]), entrants.runs[0].reading, first.get("views"))
    for run in entrants.runs[1:]:
        other = run.scene_description
        if other.get("inputs", {}).get("cameras") != first.get("inputs", {}).get("cameras"):
            raise CompareError(
                f"{run.path} is a run of another scene or other views ({other['root']}) than {entrants.runs[0].path} "
                f"({first['root']}).\nExpected runs of one scene, with the same --views and --hold-out; compare them "
                "one by one, or name the scene with --scene."
            )
    return found


def names_of_runs(runs: Sequence["RunFolder"]) -> list[str]:
    """`dvr (fast)` by the preset, with the folder's name where two have the same."""
    presets = [run.settings.preset for run in runs]
    return [
        f"dvr ({preset})" if presets.count(preset) == 1 else f"dvr ({preset}, {run.path.resolve().name})"
        for run, preset in zip(runs, presets, strict=True)
    ]
