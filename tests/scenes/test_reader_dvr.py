"""The layout of the original DVR: pixels in [-1, 1] by hand, points of pcl.npz, and who is DVR and who is IDR."""

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.dvr import accepts, find, read, write
from dvr_cli.scenes.readers.table import READERS
from dvr_cli.scenes.views import SparseDepth
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import change_arrays, photograph, ring, sphere_mask, world_from_unit, write_sphere

# Nothing of a 60x40 image lies off its middle here: (x + 1) / 2 * 60 counts from the centre of the first pixel.
CAMERA_MAT = np.diag([4.0, 5.0, 1.0, 1.0])


def world_mats():
    """Two cameras, two units from the origin: along +z, and along -x with +z to the right."""
    front, side = np.eye(4), np.eye(4)
    side[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    front[2, 3] = side[2, 3] = 2
    return front, side


def write_scene(folder, points=None, **more):
    """Two black photographs of 60x40 pixels, cameras.npz, and pcl.npz if there are points."""
    (folder / "image").mkdir()
    arrays = {}
    for number, world_mat in enumerate(world_mats()):
        Image.new("RGB", (60, 40)).save(folder / "image" / f"{number:06d}.png")
        arrays[f"camera_mat_{number}"] = CAMERA_MAT
        arrays[f"world_mat_{number}"] = world_mat
    np.savez(folder / "cameras.npz", **(arrays | more))
    if points is not None:
        np.savez(folder / "pcl.npz", **points)
    return folder


def cloud(**more):
    """Four points, the last one outside the hull."""
    return {
        "points": np.arange(12.0).reshape(4, 3),
        "colors": np.array([[255, 0, 51]] * 4, dtype=np.uint8),
        "is_in_visual_hull": np.array([True, False, True, True]),
        "visibility_0000": np.array([0, 1, 2]),
        "visibility_0001": np.array([3]),
        **more,
    }


def test_normalised_pixels_by_hand(tmp_path):
    # (0.2, 0.1, 0) at depth 2: x = 4 * 0.1 = 0.4, which is 0.7 * 60 = 42 from the centre of the first pixel;
    # y = 5 * 0.05 = 0.25, which is 0.625 * 40 = 25. From the corner half a pixel more.
    scene = read_scene(write_scene(tmp_path))
    assert scene.format == "dvr"
    pixel, depth = scene.views[0].camera.project(np.array([[0.2, 0.1, 0.0]]))
    np.testing.assert_allclose(pixel[0], [42.5, 25.5], atol=1e-12)
    np.testing.assert_allclose(depth, 2)
    np.testing.assert_allclose(scene.views[1].camera.centre, [2, 0, 0], atol=1e-12)
    assert not scene.notes


def test_published_scenes_read_as_dvr_and_idr_agree(tmp_path):
    # There world_mat holds pixels, and camera_mat only takes them to [-1, 1].
    cameras = write_sphere(tmp_path)
    normalise = np.eye(4)
    normalise[:2, :3] = [[2 / cameras[0].width, 0, -1], [0, 2 / cameras[0].height, -1]]
    change_arrays(
        tmp_path / "cameras.npz", lambda arrays: arrays.update({f"camera_mat_{i}": normalise for i in range(12)})
    )
    assert read_scene(tmp_path).format == "idr"
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "000003.exr").touch()
    scene = read_scene(tmp_path, masks=True)
    assert scene.format == "dvr"
    for view, camera in zip(scene.views, cameras, strict=True):
        np.testing.assert_allclose(view.camera.intrinsics, camera.intrinsics, atol=1e-9)
        np.testing.assert_allclose(view.camera.camera_from_world, camera.camera_from_world, atol=1e-9)
    found = read(tmp_path, tmp_path / "cameras.npz", None)
    assert found.depth_maps == {"000003.png": tmp_path / "depth" / "000003.exr"}


