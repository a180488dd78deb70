"""Middlebury's par files: half a pixel and axes by hand, the box of the README, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.middlebury import accepts, find, read

# K with focal lengths 100 and 120 and the middle of the image at (31, 22); the camera two units in front of the origin.
K = "100 0 31 0 120 22 0 0 1"
FRONT = "1 0 0 0 1 0 0 0 1 0 0 2"
# Seen from the right: its z axis is -x of the world, its x axis is z.
SIDE = "0 0 1 0 1 0 -1 0 0 0 0 2"
BOX = "The (tight) bounding box for the model is\n(-0.1 -0.2 -0.3)\n(0.1 0.4 0.3)\n"


def write_scene(folder, lines=None, count=None, names=("a 1.png", "b.png"), readme=None):
    """Two photographs of 64x48 pixels and a par file."""
    for name in names:
        Image.new("RGB", (64, 48)).save(folder / name)
    lines = [f"a 1.png {K} {FRONT}", f"b.png {K} {SIDE}"] if lines is None else lines
    text = "\n".join([str(len(lines) if count is None else count), *lines])
    (folder / "thing_par.txt").write_text(text)
    if readme is not None:
        (folder / "ReadMe.TXT").write_text(readme)
    return folder


def test_whole_numbers_are_pixel_centres_with_y_down(tmp_path):
    # By hand: the point (0.2, 0.1, 0) lies at depth 2 from the front, so at x = 31 + 100 * 0.1 = 41 and
    # y = 22 + 120 * 0.05 = 28, which is the centre of a pixel: (41.5, 28.5) from the corner. From the side it lies at
    # depth 2 - 0.2 = 1.8, at x = 31 and y = 22 + 120 / 18 = 28.6667.
    scene = read_scene(write_scene(tmp_path))
    assert (scene.format, [view.name for view in scene.views]) == ("middlebury", ["a 1.png", "b.png"])
    point = np.array([[0.2, 0.1, 0.0]])
    for view, pixel, depth in zip(scene.views, ([41.5, 28.5], [31.5, 28 + 7 / 6]), (2.0, 1.8), strict=True):
        found, found_depth = view.camera.project(point)
        np.testing.assert_allclose(found[0], pixel, atol=1e-12)
        np.testing.assert_allclose(found_depth, depth, atol=1e-12)


def test_skew_is_kept(tmp_path):
    lines = [f"a 1.png 100 3 31 0 120 22 0 0 1 {FRONT}", f"b.png {K} {SIDE}"]
    camera = read_scene(write_scene(tmp_path, lines)).views[0].camera
    np.testing.assert_allclose(camera.intrinsics, [[100, 3, 31.5], [0, 120, 22.5], [0, 0, 1]], atol=1e-12)


def test_order_in_the_file_does_not_matter(tmp_path):
    lines = [f"b.png {K} {SIDE}", "", f"a 1.png {K} {FRONT}"]
    scene = read_scene(write_scene(tmp_path, lines, count=2))
    assert [view.name for view in scene.views] == ["a 1.png", "b.png"]
    np.testing.assert_allclose(scene.views[0].camera.centre, [0, 0, -2])
    np.testing.assert_allclose(scene.views[1].camera.centre, [2, 0, 0])


def test_box_of_the_readme_is_the_region_of_interest(tmp_path):
    # Half the diagonal of 0.2 x 0.6 x 0.6 is sqrt(0.76) / 2.
    scene = read_scene(write_scene(tmp_path, readme=BOX))
    np.testing.assert_allclose(scene.world_from_unit[:3, 3], [0, 0.1, 0], atol=1e-12)
    np.testing.assert_allclose(scene.world_from_unit[:3, :3], np.eye(3) * np.sqrt(0.76) / 2, atol=1e-12)
    assert scene.bounds_source == "the bounding box in ReadMe.TXT"


@pytest.mark.parametrize(
    "readme",
    [
        "Photographs of a temple.",
        "bounding box (1 2 3)",
        BOX.replace("(0.1 0.4", "(-0.1 0.4"),
        BOX.replace("0.4", "nan"),
        BOX.replace("0.4", "1.2.3"),
        BOX.replace("0.4", "9e999"),
        BOX.replace("0.4 0.3", "1e300 1e300"),
        # Behind both cameras.
        "bounding box (98 -1 -101) (99 1 -100)",
        "bounding box " + "(1 1 1 " * 10_000,
        BOX + " " * 200_000,
    ],
)
def test_readme_that_names_no_usable_box_is_passed_over(tmp_path, readme):
    scene = read_scene(write_scene(tmp_path, readme=readme))
    assert scene.bounds_source == "a guess from where the cameras look"


def test_missing_photographs_are_left_out_and_said(tmp_path):
    lines = [f"{name} {K} {FRONT}" for name in ("a 1.png", "c.png", "d.png")] + [f"b.png {K} {SIDE}"]
    scene = read_scene(write_scene(tmp_path, lines))
    assert [view.name for view in scene.views] == ["a 1.png", "b.png"]
    assert "2 of 4 photographs that thing_par.txt lists are missing and left out: c.png, d.png" in scene.notes
    np.testing.assert_allclose(scene.views[1].camera.centre, [2, 0, 0])
    chosen = read(tmp_path, tmp_path / "thing_par.txt", "1")
    assert [view.name for view in chosen.views] == ["b.png"]


def test_photographs_may_lie_in_images(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "images" / "b.png")
    assert read_scene(tmp_path).views[1].image_path == tmp_path / "images" / "b.png"


def test_another_par_file_is_mentioned_and_can_be_named(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "whole_par.txt").write_text(f"2\nb.png {K} {FRONT}\na 1.png {K} {SIDE}")
    assert any("whole_par.txt" in note for note in read_scene(tmp_path).notes)
    other = read_scene(tmp_path, cameras=tmp_path / "whole_par.txt")
    np.testing.assert_allclose(other.views[0].camera.centre, [2, 0, 0])


def test_what_is_recognised(tmp_path):
    assert find(tmp_path) is None
    assert find(tmp_path / "nowhere") is None
    write_scene(tmp_path)
    assert find(tmp_path) == tmp_path / "thing_par.txt"
    assert accepts(tmp_path / "thing_par.txt")
    (tmp_path / "cameras.txt").write_text("# Camera list with one line of data per camera:\n1 PINHOLE 64 48 1 1 1 1")
    assert not accepts(tmp_path / "cameras.txt")
    assert not accepts(tmp_path)


@pytest.mark.parametrize(
    ("lines", "count", "message"),
    [
        ([], "", "is empty"),
        ([], 0, "announces 0 images"),
        (None, 3, "announces 3 images and lists 2"),
        (None, 1, "announces 1 image and lists 2"),
        (None, 99999999, "expected a whole number"),
        (None, "9" * 5000, "expected a whole number"),
        (None, "-2", "expected a whole number"),
        (None, "two", "expected a whole number"),
        ([f"b.png {K} 1 0 0 0 1 0 0 0 1 0 0"], None, "holds 21 words"),
        ([f"b.png {K} {FRONT[:-1]}nan"], None, "found 'nan'"),
        ([f"b.png {K} {FRONT[:-1]}1e999"], None, "found '1e999'"),
        ([f"b.png {K} {FRONT[:-1]}two"], None, "found 'two'"),
        ([f"b.png {K} {FRONT}", f"b.png {K} {SIDE}"], None, "lists b.png twice"),
        ([f"b.png {K.replace('100', '-100')} {FRONT}"], None, "positive focal length"),
        ([f"b.png {K.replace('120', '1e300')} {FRONT}"], None, "NaN or infinite"),
        ([f"b.png {K.replace('120', '0')} {FRONT}"], None, "positive focal length"),
        ([f"b.png {K.replace('0 120', '5 120')} {FRONT}"], None, "zeros below the diagonal"),
        ([f"b.png {K} 1 0 0 0 1 0 0 0 -1 0 0 2"], None, "no rigid motion"),
        ([f"b.png {K} 2 0 0 0 2 0 0 0 2 0 0 2"], None, "no rigid motion"),
        ([f"../b.png {K} {FRONT}"], None, "lies outside"),
        ([f"/etc/b.png {K} {FRONT}"], None, "lies outside"),
        ([f"c.png {K} {FRONT}"], None, "none of the photographs that it lists \\(1\\)"),
        ([f"{'c' * 900}.png {K} {FRONT}"], None, "none of the photographs that it lists \\(1\\)"),
        ([f"{'c' * 5000}.png {K} {FRONT}"], None, "a name of 5004 characters"),
    ],
)
def test_what_is_refused(tmp_path, lines, count, message):
    with pytest.raises(SceneError, match=message):
        read_scene(write_scene(tmp_path, lines, count))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "thing_par.txt").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(SceneError, match="whole number"):
        read_scene(tmp_path)
