"""The scene that a mesh or a run belongs to, as a command line names it: for `dvr evaluate` and `dvr render`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvr_cli.commands.reading import Reading, reading_options, scene_folder
from dvr_cli.errors import DvrError

if TYPE_CHECKING:
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.scenes.views import Scene


@dataclass(frozen=True)
class SceneChoice:
    """A scene, and how it is to be read."""

    scene: Path | None
    """None: that of the run."""
    reading: Reading = field(default_factory=Reading)
    """Without depth, which nothing here depends on."""


@dataclass(frozen=True)
class SceneViews:
    """The scene that a shape is judged in, and which of its views a run has fitted."""

    scene: "Scene"
    fitted: tuple[int, ...]
    held_out: tuple[int, ...]


def run_of(path: Path) -> "RunFolder | None":
    """The run in a folder; None for a file. RunError for a folder that holds none."""
    from dvr_cli.fitting.run_folder import RunFolder

    return RunFolder.open(path) if path.is_dir() else None


def find_scene(
    choice: SceneChoice, run: "RunFolder | None", lost: Callable[[DvrError], None] | None = None
) -> SceneViews | None:
    """The scene named, or that of the run, or None without either.

    When the run's own scene cannot be read, `lost` is told why and the result is None; without it the error is raised.
    """
    described = {} if run is None else run.scene_description
    # Depth is not looked at, so nothing depends on its file.
    options = {**({"masks": "any"} if run is None else run.reading), "depth": None}
    if choice.scene is not None:
        reading = reading_options(choice.scene, choice.reading)
        # A scene that has moved is read as the run read it, but for what is said anew.
        options |= {key: value for key, value in reading.items() if value is not None}
        root = scene_folder(choice.scene)
        if choice.reading.views is not None:
            return _chosen_views(root, options, described.get("views"))
        return _all_views(root, options, described.get("views"))
    if run is None:
        return None
    try:
        return _all_views(Path(described["root"]), options, described.get("views"))
    except DvrError as error:
        if lost is None:
            raise
        lost(error)
        return None


def _all_views(root: Path, options: dict[str, Any], used: Sequence[str] | None) -> SceneViews:
    from dvr_cli.fitting.scene_description import split_views

    return SceneViews(*split_views(root, options, used))


def _chosen_views(root: Path, options: dict[str, Any], used: Sequence[str] | None) -> SceneViews:
    """Views that the command line has chosen; held out are those that the run does not name among its own.

    Counting every N-th among them, as the run did among all, would call other views held out.
    """
    from dvr_cli.fitting.scene_description import split_views

    scene, every, _ = split_views(root, {**options, "hold_out": None})
    names = [view.name for view in scene.views]
    fitted = every if used is None else tuple(index for index in every if names[index] in used)
    return SceneViews(scene, fitted, tuple(index for index in every if index not in fitted))
