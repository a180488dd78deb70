"""`dvr inspect`: what was found in a scene, and whether cameras, masks and bounds agree."""

import shlex
from typing import TYPE_CHECKING, Any

from dvr_cli.commands.options import (
    CamerasOption,
    ColmapOption,
    DepthOption,
    FormatOption,
    JsonOption,
    MaskFolderOption,
    MasksOption,
    NoMasksOption,
    QuietOption,
    SceneArgument,
    ThreadsOption,
    ViewsOption,
)
from dvr_cli.commands.reading import Reading, reading_of, scene_folder
from dvr_cli.console import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from dvr_cli.scenes.checks import SceneCheck
    from dvr_cli.scenes.views import LoadedView, Scene, SparseDepth

# Every photograph is decoded, so that a damaged one is found now; details do not matter.
WORKING_SIZE = 400
LISTED_VIEWS = 6


def inspect_command(
    scene: SceneArgument,
    masks: MasksOption = None,
    no_masks: NoMasksOption = False,
    mask_folder: MaskFolderOption = None,
    depth: DepthOption = None,
    colmap: ColmapOption = None,
    cameras: CamerasOption = None,
    format_name: FormatOption = None,
    views: ViewsOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what SCENE holds and whether its cameras, masks and bounds agree.

    Masks that the scene holds are looked at in any case; with --masks there must be some.
    """
    output = Output(quiet, as_json)
    how = Reading(masks, no_masks, mask_folder, colmap, cameras, format_name, views, depth)
    reading = reading_of(scene, how)

    from dvr_cli.fitting.scene_description import read_described_scene
    from dvr_cli.scenes.checks import check_scene
    from dvr_cli.scenes.images import load_views

    loaded_scene = read_described_scene(scene_folder(scene), reading)
    output.note(f"Decoding {len(loaded_scene.views)} photographs")
    loaded_views = load_views(loaded_scene, WORKING_SIZE, threads)
    check = check_scene(loaded_scene, loaded_views)
    values = inspection(loaded_scene, loaded_views, check)
    options = (
        how.given() + ([] if depth is None else ["--depth", depth]) + ([] if views is None else ["--views", views])
    )
    next_command = shlex.join(["dvr", "reconstruct", str(scene), *options])
    output.result(as_text(values) + f"\nNext: {next_command}", {**values, "next": next_command})


def inspection(scene: "Scene", views: "Sequence[LoadedView]", check: "SceneCheck") -> dict[str, Any]:
    """Everything that was found, ready for JSON; lengths in world units, sizes in pixels."""
    from dvr_cli.scenes.cameras import similarity_scale

    return {
        "name": scene.name,
        "format": scene.format,
        "views": [
            {
                "name": view.name,
                "width": view.camera.width,
                "height": view.camera.height,
                "focal_length": [float(view.camera.intrinsics[0, 0]), float(view.camera.intrinsics[1, 1])],
                "undistorted": view.distorted is not None,
                "mask": view.mask_path is not None,
                "mask_coverage": checked.mask_coverage,
                "hull_iou": checked.hull_iou,
                "carved_alone": checked.carved_alone,
                "trusted": checked.trusted,
                "sees_object": checked.sees_object,
            }
            for view, checked in zip(scene.views, check.views, strict=True)
        ],
        "bounds": {
            "centre": scene.world_from_unit[:3, 3].tolist(),
            "radius": similarity_scale(scene.world_from_unit),
            "source": scene.bounds_source,
        },
        "hull_volume": check.hull_volume,
        "points": None if scene.sparse_depth is None else _points(scene, scene.sparse_depth),
        "depth_maps": sum(view.depth is not None for view in views),
        "notes": [*scene.notes, *check.notes],
    }


def as_text(values: dict[str, Any]) -> str:
    """The inspection as tables and notes."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=110, highlight=False)
    console.print(_summary_table(values))
    if any(view["hull_iou"] is not None for view in values["views"]):
        console.print(_worst_table(values["views"]))
    for note in values["notes"]:
        console.print(f"Note: {note}.", markup=False, soft_wrap=True)
    if not values["notes"]:
        console.print("Cameras, masks and bounds agree.")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def _summary_table(values: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    views, bounds, points = values["views"], values["bounds"], values["points"]
    centre = ", ".join(f"{coordinate:.5g}" for coordinate in bounds["centre"])
    ious = [view["hull_iou"] for view in views if view["hull_iou"] is not None]
    focal_lengths = [view["focal_length"][0] for view in views]
    undistorted = sum(view["undistorted"] for view in views)
    rows = {
        "views": f"{len(views)}" + (f", {undistorted} to be undistorted" if undistorted else ""),
        "sizes": ", ".join(sorted({f"{view['width']}x{view['height']}" for view in views})),
        "focal length": f"{_range(focal_lengths)} pixels",
        "masks": f"{sum(view['mask'] for view in views)}",
        "hull IoU": f"{min(ious):.3f} to {max(ious):.3f}, mean {sum(ious) / len(ious):.3f}" if ious else "no masks",
        "bounds": f"ball of radius {bounds['radius']:.5g} around ({centre}), from {bounds['source']}",
        "points": "none" if points is None else f"{points['count']}, {points['in_bounds']} of them within the bounds",
        "depth maps": f"{values['depth_maps']}",
    }
    table = Table(title=Text(f"{values['name']} ({values['format']})"), show_header=False, title_justify="left")
    for name, text in rows.items():
        table.add_row(name, Text(text))
    return table


def _worst_table(views: list[dict[str, Any]]) -> "Table":
    """The views whose masks agree least with the hull of all masks."""
    from rich.table import Table
    from rich.text import Text

    table = Table("view", "hull IoU", "mask covers", "hull removed by it alone", title_justify="left")
    table.title = "Masks that agree least with the others"
    masked = sorted((view for view in views if view["hull_iou"] is not None), key=lambda view: view["hull_iou"])
    for view in masked[:LISTED_VIEWS]:
        table.add_row(
            Text(view["name"]), f"{view['hull_iou']:.3f}", f"{view['mask_coverage']:.1%}", f"{view['carved_alone']:.1%}"
        )
    return table


def _points(scene: "Scene", sparse: "SparseDepth") -> dict[str, Any]:
    import numpy as np

    from dvr_cli.scenes.cameras import apply

    in_bounds = np.linalg.norm(apply(scene.unit_from_world, sparse.points), axis=1) <= 1
    return {
        "count": len(sparse.points),
        "in_bounds": int(in_bounds.sum()),
        "observations": None if sparse.visibility is None else len(sparse.visibility),
        "median_error": None if sparse.error is None else float(np.median(sparse.error)),
    }


def _range(numbers: list[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.5g}" if high - low < 1e-3 * high else f"{low:.5g} to {high:.5g}"
