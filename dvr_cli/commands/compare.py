"""`dvr compare`: a run beside other methods on the same scene, in a table and a report."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dvr_cli.commands.columns import ComparisonOptions, compare
from dvr_cli.commands.contestants import scene_of, tell_apart
from dvr_cli.commands.distances import check_distances
from dvr_cli.commands.options import (
    FLAG,
    CamerasOption,
    ColmapOption,
    DeviceOption,
    ExistingMasksOption,
    FormatOption,
    JsonOption,
    MaskFolderOption,
    NoMasksOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    output_folder,
    parse_image_size,
)
from dvr_cli.commands.reading import Reading, reading_of, scene_folder
from dvr_cli.console import Output

if TYPE_CHECKING:
    from dvr_cli.comparing.comparison import Comparison


def parse_trims(text: str) -> tuple[float, ...]:
    """Numbers from `0,5,7,10`; each once, in rising order."""
    try:
        trims = sorted({float(word) for word in text.split(",")})
    except ValueError:
        trims = []
    if not trims or not all(0 <= trim <= 20 for trim in trims):
        raise typer.BadParameter(f"{text!r} are no trims: expected octree depths from 0 to 20, e.g. 0,5,7,10.")
    return tuple(trims)


def compare_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Folders of runs. (default: the latest in ./runs)", show_default=False),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="NAME|FILE|RUN",
            help="colmap, mvs, visual-hull, a mesh file or another run; may be repeated.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The true surface: a mesh or a cloud.", show_default=False)
    ] = None,
    protocol: Annotated[
        Literal["plain", "dtu", "tanks"] | None,
        typer.Option("--protocol", help="How distances to the reference are taken. (default: plain)"),
    ] = None,
    obs_mask: Annotated[
        Path | None, typer.Option("--obs-mask", help="DTU's ObsMaskN_10.mat.", show_default=False)
    ] = None,
    plane: Annotated[Path | None, typer.Option("--plane", help="DTU's PlaneN.mat.", show_default=False)] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Of protocol tanks, world units.", show_default=False)
    ] = None,
    scene: Annotated[
        Path | None,
        typer.Option("--scene", help="Folder of the scene. (default: that of the first run)", show_default=False),
    ] = None,
    masks: ExistingMasksOption = None,
    no_masks: NoMasksOption = False,
    mask_folder: MaskFolderOption = None,
    colmap: ColmapOption = None,
    cameras: CamerasOption = None,
    format_name: FormatOption = None,
    cloud: Annotated[
        Path | None,
        typer.Option(
            "--cloud", help="Fused cloud for colmap. (default: the scene's dense/0/fused.ply)", show_default=False
        ),
    ] = None,
    trims: Annotated[
        Any, typer.Option("--trims", parser=parse_trims, metavar="LIST", help="Octree depths to trim Poisson at.")
    ] = "0,5,7,10",
    cull: Annotated[
        int, typer.Option("--cull", min=0, help="Cut away what lies farther than this outside a mask, pixels.")
    ] = 12,
    no_cull: Annotated[bool, typer.Option("--no-cull", metavar=FLAG, help="Cut nothing away.")] = False,
    image_size: Annotated[
        Any,
        typer.Option(
            "--image-size",
            parser=parse_image_size,
            metavar="PIXELS|full",
            help="Longest side of the photographs for baselines and judging.",
        ),
    ] = "800",
    every: Annotated[int, typer.Option("--every", min=1, help="Judge by every N-th view, if none was held out.")] = 8,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=100, help="Points on each surface. (default: the protocol's own)", show_default=False
        ),
    ] = None,
    lpips: Annotated[bool, typer.Option("--lpips", metavar=FLAG, help="LPIPS as well; needs the extra lpips.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into. (default: compare/SCENE)", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", metavar=FLAG, help="Make baselines anew, even if they are there already.")
    ] = False,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Set a run beside other methods: same scene, same cleaning, same measures.

    Baselines are made here, on the CPU, and kept for the next comparison. The result is one HTML page that opens
    without a network, and report.json with everything in it.
    """
    from dvr_cli.comparing.protocols import GeometryOptions
    from dvr_cli.processors import available_threads

    output = Output(quiet, as_json)
    how = Reading(masks, no_masks, mask_folder, colmap, cameras, format_name)
    if scene is None and (given := how.given()):
        raise typer.BadParameter(f"{given[0]} says how --scene is read; a run knows its scene.")
    geometry = GeometryOptions(
        protocol or "plain", samples, seed or 0, threads or -1, threshold=threshold, obs_mask=obs_mask, plane=plane
    )
    check_distances(geometry, protocol, reference)
    options = ComparisonOptions(
        image_size=None if image_size == "none" else int(image_size),
        trims=trims,
        cloud=cloud,
        cull=None if no_cull else cull,
        every=every,
        lpips=lpips,
        geometry=geometry,
        reference=reference,
        device=device or "auto",
        threads=threads or available_threads(),
        seed=seed or 0,
        fresh=fresh,
    )
    entrants = tell_apart(runs or [], baseline or [], latest=scene is None)
    chosen = scene_of(entrants, None if scene is None else scene_folder(scene), reading_of(scene, how))
    folder = output_folder(out if out is not None else Path("compare") / (chosen.root.resolve().name or "scene"))
    comparison = compare(entrants, chosen, options, folder, output)
    _conclude(comparison, folder, output)


def _conclude(comparison: "Comparison", folder: Path, output: Output) -> None:
    """Write the report, print the table and say what to do next."""
    from dvr_cli.comparing.table import comparison_table
    from dvr_cli.reporting.report import write_report

    page = write_report(comparison, folder, command_line=shlex.join(["dvr", *sys.argv[1:]]), progress=output.note)
    text = comparison_table(comparison)
    for name, reason in comparison.missing:
        text += f"\n{name}: {reason.splitlines()[0]}"
    text += f"\nWrote {page} and {folder / 'report.json'}.\nNext: open {page} in a browser."
    columns = [
        {
            "name": column.name,
            "seconds": column.seconds,
            "peak_memory_gb": column.peak_memory_gb,
            "evaluations": [evaluation.as_json() for evaluation in column.evaluations],
        }
        for column in comparison.columns
    ]
    missing = [{"name": name, "reason": reason} for name, reason in comparison.missing]
    output.result(text, {"report": str(page), "columns": columns, "missing": missing})
