"""`dvr render`: pictures of a run or a mesh, as a turntable or from where the photographs were taken."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dvr_cli.commands.options import (
    CamerasOption,
    ColmapOption,
    ExistingMasksOption,
    FormatOption,
    JsonOption,
    MaskFolderOption,
    NoMasksOption,
    QuietOption,
    ThreadsOption,
    parse_duration,
    parse_views,
)
from dvr_cli.commands.reading import Reading
from dvr_cli.console import Output

TURNTABLE, VIEWS, SCENE = "Turntable", "Pictures from the photographs' cameras", "Scene"
"""Panels of the help."""

UP_AXES = ("x", "y", "z", "-x", "-y", "-z")


def parse_up(text: str) -> str:
    """An axis, maybe with a sign."""
    if re.fullmatch(r"[+-]?[xyz]", text.strip().lower()) is None:
        raise typer.BadParameter(f"{text!r} is no axis: expected one of {', '.join(UP_AXES)}.")
    return text.strip().lower().lstrip("+")


def parse_drawn_views(text: str) -> str:
    """`all`, or a range of views."""
    return "all" if text.strip() == "all" else parse_views(text)


def render_command(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|MESH]",
            help="Folder of a run, or a mesh. (default: the latest run in ./runs)",
            show_default=False,
        ),
    ] = None,
    turntable: Annotated[
        Path | None,
        typer.Option(
            "--turntable",
            metavar="FILE",
            help="Animation of the turning object: .mp4, .gif or .webp.",
            rich_help_panel=TURNTABLE,
            show_default=False,
        ),
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(
            "--views",
            parser=parse_drawn_views,
            metavar="all|RANGE",
            help="Pictures as these cameras of the scene see it, e.g. 0,8,16 or 0-11.",
            rich_help_panel=VIEWS,
            show_default=False,
        ),
    ] = None,
    what: Annotated[
        Literal["shaded", "texture", "normals", "depth", "error"] | None,
        typer.Option("--what", help="What to show. (default: texture where there are colours, else shaded)"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=16,
            max=8192,
            help="Longest side, pixels. (default: 800; views: the photograph's, 1600 at most)",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=16, help="N x N rays per pixel, against jagged edges.")
    ] = 2,
    background: Annotated[
        Literal["light", "dark", "white", "black", "transparent", "photograph"],
        typer.Option("--background", help="Behind the object; the photograph only with --views."),
    ] = "light",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where pictures go. (default: RUN/renders or MESH_renders)",
            rich_help_panel=VIEWS,
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            parser=parse_duration,
            metavar="DURATION",
            help="Of one turn. (default: 6)",
            rich_help_panel=TURNTABLE,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", min=2, max=10_000, help="Of one turn, instead of --seconds.", rich_help_panel=TURNTABLE
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps", min=1, max=120, help="Frames per second. (default: 25; .gif: 12.5)", rich_help_panel=TURNTABLE
        ),
    ] = None,
    elevation: Annotated[
        float,
        typer.Option(
            "--elevation", min=-89, max=89, help="Of the camera above the horizon, degrees.", rich_help_panel=TURNTABLE
        ),
    ] = 15.0,
    up: Annotated[
        Any,
        typer.Option(
            "--up",
            parser=parse_up,
            metavar="AXIS",
            help="Which axis points up: z, y, -y ... (default: as the cameras were held; without a scene z, .glb y)",
            rich_help_panel=TURNTABLE,
        ),
    ] = None,
    scene: Annotated[
        Path | None,
        typer.Option(
            "--scene", help="Folder of the scene. (default: that of the run)", rich_help_panel=SCENE, show_default=False
        ),
    ] = None,
    masks: ExistingMasksOption = None,
    no_masks: NoMasksOption = False,
    mask_folder: MaskFolderOption = None,
    colmap: ColmapOption = None,
    cameras: CamerasOption = None,
    format_name: FormatOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw the surface of a run, or a mesh: --turntable FILE turns it, --views shows it as the photographs do.

    A run is drawn with the colours of its field, a mesh with its texture or its vertex colours. docs/rendering.md says
    what the colours mean and how errors are measured.
    """
    from dvr_cli.commands.rendering import Rendering, render
    from dvr_cli.commands.scene_views import SceneChoice

    rendering = Rendering(
        source, turntable, views, what, size, samples, background, out, seconds, frames, fps, elevation, up,
        SceneChoice(scene, Reading(masks, no_masks, mask_folder, colmap, cameras, format_name)), threads,
    )  # fmt: skip
    _check_usage(rendering)
    output = Output(quiet, as_json)
    result = render(rendering, output)
    output.result(result.as_text(), result.as_json())


def _check_usage(rendering: Any) -> None:
    """BadParameter for what cannot be meant, before anything is read."""
    from dvr_cli.commands.rendering import Rendering

    assert isinstance(rendering, Rendering)
    if rendering.turntable is None and rendering.views is None:
        raise typer.BadParameter(
            "nothing to draw: pass --turntable FILE.webp for the turning object, --views all for pictures from the "
            "photographs' cameras, or both."
        )
    if rendering.turntable is not None:
        _check_turntable(rendering.turntable, rendering.background)
    only_views = {
        "--what error": rendering.what == "error",
        "--background photograph": rendering.background == "photograph",
    }
    for option, given in only_views.items():
        if given and (rendering.views is None or rendering.turntable is not None):
            raise typer.BadParameter(
                f"{option} compares with photographs: use it with --views and without --turntable."
            )
    if rendering.frames is not None and rendering.seconds is not None:
        raise typer.BadParameter("--frames and --seconds say the same thing: pass one of them, and --fps if you like.")
    if rendering.turntable is None:
        for option, value in {
            "--frames": rendering.frames,
            "--seconds": rendering.seconds,
            "--fps": rendering.fps,
        }.items():
            if value is not None:
                raise typer.BadParameter(f"{option} is about a turntable: pass --turntable FILE as well.")
    if rendering.views is None and rendering.out is not None:
        raise typer.BadParameter("--out is the folder of --views: a turntable is named by --turntable itself.")
    choice = rendering.scene
    if choice.scene is None and (words := choice.reading.given()):
        raise typer.BadParameter(f"{words[0]} says how --scene is read: pass --scene as well.")


def _check_turntable(path: Path, background: str) -> None:
    """BadParameter for an animation of a format that there is not, or that cannot hold the background."""
    from dvr_cli.viewing.animation import SUFFIXES

    if path.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(
            f"--turntable {path}: there is no format {path.suffix!r} of an animation: expected {', '.join(SUFFIXES)}."
        )
    if path.suffix.lower() == ".mp4" and background == "transparent":
        raise typer.BadParameter(
            "--background transparent: an .mp4 cannot be transparent. Name a .webp or .gif, or another background."
        )
