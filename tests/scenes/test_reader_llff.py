"""LLFF's poses_bounds.npy: axes and the middle of the image by hand, pairing by order, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.llff import read, write
from dvr_cli.scenes.views import SparseDepth
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import photograph, ring, world_from_unit

# By hand: camera 0 at (0, 0, -2) looks along +z of the world with y down, so the columns are down (0, 1, 0), right
# (1, 0, 0), backward (0, 0, -1), position; then height 40, width 60, focal length 100.
FRONT = [0, 1, 0, 0, 40, 1, 0, 0, 0, 60, 0, 0, -1, -2, 100]
# Camera 1 at (2, 0, 0) looks along -x: down (0, 1, 0), right (0, 0, 1), backward (1, 0, 0).
SIDE = [0, 0, 1, 2, 40, 1, 0, 0, 0, 60, 0, 1, 0, 0, 100]


def write_rows(folder, rows=(FRONT, SIDE), images="images", names=("a.png", "b.png"), size=(60, 40)):
    """Black photographs and these rows, depths 1 and 3."""
    (folder / images).mkdir()
    for name in names:
        Image.new("RGB", size).save(folder / images / name)
    np.save(folder / "poses_bounds.npy", np.array([[*row, 1, 3] for row in rows], dtype=np.float64))
    return folder


def test_axes_and_middle_by_hand(tmp_path):
    # (0.2, 0.1, 0) is 0.1 to the right and 0.05 below the axis at depth 1, seen from the front; from the side its depth
    # is 1.8, its x axis is z of the world.
    scene = read_scene(write_rows(tmp_path))
    assert scene.format == "llff"
    point = np.array([[0.2, 0.1, 0.0]])
    for view, pixel, depth in zip(scene.views, ([40, 25], [30, 20 + 100 / 18]), (2.0, 1.8), strict=True):
        found, found_depth = view.camera.project(point)
        np.testing.assert_allclose(found[0], pixel, atol=1e-12)
        np.testing.assert_allclose(found_depth, depth, atol=1e-12)


def test_depths_are_no_region_of_interest(tmp_path):
    assert read_scene(write_rows(tmp_path)).bounds_source == "a guess from where the cameras look"


@pytest.mark.parametrize(("images", "size"), [("images_4", (15, 10)), ("images_2", (30, 20)), ("image", (60, 40))])
def test_smaller_images_have_smaller_cameras(tmp_path, images, size):
    scene = read_scene(write_rows(tmp_path, images=images, size=size))
    whole = np.array([[100, 0, 30], [0, 100, 20], [0, 0, 1.0]])
    scale = np.diag([size[0] / 60, size[0] / 60, 1])
    np.testing.assert_allclose(scene.views[0].camera.intrinsics, scale @ whole)
    assert f"photographs are read from {images}/: there is no images/" in scene.notes


def test_largest_images_are_read(tmp_path):
    write_rows(tmp_path, images="images_8", size=(15, 10))
    for folder in ("images_4", "images"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            Image.new("RGB", (60, 40)).save(tmp_path / folder / name)
    assert read_scene(tmp_path).views[0].image_path.parent.name == "images"
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).unlink()
    assert read_scene(tmp_path).views[0].image_path.parent.name == "images_4"


def test_photographs_without_a_row_are_not_guessed(tmp_path):
    write_rows(tmp_path, names=("a.png", "b.png", "c.png"))
    with pytest.raises(SceneError, match=r"(?s)2 cameras for 3 photographs.*Move away.*--format colmap"):
        read_scene(tmp_path)


def test_rows_belong_to_photographs_in_sorted_order(tmp_path):
    write_rows(tmp_path, names=("z.png", "c.png"))
    found = read(tmp_path, tmp_path / "poses_bounds.npy", "1")
    assert [view.name for view in found.views] == ["z.png"]
    assert found.all_names == ("c.png", "z.png")
    np.testing.assert_allclose(found.views[0].camera.centre, [2, 0, 0], atol=1e-12)


def changed(index, value):
    row = list(FRONT)
    row[index] = value
    return row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (changed(3, np.nan), "NaN"),
        (changed(14, np.inf), "NaN or infinite"),
        (changed(3, 1e200), "NaN or infinite"),
        (changed(4, 40.5), "whole numbers"),
        (changed(4, 0), "cannot be those of a camera"),
        (changed(9, -60), "cannot be those of a camera"),
        (changed(9, 2e9), "cannot be those of a camera"),
        (changed(14, 0), "focal length 0 and 0"),
        (changed(14, -100), "focal length -100"),
        (changed(1, 2), "no rigid motion"),
        (changed(12, 1), "no rigid motion"),
        (changed(4, 60), "60x60"),
    ],
)
def test_bad_row_is_named(tmp_path, row, message):
    with pytest.raises(SceneError, match=message) as caught:
        read_scene(write_rows(tmp_path, rows=(SIDE, row)))
    assert "row 1 (b.png)" in str(caught.value)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 15)), np.zeros(17), np.zeros((0, 17)), np.zeros((2, 17), complex), np.array([["a"] * 17] * 2)],
)
def test_other_arrays_are_refused(tmp_path, array):
    write_rows(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", array)
    with pytest.raises(SceneError, match=r"expected numbers \(N, 17\)"):
        read_scene(tmp_path)


def test_pickled_and_cut_off_arrays_are_refused(tmp_path):
    write_rows(tmp_path)
    path = tmp_path / "poses_bounds.npy"
    whole = path.read_bytes()
    for content in (whole[:-8], whole[:50], b"", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(SceneError, match=r"poses_bounds\.npy"):
            read_scene(tmp_path)
    np.save(path, np.array([{"a": 1}], dtype=object))
    with pytest.raises(SceneError, match="pickled"):
        read_scene(tmp_path)


def test_scene_without_photographs_is_refused(tmp_path):
    write_rows(tmp_path, names=())
    with pytest.raises(SceneError, match="no photographs"):
        read_scene(tmp_path)


def test_writer_refuses_what_the_format_cannot_hold(tmp_path):
    views = [PixelsToWrite("a.png", camera, photograph(camera)) for camera in ring(2)]
    with pytest.raises(SceneError, match=r"a\.png.*focal lengths"):
        write(tmp_path, views)
    assert not list(tmp_path.iterdir())


def test_written_depths_span_what_is_known(tmp_path):
    cameras = [view.camera for view in read_scene(write_rows(tmp_path)).views]
    views = [PixelsToWrite("a.png", camera, np.zeros((40, 60, 3))) for camera in cameras]
    points = SparseDepth(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    half = np.diag([0.5, 0.5, 0.5, 1.0])
    for number, (world, sparse, expected) in enumerate(
        [(half, points, (1.5, 2.5)), (None, points, (2, 2)), (None, None, (4e-3, 4)), (world_from_unit(), None, None)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, views, world, sparse)
        depths = np.load(folder / "poses_bounds.npy")[:, 15:]
        assert (depths > 0).all() and (depths[:, 0] <= depths[:, 1]).all()
        if expected is not None:
            np.testing.assert_allclose(depths, [expected, expected], atol=1e-9)
