"""Options that several commands share: one name, one meaning, one help text."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dvr_cli.errors import CompareError, SceneError

FLAG = ""
"""What the help shows as the value of an option that takes none; Typer would write <bool>."""
FOUND = "found"
"""What `--masks` without a value stands for (`commands.arguments`): the masks that the scene holds."""
MADE_HERE = "auto"
"""Instead of a path: masks or points that dvr makes, in the folder of the run."""


def parse_duration(text: str) -> float:
    """Seconds from `60`, `60s`, `1.5m` or `1h`."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|h)?", text.strip().lower())
    if match is None or float(match[1]) == 0:
        raise typer.BadParameter(f"{text!r} is no duration: expected e.g. 60, 60s, 2m or 1h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2] or "s"]


def parse_device(text: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N`; whether the machine has it is found out later."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", text) is None:
        raise typer.BadParameter(f"{text!r} is no device: expected auto, cpu, cuda or cuda:N.")
    return text


LEAST_IMAGE_SIZE = 32
"""Pixels; as in the configuration, which takes longer to import than the help may take. A test compares."""


def parse_image_size(text: str) -> int | str:
    """Pixels, or `full`, which the configuration calls "none"."""
    if text == "full":
        return "none"
    if re.fullmatch(r"\d{1,6}", text) is None or int(text) < LEAST_IMAGE_SIZE:
        raise typer.BadParameter(f"{text!r} is no size: expected {LEAST_IMAGE_SIZE} pixels or more, e.g. 800, or full.")
    return int(text)


def parse_existing_masks(text: str) -> str:
    """A folder, or FOUND; not `auto`, which only a run has a place for."""
    if text == MADE_HERE:
        raise typer.BadParameter("auto needs a run to keep the masks in: expected a folder of masks, or no value.")
    return text


def parse_existing_depth(text: str) -> str:
    """A path; not `auto`, which only a run has a place for."""
    if text == MADE_HERE:
        raise typer.BadParameter("auto needs a run to keep the points in: expected the path of known depth.")
    return text


def parse_depth_scale(text: str) -> float | str:
    """`solve`, or a number above 0."""
    if text == "solve":
        return text
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise typer.BadParameter(f"{text!r} is no scale: expected a number above 0, or solve.")
    return factor


def parse_views(text: str) -> str:
    """Numbers of views and ranges of them; whether the scene has so many is found out later."""
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        if match is None or int(match[1]) > int(match[2] or match[1]):
            raise typer.BadParameter(
                f"{part.strip()!r} is no range of views: expected numbers and ranges, counted from 0, e.g. 0-11,20."
            )
    return text


def parse_preset(text: str) -> str:
    """The name of a preset."""
    from dvr_cli.config import PRESETS

    return _known(text, "preset", PRESETS)


def parse_format(text: str) -> str:
    """The name of a format of scenes."""
    from dvr_cli.scenes.readers.table import READERS

    return _known(text, "format", (reader.name for reader in READERS), " (dvr formats describes them)")


def _known(name: str, kind: str, names: Iterable[str], where: str = "") -> str:
    known = list(names)
    if name not in known:
        raise typer.BadParameter(f"there is no {kind} {name!r}: expected one of {', '.join(known)}{where}.")
    return name


def existing_path(path: Path, scene: Path, option: str) -> Path:
    """A path as given, or else within the scene's folder; SceneError when neither exists."""
    for candidate in (path, scene / path):
        if candidate.exists():
            return candidate
    inside = "" if path.is_absolute() else f", nor {scene / path}"
    raise SceneError(f"{option}: there is no {path}{inside}. Check the path.")


def output_folder(path: Path) -> Path:
    """A folder to write into, which need not exist yet; CompareError where a file is in its way."""
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if there.is_file():
        raise CompareError(f"--out {path}: {there} is a file. Expected a folder; name another one.")
    return path


# The settings and their checks take longer to import than the help may take, so it repeats three facts about the
# presets; a test compares.
PRESET_HELP = "One of: fast, quality, paper, mlp-small. (default: fast)"
FIELD_HELP = (
    "What is fitted: grid, mlp (the paper's network) or mlp-small; each has a preset of its own. (default: grid)"
)
IMAGE_SIZE_HELP = (
    "Longest side of the photographs to work at. (default: 800 for fast, full for quality, full for paper, "
    "800 for mlp-small)"
)

SceneArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SCENE", help="Folder with photographs and cameras, or its camera file.", show_default=False
    ),
]
MasksOption = Annotated[
    str | None,
    typer.Option(
        "--masks",
        metavar="[auto|FOLDER]",
        help="Silhouettes: alone, those in the scene must be there; auto, made here; or a folder of them. "
        "(default: those in the scene, if any)",
        show_default=False,
    ),
]
ExistingMasksOption = Annotated[
    str | None,
    typer.Option(
        "--masks",
        parser=parse_existing_masks,
        metavar="[FOLDER]",
        help="Silhouettes: alone, those in the scene must be there; or a folder of them. "
        "(default: those in the scene, if any)",
        show_default=False,
    ),
]
"""Of commands that make no masks."""
NoMasksOption = Annotated[
    bool, typer.Option("--no-masks", metavar=FLAG, help="Use no silhouettes, even if the scene has some.")
]
MaskFolderOption = Annotated[
    Path | None, typer.Option("--mask-folder", help="The same as --masks FOLDER.", show_default=False, hidden=True)
]
_DEPTH_KINDS = "Sparse or dense depth: sparse.npz, a PLY cloud, a COLMAP model or a folder of depth maps"
_RELATIVE_PATH = "A relative path may start in the scene's folder."
DepthOption = Annotated[
    str | None,
    typer.Option(
        "--depth",
        metavar="auto|PATH",
        help=f"{_DEPTH_KINDS}; auto: points are triangulated here. {_RELATIVE_PATH}",
        show_default=False,
    ),
]
ExistingDepthOption = Annotated[
    str | None,
    typer.Option(
        "--depth",
        parser=parse_existing_depth,
        metavar="PATH",
        help=f"{_DEPTH_KINDS}. {_RELATIVE_PATH}",
        show_default=False,
    ),
]
"""Of commands that triangulate no points."""
DepthScaleOption = Annotated[
    Any,
    typer.Option(
        "--depth-scale",
        parser=parse_depth_scale,
        metavar="solve|NUMBER",
        help="What values of depth maps are multiplied with; solve: found for each map from points.",
        show_default=False,
    ),
]
ColmapOption = Annotated[
    Path | None, typer.Option("--colmap", help="Folder of the COLMAP model with the cameras.", show_default=False)
]
CamerasOption = Annotated[
    Path | None,
    typer.Option("--cameras", help="Camera file or model folder, if not the one found in SCENE.", show_default=False),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        parser=parse_format,
        metavar="NAME",
        help="Format of the scene, if not the one recognised (dvr formats).",
        show_default=False,
    ),
]
ViewsOption = Annotated[
    str | None,
    typer.Option(
        "--views", parser=parse_views, metavar="RANGE", help="Use only these views, e.g. 0-11.", show_default=False
    ),
]
HoldOutOption = Annotated[
    int | None,
    typer.Option(
        "--hold-out",
        metavar="N",
        min=2,
        help="Keep every N-th view, from the first, out of the reconstruction, to judge it by.",
        show_default=False,
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option("--preset", parser=parse_preset, metavar="NAME", help=PRESET_HELP, show_default=False),
]
FieldOption = Annotated[
    Literal["grid", "mlp", "mlp-small"] | None, typer.Option("--field", help=FIELD_HELP, show_default=False)
]
RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of the run. (default: the latest in ./runs)", show_default=False),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        parser=parse_device,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to compute. (default: auto)",
        show_default=False,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="CPU threads. (default: all cores, in a container its share)", show_default=False
    ),
]
LARGEST_SEED = 2**31 - 1
"""What every generator of random numbers takes; some take no more, nor any below 0."""
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, max=LARGEST_SEED, help="Seed of all random numbers. (default: 0)", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", metavar=FLAG, help="Print the result as JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", metavar=FLAG, help="No progress and no notes.")]
