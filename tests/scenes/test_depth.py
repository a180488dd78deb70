"""Sparse points and depth maps: round trips, and every kind of damaged file refused before it does harm."""

import io
import zipfile

import numpy as np
import pytest
import trimesh
from PIL import Image

from dvr_cli.errors import DepthError
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.sparse_depth import read_sparse_depth, write_sparse_depth
from dvr_cli.scenes.views import SparseDepth
from tests.scenes.tiny_scenes import pixel_centres, ring, write_colmap

GENERATOR = np.random.default_rng(2)
POINTS = GENERATOR.normal(size=(25, 3))
PAIRS = np.stack([np.arange(25) % 12, np.arange(25)], axis=1)
NAMES = tuple(f"{index:06d}.png" for index in range(12))


def test_written_points_read_back(tmp_path):
    sparse = SparseDepth(POINTS, PAIRS, GENERATOR.random(25), GENERATOR.random((25, 3)))
    write_sparse_depth(tmp_path / "sparse.npz", sparse)
    back = read_sparse_depth(tmp_path / "sparse.npz", NAMES)
    for name in ("points", "visibility", "error", "colors"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sparse, name))


def test_points_alone_are_enough(tmp_path):
    np.savez(tmp_path / "sparse.npz", points=POINTS.astype(np.float32))
    back = read_sparse_depth(tmp_path / "sparse.npz", NAMES)
    assert back.points.dtype == np.float64 and back.visibility is None and back.error is None and back.colors is None


def test_choosing_views_chooses_who_saw_what(folder):
    write_sparse_depth(folder / "sparse.npz", SparseDepth(POINTS, PAIRS))
    sparse = read_scene(folder, depth=folder / "sparse.npz", view_range="3,11").sparse_depth
    expected = [(0 if view == 3 else 1, point) for view, point in PAIRS if view in (3, 11)]
    assert sorted(map(tuple, sparse.visibility)) == sorted(expected)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array 'points'"),
        ({"points": POINTS[:, :2]}, r"shape \(25, 2\)"),
        ({"points": POINTS.ravel()}, "shape"),
        ({"points": np.zeros((0, 3))}, "0 points"),
        ({"points": np.where(np.eye(25, 3) > 0, np.nan, POINTS)}, "3 values that are NaN"),
        ({"points": np.full((4, 3), np.inf)}, "infinite"),
        ({"points": np.full((4, 3), "x")}, "type"),
        ({"points": POINTS + 1j}, "type"),
        ({"points": POINTS, "visibility": PAIRS.astype(float)}, "whole numbers"),
        ({"points": POINTS, "visibility": PAIRS[:, :1]}, "shape"),
        ({"points": POINTS, "visibility": PAIRS + np.array([0, 1])}, "row 24 of 'visibility'"),
        ({"points": POINTS, "visibility": PAIRS + np.array([12, 0])}, "row 0 of 'visibility'"),
        ({"points": POINTS, "visibility": PAIRS - [1, 0]}, "row 0 of 'visibility'"),
        ({"points": POINTS, "error": np.zeros(24)}, "shape"),
        ({"points": POINTS, "error": np.full(25, np.nan)}, "NaN"),
        ({"points": POINTS, "colors": np.zeros((25, 4))}, "shape"),
    ],
)
def test_points_that_cannot_be_used_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "sparse.npz", **arrays)
    with pytest.raises(DepthError, match=message):
        read_sparse_depth(tmp_path / "sparse.npz", NAMES)


def test_pickled_points_are_refused_without_being_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trap"), "w"))

    np.savez(tmp_path / "sparse.npz", points=np.array([Trap()], dtype=object))
    with pytest.raises(DepthError, match="pickled"):
        read_sparse_depth(tmp_path / "sparse.npz", NAMES)
    assert not (tmp_path / "trap").exists()


def test_size_is_checked_before_allocation(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15, 3)})
    with zipfile.ZipFile(tmp_path / "sparse.npz", "w") as archive:
        archive.writestr("points.npy", header.getvalue())
    with pytest.raises(DepthError, match="claims 24000000000000000 bytes"):
        read_sparse_depth(tmp_path / "sparse.npz", NAMES)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive at all"])
def test_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "sparse.npz").write_bytes(content)
    with pytest.raises(DepthError, match="cannot be read"):
        read_sparse_depth(tmp_path / "sparse.npz", NAMES)


def test_missing_and_unknown_files_are_refused(tmp_path):
    with pytest.raises(DepthError, match="does not exist"):
        read_sparse_depth(tmp_path / "sparse.npz", NAMES)
    with pytest.raises(DepthError, match="no depth that can be read"):
        read_sparse_depth(tmp_path / "points.csv", NAMES)
    with pytest.raises(DepthError, match="does not exist"):
        read_sparse_depth(tmp_path / "points.ply", NAMES)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_cloud_reads_back(tmp_path, encoding):
    colors = GENERATOR.integers(0, 256, (25, 4), dtype=np.uint8)
    data = trimesh.PointCloud(POINTS, colors=colors).export(file_type="ply", encoding=encoding)
    (tmp_path / "points.ply").write_bytes(data if isinstance(data, bytes) else data.encode())
    back = read_sparse_depth(tmp_path / "points.ply", NAMES)
    np.testing.assert_allclose(back.points, POINTS, atol=1e-6)
    np.testing.assert_allclose(back.colors * 255, colors[:, :3], atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ply\nformat ascii 1.0\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1000000000000\nproperty float x\nend_header\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nproperty float y\n"
        b"property float z\nend_header\n1234",
        b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n",
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
        b"end_header\nnan 0 0\n",
    ],
)
def test_damaged_ply_is_refused(tmp_path, content):
    (tmp_path / "points.ply").write_bytes(content)
    with pytest.raises(DepthError):
        read_sparse_depth(tmp_path / "points.ply", NAMES)


