"""What `dvr reconstruct` makes of a scene before it begins: masks (`--masks auto`) and points (`--depth auto`).

Both are kept in the folder of the run and taken from there the next time, as long as their inputs are the same.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvr_cli.commands.reading import MADE_HERE
from dvr_cli.console import Output

if TYPE_CHECKING:
    from dvr_cli.config import Settings
    from dvr_cli.scenes.views import Scene


def read_and_make(
    root: Path, reading: dict[str, Any], run_path: Path, settings: "Settings", output: Output
) -> "tuple[Scene, dict[str, Any]]":
    """The scene with everything that was asked for, and how to read it again; SceneError for what cannot be used.

    Where neither masks nor points nor the format say where the object is, points are triangulated, asked for or not:
    without them the region of interest would be a guess.
    """
    from dvr_cli.fitting.scene_description import ANY_MASKS, located, read_described_scene

    reading = {**reading, "masks": ANY_MASKS if reading["masks"] is None else reading["masks"]}
    bare = {**reading, "masks": None} if reading["masks"] == MADE_HERE else reading
    if reading["depth"] == MADE_HERE:
        bare = {**bare, "depth": None}
    scene = read_described_scene(root, bare)
    masked = any(view.mask_path is not None for view in scene.views)
    if reading["depth"] is None and needs_points(scene):
        output.note("Nothing says where the object is: points are triangulated, as with --depth auto.")
        reading = {**reading, "depth": MADE_HERE}
    if reading["depth"] == MADE_HERE:
        make_points(scene, run_path, settings, output)
    if reading["masks"] == MADE_HERE:
        scene = read_described_scene(root, located({**reading, "masks": None}, run_path))
        make_masks_of(scene, run_path, settings, output)
    else:
        # Said once and for all: masks that appear in the scene later do not change what the run was made from.
        kept = reading["masks"] if isinstance(reading["masks"], str) and reading["masks"] != ANY_MASKS else masked
        reading = {**reading, "masks": kept or None}
    return read_described_scene(root, located(reading, run_path)), reading


def needs_points(scene: "Scene") -> bool:
    """Whether only a guess says where the object is."""
    from dvr_cli.scenes.bounds import GUESS

    return scene.bounds_source == GUESS


def make_points(scene: "Scene", run_path: Path, settings: "Settings", output: Output) -> None:
    """Triangulate points on the known cameras, unless the run has those of the same input."""
    from dvr_cli.commands.auto_depth import auto_depth
    from dvr_cli.fitting.scene_description import POINTS_FILE

    auto_depth(scene, (run_path / POINTS_FILE).parent, settings, output)


def make_masks_of(scene: "Scene", run_path: Path, settings: "Settings", output: Output) -> None:
    """Make a mask for every view, unless the run has those of the same input."""
    from dvr_cli.fitting.scene_description import MASKS_FOLDER
    from dvr_cli.scenes.masks.auto import make_masks

    with output.progress() as report:
        made = make_masks(scene, run_path / MASKS_FOLDER, settings.threads, settings.seed, report)
    for note in made.notes:
        output.note(note)
