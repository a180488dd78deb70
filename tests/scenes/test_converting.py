"""Photographs that a conversion copies, and those that it makes anew: distorted, turned, deep, grey, CMYK."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dvr_cli.scenes.converted_views import converted_views
from dvr_cli.scenes.converting import convert_scene, target_format
from dvr_cli.scenes.images import load_view
from dvr_cli.scenes.readers import idr, read_scene
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import photograph, ring, sphere_mask, world_from_unit, write_colmap, write_sphere

ORIENTATION = 0x0112


def converted(root, folder, to="plain", **options):
    """What a scene is in another format, read back, and what the conversion says."""
    conversion = convert_scene(read_scene(root, guess_bounds=True, **options), target_format(to), folder)
    return read_scene(folder, guess_bounds=True, **options), conversion


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


def test_photographs_are_copied_byte_for_byte(tmp_path):
    write_sphere(tmp_path / "scene")
    path = tmp_path / "scene" / "image" / "000003.png"
    with Image.open(path) as image:
        image.save(path.with_suffix(".jpg"), quality=80)
    path.unlink()
    found, conversion = converted(tmp_path / "scene", tmp_path / "out", masks=True)
    assert conversion.copied == len(found.views) and found.views[3].name == "000003.jpg"
    for view, original in zip(found.views, read_scene(tmp_path / "scene").views, strict=True):
        assert view.image_path.read_bytes() == original.image_path.read_bytes()


def test_distorted_photographs_are_undistorted_with_their_masks(tmp_path):
    cameras = ring()[:3]
    write_colmap(tmp_path / "scene", cameras, "OPENCV", (-0.3, 0.05, 0.01, -0.005), names=["a.jpg", "b.png", "b.tif"])
    for name in ("a.jpg", "b.png", "b.tif"):
        path = tmp_path / "scene" / "masks" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sphere_mask(cameras[0])).save(path)
        Image.fromarray(np.round(255 * photograph(cameras[0])).astype(np.uint8)).save(
            tmp_path / "scene" / "images" / name
        )
    found, conversion = converted(tmp_path / "scene", tmp_path / "out", masks=True)
    assert conversion.undistorted == 3 and conversion.copied == 0
    # Two that differ by their suffix alone stay two.
    assert [view.name for view in found.views] == ["a.png", "b.png", "b.tif.png"]
    for view, original in zip(found.views, read_scene(tmp_path / "scene", masks=True).views, strict=True):
        assert view.distorted is None
        ours, theirs = load_view(view, None), load_view(original, None)
        np.testing.assert_allclose(ours.image, theirs.image, atol=0.5 / 255 + 1e-6)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        np.testing.assert_allclose(ours.camera.intrinsics, theirs.camera.intrinsics, rtol=1e-12)


@pytest.mark.parametrize("orientation", [3, 6])
def test_photographs_that_ask_to_be_turned_ask_no_more(tmp_path, orientation):
    """Some programs turn them and some do not: after the conversion both see what dvr has seen."""
    camera = replace(ring()[0], width=64, height=48)
    write_colmap(tmp_path / "scene", [camera, camera], names=["a.jpg", "b.jpg"])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((64, 48), Image.Resampling.NEAREST)
    stored = picture.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else picture
    stored.save(tmp_path / "scene" / "images" / "a.jpg", exif=exif, quality=95)
    found, conversion = converted(tmp_path / "scene", tmp_path / "out")
    before, after = (
        load_view(scene.views[0], None).image for scene in (read_scene(tmp_path / "scene", guess_bounds=True), found)
    )
    np.testing.assert_allclose(after, before, atol=0.5 / 255 + 1e-6)
    assert found.views[0].name == "a.png" and conversion.copied == 1
    with Image.open(found.views[0].image_path) as image:
        assert image.getexif().get(ORIENTATION, 1) == 1


def test_sixteen_bits_grey_and_cmyk_stay_usable(tmp_path):
    """Copied where they can be; resampled, grey keeps its 16 bits and CMYK becomes RGB."""
    cameras = ring()[:3]
    write_sphere(tmp_path / "scene", cameras=cameras)
    folder = tmp_path / "scene" / "image"
    deep = np.linspace(1000, 60000, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(folder / "000000.png")
    Image.new("L", (64, 64), 77).save(folder / "000001.png")
    (folder / "000002.png").unlink()
    Image.new("CMYK", (64, 64), (10, 60, 90, 20)).save(folder / "000002.jpg", quality=95)
    for to, mode in (("plain", "CMYK"), ("bundler", "RGB")):
        found, conversion = converted(tmp_path / "scene", tmp_path / to, to=to)
        assert conversion.copied == (3 if to == "plain" else 0)
        modes = [mode_of(view.image_path) for view in found.views]
        assert modes[0] == "I;16" and modes[2] == mode
        for view, original in zip(found.views, read_scene(tmp_path / "scene").views, strict=True):
            middle = load_view(view, None).image.mean(axis=(0, 1)), load_view(original, None).image.mean(axis=(0, 1))
            assert to == "bundler" or np.allclose(*middle, atol=1e-6)
            np.testing.assert_allclose(load_view(view, None).image.max(), load_view(original, None).image.max(), 0.01)


def test_skew_is_resampled_away_where_a_format_has_no_place_for_it(tmp_path):
    camera = ring()[0]
    skewed = replace(camera, intrinsics=camera.intrinsics + np.array([[0, 3.0, 0], [0, 0, 0], [0, 0, 0]]))
    views = [PixelsToWrite(f"{i}.png", skewed, photograph(skewed), sphere_mask(skewed)) for i in range(2)]
    idr.write(tmp_path / "scene", views, world_from_unit())
    for to, resampled in (("idr", 0), ("colmap", 2)):
        found, conversion = converted(tmp_path / "scene", tmp_path / to, to=to, masks=True)
        assert conversion.resampled == resampled and conversion.largest_deviation < 1e-6
        assert (abs(found.views[0].camera.intrinsics[0, 1]) > 1) == (resampled == 0)


def test_views_without_a_mask_stay_without(tmp_path):
    cameras = ring()[:3]
    write_sphere(tmp_path / "scene", cameras=cameras, masks=[sphere_mask(cameras[0]), None, sphere_mask(cameras[2])])
    for to in ("blender", "transforms", "colmap", "plain"):
        found, conversion = converted(tmp_path / "scene", tmp_path / to, to=to, masks="any")
        assert conversion.masks == 2
        assert [view.mask_path is None for view in found.views] == [False, True, False]


def test_masks_that_were_not_asked_for_are_not_converted(tmp_path):
    write_sphere(tmp_path / "scene")
    convert_scene(read_scene(tmp_path / "scene"), target_format("plain"), tmp_path / "out")
    assert not (tmp_path / "out" / "masks").exists()


def test_an_object_that_leaves_the_photograph_is_warned_of_where_images_are_enlarged(tmp_path):
    cameras = ring()[:3]
    masks = [np.ones((camera.height, camera.width), dtype=bool) for camera in cameras]
    write_sphere(tmp_path / "scene", cameras=cameras, masks=masks)
    for to, expected in (("plain", False), ("bundler", True)):
        _, conversion = converted(tmp_path / "scene", tmp_path / to, to=to, masks=True)
        assert any("in 3 views the object reaches the edge" in loss for loss in conversion.losses) == expected


def test_the_names_of_a_writer_are_its_files(tmp_path):
    write_sphere(tmp_path / "scene")
    scene = read_scene(tmp_path / "scene")
    for view in converted_views(scene, target_format("bundler"), bool):
        assert view.name.endswith(view.suffix) and not view.copied
