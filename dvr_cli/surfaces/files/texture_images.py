"""Textures as image files: PNG, JPEG or WebP under a limit of bytes, and images of strangers back into pixels.

JPEG and WebP lose quality first, down to a floor below which lettering frays; then the image is halved. PNG loses
nothing and can only be halved. Values are sRGB; PNG says so in a chunk, the other two formats mean it by default.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import UInt8

from dvr_cli.errors import ExportError

if TYPE_CHECKING:
    from PIL.Image import Image

ImageKind = Literal["png", "jpeg", "webp"]

SUFFIXES: dict[ImageKind, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}

# Pillow decodes these itself; others (EPS, for one) would start outside programs on a stranger's file.
READABLE = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "TGA")

MOST_PIXELS = 178_000_000
"""Largest image that is decoded: the limit that Pillow sets against files that unpack to fill the memory."""

BEST_QUALITY = 95
LOWEST_QUALITY = 60
SMALLEST_SIDE = 16
# The search for a quality ends after so many files between the best and the worst, or close below the limit.
MOST_TRIES, CLOSE = 4, 0.93
# WebP stores sides in 14 bits, JPEG in 16.
LONGEST_SIDE: dict[ImageKind, int] = {"png": 1 << 30, "jpeg": 65500, "webp": 16383}


@dataclass(frozen=True)
class EncodedImage:
    """An image file in memory."""

    content: bytes
    """The file."""
    kind: ImageKind
    height: int
    width: int
    quality: int | None
    """Of JPEG and WebP, 60 to 95; None for PNG."""
    note: str | None = None
    """What a limit cost, as one sentence; None when the image is as large and good as it can be."""

    @property
    def suffix(self) -> str:
        """File ending with the dot."""
        return SUFFIXES[self.kind]

    @property
    def mime_type(self) -> str:
        """E.g. image/png."""
        return f"image/{self.kind}"


def encode_image(
    image: UInt8[np.ndarray, "h w 3"], kind: ImageKind = "png", max_bytes: int | None = None
) -> EncodedImage:
    """The image as a file of at most `max_bytes` bytes, at the best quality and size that fit.

    Halving is tried only when the lowest quality does not fit. ExportError when not even a thumbnail would.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    while True:
        small_enough = max(picture.size) <= LONGEST_SIDE[kind]
        content, quality = _fitting(picture, kind, max_bytes) if small_enough else (None, None)
        if content is not None:
            break
        if min(picture.size) < 2 * SMALLEST_SIDE:
            raise ExportError(
                f"The texture does not fit into {max_bytes} bytes even at {picture.width} x {picture.height} pixels.\n"
                "Allow more, or write the mesh with vertex colours."
            )
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    halved = picture.size != (image.shape[1], image.shape[0])
    note = _note(picture.width, picture.height, halved, quality, len(content))
    return EncodedImage(content, kind, picture.height, picture.width, quality, note)


def pixels_of(image: "Image", name: str) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image that Pillow has opened; grey becomes RGB, transparency is dropped.

    ExportError, which speaks of `name`, for another format, more than `MOST_PIXELS` pixels (looked at before anything
    is decoded) and a damaged file.
    """
    import struct

    if image.format not in READABLE:
        raise ExportError(f"{name} has a texture in the format {image.format}: expected one of {', '.join(READABLE)}.")
    if image.width * image.height > MOST_PIXELS:
        raise ExportError(
            f"{name} has a texture of {image.width} x {image.height} pixels: expected at most "
            f"{MOST_PIXELS / 1e6:.0f} megapixels.\nMake it smaller, or take the texture out of the file."
        )
    try:
        return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error) as error:
        raise ExportError(
            f"{name} has a texture that cannot be decoded: {error}.\n"
            "Copy it again from its source, or take the texture out of the file."
        ) from error


def _fitting(picture: "Image", kind: ImageKind, max_bytes: int | None) -> tuple[bytes | None, int | None]:
    """The file at the best quality that fits, and the quality; None and None when none does."""

    def fits(content: bytes) -> bool:
        return max_bytes is None or len(content) <= max_bytes

    if kind == "png":
        content = _encoded(picture, kind, None)
        return (content, None) if fits(content) else (None, None)
    best = _encoded(picture, kind, BEST_QUALITY)
    if fits(best):
        return best, BEST_QUALITY
    good, quality = _encoded(picture, kind, LOWEST_QUALITY), LOWEST_QUALITY
    if not fits(good):
        return None, None
    too_good, too_large = BEST_QUALITY, len(best)
    for _ in range(MOST_TRIES):
        if too_good - quality <= 2 or len(good) > CLOSE * (max_bytes or 0):
            break
        # Size grows about exponentially with quality.
        share = np.log((max_bytes or 0) / len(good)) / np.log(too_large / len(good))
        middle = min(max(quality + 1, int(quality + share * (too_good - quality))), too_good - 1)
        content = _encoded(picture, kind, middle)
        if fits(content):
            good, quality = content, middle
        else:
            too_good, too_large = middle, len(content)
    return good, quality


def _encoded(picture: "Image", kind: ImageKind, quality: int | None) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    stream = BytesIO()
    if kind == "png":
        standard = PngInfo()
        standard.add(b"sRGB", b"\x00")
        # Higher levels take twice the time for a tenth of the bytes of a photograph.
        picture.save(stream, "PNG", compress_level=3, pnginfo=standard)
    elif kind == "jpeg":
        # Full colour resolution: lettering on a coloured ground would fray otherwise.
        picture.save(stream, "JPEG", quality=quality, subsampling=0)
    else:
        picture.save(stream, "WEBP", quality=quality, method=2)
    return stream.getvalue()


def _note(width: int, height: int, halved: bool, quality: int | None, size: int) -> str | None:
    changes = []
    if halved:
        changes.append(f"made smaller, to {width} x {height} pixels")
    if quality is not None and quality < BEST_QUALITY:
        changes.append(f"stored at quality {quality} of 100")
    return f"The texture was {' and '.join(changes)}: {size / 1e6:.3g} MB." if changes else None
