"""`dvr inspect`: what was found in a scene, what is wrong with it, and what to do about that."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvr_cli.commands.options import (
    FLAG,
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
from dvr_cli.commands.reading import Reading, reading_options, scene_folder
from dvr_cli.console import Output
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dvr_cli.diagnosis.findings import Diagnosis
    from dvr_cli.scenes.views import Scene, SparseDepth

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
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Write a picture of cameras and hull to this PNG file.", show_default=False),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", metavar=FLAG, help="Headers, cameras and masks only: decode no photograph.")
    ] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what SCENE holds, what is wrong with it, and what to do about that.

    Masks that the scene holds are looked at in any case; with --masks there must be some. The exit code is 1 when a
    reconstruction would fail.
    """
    output = Output(quiet, as_json)
    how = Reading(masks, no_masks, mask_folder, colmap, cameras, format_name, views, depth)
    loaded_scene, diagnosis = _examined(scene, reading_options(scene, how), quick, threads, output)
    if picture is not None:
        from dvr_cli.diagnosis.rig_picture import write_rig_picture

        write_rig_picture(picture, loaded_scene, diagnosis)
    values = {**inspection(loaded_scene, diagnosis), "picture": None if picture is None else str(picture)}
    options = (
        how.given() + ([] if depth is None else ["--depth", depth]) + ([] if views is None else ["--views", views])
    )
    command = "inspect" if diagnosis.fatal else "reconstruct"
    next_command = shlex.join(["dvr", command, str(scene), *options])
    ending = f"\nWrote {picture}." if picture is not None else ""
    ending += f"\nNext: {'correct that, then ' if diagnosis.fatal else ''}{next_command}"
    output.result(as_text(values) + ending, {**values, "next": next_command})
    if diagnosis.fatal:
        raise typer.Exit(1)


def _examined(
    scene: Path, reading: dict[str, Any], quick: bool, threads: int | None, output: Output
) -> "tuple[Scene, Diagnosis]":
    """The scene, and what is wrong with it; masks and points that are made for it are looked at and thrown away."""
    import tempfile

    from dvr_cli.commands.made_here import read_and_make
    from dvr_cli.config import PRESETS
    from dvr_cli.config_io import DEFAULT_PRESET
    from dvr_cli.diagnosis.diagnose import diagnose, quick_diagnosis

    settings = PRESETS[DEFAULT_PRESET].model_copy(update={"threads": threads})
    with tempfile.TemporaryDirectory(prefix="dvr-inspect-") as place:
        found, _ = read_and_make(scene_folder(scene), reading, Path(place), settings, output, points_if_needed=False)
        if quick:
            return found, quick_diagnosis(found, threads)
        output.note(f"Decoding {count_of(len(found.views), 'photograph')}, then matching neighbours")
        return found, diagnose(found, threads)


def inspection(scene: "Scene", diagnosis: "Diagnosis") -> dict[str, Any]:
    """Everything that was found, ready for JSON; lengths in world units, sizes in pixels."""
    from dataclasses import asdict

    from dvr_cli.scenes.cameras import similarity_scale

    return {
        "name": scene.name,
        "format": scene.format,
        "views": [
            {
                "width": view.camera.width,
                "height": view.camera.height,
                "focal_length": [float(view.camera.intrinsics[0, 0]), float(view.camera.intrinsics[1, 1])],
                "undistorted": view.distorted is not None,
                "mask": view.mask_path is not None,
                **asdict(figures),
            }
            for view, figures in zip(scene.views, diagnosis.views, strict=True)
        ],
        "bounds": {
            "centre": scene.world_from_unit[:3, 3].tolist(),
            "radius": similarity_scale(scene.world_from_unit),
            "source": scene.bounds_source,
        },
        "hull_volume": diagnosis.figures.get("hull_volume"),
        "coverage": diagnosis.figures.get("coverage"),
        "points": None if scene.sparse_depth is None else _points(scene, scene.sparse_depth),
        "depth_maps": sum(path is not None for path in scene.depth_map_paths or ()),
        "findings": [finding.as_json() for finding in diagnosis.findings],
        "verdict": diagnosis.verdict,
        "fatal": diagnosis.fatal,
    }


def as_text(values: dict[str, Any]) -> str:
    """The inspection as tables and notes."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=110, highlight=False)
    console.print(_summary_table(values))
    if any(view["hull_iou"] is not None for view in values["views"]):
        console.print(_worst_table(values["views"]))
    _print_findings(console, values["findings"])
    console.print(values["verdict"], markup=False, soft_wrap=True)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def _print_findings(console: "Console", findings: list[dict[str, Any]]) -> None:
    """Each finding by severity and name, and below it what to do."""
    for finding in findings:
        heading = f"{finding['severity'].capitalize()} [{finding['name']}]: {finding['text']}."
        console.print(heading, markup=False, soft_wrap=True)
        if finding["advice"]:
            console.print(f"    {finding['advice']}.", markup=False, soft_wrap=True)


def _summary_table(values: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    views, bounds, points = values["views"], values["bounds"], values["points"]
    centre = ", ".join(f"{coordinate:.5g}" for coordinate in bounds["centre"])
    ious = [view["hull_iou"] for view in views if view["hull_iou"] is not None]
    focal_lengths = [view["focal_length"][0] for view in views]
    coverage = values["coverage"]
    undistorted = sum(view["undistorted"] for view in views)
    rows = {
        "views": f"{len(views)}" + (f", {undistorted} to be undistorted" if undistorted else ""),
        "sizes": ", ".join(sorted({f"{view['width']}x{view['height']}" for view in views})),
        "focal length": f"{_range(focal_lengths)} pixels",
        "masks": f"{sum(view['mask'] for view in views)}",
        "hull IoU": f"{min(ious):.3f} to {max(ious):.3f}, mean {sum(ious) / len(ious):.3f}" if ious else "no masks",
        "coverage": "unknown" if coverage is None else _coverage_text(coverage),
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
        # Of an empty hull there is no part that one mask alone removes.
        alone = "" if view["carved_alone"] is None else f"{view['carved_alone']:.1%}"
        table.add_row(Text(view["name"]), f"{view['hull_iou']:.3f}", f"{view['mask_coverage']:.1%}", alone)
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


def _coverage_text(coverage: dict[str, Any]) -> str:
    return (
        f"{coverage['share_of_sphere']:.0%} of the viewing sphere, {coverage['spacing_degrees']:.0f} degrees from a "
        f"camera to the next, largest gap {coverage['largest_gap_degrees']:.0f} degrees"
    )


def _range(numbers: list[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.5g}" if high - low < 1e-3 * high else f"{low:.5g} to {high:.5g}"
