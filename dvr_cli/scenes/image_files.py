"""Opening image files of strangers: accepted formats only, and every way to fail becomes one SceneError."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dvr_cli.errors import SceneError

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats that Pillow decodes itself; others (EPS, for one) would start outside programs on a stranger's file.
FORMATS = ("PNG", "JPEG", "TIFF")


@contextmanager
def open_image(path: Path) -> Iterator["Image"]:
    """An image of an accepted format; whatever goes wrong while it is decoded inside the block becomes a SceneError."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except FileNotFoundError:
        raise SceneError(f"{path} does not exist.\nPut the image back, or leave the view out with --views.") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as cause:
        raise SceneError(
            f"{path} cannot be decoded: {cause}.\nExpected a complete png, jpg or tif image of at most 178 megapixels; "
            "copy it again from its source, or leave the view out with --views."
        ) from cause


EXIF_ORIENTATION = 0x0112
"""Number of the EXIF entry that says how the pixels are to be turned for viewing."""


def stored_shape(path: Path) -> tuple[int, int, int]:
    """Height and width of the pixels as stored, and the EXIF orientation (1 to 8; 1: as stored)."""
    with open_image(path) as image:
        try:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        except Exception:
            # Damaged EXIF makes the parser raise nearly anything; the pixels may be fine.
            orientation = 1
        valid = isinstance(orientation, int) and 1 <= orientation <= 8
        return image.height, image.width, orientation if valid else 1


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width out of the header; SceneError if this is no image."""
    with open_image(path) as image:
        return image.height, image.width
