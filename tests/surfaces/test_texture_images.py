"""Images keep to their limit and lose no more than they must; strangers' are looked at before they are decoded."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.files.texture_images import LOWEST_QUALITY, MOST_PIXELS, encode_image, pixels_of

KINDS = ("png", "jpeg", "webp")


def noise(height: int = 256, width: int = 320) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int = 256, width: int = 320) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows + columns) // 3 % 256], axis=2).astype(np.uint8)


def decoded(image) -> np.ndarray:
    return pixels_of(Image.open(BytesIO(image.content)), "a.glb")


def test_png_loses_nothing_and_says_srgb_before_its_data():
    image = encode_image(noise())
    np.testing.assert_array_equal(decoded(image), noise())
    assert (image.height, image.width, image.quality, image.note) == (256, 320, None, None)
    assert image.suffix == ".png" and image.mime_type == "image/png"
    assert 0 < image.content.index(b"sRGB") < image.content.index(b"IDAT")


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_limit_nothing_is_given_up(kind):
    image = encode_image(smooth(), kind)
    assert image.note is None and image.content[:2] in (b"\x89P", b"\xff\xd8", b"RI")
    assert np.abs(decoded(image).astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_quality_goes_first(kind):
    """A limit between the best and the lowest quality is met at full size, and not by far."""
    best = encode_image(noise(), kind)
    limit = int(0.7 * len(best.content))
    image = encode_image(noise(), kind, limit)
    assert 0.85 * limit < len(image.content) <= limit
    assert (image.height, image.width) == (256, 320)
    assert LOWEST_QUALITY <= image.quality < best.quality
    assert f"quality {image.quality} of 100" in image.note and "smaller" not in image.note


@pytest.mark.parametrize("kind", KINDS)
def test_then_size(kind):
    limit = 12_000
    image = encode_image(noise(), kind, limit)
    assert len(image.content) <= limit and image.height < 256
    assert image.height * 320 == image.width * 256
    assert f"to {image.width} x {image.height} pixels" in image.note
    # One size larger would not have fitted.
    assert len(encode_image(noise(2 * image.height, 2 * image.width), kind).content) > limit


def test_halving_averages():
    image = encode_image(smooth(), "png", len(encode_image(smooth()).content) - 1)
    blocks = smooth().reshape(image.height, 256 // image.height, image.width, 320 // image.width, 3).mean(axis=(1, 3))
    # Pillow rounds after each of the two directions.
    np.testing.assert_allclose(decoded(image), blocks, atol=1)


@pytest.mark.parametrize("kind", KINDS)
def test_limit_that_nothing_meets(kind):
    with pytest.raises(ExportError, match="does not fit into 20 bytes"):
        encode_image(noise(), kind, 20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 17)])
def test_odd_sizes(kind, shape):
    image = encode_image(noise(*shape), kind)
    assert decoded(image).shape == (*shape, 3)


def test_webp_of_more_than_its_format_holds_is_halved():
    image = encode_image(np.zeros((64, 16400, 3), dtype=np.uint8), "webp")
    assert (image.width, image.height) == (8200, 32) and "8200 x 32" in image.note


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A few bytes that claim to be an image of any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_claimed_size_is_looked_at_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ExportError, match=r"60000 x 60000 pixels: expected at most 178 megapixels"):
        pixels_of(Image.open(BytesIO(png_of_claimed_size(60_000, 60_000))), "a.glb")
    assert MOST_PIXELS < 60_000**2


def test_truncated_image():
    content = encode_image(noise()).content
    with pytest.raises(ExportError, match=r"a\.obj has a texture that cannot be decoded"):
        pixels_of(Image.open(BytesIO(content[: len(content) // 2])), "a.obj")


def test_format_that_is_not_expected():
    stream = BytesIO()
    Image.fromarray(noise()).save(stream, "GIF")
    with pytest.raises(ExportError, match="format GIF: expected one of PNG"):
        pixels_of(Image.open(stream), "a.obj")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1"])
def test_every_mode_becomes_rgb(mode):
    stream = BytesIO()
    Image.fromarray(smooth(8, 8)).convert(mode).save(stream, "PNG")
    assert pixels_of(Image.open(stream), "a.obj").shape == (8, 8, 3)
