"""What `dvr reconstruct` makes of a scene before it begins: masks (`--masks auto`) and points (`--depth auto`).

Both are kept in the folder of the run and taken from there the next time, as long as their inputs are the same.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dvr_cli.commands.options import MADE_HERE
from dvr_cli.console import Output
from dvr_cli.errors import DepthError, SceneError

if TYPE_CHECKING:
    from dvr_cli.config import Settings
    from dvr_cli.scenes.views import Scene


def read_and_make(
    root: Path,
    reading: dict[str, Any],
    run_path: Path,
    settings: "Settings",
    output: Output,
    points_if_needed: bool = True,
) -> "tuple[Scene, dict[str, Any]]":
    """The scene with everything that was asked for, and how to read it again; SceneError for what cannot be used.

    `settings`: threads and seed count. With `points_if_needed` points are triangulated, asked for or not, where neither
    masks nor points nor the format say where the object is. Where even then nothing does, or masks and cameras
    contradict each other, the region of interest is a guess, for `checked` to judge.
    """
    from dvr_cli.fitting.scene_description import ANY_MASKS, located, read_described_scene
    from dvr_cli.scenes.depth_scale import require_maps

    reading = {**reading, "masks": ANY_MASKS if reading["masks"] is None else reading["masks"]}
    not_yet = {key: None for key in ("masks", "depth") if reading[key] == MADE_HERE}
    bare = {**reading, **not_yet, "depth_scale": None}
    # What is wrong with the bounds comes out when the scene is read at last; points may mend it.
    scene = read_described_scene(root, bare, guess_bounds=True)
    if reading["depth_scale"] is not None:
        require_maps(scene)
    if MADE_HERE in (reading["depth"], reading["points"]):
        make_points(scene, run_path, settings, output)
    elif points_if_needed:
        reading = {**reading, **_points_if_needed(reading, scene, run_path, settings, output)}
    if reading["masks"] == MADE_HERE:
        seen = located({**reading, "masks": None, "depth_scale": None}, run_path)
        make_masks_of(read_described_scene(root, seen, guess_bounds=True), run_path, settings, output)
    else:
        # Said once and for all: masks that appear in the scene later do not change what the run was made from.
        masked = any(view.mask_path is not None for view in scene.views)
        named = isinstance(reading["masks"], str) and reading["masks"] != ANY_MASKS
        reading = {**reading, "masks": reading["masks"] if named else masked or None}
    if MADE_HERE not in reading.values() and reading["depth_scale"] is None:
        # Nothing is there that was not there before.
        return scene, reading
    return read_described_scene(root, located(reading, run_path), guess_bounds=True), reading


def checked(scene: "Scene", reading: dict[str, Any], run_path: Path, settings: "Settings", output: Output) -> None:
    """The quick part of `dvr inspect`, with its advice: warnings are said, SceneError where it would be in vain."""
    from dvr_cli.diagnosis.diagnose import quick_diagnosis
    from dvr_cli.fitting.scene_description import located, read_described_scene

    diagnosis = quick_diagnosis(scene, settings.threads)
    if diagnosis.fatal:
        raise SceneError(diagnosis.refusal())
    for line in diagnosis.warning_lines():
        output.note(line)
    if needs_points(scene):
        # The guess was for the diagnosis; if there is no better one, this says why.
        read_described_scene(scene.root, located(reading, run_path))


def _points_if_needed(
    reading: dict[str, Any], scene: "Scene", run_path: Path, settings: "Settings", output: Output
) -> dict[str, Any]:
    """What changes in `reading` by points that are made although nobody asked for them."""
    masked = any(view.mask_path is not None for view in scene.views)
    if reading["depth"] is None and needs_points(scene) and not masked:
        output.note("Nothing says where the object is: points are triangulated, as with --depth auto.")
        try:
            make_points(scene, run_path, settings, output)
        except DepthError as error:
            reason = str(error).splitlines()[0]
            output.note(f"There are too few points, so where the object is remains a guess. {reason}")
            return {}
        return {"depth": MADE_HERE}
    if reading["depth_scale"] == "solve" and scene.sparse_depth is None:
        output.note("The scale of depth maps is solved from points: they are triangulated, as with --depth auto.")
        make_points(scene, run_path, settings, output)
        return {"points": MADE_HERE}
    return {}


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
    """Make a mask for every view, unless the run has those of the same input; a stop on request ends the command."""
    from dvr_cli.commands.stopping import stop_on_signals
    from dvr_cli.fitting.events import Message, StepReport
    from dvr_cli.fitting.scene_description import MASKS_FOLDER
    from dvr_cli.scenes.masks.auto import Stopped, make_masks

    with output.progress() as show, stop_on_signals(lambda text: show(Message(text))) as stop:

        def report(done: int, total: int) -> None:
            show(StepReport("making masks", done, total, {}, None, None, None))

        try:
            made = make_masks(scene, run_path / MASKS_FOLDER, settings.threads, settings.seed, report, stop)
        except Stopped:
            made = None
    if made is None:
        output.note("Stopped before the masks were there; the same command begins again.")
        raise typer.Exit(stop.exit_code)
    output.note(f"Masks: made from {made.method}, quality {made.overall:.2f} of 1 ({made.folder})")
    for note in made.notes:
        output.note(f"Note: {note}")
