"""Photographs and masks in memory: the right values at the right place, and clear words for damaged files."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes import images
from dvr_cli.scenes.image_files import EXIF_ORIENTATION, stored_shape, turned, turned_shape
from dvr_cli.scenes.images import load_mask, load_view, load_views, small_masks, working_shape
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.views import Camera, View
from tests.scenes.tiny_scenes import pattern, pixel_centres, ring


def first_image(folder):
    return folder / "image" / "000000.png"


def load_first(folder, image_size=None):
    return load_views(read_scene(folder, view_range="0"), image_size)[0]


def test_parallel_equals_serial_and_keeps_the_order(folder):
    scene = read_scene(folder, masks=True)
    reported = []
    one = load_views(scene, 40, threads=1)
    four = load_views(scene, 40, threads=4, report=lambda done, of: reported.append((done, of)))
    for left, right, view in zip(one, four, scene.views, strict=True):
        assert left.name == right.name == view.name
        np.testing.assert_array_equal(left.image, right.image)
        np.testing.assert_array_equal(left.mask, right.mask)
    assert reported == [(index, 12) for index in range(1, 13)]


@pytest.mark.parametrize("image_size", [None, 32, 50, 63])
def test_image_shows_what_its_camera_sees(folder, image_size):
    for view in load_views(read_scene(folder), image_size):
        expected = pattern(view.camera.rays(pixel_centres(view.camera))[1])
        # Half a pixel to the side would be 0.05 on average at the smallest size; averaging itself costs 0.004.
        assert np.abs(view.image.reshape(-1, 3) - expected).mean() < 0.008
        assert view.image.dtype == np.float32 and view.image.shape[:2] == (view.camera.height, view.camera.width)


def test_whole_factor_is_the_exact_average(folder):
    height, width = ring()[0].height, ring()[0].width
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(first_image(folder))
    expected = pixels.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(load_first(folder, width // 2).image, expected, atol=0.51 / 255)


def test_images_are_never_enlarged():
    assert working_shape(48, 64, 1000) == (48, 64)
    assert working_shape(1200, 1600, 800) == (600, 800)
    assert working_shape(10, 4000, 100) == (1, 100)


@pytest.mark.parametrize("kind", ["grey", "alpha", "palette", "grey 16 bits"])
def test_every_kind_of_image_becomes_rgb(folder, kind):
    height, width = ring()[0].height, ring()[0].width
    ramp = np.linspace(0, 255, width).astype(np.uint8)[None, :].repeat(height, axis=0)
    image = {
        "grey": lambda: Image.fromarray(ramp),
        "alpha": lambda: Image.fromarray(np.stack([ramp, ramp, ramp, 255 - ramp], axis=2)),
        "palette": lambda: Image.fromarray(ramp).convert("P"),
        "grey 16 bits": lambda: Image.fromarray(ramp.astype(np.uint16) * 257),
    }[kind]()
    image.save(first_image(folder))
    expected = np.repeat(ramp[:, :, None] / 255, 3, axis=2)
    np.testing.assert_allclose(load_first(folder).image, expected, atol=1e-4)


def test_sixteen_bits_are_not_cut_to_eight(folder):
    height, width = ring()[0].height, ring()[0].width
    ramp = np.linspace(0, 2000, width).astype(np.uint16)[None, :].repeat(height, axis=0)
    Image.fromarray(ramp).save(first_image(folder))
    np.testing.assert_allclose(load_first(folder).image[:, :, 0], ramp / 65535, atol=1e-6)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_masks_may_be_written_as_one_or_as_white(folder, white):
    expected = load_views(read_scene(folder, masks=True), None)[0].mask
    Image.fromarray(expected.astype(np.uint16 if white > 255 else np.uint8) * white).save(folder / "mask/000000.png")
    np.testing.assert_array_equal(load_views(read_scene(folder, masks=True), None)[0].mask, expected)


def test_small_masks_are_the_masks_at_that_size(folder):
    scene = read_scene(folder, masks=True)
    for small, full in zip(small_masks(scene.views, 32), load_views(scene, 32), strict=True):
        np.testing.assert_array_equal(small.mask, full.mask)
        np.testing.assert_array_equal(small.camera.intrinsics, full.camera.intrinsics)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_off_image_is_named(folder, suffix):
    path = first_image(folder).with_suffix(suffix)
    image = Image.open(first_image(folder))
    image.load()
    first_image(folder).unlink()
    image.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match=f"000000{suffix} cannot be decoded"):
        load_views(read_scene(folder), 32)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_file_that_is_no_image_is_named(folder, content):
    first_image(folder).write_bytes(content)
    with pytest.raises(SceneError, match=r"000000\.png cannot be decoded"):
        read_scene(folder)


def test_image_that_disappears_or_changes_size_after_reading_is_named(folder):
    scene = read_scene(folder)
    Image.new("RGB", (8, 8)).save(first_image(folder))
    with pytest.raises(SceneError, match="8x8 pixels, its camera"):
        load_views(scene, None)
    first_image(folder).unlink()
    with pytest.raises(SceneError, match="does not exist"):
        load_views(scene, None)


def camera_of(height, width):
    return Camera(np.array([[50.0, 0, width / 2], [0, 50, height / 2], [0, 0, 1]]), np.eye(4), height, width)


def save_turned(path, upright, orientation):
    """Pixels stored so that this EXIF orientation brings `upright` back."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    turned(Image.fromarray(upright), inverse).save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_pillow(tmp_path, orientation):
    """Asymmetric in every way, so that no two orientations give the same picture."""
    from PIL import ImageOps

    upright = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    save_turned(tmp_path / "a.png", upright, orientation)
    height, width, found = stored_shape(tmp_path / "a.png")
    assert found == orientation and turned_shape(height, width, found) == (4, 6)
    view = View("a.png", camera_of(4, 6), tmp_path / "a.png", orientation=orientation)
    np.testing.assert_allclose(load_view(view, None).image, upright / 255, atol=1e-6)
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(stored)), upright)


