"""What in a mask marks the object: kinds of files, soft edges, and masks that are the other way round."""

import numpy as np
import pytest
from PIL import Image

from dvr_cli.scenes.images import load_mask, load_views
from dvr_cli.scenes.masks.meaning import border_share, with_meanings
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import ring, sphere_mask


def invert(path):
    with Image.open(path) as image:
        inverted = image.convert("L").point(lambda value: 255 - value)
    inverted.save(path)


def masks_of(scene):
    return [view.mask for view in load_views(scene, None, threads=1)]


def exact():
    return [sphere_mask(camera) for camera in ring()]


@pytest.mark.parametrize("with_bounds", [True, False])
def test_all_masks_inverted(folder, with_bounds):
    if not with_bounds:
        without_bounds(folder)
    for path in (folder / "mask").iterdir():
        invert(path)
    scene = read_scene(folder, masks=True)
    assert {view.mask_meaning for view in scene.views} == {"black"}
    assert any("the other way round" in note for note in scene.notes)
    for mask, expected in zip(masks_of(scene), exact(), strict=True):
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("with_bounds", [True, False])
def test_one_mask_inverted_among_good_ones(folder, with_bounds):
    if not with_bounds:
        without_bounds(folder)
    invert(folder / "mask" / "000003.png")
    scene = read_scene(folder, masks=True)
    assert [view.name for view in scene.views if view.mask_meaning == "black"] == ["000003.png"]
    assert any("000003.png" in note for note in scene.notes)


def test_one_good_mask_among_inverted_ones(folder):
    for path in (folder / "mask").iterdir():
        if path.name != "000005.png":
            invert(path)
    scene = read_scene(folder, masks=True)
    assert [view.name for view in scene.views if view.mask_meaning == "white"] == ["000005.png"]
    for mask, expected in zip(masks_of(scene), exact(), strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_good_masks_are_left_alone(folder):
    scene = read_scene(folder, masks=True)
    assert {view.mask_meaning for view in scene.views} == {"white"}
    assert scene.notes == ()


@pytest.mark.parametrize("kind", ["white", "black", "frame"])
def test_a_mask_that_is_wrong_otherwise_is_not_inverted(folder, kind):
    """All white, all black, or white along the border with a hole that is not the object."""
    mask = np.full((48, 64), 255 * (kind != "black"), np.uint8)
    if kind == "frame":
        mask[2:12, 2:12] = 0
    Image.fromarray(mask).save(folder / "mask" / "000003.png")
    scene = read_scene(folder, masks=True)
    assert {view.mask_meaning for view in scene.views} == {"white"}


def test_objects_that_fill_the_frame_are_not_inverted(folder):
    """Close views: the masks are white nearly everywhere, and their black corners are no object."""
    for path in (folder / "mask").iterdir():
        mask = np.full((48, 64), 255, np.uint8)
        mask[:6, :6] = 0
        Image.fromarray(mask).save(path)
    assert {view.mask_meaning for view in read_scene(folder, masks=True).views} == {"white"}


def test_no_views_and_few_views(folder):
    assert with_meanings((), None, None) == ((), ())
    views = read_scene(folder, masks=True).views[:2]
    assert with_meanings(views, None, None) == (views, ())


def test_border_share_counts_each_pixel_of_the_border_once(folder):
    view = load_views(read_scene(folder, masks=True), None, threads=1)[0]
    view.mask[:] = False
    view.mask[0, :] = True
    assert border_share(view) == pytest.approx(64 / (2 * 64 + 2 * 46))


def grey(mask):
    return Image.fromarray(mask.astype(np.uint8) * 255)


def palette(mask):
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 0, 0, 128])
    return image


def cut_out(mask):
    rgba = np.random.default_rng(0).integers(0, 255, (*mask.shape, 4), dtype=np.uint8)
    rgba[:, :, 3] = mask * 255
    return Image.fromarray(rgba)


def soft(mask):
    """A ramp of three pixels across the border, whose middle is the border; not quite white."""
    from scipy.ndimage import distance_transform_edt

    signed = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
    return Image.fromarray(np.round(200 * np.clip(0.5 + signed / 3, 0, 1)).astype(np.uint8))


KINDS = {
    "grey": grey,
    "one bit": lambda mask: grey(mask).convert("1"),
    "0 and 1": lambda mask: Image.fromarray(mask.astype(np.uint8)),
    "a label": lambda mask: Image.fromarray(mask.astype(np.uint8) * 7),
    "16 bits": lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535),
    "8 bits in 16": lambda mask: Image.fromarray(mask.astype(np.uint16) * 255),
    "RGB": lambda mask: grey(mask).convert("RGB"),
    "blue": lambda mask: Image.merge("RGB", [grey(mask & False), grey(mask & False), grey(mask)]),
    "palette": palette,
    "cut-out": cut_out,
    "white with alpha all over": lambda mask: grey(mask).convert("RGBA"),
    "soft": soft,
    "floating point": lambda mask: Image.fromarray(mask.astype(np.float32)),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [1, 2])
def test_every_kind_of_mask_says_the_same(folder, kind, times):
    """Of any size, too: every pixel written `times` by `times`."""
    view = read_scene(folder, masks=True).views[0]
    expected = exact()[0]
    suffix = ".tif" if kind == "floating point" else ".png"
    path = view.mask_path.with_suffix(suffix)
    view.mask_path.unlink()
    KINDS[kind](np.kron(expected, np.ones((times, times), bool))).save(path)
    view = read_scene(folder, masks=True).views[0]
    np.testing.assert_array_equal(load_mask(view, 48, 64), expected)


def test_noise_of_compression_on_black_is_no_object(folder):
    noise = np.random.default_rng(0).integers(0, 5, (48, 64), dtype=np.uint8)
    path = folder / "mask" / "000000.png"
    path.unlink()
    Image.fromarray(noise).save(path.with_suffix(".jpg"), quality=50)
    assert not load_mask(read_scene(folder, masks=True).views[0], 48, 64).any()


def without_bounds(folder):
    with np.load(folder / "cameras.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if not name.startswith("scale_mat")}
    np.savez(folder / "cameras.npz", **arrays)
