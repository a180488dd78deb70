"""A good scene with bad photographs: what is wrong with them is found, named, and nothing else is blamed."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dvr_cli.diagnosis.diagnose import diagnose_views
from dvr_cli.errors import SceneError
from dvr_cli.scenes.image_files import EXIF_ORIENTATION
from tests.diagnosis.good_scene import (
    VIEWS,
    bad_names,
    change_picture,
    found_in,
    good_scene,
    image_path,
    mask_path,
    named,
)
from tests.scenes.test_images import write_png_48


def test_half_the_images_missing(folder):
    for index in range(VIEWS // 2):
        image_path(folder, index).unlink()
        mask_path(folder, index).unlink()
    finding = named(found_in(folder), "missing-photographs")
    assert finding.text.startswith(f"{VIEWS // 2} of {VIEWS} photographs")
    assert finding.line().startswith(f"{finding.text}. ") and finding.text.endswith("number 2 and 5 more")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_photographs_cut_off_are_all_named(folder, suffix):
    for index in (3, 8):
        with Image.open(image_path(folder, index)) as image:
            image.load()
        image_path(folder, index).unlink()
        path = image_path(folder, index).with_suffix(suffix)
        image.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    finding = named(found_in(folder), "unreadable-photograph")
    assert finding.views == (f"003{suffix}", f"008{suffix}") and finding.severity == "fatal"


def test_sixteen_bits(folder):
    with Image.open(image_path(folder, 2)) as image:
        pixels = np.asarray(image).astype(np.uint16) * 257
    write_png_48(image_path(folder, 2), pixels)
    diagnosis = found_in(folder)
    assert named(diagnosis, "sixteen-bit").views == ("002.png",) and not bad_names(diagnosis)
    Image.fromarray(pixels[:, :, 0]).save(image_path(folder, 2))
    assert named(found_in(folder), "sixteen-bit").views == ("002.png",)


def test_grey_photographs(folder):
    change_picture(image_path(folder, 5), lambda pixels: pixels[:, :, 1])
    finding = named(found_in(folder), "grey-photographs")
    assert finding.views == ("005.png",) and finding.severity == "warning"
    for index in range(VIEWS):
        if index != 5:
            change_picture(image_path(folder, index), lambda pixels: pixels[:, :, 1])
    assert named(found_in(folder), "grey-photographs").severity == "note"


def test_cmyk_photographs(folder):
    with Image.open(image_path(folder, 1)) as image:
        image.convert("CMYK").save(image_path(folder, 1).with_suffix(".jpg"), quality=95)
    image_path(folder, 1).unlink()
    diagnosis = found_in(folder)
    assert named(diagnosis, "cmyk").views == ("001.jpg",) and not bad_names(diagnosis)


def test_alpha_that_is_not_the_mask(folder):
    change_picture(image_path(folder, 1), lambda pixels: np.dstack([pixels, np.full(pixels.shape[:2], 200, np.uint8)]))
    assert named(found_in(folder), "alpha-unused").views == ("001.png",)


def ask_to_be_turned(path):
    """A quarter, by EXIF; the pixels stay."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=exif)


def test_images_that_ask_to_be_turned(folder):
    ask_to_be_turned(image_path(folder, 1))
    finding = named(found_in(folder, quick=True), "exif-orientation")
    assert finding.views == ("001.png",) and finding.severity == "warning"


def test_mask_of_a_turned_image_for_cameras_as_stored_is_refused_with_the_reason(folder):
    ask_to_be_turned(image_path(folder, 1))
    change_picture(mask_path(folder, 1), lambda pixels: np.rot90(pixels, -1))
    with pytest.raises(SceneError, match="asks to be turned, EXIF orientation 6"):
        found_in(folder, quick=True)


def test_names_with_spaces_and_other_letters(folder):
    image_path(folder, 0).rename(folder / "image" / "00 Blüte ☂.png")
    mask_path(folder, 0).rename(folder / "mask" / "00 Blüte ☂.png")
    diagnosis = found_in(folder)
    assert named(diagnosis, "unusual-names").views == ("00 Blüte ☂.png",) and not bad_names(diagnosis)


def side_by_side(change, change_view=lambda view: view):
    """Six views from nearly the same place with nearly the same picture, the third of them changed."""
    _, views, _ = good_scene()
    generator = np.random.default_rng(0)
    found = []
    for index in range(6):
        pose = views[0].camera.camera_from_world.copy()
        pose[0, 3] += 0.01 * index
        image = np.clip(views[0].image + generator.normal(scale=0.01, size=views[0].image.shape), 0, 1)
        image = change(image) if index == 2 else image
        camera = replace(views[0].camera, camera_from_world=pose)
        found.append(replace(views[index], camera=camera, image=image.astype(np.float32), mask=views[0].mask))
    found[2] = change_view(found[2])
    scene = good_scene()[0]
    described = tuple(replace(old, camera=new.camera) for old, new in zip(scene.views, found, strict=False))
    return diagnose_views(replace(scene, views=described), found)


def test_blurred_photograph():
    from scipy.ndimage import gaussian_filter

    assert named(side_by_side(lambda image: gaussian_filter(image, (1.2, 1.2, 0))), "blurred").views == ("002.png",)
    assert "blurred" not in bad_names(side_by_side(lambda image: image))


def test_underexposed_photograph():
    assert named(side_by_side(lambda image: 0.3 * image), "exposure").views == ("002.png",)
    assert "exposure" not in bad_names(side_by_side(lambda image: 0.9 * image))


@pytest.mark.parametrize("missing", [False, True])
def test_a_view_without_a_mask_is_not_compared_with_objects(missing):
    """A bright object before black: what differs is that one photograph is judged as a whole."""

    def judged_as_a_whole(view):
        black_around = np.where(view.mask[..., None], view.image, 0).astype(np.float32)
        return replace(view, image=black_around, mask=None if missing else np.ones_like(view.mask))

    assert "exposure" not in bad_names(side_by_side(lambda image: image, judged_as_a_whole))


def test_overexposed_photograph(folder):
    change_picture(image_path(folder, 6), lambda pixels: np.full_like(pixels, 255))
    assert named(found_in(folder), "overexposed").views == ("006.png",)


def test_the_same_photograph_twice(folder):
    image_path(folder, 9).write_bytes(image_path(folder, 2).read_bytes())
    finding = named(found_in(folder), "duplicate-photographs")
    assert finding.views == ("009.png",)
    # What was compared are thumbnails: they may be of two photographs.
    assert "1 photograph hardly differs" in finding.text and "32x32" in finding.text and "equal" not in finding.text