@pytest.mark.parametrize("drawn", ["as seen", "as stored", "as stored, with its own EXIF"])
@pytest.mark.parametrize("orientation", [6, 8, 5, 3])
def test_mask_of_a_turned_photograph_may_have_either_shape(tmp_path, orientation, drawn):
    upright = np.zeros((4, 6), np.uint8)
    upright[:2, :2] = 255
    save_turned(tmp_path / "photograph.png", np.stack([upright] * 3, axis=2), orientation)
    save_turned(tmp_path / "mask.png", upright, orientation)
    if drawn == "as seen":
        Image.fromarray(upright).save(tmp_path / "mask.png")
    elif drawn == "as stored":
        if orientation == 3:
            pytest.skip("of a mask turned by half a circle the shape does not tell")
        with Image.open(tmp_path / "mask.png") as stored:
            pixels = np.asarray(stored)
        Image.fromarray(pixels).save(tmp_path / "mask.png")
    view = View("a", camera_of(4, 6), tmp_path / "photograph.png", tmp_path / "mask.png", orientation=orientation)
    np.testing.assert_array_equal(load_mask(view, 4, 6), upright > 0)


def test_black_masks_and_alpha_channels_mean_the_same_as_white_masks(tmp_path):
    mask = np.random.default_rng(1).random((8, 12)) > 0.5
    colour = np.full((8, 12, 3), 200, np.uint8)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "white.png")
    Image.fromarray((~mask).astype(np.uint8) * 255).save(tmp_path / "black.png")
    Image.fromarray(np.dstack([colour, mask.astype(np.uint8) * 255])).save(tmp_path / "alpha.png")
    for meaning in ("white", "black", "alpha"):
        path = tmp_path / f"{meaning}.png"
        view = View("a", camera_of(8, 12), path, path, mask_meaning=meaning)
        np.testing.assert_array_equal(load_mask(view, 8, 12), mask)