def test_intrinsics_apart_are_never_read_as_idr(tmp_path):
    write_scene(tmp_path)
    fitting = [reader.name for reader in READERS if reader.find(tmp_path) or reader.accepts(tmp_path / "cameras.npz")]
    assert fitting == ["dvr"]
    with pytest.raises(SceneError, match="in no format"):
        read_scene(tmp_path, format_name="idr")


def test_looking_at_damaged_archives_does_not_fail(tmp_path):
    write_scene(tmp_path)
    path = tmp_path / "cameras.npz"
    assert find(tmp_path) == path and accepts(path)
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[:-30], whole[: len(whole) // 2], whole.replace(b"NUMPY", b"PICKL")):
        path.write_bytes(content)
        assert find(tmp_path) is None
        assert not accepts(path)
    np.savez(path, camera_mat_0=np.eye(4), world_mat_0=np.full((4, 4), np.nan))
    assert find(tmp_path) is None
    np.savez(path, camera_mat_0=np.eye(4), world_mat_0=np.array([{"a": 1}], dtype=object))
    assert find(tmp_path) is None


def test_scale_mat_takes_the_cube_of_side_one_to_the_world(tmp_path):
    scale_mat = np.diag([0.4, 0.4, 0.4, 1.0])
    scale_mat[:3, 3] = 0.1, 0.2, 0.3
    scene = read_scene(write_scene(tmp_path, scale_mat_0=scale_mat, scale_mat_1=scale_mat))
    corner_of_cube = scale_mat @ [0.5, 0.5, 0.5, 1]
    np.testing.assert_allclose(np.linalg.norm((scene.unit_from_world @ corner_of_cube)[:3]), 1, atol=1e-12)
    np.testing.assert_allclose(scene.world_from_unit[:3, 3], [0.1, 0.2, 0.3], atol=1e-12)


def test_points_in_the_hull_with_who_sees_them(tmp_path):
    write_scene(tmp_path, cloud())
    sparse = read(tmp_path, tmp_path / "cameras.npz", None).sparse_depth
    np.testing.assert_allclose(sparse.points, cloud()["points"][[0, 2, 3]])
    np.testing.assert_array_equal(sparse.visibility, [[0, 0], [0, 1], [1, 2]])
    np.testing.assert_allclose(sparse.colors, [[1, 0, 0.2]] * 3)
    only_second = read(tmp_path, tmp_path / "cameras.npz", "1").sparse_depth
    np.testing.assert_array_equal(only_second.visibility, [[0, 2]])


def test_points_by_truth_values_and_colours_to_one_or_255(tmp_path):
    more = {"visibility_0000": np.array([True, True, True, False]), "colors": np.full((4, 3), 0.2)}
    write_scene(tmp_path, cloud(**more))
    sparse = read(tmp_path, tmp_path / "cameras.npz", None).sparse_depth
    np.testing.assert_array_equal(sparse.visibility, [[0, 0], [0, 1], [1, 2]])
    np.testing.assert_allclose(sparse.colors, 0.2)
    np.savez(tmp_path / "pcl.npz", **cloud(colors=np.full((4, 3), 51.0)))
    np.testing.assert_allclose(read(tmp_path, tmp_path / "cameras.npz", None).sparse_depth.colors, 0.2)


def test_points_without_views_have_no_visibility(tmp_path):
    write_scene(tmp_path, {"points": np.ones((3, 3))})
    sparse = read(tmp_path, tmp_path / "cameras.npz", None).sparse_depth
    assert sparse.visibility is None and sparse.colors is None and len(sparse.points) == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"points": np.full((4, 3), np.nan)}, "NaN"),
        ({"points": np.ones((4, 2))}, "shape"),
        ({"colors": np.full((4, 3), np.nan)}, "NaN"),
        ({"is_in_visual_hull": np.array([True])}, "is_in_visual_hull"),
        ({"is_in_visual_hull": np.zeros(4, bool)}, "marks 0 points"),
        ({"visibility_0000": np.array([4])}, "visibility_0000"),
        ({"visibility_0001": np.array([-1])}, "visibility_0001"),
        ({"visibility_0000": np.array([0.5])}, "visibility_0000"),
        ({"visibility_0000": np.array([[True]])}, "visibility_0000"),
    ],
)
def test_bad_points_are_refused(tmp_path, more, message):
    with pytest.raises(SceneError, match=rf"(?s)pcl\.npz.*{message}.*move pcl\.npz away"):
        read_scene(write_scene(tmp_path, cloud(**more)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"camera_mat_1": np.eye(3)[:2]}, "camera_mat_1 has shape"),
        ({"camera_mat_1": np.full((4, 4), np.nan)}, "camera_mat_1 holds values that are NaN"),
        ({"camera_mat_1": np.full((4, 4), 1e308)}, "camera_mat_1"),
        ({"camera_mat_1": np.zeros((4, 4))}, "camera_mat_1.*singular"),
        ({"camera_mat_1": np.diag([-4.0, 5, 1, 1])}, "camera_mat_1.*mirrored"),
        ({"world_mat_1": np.full((4, 4), np.inf)}, "world_mat_1"),
        ({"world_mat_1": np.array([{"a": 1}], dtype=object)}, "pickled"),
        ({"scale_mat_0": np.diag([1.0, 2, 1, 1])}, "scale_mat_0"),
    ],
)
def test_bad_matrix_is_named(tmp_path, more, message):
    with pytest.raises(SceneError, match=f"(?s){message}"):
        read_scene(write_scene(tmp_path, **more))


