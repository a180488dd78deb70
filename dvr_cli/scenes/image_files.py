"""Opening image files of strangers: accepted formats only, and every way to fail becomes one SceneError."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dvr_cli.errors import SceneError
from dvr_cli.scenes.file_contents import COPY_AGAIN, READ_FORMATS, why_no_image

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats that Pillow decodes itself; others (EPS, for one) would start outside programs on a stranger's file.
FORMATS = ("PNG", "JPEG", "TIFF")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@contextmanager
def open_image(path: Path) -> Iterator["Image"]:
    """An image of an accepted format; whatever goes wrong while it is decoded inside the block becomes a SceneError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise SceneError(f"{path} does not exist.\nPut the image back, or leave the view out with --views.") from None
    except PermissionError as cause:
        raise SceneError(
            f"{path} cannot be read: {cause.strerror}.\nAllow it (chmod), or leave the view out with --views."
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as cause:
        known = why_no_image(path)
        unidentified = isinstance(cause, UnidentifiedImageError)
        reason, advice = known or (f"it is no {READ_FORMATS} image" if unidentified else f"{cause}", COPY_AGAIN)
        raise SceneError(
            f"{path} cannot be decoded: {reason}.\nExpected a complete {READ_FORMATS} image of at most 178 megapixels; "
            f"{advice}, or leave the view out with --views."
        ) from cause


EXIF_ORIENTATION = 0x0112
"""Number of the EXIF entry that says how the pixels are to be turned for viewing."""


TURNED_ON_EDGE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


def stored_shape(path: Path) -> tuple[int, int, int]:
    """Height and width of the pixels as stored, and the EXIF orientation (1 to 8; 1: as stored)."""
    with open_image(path) as image:
        return image.height, image.width, exif_orientation(image)


def exif_orientation(image: "Image") -> int:
    """How an open image asks to be turned for viewing, 1 to 8 (EXIF 2.3, tag 274); 1 when it does not say.

    Of a PNG only what stands before its pixels counts: Pillow would decode them all to see what stands behind.
    """
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:
        # Damaged EXIF makes the parser raise nearly anything; the pixels may be fine.
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def turned(image: "Image", orientation: int) -> "Image":
    """The image as an EXIF orientation asks it to be seen; the same image for 1."""
    from PIL import Image

    transposes = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image if orientation == 1 else image.transpose(transposes[orientation])


def turned_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Height and width after `turned`."""
    return (width, height) if orientation in TURNED_ON_EDGE else (height, width)


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width out of the header; SceneError if this is no image."""
    with open_image(path) as image:
        return image.height, image.width


def same_aspect(height: int, width: int, other_height: int, other_width: int) -> bool:
    """True if the two sizes are one shape at two scales, up to rounding to whole pixels."""
    return (
        abs(width - other_width * height / other_height) <= 1 or abs(other_width - width * other_height / height) <= 1
    )
