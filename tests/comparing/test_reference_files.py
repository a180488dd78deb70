"""Reading what others wrote, and the questions asked before two shapes are compared."""

import struct

import numpy as np
import open3d
import pytest

from dvr_cli.comparing.protocols import GeometryOptions, geometry_judge
from dvr_cli.comparing.reference_files import read_shape
from dvr_cli.comparing.sanity import check_cameras, check_extents
from dvr_cli.comparing.tanks import moved
from dvr_cli.errors import CompareError, DvrError
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.export import write_mesh
from dvr_cli.surfaces.mesh import Mesh
from tests.comparing.exact_shapes import ball, cameras_of, upper_half

POINTS = np.random.default_rng(0).normal(size=(20, 3))
HEADER = "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"


def scaled(shape, factor, shift=(0.0, 0.0, 0.0)):
    matrix = np.diag([factor, factor, factor, 1.0])
    matrix[:3, 3] = shift
    return moved(shape, matrix)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb"])
def test_meshes_of_all_formats(tmp_path, suffix):
    path = tmp_path / f"mesh{suffix}"
    write_mesh(ball(subdivisions=1), path)
    found = read_shape(path)
    assert isinstance(found, Mesh) and len(found.faces) == 80


@pytest.mark.parametrize("ascii_format", [True, False])
def test_ply_without_faces_is_a_cloud(tmp_path, ascii_format):
    path = tmp_path / "cloud.ply"
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(POINTS))
    open3d.io.write_point_cloud(str(path), cloud, write_ascii=ascii_format)
    found = read_shape(path)
    assert isinstance(found, PointCloud) and found.normals is None and found.colors is None
    np.testing.assert_allclose(found.points, POINTS, atol=1e-5 if ascii_format else 0)
    cloud.normals = open3d.utility.Vector3dVector(2 * POINTS)
    cloud.colors = open3d.utility.Vector3dVector(np.tile([1.0, 0.0, 0.2], (20, 1)))
    open3d.io.write_point_cloud(str(path), cloud, write_ascii=ascii_format)
    found = read_shape(path)
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    np.testing.assert_allclose(found.normals, unit, atol=2e-5)
    np.testing.assert_allclose(found.colors, np.tile([1.0, 0.0, 0.2], (20, 1)), atol=1 / 255)


@pytest.mark.parametrize("line", ["1 2 3", "1,2,3", "1 2 3 0 0 1 255 255 255"])
def test_xyz_is_a_cloud(tmp_path, line):
    path = tmp_path / "cloud.xyz"
    path.write_text(f"{line}\n{line}\n")
    np.testing.assert_array_equal(read_shape(path).points, [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.ply", "", "no PLY header"),
        ("text.ply", "hello", "no PLY header"),
        ("none.ply", HEADER.format(0) + "end_header\n", "empty cloud"),
        ("nan.ply", HEADER.format(2) + "end_header\nnan 0 0\n1 1 1\n", "1 of 2 points with NaN"),
        ("many.ply", HEADER.format(10**12) + "end_header\n0 0 0\n", "claims 1000000000000 elements"),
        ("minus.ply", HEADER.format(-3) + "end_header\n0 0 0\n", "claims -3 elements"),
        ("short.ply", HEADER.format(9) + "end_header\n0 0 0\n", "short.ply"),
        (
            "bare.ply",
            HEADER.format(3) + "element face 0\nproperty list uchar int vertex_indices\nend_header\n",
            "bare.ply",
        ),
        ("empty.xyz", "\n", "empty cloud"),
        ("words.xyz", "a b c\n", "no cloud"),
        ("two.xyz", "1 2\n", "no cloud"),
        ("bare.obj", "v 0 0 0\nv 1 0 0\n", "bare.obj"),
        ("lost.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "lost.obj"),
        ("none.stl", "solid none\nendsolid none\n", "none.stl"),
        ("cut.glb", b"glTF" + struct.pack("<II", 2, 10**9), "cut.glb"),
        ("mesh.txt", "", "unknown format '.txt'"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DvrError, match=message):
        read_shape(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CompareError, match="does not exist"):
        read_shape(tmp_path / "absent.ply")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(CompareError, match="is a folder"):
        read_shape(tmp_path / "folder.ply")


def test_same_place_and_size_need_no_note():
    assert check_extents(ball(), ball(1.2)) == ()


def test_other_units_are_refused_with_their_ratio():
    with pytest.raises(CompareError, match=r"(?s)ratio 0\.001.*metres and millimetres \(factor 1000\)") as caught:
        check_extents(ball(0.1), ball(100))
    assert "--align" in str(caught.value)


def test_inches_are_suspicious_but_measured():
    (note,) = check_extents(ball(25.4), ball(1))
    assert "ratio 25.4" in note and "inches" in note


def test_far_away_is_refused_with_the_offset():
    with pytest.raises(CompareError, match=r"\(-10, 0, 0\) = 10 apart"):
        check_extents(ball(), ball(1, (10.0, 0.0, 0.0)))


def test_partial_reference_is_legitimate():
    assert check_extents(ball(), upper_half(ball())) == ()
    (note,) = check_extents(ball(10), ball(1, (9.0, 0.0, 0.0)))
    assert "a part of the other" in note


def test_boxes_that_do_not_touch_are_noted():
    (note,) = check_extents(ball(), ball(1, (2.5, 0.0, 0.0)))
    assert "do not touch" in note


def test_stray_points_do_not_count_as_extent():
    stray = PointCloud(np.concatenate([ball().vertices, [[1e6, 0, 0]]]))
    assert check_extents(stray, ball()) == ()


def test_shape_beside_all_pictures_is_refused():
    cameras = cameras_of()
    check_cameras(ball(), cameras, "the mesh")
    with pytest.raises(CompareError, match="None of 12 cameras has any of the mesh"):
        check_cameras(scaled(ball(), 1, (500.0, 0.0, 0.0)), cameras, "the mesh")


def test_judge_checks_before_it_measures():
    judge = geometry_judge(ball(), GeometryOptions(samples=2000))
    assert judge(ball()).protocol == "plain"
    with pytest.raises(CompareError, match="same units"):
        judge(ball(1000))
    noted = judge(ball(5))
    assert "ratio 5" in noted.notes[0]
    with pytest.raises(CompareError, match="None of"):
        geometry_judge(scaled(ball(), 1, (500.0, 0.0, 0.0)), GeometryOptions(), cameras_of())
    with pytest.raises(CompareError, match="--threshold"):
        geometry_judge(ball(), GeometryOptions(protocol="tanks"))


def test_alignment_may_change_units():
    judge = geometry_judge(upper_half(ball()), GeometryOptions(protocol="tanks", threshold=0.05, align=True))
    assert judge(scaled(upper_half(ball()), 1000)).value("f") > 0.99
