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


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width out of the header; SceneError if this is no image."""
    with open_image(path) as image:
        return image.height, image.width
