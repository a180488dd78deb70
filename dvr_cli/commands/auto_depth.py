"""`--depth auto`: points triangulated here with the scene's cameras, kept in the folder of the run.

`sparse.json` beside `sparse.npz` says what they were made from; as long as that is the same they are not made again.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import typer

from dvr_cli.console import Output
from dvr_cli.errors import RunError

if TYPE_CHECKING:
    from dvr_cli.config import Settings
    from dvr_cli.matching.triangulation import Trust
    from dvr_cli.scenes.views import LoadedView, Scene, SparseDepth

POINTS_NAME = "sparse.npz"
DESCRIPTION_NAME = "sparse.json"
FORMAT = 1
"""Of what is made and how; points of another one are made again."""
LONGEST_SIDE = 1600
"""Pixels at which features are looked for, whatever size the photographs are compared at: points are more exact so."""


class _StoppedError(Exception):
    """The user asked to stop."""


def auto_depth(scene: "Scene", folder: Path, settings: "Settings", output: Output) -> Path:
    """Triangulate points that the scene's views show, and return the `sparse.npz` in `folder` that holds them.

    Points that were made there from the same photographs, masks and cameras are used again. Of `settings` the threads
    and the seed count. Views are named in the file, so that it fits the scene however many of them are used. DepthError
    when there are too few points, RunError when `folder` cannot be written; a stop on request ends the command with the
    exit code of the signal, and leaves nothing behind.
    """
    import numpy as np

    from dvr_cli.files import disk_errors, write_text
    from dvr_cli.matching.triangulation import Trust
    from dvr_cli.scenes.sparse_depth import write_sparse_depth

    path, trust = folder / POINTS_NAME, Trust()
    made_from = _made_from(scene, settings.seed, trust)
    if _remembered(folder) == made_from and path.is_file():
        output.note(f"Points: those in {path}, made before from the same photographs")
        return path
    with disk_errors(folder, RunError, "Free some space, or choose another folder with --out."):
        folder.mkdir(parents=True, exist_ok=True)
        # Without its description a file counts for nothing: a crash between the two writes cannot pair wrong ones.
        (folder / DESCRIPTION_NAME).unlink(missing_ok=True)
        sparse = _triangulate(scene, folder, settings, trust, output)
        write_sparse_depth(path, sparse, tuple(view.name for view in scene.views))
        assert sparse.visibility is not None and sparse.error is not None
        found = {
            "points": len(sparse.points),
            "views_per_point": round(len(sparse.visibility) / len(sparse.points), 2),
            "median_error_pixels": round(float(np.median(sparse.error)), 3),
        }
        write_text(folder / DESCRIPTION_NAME, json.dumps({"made_from": made_from, "found": found}, indent=1) + "\n")
    output.note(
        f"Points: {found['points']} triangulated, each seen by {found['views_per_point']:.1f} views, reprojection "
        f"error {found['median_error_pixels']:.2f} pixels ({path})"
    )
    return path


def _triangulate(scene: "Scene", folder: Path, settings: "Settings", trust: "Trust", output: Output) -> "SparseDepth":
    """The points, with progress; a stop on request ends the command."""
    from dvr_cli.commands.stopping import stop_on_signals
    from dvr_cli.fitting.events import Message, StepReport
    from dvr_cli.matching.triangulation import triangulated_points

    with output.progress() as show, stop_on_signals(lambda text: show(Message(text))) as stop:

        def report(done: int, total: int) -> None:
            if stop():
                raise _StoppedError
            show(StepReport("triangulating points", done, total, {}, None, None, None))

        try:
            with tempfile.TemporaryDirectory(prefix=".matching-", dir=folder) as work:
                views = _CroppedViews(scene, LONGEST_SIDE)
                return triangulated_points(views, Path(work), settings.threads, settings.seed, report, trust)
        except _StoppedError:
            pass
    output.note("Stopped before the points were there; the same command begins again.")
    raise typer.Exit(stop.exit_code)


def _made_from(scene: "Scene", seed: int, trust: "Trust") -> dict[str, Any]:
    """Everything that decides which points there will be."""
    import numpy as np
    import pycolmap

    from dvr_cli.fitting.scene_description import describe_scene

    # Neither the region of interest nor depth that is known already has a say.
    bare = replace(scene, unit_from_world=np.eye(4), sparse_depth=None, depth_map_paths=None)
    return {
        "format": FORMAT,
        "pycolmap": pycolmap.__version__,
        "image_size": LONGEST_SIDE,
        "seed": seed,
        "trust": asdict(trust),
        "views": [[view.name, view.mask_meaning, view.orientation] for view in scene.views],
        "inputs": describe_scene(bare, {})["inputs"],
    }


def _remembered(folder: Path) -> Any:
    """What the points in the folder were made from; None when it does not say."""
    try:
        described = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return described.get("made_from") if isinstance(described, dict) else None


class _CroppedViews(Sequence["LoadedView"]):
    """The scene's views cut to their masks, loaded when asked for: all of them at that size would fill the memory."""

    def __init__(self, scene: "Scene", image_size: int) -> None:
        self._views, self._image_size = scene.views, image_size

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, index: int) -> "LoadedView": ...

    @overload
    def __getitem__(self, index: slice) -> "Sequence[LoadedView]": ...

    def __getitem__(self, index: int | slice) -> "LoadedView | Sequence[LoadedView]":
        from dvr_cli.matching.cropping import cropped_to_mask
        from dvr_cli.scenes.images import load_view

        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return cropped_to_mask(load_view(self._views[index], self._image_size))
