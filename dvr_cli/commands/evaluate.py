"""`dvr evaluate`: a mesh, a cloud or a run measured against a reference, photographs, or both."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dvr_cli.commands.distances import check_distances
from dvr_cli.commands.options import (
    FLAG,
    CamerasOption,
    ColmapOption,
    ExistingMasksOption,
    FormatOption,
    JsonOption,
    MaskFolderOption,
    NoMasksOption,
    QuietOption,
    ThreadsOption,
    ViewsOption,
    parse_image_size,
)
from dvr_cli.commands.reading import Reading
from dvr_cli.console import Output

DISTANCES, PHOTOGRAPHS = "Distances to a reference", "Photographs"
"""Panels of the help."""


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Percentages from `0.25,0.5,1`; each once, in rising order."""
    try:
        thresholds = sorted({float(word) for word in text.split(",")})
    except ValueError:
        thresholds = []
    if not thresholds or not all(0 < threshold <= 100 for threshold in thresholds):
        raise typer.BadParameter(
            f"{text!r} are no thresholds: expected per cent of the reference's diagonal, e.g. 0.25,0.5,1."
        )
    return tuple(thresholds)


def _distance_option(*names: str, **extra: Any) -> Any:
    return typer.Option(*names, rich_help_panel=DISTANCES, show_default=False, **extra)


def evaluate_command(
    mesh: Annotated[
        Path,
        typer.Argument(metavar="MESH", help="A mesh, a cloud (.ply, .xyz) or the folder of a run.", show_default=False),
    ],
    reference: Annotated[
        Path | None, _distance_option("--reference", help="The true surface: a mesh or a cloud.")
    ] = None,
    protocol: Annotated[
        Literal["plain", "dtu", "tanks"] | None,
        _distance_option("--protocol", help="How distances are taken. (default: plain)"),
    ] = None,
    samples: Annotated[
        int | None,
        _distance_option("--samples", min=100, help="Points on each mesh. (default: 200000; dtu, tanks: by area)"),
    ] = None,
    seed: Annotated[int, _distance_option("--seed", min=0, help="Seed of all samples. (default: 0)")] = 0,
    thresholds: Annotated[
        Any,
        _distance_option(
            "--thresholds",
            parser=parse_thresholds,
            metavar="LIST",
            help="plain: of F, per cent of the diagonal. (default: 0.25,0.5,1)",
        ),
    ] = None,
    obs_mask: Annotated[Path | None, _distance_option("--obs-mask", help="dtu: ObsMaskN_10.mat of the scan.")] = None,
    plane: Annotated[Path | None, _distance_option("--plane", help="dtu: PlaneN.mat of the scan.")] = None,
    sampling: Annotated[
        Literal["lattice", "uniform"] | None,
        _distance_option("--sampling", help="dtu: how a mesh becomes points. (default: lattice)"),
    ] = None,
    thin: Annotated[
        float | None, _distance_option("--thin", help="dtu: least distance of points, mm. (default: 0.2)")
    ] = None,
    max_distance: Annotated[
        float | None, _distance_option("--max-distance", help="dtu: farther points are dropped, mm. (default: 20)")
    ] = None,
    threshold: Annotated[
        float | None, _distance_option("--threshold", help="tanks: what is closer counts as right, world units.")
    ] = None,
    crop: Annotated[Path | None, _distance_option("--crop", help="tanks: JSON file of the crop volume.")] = None,
    align: Annotated[
        bool, _distance_option("--align", metavar=FLAG, help="tanks: lay the mesh on the reference first.")
    ] = False,
    scene: Annotated[
        Path | None,
        typer.Option(
            "--scene",
            help="Folder of the scene. (default: that of the run)",
            rich_help_panel=PHOTOGRAPHS,
            show_default=False,
        ),
    ] = None,
    masks: ExistingMasksOption = None,
    no_masks: NoMasksOption = False,
    mask_folder: MaskFolderOption = None,
    colmap: ColmapOption = None,
    cameras: CamerasOption = None,
    format_name: FormatOption = None,
    views: ViewsOption = None,
    image_size: Annotated[
        Any,
        typer.Option(
            "--image-size",
            parser=parse_image_size,
            metavar="PIXELS|full",
            help="Longest side of photographs and masks.",
            rich_help_panel=PHOTOGRAPHS,
        ),
    ] = "800",
    every: Annotated[
        int, typer.Option("--every", min=1, help="Judge by every N-th view.", rich_help_panel=PHOTOGRAPHS)
    ] = 8,
    cull: Annotated[
        float | None,
        typer.Option(
            "--cull",
            min=0,
            max=10_000,
            help="First cut away what lies farther than this outside a mask, pixels.",
            rich_help_panel=PHOTOGRAPHS,
            show_default=False,
        ),
    ] = None,
    lpips: Annotated[
        bool,
        typer.Option(
            "--lpips", metavar=FLAG, help="LPIPS as well; needs the extra lpips.", rich_help_panel=PHOTOGRAPHS
        ),
    ] = False,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the result as JSON, besides.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a mesh: distances to a reference, and how well it explains photographs.

    With --reference, accuracy and completeness by one of three protocols. With a scene (a run knows its own), its
    colours and silhouettes against the photographs, and photographs predicted from each other through its shape; on
    views held out of the reconstruction separately. docs/evaluating.md says exactly what each number is.
    """
    from dvr_cli.commands.judging import Judging, evaluate
    from dvr_cli.comparing.protocols import GeometryOptions

    output = Output(quiet, as_json)
    geometry = GeometryOptions(
        protocol or "plain", samples, seed, threads or -1, thresholds, threshold, sampling, obs_mask, plane,
        max_distance, thin, crop, align,
    )  # fmt: skip
    check_distances(geometry, protocol, reference)
    judging = Judging(
        mesh, reference, geometry, scene,
        Reading(masks, no_masks, mask_folder, colmap, cameras, format_name, views),
        None if image_size == "none" else int(image_size), every, cull, lpips, threads,
    )  # fmt: skip
    _check_scene_usage(judging)
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise typer.BadParameter(f"--out {out}: expected the name of a file in a folder that exists.")
    result = evaluate(judging, output)
    if out is not None:
        result.write(out)
    output.result(result.as_text(out), result.as_json())


def _check_scene_usage(judging: Any) -> None:
    """BadParameter when there is nothing to measure by, or options say how a scene is read that nobody names."""
    has_scene = judging.scene is not None or judging.mesh.is_dir()
    if judging.reference is None and not has_scene:
        raise typer.BadParameter(
            "there is nothing to measure by: pass --reference, --scene or both, or name the folder of a run."
        )
    given = judging.reading.given() + (["--views"] if judging.reading.views else [])
    if judging.scene is None and given:
        raise typer.BadParameter(f"{given[0]} says how --scene is read: pass --scene as well.")
    if judging.cull is not None and not has_scene:
        raise typer.BadParameter("--cull needs the masks of a scene: pass --scene.")
    if judging.lpips and not has_scene:
        raise typer.BadParameter("--lpips compares with photographs: pass --scene.")
