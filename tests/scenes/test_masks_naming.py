"""Which mask belongs to which photograph, for every way to name them, and what is no mask."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.masks.naming import alpha_masks, match_masks, without_masks
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.files import list_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "a.jpg.png"),
        ("a.jpg", "a.JPG.PNG"),
        ("A.JPG", "a.png"),
        ("a.jpg", "a.TIFF"),
        ("a.jpg", "a_mask.png"),
        ("a.jpg", "a-mask.png"),
        ("a.jpg", "a.mask.png"),
        ("a.jpg", "a.jpg_mask.png"),
        ("a.jpg", "mask_a.png"),
        ("a.jpg", "a_Mask.PNG"),
        ("a.jpg", "sub/../a.png"),
        ("000012.png", "12.png"),
        ("12.png", "mask_000012.png"),
        ("left/a.jpg", "left/a.jpg.png"),
        ("left/a.jpg", "left/a_mask.png"),
        ("left/a.jpg", "a.png"),
        ("left/007.jpg", "7.png"),
        ("ä ö.jpg", "ä ö.png"),
    ],
)
def test_a_mask_is_found_by(tmp_path, image, mask):
    (tmp_path / "sub").mkdir()
    touch(tmp_path, mask)
    found = match_masks(tmp_path, (image,), ("x.png", "y.png", "z.png"))
    if image in ("left/a.jpg", "left/007.jpg") and "/" not in mask:
        found = match_masks(tmp_path, (image,), (image, "right/b.jpg"))
    assert [path.resolve() for path in found.values()] == [(tmp_path / mask).resolve()]


@pytest.mark.parametrize(
    ("image", "mask"),
    [("a.jpg", "b.png"), ("a.jpg", "ab_mask.png"), ("a.jpg", "a.txt"), ("12.png", "13.png"), ("a.jpg", "left/a.png")],
)
def test_a_mask_of_another_photograph_is_not_taken(tmp_path, image, mask):
    touch(tmp_path, mask)
    assert match_masks(tmp_path, (image,), ("x.png", "y.png", "z.png")) == {}


def test_the_exact_name_wins(tmp_path):
    touch(tmp_path, "mask_a.png", "a_mask.png", "a.png", "a.jpg.png")
    assert match_masks(tmp_path, ("a.jpg",), ())["a.jpg"].name == "a.jpg.png"
    (tmp_path / "a.jpg.png").unlink()
    assert match_masks(tmp_path, ("a.jpg",), ())["a.jpg"].name == "a.png"


def test_a_name_in_two_folders_is_no_name_without_them(tmp_path):
    touch(tmp_path, "a.png")
    names = ("left/a.jpg", "right/a.jpg")
    assert match_masks(tmp_path, names, ()) == {}


def test_position_counts_when_there_are_as_many_and_the_format_says_so(tmp_path):
    touch(tmp_path, "m1.png", "m2.png")
    found = match_masks(tmp_path, ("y.jpg",), ("x.jpg", "y.jpg"))
    assert found["y.jpg"].name == "m2.png"
    assert match_masks(tmp_path, ("y.jpg",), ("x.jpg", "y.jpg", "z.jpg")) == {}


def test_masks_beside_photographs_are_not_photographs(tmp_path):
    touch(tmp_path, "a.jpg", "a_mask.png", "b.JPG", "mask_b.png", "carnival_mask.jpg", "c.jpg", "c.jpg_mask.png")
    assert list_images(tmp_path) == ("a.jpg", "b.JPG", "c.jpg", "carnival_mask.jpg")
    assert without_masks(()) == ()


def test_masks_beside_photographs_are_used(folder):
    expected = {view.name: view.mask_path.read_bytes() for view in read_scene(folder, masks=True).views}
    for path in sorted((folder / "mask").iterdir()):
        path.rename(folder / "image" / f"{path.stem}_mask.png")
    (folder / "mask").rmdir()
    scene = read_scene(folder, masks=True)
    assert len(scene.views) == 12
    assert {view.name: view.mask_path.read_bytes() for view in scene.views} == expected
    assert [view.mask_path for view in read_scene(folder, masks="any").views] == [v.mask_path for v in scene.views]


def with_alpha(folder, alpha_of):
    for path in sorted((folder / "image").iterdir()):
        with Image.open(path) as image, Image.open(folder / "mask" / path.name) as mask:
            image.putalpha(alpha_of(mask.convert("L")))
            image.save(path)


def test_alpha_channels_are_masks(folder):
    with_alpha(folder, lambda mask: mask)
    for path in (folder / "mask").iterdir():
        path.unlink()
    scene = read_scene(folder, masks=True)
    assert {view.mask_meaning for view in scene.views} == {"alpha"}
    assert all(view.mask_path == view.image_path for view in scene.views)


def test_alpha_channels_that_say_nothing_are_no_masks(folder):
    with_alpha(folder, lambda mask: mask.point(lambda value: 255))
    views = read_scene(folder).views
    assert alpha_masks(views) == {}
    assert alpha_masks([replace(view, image_path=Path("no.jpg")) for view in views]) == {}


def test_a_folder_of_masks_comes_before_alpha(folder):
    with_alpha(folder, lambda mask: mask)
    assert {view.mask_meaning for view in read_scene(folder, masks=True).views} == {"white"}


def test_masks_missing_for_some_views_are_noted(folder):
    (folder / "mask" / "000004.png").unlink()
    scene = read_scene(folder, masks=True)
    assert [view.name for view in scene.views if view.mask_path is None] == ["000004.png"]
    assert any("000004.png" in note for note in scene.notes)


def test_no_masks_at_all_is_an_error_with_advice(folder):
    for path in (folder / "mask").iterdir():
        path.unlink()
    with pytest.raises(SceneError, match=r"no mask for any of 12 images: .*mask holds no png.*such as 000000\.png, "):
        read_scene(folder, masks=True)
    touch(folder / "mask", "one.png", "two.png", "000000.webp")
    with pytest.raises(
        SceneError, match=r"mask holds 2 images such as one\.png; .*(.|\n)*1 \.webp file in mask/"
    ) as error:
        read_scene(folder, masks=True)
    assert str(error.value).count("000000.png") == 1
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(SceneError, match=r"12 images: \S*elsewhere holds no png, jpg or tif\. "):
        read_scene(folder, masks=elsewhere)
    shutil.rmtree(folder / "mask")
    with pytest.raises(SceneError, match="--masks auto"):
        read_scene(folder, masks=True)
    assert all(view.mask_path is None for view in read_scene(folder, masks="any").views)


def test_a_folder_of_masks_that_must_not_be_read_is_not_taken_for_an_empty_one(folder, monkeypatch):
    def forbidden(place):
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr("dvr_cli.scenes.masks.naming.os.scandir", forbidden)
    with pytest.raises(SceneError, match=r"mask cannot be read: Permission denied\.\nAllow it"):
        read_scene(folder, masks=True)


def test_numbers_do_not_overflow(tmp_path):
    touch(tmp_path, f"{'9' * 200}.png")
    assert match_masks(tmp_path, ("1.png",), ()) == {}
    assert np.all([len(match_masks(tmp_path, (f"{'9' * 200}.jpg",), ())) == 1])