@pytest.fixture
def with_depth_maps(folder):
    (folder / "depth").mkdir()
    camera = ring()[0]
    depth = np.arange(camera.height * camera.width, dtype=np.float64).reshape(camera.height, camera.width) + 1
    depth[0, :5] = [0, np.nan, np.inf, -1, 7]
    return folder, depth


def test_depth_maps_as_npy_and_png_agree(with_depth_maps):
    root, depth = with_depth_maps
    np.save(root / "depth" / "000000.npy", depth)
    steps = np.where(np.isfinite(depth) & (depth > 0), depth * 4, 0).astype(np.uint16)
    Image.fromarray(steps).save(root / "depth" / "000001.png")
    (root / "depth" / "scale.txt").write_text("0.25\n")
    views = load_views(read_scene(root, depth=root / "depth"), None)
    expected = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    np.testing.assert_allclose(views[0].depth, expected)
    np.testing.assert_allclose(views[1].depth, expected)
    assert views[2].depth is None
    # Smaller, values are picked, never mixed.
    smaller = load_views(read_scene(root, depth=root / "depth"), depth.shape[1] // 2)[0].depth
    assert set(smaller[np.isfinite(smaller)]) <= set(expected[np.isfinite(expected)])


def test_depth_maps_that_cannot_be_used_are_refused(with_depth_maps):
    root, depth = with_depth_maps
    with pytest.raises(DepthError, match="no depth map for any view"):
        read_scene(root, depth=root / "depth")
    np.save(root / "depth" / "000000.npy", depth[:, :10])
    with pytest.raises(DepthError, match="aspect ratio"):
        load_views(read_scene(root, depth=root / "depth"), None)
    np.save(root / "depth" / "000000.npy", np.array([{}], dtype=object))
    with pytest.raises(DepthError, match="pickled"):
        load_views(read_scene(root, depth=root / "depth"), None)
    (root / "depth" / "000000.npy").unlink()
    Image.fromarray(np.ones((48, 64), np.uint16)).save(root / "depth" / "000000.png")
    with pytest.raises(DepthError, match=r"scale\.txt"):
        load_views(read_scene(root, depth=root / "depth"), None)


@pytest.mark.parametrize("image_size", [None, 80])
def test_depth_maps_are_undistorted_with_their_photographs(tmp_path, image_size):
    """A depth that is linear in the ray: of the photograph's pixel, and of the pinhole image's, it is the same."""
    camera = ring(image_size=160)[0]
    write_colmap(tmp_path, [camera], "OPENCV", (-0.5, 0.1, 0.01, -0.005), points=POINTS)
    distorted = read_scene(tmp_path).views[0].distorted
    rays = distorted.cam_from_img(pixel_centres(camera))
    (tmp_path / "depth").mkdir()
    values = (3 + 2 * rays[:, 0] + rays[:, 1]).reshape(camera.height, camera.width)
    np.save(tmp_path / "depth" / "000000.npy", values)
    loaded = load_views(read_scene(tmp_path, depth=tmp_path / "depth"), image_size)[0]
    intrinsics = loaded.camera.intrinsics
    seen = (pixel_centres(loaded.camera) - intrinsics[:2, 2]) / np.diag(intrinsics)[:2]
    error = loaded.depth - (3 + 2 * seen[:, 0] + seen[:, 1]).reshape(loaded.depth.shape)
    # Picked from the nearest pixel: half of one in x and in y, and what the lens stretches.
    assert np.isfinite(error).mean() > 0.95 and np.nanmax(np.abs(error)) < 2.5 / camera.intrinsics[0, 0]
    assert set(np.unique(loaded.depth[np.isfinite(loaded.depth)])) <= set(np.unique(values.astype(np.float32)))


def test_named_views_are_found_by_name(tmp_path):
    """The file's own names win over the order of the images; views that the scene does not use are ignored."""
    write_sparse_depth(tmp_path / "sparse.npz", SparseDepth(POINTS, PAIRS), NAMES[::-1])
    back = read_sparse_depth(tmp_path / "sparse.npz", NAMES[2:5], NAMES)
    expected = [(11 - view - 2, point) for view, point in PAIRS if 2 <= 11 - view < 5]
    assert sorted(map(tuple, back.visibility)) == sorted(expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array([f"{name}.other" for name in NAMES]), "none of them is a photograph"),
        (np.array([NAMES[0], NAMES[0]]), "none of them twice"),
        (np.arange(12), "file name of each"),
        (np.array([list(NAMES)]), "file name of each"),
        (np.array(NAMES[:3]), "row 3 of 'visibility'"),
    ],
    ids=["other scene", "twice", "numbers", "table", "too few"],
)
def test_names_that_cannot_be_used_are_refused(tmp_path, names, message):
    np.savez(tmp_path / "sparse.npz", points=POINTS, visibility=PAIRS, view_names=names)
    with pytest.raises(DepthError, match=message):
        read_sparse_depth(tmp_path / "sparse.npz", NAMES)