def test_missing_matrices_and_photographs_are_refused(tmp_path):
    write_scene(tmp_path)
    change_arrays(tmp_path / "cameras.npz", lambda arrays: arrays.pop("camera_mat_1"))
    with pytest.raises(SceneError, match="no key 'camera_mat_1'"):
        read_scene(tmp_path)
    change_arrays(tmp_path / "cameras.npz", lambda arrays: arrays.pop("world_mat_1"))
    with pytest.raises(SceneError, match="no key 'world_mat_1'"):
        read_scene(tmp_path)
    for path in (tmp_path / "image").iterdir():
        path.unlink()
    with pytest.raises(SceneError, match="no photographs"):
        read_scene(tmp_path)


def test_depth_maps_belong_by_name_or_by_order(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "depth").mkdir()
    for name in ("7.exr", "8.exr"):
        (tmp_path / "depth" / name).touch()
    paths = read(tmp_path, tmp_path / "cameras.npz", None).depth_maps
    assert {name: path.name for name, path in paths.items()} == {"000000.png": "7.exr", "000001.png": "8.exr"}
    (tmp_path / "depth" / "000001.exr").touch()
    paths = read(tmp_path, tmp_path / "cameras.npz", None).depth_maps
    assert {name: path.name for name, path in paths.items()} == {"000001.png": "000001.exr"}


def test_written_scene_reads_back(tmp_path):
    cameras = ring(3)
    views = [PixelsToWrite("a.png", camera, photograph(camera), sphere_mask(camera)) for camera in cameras]
    points = SparseDepth(np.arange(6.0).reshape(2, 3), np.array([[0, 1], [2, 0]]), colors=np.full((2, 3), 0.4))
    write(tmp_path, views, world_from_unit(), points)
    scene = read_scene(tmp_path, masks=True)
    np.testing.assert_allclose(scene.world_from_unit, world_from_unit(), atol=1e-12)
    np.testing.assert_array_equal(scene.sparse_depth.visibility, points.visibility)
    np.testing.assert_allclose(scene.sparse_depth.points, points.points)
    np.testing.assert_allclose(scene.sparse_depth.colors, 0.4)
    for view, camera in zip(scene.views, cameras, strict=True):
        assert view.mask_path is not None
        np.testing.assert_allclose(view.camera.intrinsics, camera.intrinsics, atol=1e-9)
        np.testing.assert_allclose(view.camera.camera_from_world, camera.camera_from_world, atol=1e-9)
