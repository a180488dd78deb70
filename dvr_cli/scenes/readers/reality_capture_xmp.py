"""Sidecars of RealityCapture (RealityScan): one XMP file per photograph, with the photograph's name.

`Rotation` holds the rows of the rotation from the world to the camera, which looks along +z with y down; `Position` is
the camera's centre. Values stand as attributes or as elements. Public description: "RealityCapture XMP Camera Math".
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.readers.photographs import IMAGE_FOLDERS, MAX_FILES
from dvr_cli.scenes.readers.text_files import finite_numbers
from dvr_cli.scenes.readers.xml_files import read_xml

FILM_WIDTH = 36.0
"""Millimetres, of the film that focal lengths are told for."""
NAMESPACE = b"capturingreality.com"
HEAD_BYTES = 4000
MAX_CANDIDATES = 20
MAX_SIDECAR_BYTES = 1_000_000
MODELS = ("perspective", "brown3", "brown4", "brown3t2", "brown4t2")


@dataclass(frozen=True)
class Exported:
    """One camera as RealityCapture describes it; lengths in the image are fractions of its longer side."""

    name: str
    """Of the photograph, perhaps with folders or without suffix."""
    rotation: Float[np.ndarray, "3 3"]
    """From the world to a camera that looks along +z with y down."""
    centre: Float[np.ndarray, "3"]
    """In the world."""
    focal: float
    """Millimetres on a film 36 mm wide."""
    offset: tuple[float, float]
    """Of the principal point from the image's middle, to the right and down."""
    radial: tuple[float, float, float, float]
    tangential: tuple[float, float]
    """t2 and t1, which is OpenCV's order p1, p2."""
    where: str
    """File and line, for messages."""


def find(root: Path) -> Path | None:
    """The folder that holds sidecars: images/, image/ or the scene's own; None without any."""
    return next((path for path in (*(root / name for name in IMAGE_FOLDERS), root) if accepts(path)), None)


def accepts(path: Path) -> bool:
    """True for a sidecar of RealityCapture, and for a folder that holds one among its first XMP files."""
    try:
        if path.is_dir():
            return any(accepts(file) for file in sorted(path.glob("*.xmp"))[:MAX_CANDIDATES])
        with path.open("rb") as stream:
            return path.suffix.lower() == ".xmp" and NAMESPACE in stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return False


def read_sidecars(path: Path, notes: list[str]) -> list[Exported]:
    """The cameras of all sidecars in a folder, or in that of a sidecar; those without a pose are noted."""
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.rglob("*.xmp") if file.is_file())[:MAX_FILES]
    exported, without = [], []
    for file in files:
        values = _values(read_xml(file, MAX_SIDECAR_BYTES))
        name = file.relative_to(folder).with_suffix("").as_posix()
        if "Rotation" in values and "Position" in values:
            exported.append(_camera(name, values, str(file)))
        else:
            without.append(name)
    if without:
        held = count_of(len(without), "sidecar without a pose is", "sidecars without a pose are")
        notes.append(f"{held} left out: {listed(without)}")
    return exported


def _values(root: Element) -> dict[str, str]:
    """Attributes and elements by name, as texts."""
    values: dict[str, str] = {}
    for element in root.iter():
        values.update(element.attrib)
        if element.text and element.text.strip():
            values[element.tag] = element.text
    return values


def _camera(name: str, values: dict[str, str], where: str) -> Exported:
    def numbers(key: str, count: int, default: str = "") -> list[float]:
        words = values.get(key, default).split(None, count)
        if len(words) != count:
            raise SceneError(f"{where}: expected {count} numbers in {key}, found {len(words)}.\nExport the file again.")
        return finite_numbers(words, f"{where}, {key}")

    coordinates = values.get("Coordinates", "absolute").strip()
    skew, aspect = numbers("Skew", 1, "0")[0], numbers("AspectRatio", 1, "1")[0]
    if coordinates != "absolute" or abs(skew) > 1e-9 or abs(aspect - 1) > 1e-9:
        raise SceneError(
            f"{where}: coordinates {coordinates[:20]!r}, skew {skew:.4g}, aspect ratio {aspect:.4g}: expected absolute "
            "coordinates and square pixels.\nAlign without the K+ models, and export absolute coordinates."
        )
    model = values.get("DistortionModel", "perspective").strip()
    k1, k2, k3, k4, t1, t2 = numbers("DistortionCoeficients", 6, "0 0 0 0 0 0")
    if model not in MODELS and any((k1, k2, k3, k4, t1, t2)):
        raise SceneError(
            f"{where}: distortion model {model[:40]!r}: expected one of {', '.join(MODELS)}.\n"
            "Choose one of these in the alignment settings, or export undistorted photographs."
        )
    if model == "perspective":
        k1 = k2 = k3 = k4 = t1 = t2 = 0.0
    return Exported(
        name,
        np.array(numbers("Rotation", 9)).reshape(3, 3),
        np.array(numbers("Position", 3)),
        numbers("FocalLength35mm", 1)[0],
        (numbers("PrincipalPointU", 1, "0")[0], numbers("PrincipalPointV", 1, "0")[0]),
        (k1, k2, k3, k4),
        (t2, t1),
        where,
    )
