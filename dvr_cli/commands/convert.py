"""`dvr convert`: a scene in another format, for other programs or back from them."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvr_cli.commands.options import (
    FLAG,
    CamerasOption,
    ExistingDepthOption,
    ExistingMasksOption,
    FormatOption,
    JsonOption,
    MaskFolderOption,
    NoMasksOption,
    QuietOption,
    SceneArgument,
    ViewsOption,
    parse_format,
)
from dvr_cli.commands.reading import Reading, reading_of, scene_folder
from dvr_cli.console import Output
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from dvr_cli.scenes.converting import Conversion


def convert_command(
    scene: SceneArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            parser=parse_format,
            metavar="FORMAT",
            help="Format to write (dvr formats lists them).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write into. (default: SCENE-FORMAT here)", show_default=False),
    ] = None,
    masks: ExistingMasksOption = None,
    no_masks: NoMasksOption = False,
    mask_folder: MaskFolderOption = None,
    depth: ExistingDepthOption = None,
    cameras: CamerasOption = None,
    format_name: FormatOption = None,
    views: ViewsOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Write into a folder that is not empty.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write SCENE in another format.

    Photographs are copied as they are where the format can describe their cameras; others are undistorted or resampled
    at full size. What was written is read back, and what the format could not hold is said.
    """
    output = Output(quiet, as_json)
    folder = scene_folder(scene)

    from dvr_cli.fitting.scene_description import read_described_scene
    from dvr_cli.scenes.converting import check_target, convert_scene, target_format

    target = target_format(to)
    target_folder = out if out is not None else Path(f"{folder.resolve().name}-{target.name}")
    check_target(target_folder, folder, overwrite)
    reading = Reading(masks, no_masks, mask_folder, None, cameras, format_name, views, depth)
    found = read_described_scene(folder, reading_of(scene, reading), guess_bounds=True)
    for note in found.notes:
        output.note(f"Note: {note}.")
    with output.progress() as report:
        conversion = convert_scene(found, target, target_folder, lambda done, of: report(_step(done, of)))
    following = shlex.join(["dvr", "inspect", str(target_folder)])
    output.result(f"{as_text(conversion)}\nNext: {following}", {**as_values(conversion), "next": following})


def as_text(conversion: "Conversion") -> str:
    """What was written and what was lost, in words."""
    lines = [
        f"Wrote {count_of(conversion.views, 'view')} in the format {conversion.format} to {conversion.folder}: "
        f"{count_of(conversion.copied, 'photograph')} copied, {conversion.views - conversion.copied} made anew"
        f"{_why(conversion)}; {count_of(conversion.masks, 'mask')}."
    ]
    if conversion.losses:
        lines.append("What the format could not hold:")
        lines += [f"  - {loss}" for loss in conversion.losses]
    else:
        lines.append("Read back, it is the same scene.")
    return "\n".join(lines)


def as_values(conversion: "Conversion") -> dict[str, Any]:
    """The same, ready for JSON."""
    return {**vars(conversion), "folder": str(conversion.folder), "losses": list(conversion.losses)}


def _why(conversion: "Conversion") -> str:
    reasons = {
        "undistorted": conversion.undistorted,
        "turned": conversion.turned,
        "resampled": conversion.resampled,
    }
    words = ", ".join(f"{count} {what}" for what, count in reasons.items() if count)
    return f" ({words})" if words else ""


def _step(done: int, count: int) -> Any:
    from dvr_cli.fitting.events import StepReport

    return StepReport("writing photographs", done, count, {}, None, None, None)
