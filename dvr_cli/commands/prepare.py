"""`dvr prepare`: raw photographs or a video to a scene with poses that `dvr reconstruct` can use."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dvr_cli.commands.options import (
    FLAG,
    JsonOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    parse_image_size,
)
from dvr_cli.console import Output
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from dvr_cli.preparing.preparation import Prepared, Preparing

LISTED_LENSES = 3


def parse_camera(text: str) -> str:
    """`auto`, or a camera model by COLMAP's name, in any case of letters."""
    from dvr_cli.preparing.poses import AUTO, CAMERA_MODELS

    if text.lower() == AUTO:
        return AUTO
    if text.upper() not in CAMERA_MODELS:
        raise typer.BadParameter(f"{text!r} is no camera model: expected auto, {', '.join(CAMERA_MODELS)}.")
    return text.upper()


def prepare_command(
    photographs: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTOS|VIDEO", help="Folder of photographs, subfolders as well, or a video.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the scene to write.", show_default=False)],
    image_size: Annotated[
        Any,
        typer.Option(
            "--image-size",
            parser=parse_image_size,
            metavar="PIXELS|full",
            help="Longest side of the undistorted photographs. (default: full)",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Literal["auto", "none"] | None,
        typer.Option(
            "--masks",
            help="Make masks, or none. (default: where the background has one colour and the masks look good)",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[
        Any,
        typer.Option(
            "--camera",
            parser=parse_camera,
            metavar="auto|MODEL",
            help="Lens by COLMAP's name: SIMPLE_RADIAL, OPENCV, OPENCV_FISHEYE ... (default: auto)",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            min=2,
            max=2000,
            help="Frames of a video to use. (default: one for every 5 % that the picture moves, 20 to 200)",
            show_default=False,
        ),
    ] = None,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Discard what was prepared in OUT and start anew.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find out from where photographs were taken, and write a scene that dvr reconstruct can use.

    What is done stays in OUT/work: Ctrl-C stops, and the same command goes on where it stopped.
    """
    output = Output(quiet, as_json)

    from dvr_cli.preparing.masking import MADE_IF_GOOD
    from dvr_cli.preparing.poses import AUTO
    from dvr_cli.preparing.preparation import Preparing, check_places
    from dvr_cli.preparing.videos import is_video
    from dvr_cli.processors import available_threads

    if frames is not None and not (photographs.is_file() and is_video(photographs)):
        raise typer.BadParameter("--frames is about videos: a folder of photographs is used whole.")
    check_places(photographs, out, overwrite)
    request = Preparing(
        photographs,
        out,
        camera or AUTO,
        image_size if isinstance(image_size, int) else None,
        masks or MADE_IF_GOOD,
        frames,
        threads or available_threads(),
        seed or 0,
    )
    _run(request, output)


def _run(request: "Preparing", output: Output) -> None:
    """Prepare with progress, and say what came out; exit code 130 or 143 when it was stopped."""
    # It takes SIGTERM for a crash and prints its stack, unless a handler is set after it was imported.
    import pycolmap  # noqa: F401

    from dvr_cli.commands.stopping import stop_on_signals
    from dvr_cli.fitting.events import Message, StepReport
    from dvr_cli.preparing.preparation import prepare
    from dvr_cli.preparing.stages import Stopped

    with output.progress() as report, stop_on_signals(lambda text: report(Message(text))) as stop:

        def told(stage: str, done: int, total: int) -> None:
            report(StepReport(stage, done, total, {}, None, None, None))

        try:
            prepared = prepare(request, told, stop)
        except Stopped:
            report(Message("Stopped. What is done is kept; go on by giving the same command again."))
            raise typer.Exit(stop.exit_code) from None
    for note in prepared.values["notes"]:
        output.note(note)
    values = prepared.values
    next_command = shlex.join(["dvr", "reconstruct", str(request.out)])
    look = shlex.join(["dvr", "inspect", str(request.out)])
    text = f"{as_text(prepared, request.out)}\nNext: {look}, then {next_command}"
    output.result(text, {**values, "out": str(request.out), "next": next_command})


def as_text(prepared: "Prepared", out: Path) -> str:
    """The summary as lines: what was connected, how well, and what to do better."""
    values = prepared.values
    coverage = values["coverage"]
    lines = [
        f"{'Nothing to do: it was all done before. ' if prepared.repeated else ''}Wrote {out}: images/, sparse/0 and "
        "prepare.json; work/ is only needed to go on and may be deleted.",
        f"  photographs  {len(values['registered'])} of {values['photographs']} have a pose"
        + _but("cannot be read", values["unreadable"])
        + _but("a copy of another", values["copies"]),
        f"  points       {values['points']}, each seen in {values['track_length']:.1f} photographs",
        f"  error        {values['reprojection_error']:.2f} pixels",
        *(f"  lens         {_lens(lens)}" for lens in values["cameras"][:LISTED_LENSES]),
    ]
    if len(values["cameras"]) > LISTED_LENSES:
        others = count_of(len(values["cameras"]) - LISTED_LENSES, "more lens or zoom", "more lenses or zooms")
        lines.append(f"               and {others}")
    if coverage["inwards"] and coverage["level"]:
        lines.append(
            f"  directions   {coverage['around']:.0f} degrees around, {coverage['lowest']:.0f} to "
            f"{coverage['highest']:.0f} degrees above the middle"
        )
    if values["masks"] is not None:
        made = values["masks"]
        where = "in masks/" if made["kept"] else "not kept; --masks auto keeps them"
        lines.append(f"  masks        by {made['method']}, figure {made['median_quality']:.2f} of 1, {where}")
    lines.append(f"  verdict      {values['verdict']}")
    lines += [f"  - {name}: {reason}" for name, reason in list(values["unreadable"].items())[:LISTED_LENSES]]
    return "\n".join([*lines, *(f"  - {sentence}" for sentence in values["advice"])])


def _but(what: str, names: dict[str, str]) -> str:
    return f", {len(names)} more {what}" if names else ""


def _lens(lens: dict[str, Any]) -> str:
    size = f"{lens['width']}x{lens['height']}"
    used = count_of(lens["photographs"], "photograph")
    return f"{lens['model']}, {size}, focal length {lens['parameters'][0]:.0f} pixels, {used}"
