"""What a camera wrote beside the pixels: which lens, and how long its focal length is in pixels.

Strangers' EXIF is damaged in every possible way, so that nothing here raises: what cannot be read is unknown.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

EXIF_POINTER = 0x8769
MAKE, MODEL, LENS_MODEL = 0x010F, 0x0110, 0xA434
FOCAL_LENGTH, FOCAL_LENGTH_35MM = 0x920A, 0xA405
PLANE_RESOLUTION, PLANE_UNIT = 0xA20E, 0xA210
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
MILLIMETRES_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Of the focal plane's resolution: inch, centimetre, millimetre, micrometre (EXIF 2.3; the last two TIFF/EP)."""
DIAGONAL_35MM = math.hypot(36.0, 24.0)
"""Millimetres; the equivalent focal length compares diagonals (CIPA DCG-001)."""
SHORTEST, LONGEST = 0.2, 20.0
"""Focal lengths in longest sides of the image; anything else is a mistake of the file's."""


@dataclass(frozen=True)
class LensPrior:
    """What is known of a lens before any photograph is matched."""

    focal_length: float | None
    """Pixels of the image as stored; None where the file does not say."""
    name: str
    """Make, model, lens and focal length: photographs of the same name and size share one camera."""


def lens_prior(image: "Image") -> LensPrior:
    """The lens that an opened image names."""
    try:
        exif = image.getexif()
        tags: dict[int, Any] = {**dict(exif), **dict(exif.get_ifd(EXIF_POINTER))}
    except Exception:
        # Damaged EXIF makes the parser raise nearly anything; the pixels may be fine.
        return LensPrior(None, "")
    words = [str(tags[tag]).strip("\x00 ") for tag in (MAKE, MODEL, LENS_MODEL) if tag in tags]
    focal_length = _from_35mm(tags, image.width, image.height) or _from_sensor(tags, image.width, image.height)
    longest = max(image.width, image.height)
    if focal_length is not None and not SHORTEST * longest <= focal_length <= LONGEST * longest:
        focal_length = None
    zoom = _number(tags.get(FOCAL_LENGTH))
    name = " ".join([word[:80] for word in words if word] + ([f"{zoom:g} mm"] if zoom else []))
    return LensPrior(focal_length, name)


def _from_35mm(tags: dict[int, Any], width: int, height: int) -> float | None:
    """The equivalent for a 36x24 mm frame, by the diagonal."""
    equivalent = _number(tags.get(FOCAL_LENGTH_35MM))
    return None if equivalent is None else equivalent / DIAGONAL_35MM * math.hypot(width, height)


def _from_sensor(tags: dict[int, Any], width: int, height: int) -> float | None:
    """Focal length in millimetres times pixels per millimetre, for an image that may have been made smaller since."""
    millimetres = _number(tags.get(FOCAL_LENGTH))
    resolution = _number(tags.get(PLANE_RESOLUTION))
    unit = MILLIMETRES_PER_UNIT.get(tags.get(PLANE_UNIT, 2)) if _hashable(tags.get(PLANE_UNIT, 2)) else None
    if millimetres is None or resolution is None or unit is None:
        return None
    taken = max(_number(tags.get(PIXEL_WIDTH)) or 0.0, _number(tags.get(PIXEL_HEIGHT)) or 0.0)
    scale = max(width, height) / taken if taken else 1.0
    return millimetres * resolution / unit * scale


def _number(value: Any) -> float | None:
    """A positive finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _hashable(value: Any) -> bool:
    return isinstance(value, int)