def test_mask_without_the_alpha_channel_that_it_should_have_is_named(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    view = View("a", camera_of(4, 6), tmp_path / "a.png", tmp_path / "a.png", mask_meaning="alpha")
    with pytest.raises(SceneError, match=r"a\.png, the mask of a, has no alpha channel"):
        load_mask(view, 4, 6)


def test_cmyk_jpeg_shows_its_colours(tmp_path):
    """Pillow writes CMYK as Adobe does, with inverted ink, and says so in the file."""
    colours = np.zeros((32, 48, 3), np.uint8)
    colours[:, :16], colours[:, 16:32], colours[:, 32:] = (230, 20, 20), (20, 20, 230), (240, 240, 240)
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    shown = load_view(View("a", camera_of(32, 48), tmp_path / "a.jpg"), None).image
    for column, colour in ((8, (230, 20, 20)), (24, (20, 20, 230)), (40, (240, 240, 240))):
        np.testing.assert_allclose(shown[16, column], np.array(colour) / 255, atol=0.05)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("shape", "decoded"), [((480, 640), (120, 160)), ((482, 640), (241, 320)), ((481, 640), None)])
def test_large_jpeg_is_decoded_smaller_and_shows_the_same(tmp_path, monkeypatch, shape, decoded, orientation):
    noise = np.random.default_rng(1).uniform(0, 255, (20, 30, 3)).astype(np.uint8)
    stored = Image.fromarray(noise).resize(shape[::-1], Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored.save(tmp_path / "a.jpg", quality=98, subsampling=0, exif=exif)
    sizes = []
    monkeypatch.setattr(images, "turned", lambda image, way: sizes.append(image.size) or turned(image, way))
    height, width = turned_shape(*shape, orientation)
    view = View("a.jpg", camera_of(height, width), tmp_path / "a.jpg", orientation=orientation)
    shown = load_view(view, 60).image
    assert sizes == [(decoded or shape)[::-1]]
    with Image.open(tmp_path / "a.jpg") as whole:
        upright = turned(whole.convert("RGB"), orientation)
    expected = np.asarray(upright.resize(shown.shape[1::-1], Image.Resampling.HAMMING)) / 255
    # An eighth of a pixel to the side would be 0.017.
    assert np.abs(shown - expected).mean() < 0.003


def test_sixteen_bits_a_colour_keep_their_brightness(tmp_path):
    """Pillow decodes such PNG files at 8 bits a channel; half of white must stay half of white."""
    write_png_48(tmp_path / "a.png", np.full((4, 6, 3), 32768, np.uint16))
    shown = load_view(View("a", camera_of(4, 6), tmp_path / "a.png"), None).image
    np.testing.assert_allclose(shown, 0.5, atol=0.003)


def write_png_48(path, pixels):
    """A PNG with 16 bits for each of three colours, which Pillow does not write: header, unfiltered rows, end."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_photographs_lie_one_after_the_other(folder):
    scene = read_scene(folder)
    loaded = load_views(scene, 20)
    assert len({id(view.image.base) for view in loaded}) == 1
    assert all(view.image.flags.c_contiguous for view in loaded)
    places = [view.image.ctypes.data for view in loaded]
    sizes = [view.image.nbytes for view in loaded]
    assert [a + size for a, size in zip(places, sizes, strict=True)][:-1] == places[1:]


@pytest.mark.parametrize("side", [10**7, 10**9, 10**12])
def test_more_than_there_is_memory_for_is_said(folder, side):
    scene = read_scene(folder)
    huge = replace(scene.views[0], camera=replace(scene.views[0].camera, height=side, width=side))
    with pytest.raises(SceneError, match=r"megapixels need .* GB of memory(.|\n)*--image-size"):
        load_views(replace(scene, views=(huge,)), None)
