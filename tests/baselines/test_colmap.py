"""Triangulation with known cameras, Delaunay meshes of what it gives, and fused clouds: points on a known sphere."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.baselines.colmap import FUSED_FILES, delaunay_mesh, fused_cloud, of_object, triangulate
from dvr_cli.baselines.delaunay import carve
from dvr_cli.errors import CompareError
from dvr_cli.matching.matches import neighbouring_pairs, without_skew
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.synthetic import cameras_around, sphere, synthetic_scene
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.files.cloud_files import read_ply_cloud, write_ply_cloud
from dvr_cli.surfaces.topology import signed_volume

RADIUS = 0.6


@pytest.fixture(scope="module")
def scene():
    described, views, _ = synthetic_scene(sphere(RADIUS, shortest_wave=0.05), views=20, image_size=160)
    return described, views


@pytest.fixture(scope="module")
def triangulated(scene, tmp_path_factory):
    return triangulate(scene[1], tmp_path_factory.mktemp("work"), threads=1, seed=0)


def faces_per_edge(mesh):
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def ball_points(count, generator):
    directions = generator.normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


# Triangulation.


def test_points_lie_on_the_surface(scene, triangulated):
    in_unit = apply(scene[0].unit_from_world, triangulated.cloud.points)
    distance = np.abs(np.linalg.norm(in_unit, axis=1) - RADIUS)
    # A pixel is 0.013 wide there. Measured: 381 points, 0.0007 and 0.0023.
    assert len(in_unit) > 250
    assert np.median(distance) < 0.0015
    assert np.quantile(distance, 0.9) < 0.005


def test_points_come_with_normals_colours_and_views(scene, triangulated):
    described, views = scene
    cloud, pairs = triangulated.cloud, triangulated.visibility
    outwards = apply(described.unit_from_world, cloud.points) @ described.unit_from_world[:3, :3]
    assert (np.einsum("pi,pi->p", cloud.normals, outwards) > 0).all()
    assert np.bincount(pairs[:, 1], minlength=len(cloud.points)).min() >= 2
    pixel, depth = views[pairs[0, 0]].camera.project(cloud.points[pairs[pairs[:, 0] == pairs[0, 0], 1]])
    assert (depth > 0).all()
    rows, columns = np.floor(pixel[:, 1]).astype(int), np.floor(pixel[:, 0]).astype(int)
    seen = views[pairs[0, 0]].image[rows, columns]
    assert np.abs(seen - cloud.colors[pairs[pairs[:, 0] == pairs[0, 0], 1]]).mean() < 0.1
    assert "triangulated here with the known cameras by pycolmap" in triangulated.description


def test_threads_change_nothing(scene, triangulated, tmp_path, capfd):
    reports = []
    again = triangulate(scene[1], tmp_path, threads=2, seed=0, report=lambda done, total: reports.append(done / total))
    # COLMAP adds up in the order in which its threads finish: a coordinate in a thousand moves by its last bit (6e-17).
    assert np.array_equal(again.visibility, triangulated.visibility)
    assert np.abs(again.cloud.points - triangulated.cloud.points).max() < 1e-14
    assert reports == sorted(reports) and reports[-1] == 1
    assert capfd.readouterr() == ("", "")


def test_skew_moves_features_to_where_a_pinhole_sees_them(scene):
    camera = scene[1][0].camera
    points = camera.centre + camera.rays(np.array([[20.0, 30.0], [100.0, 90.0]]))[1]
    skewed = replace(camera, intrinsics=camera.intrinsics + np.array([[0, 7.0, 0], [0, 0, 0], [0, 0, 0]]))
    straightened = without_skew(skewed.project(points)[0], skewed.intrinsics)
    assert np.allclose(straightened, camera.project(points)[0])


def test_blank_photographs_are_reported(scene, tmp_path):
    blank = [replace(view, image=np.full_like(view.image, 0.5)) for view in scene[1][:4]]
    with pytest.raises(CompareError, match="0 points could be triangulated from 0 features in 4 views"):
        triangulate(blank, tmp_path, threads=1)


def test_one_view_is_too_few(scene, tmp_path):
    with pytest.raises(CompareError, match="two at least"):
        triangulate(scene[1][:1], tmp_path)


def test_pairs_look_the_same_way():
    few = cameras_around(30, 64, np.random.default_rng(0), np.eye(4))
    directions = np.stack([camera.camera_from_world[2, :3] for camera in few])
    within = {(i, j) for i in range(30) for j in range(i + 1, 30) if directions[i] @ directions[j] > 0.5}
    assert set(neighbouring_pairs(few)) == within

    many = cameras_around(200, 64, np.random.default_rng(0), np.eye(4))
    pairs = np.array(neighbouring_pairs(many))
    partners = np.bincount(pairs.ravel(), minlength=200)
    assert partners.min() >= 20
    assert len(pairs) < 200 * 20
    directions = np.stack([camera.camera_from_world[2, :3] for camera in many])
    assert np.einsum("ni,ni->n", directions[pairs[:, 0]], directions[pairs[:, 1]]).min() > 0.5


# Delaunay.


def test_delaunay_mesh_is_near_the_sphere(scene, triangulated):
    mesh = delaunay_mesh(triangulated)
    in_unit = apply(scene[0].unit_from_world, mesh.vertices)
    volume = signed_volume(mesh) * np.linalg.det(scene[0].unit_from_world[:3, :3])
    assert np.abs(np.linalg.norm(in_unit, axis=1) - RADIUS).max() < 0.1
    # Flat triangles between 381 points on a ball lose some of its volume.
    assert volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.06)
    assert mesh.colors.shape == mesh.vertices.shape


def test_lines_of_sight_cut_the_outliers_away():
    generator = np.random.default_rng(0)
    on_ball = ball_points(600, generator)
    outliers = 1.8 * ball_points(15, generator)
    cameras = 4 * ball_points(30, generator)
    visibility = [np.argwhere(cameras @ on_ball.T > 1.5), np.stack([np.arange(15), 600 + np.arange(15)], axis=1)]
    mesh, used = carve(np.concatenate([on_ball, outliers]), cameras, np.concatenate(visibility))
    assert (faces_per_edge(mesh) % 2 == 0).all()
    assert used.max() < 600
    assert signed_volume(mesh) == pytest.approx(4 / 3 * np.pi, rel=0.03)


def test_carving_is_the_same_in_any_frame():
    generator = np.random.default_rng(1)
    on_ball, cameras = ball_points(200, generator), 4 * ball_points(12, generator)
    visibility = np.argwhere(cameras @ on_ball.T > 1.5)
    here, _ = carve(on_ball, cameras, visibility)
    moved, _ = carve(500 + 30 * on_ball, 500 + 30 * cameras, visibility)
    assert signed_volume(moved) == pytest.approx(30**3 * signed_volume(here), rel=1e-6)


def test_carving_what_spans_no_volume():
    flat = np.random.default_rng(2).uniform(size=(50, 3)) * [1, 1, 0]
    cameras = np.array([[0.5, 0.5, 3.0], [0.2, 0.5, 3.0]])
    with pytest.raises(CompareError, match=r"enclose nothing|span no volume"):
        carve(flat, cameras, np.argwhere(np.ones((2, 50), bool)))


# Fused clouds.


@pytest.fixture
def cloud():
    normals = ball_points(500, np.random.default_rng(3))
    return PointCloud(normals + 10, normals, np.round(255 * (0.5 + 0.5 * normals)) / 255)


@pytest.mark.parametrize("place", FUSED_FILES)
def test_fused_cloud_comes_back(tmp_path, cloud, place):
    assert fused_cloud(tmp_path) is None
    write_ply_cloud(cloud, tmp_path / place)
    found, description = fused_cloud(tmp_path)
    assert np.allclose(found.points, cloud.points, atol=1e-6)
    assert np.allclose(found.normals, cloud.normals, atol=1e-6)
    assert np.allclose(found.colors, cloud.colors)
    assert description == f"COLMAP's fused cloud {place}, 500 points."


def test_given_cloud_wins_and_must_exist(tmp_path, cloud):
    write_ply_cloud(cloud, tmp_path / FUSED_FILES[0])
    write_ply_cloud(PointCloud(cloud.points[:50]), tmp_path / "other.ply")
    found, description = fused_cloud(tmp_path, tmp_path / "other.ply")
    assert len(found.points) == 50 and found.normals is None and found.colors is None
    assert description == "other.ply, 50 points, without normals: those were estimated."
    with pytest.raises(CompareError, match=r"nowhere\.ply does not exist"):
        fused_cloud(tmp_path, tmp_path / "nowhere.ply")


def test_only_the_object_of_a_fused_cloud_is_kept(scene, tmp_path):
    described, views = scene
    generator = np.random.default_rng(4)
    inside, beside = RADIUS * ball_points(300, generator), 0.95 * ball_points(300, generator)
    beyond = 1.5 * ball_points(100, generator)
    world = apply(described.world_from_unit, np.concatenate([inside, beside, beyond]))
    write_ply_cloud(PointCloud(world), tmp_path / "fused.ply")
    found, description = fused_cloud(tmp_path, tmp_path / "fused.ply", views, described.unit_from_world)
    assert len(found.points) >= 300
    assert found.normals is not None
    assert (of_object(world, views, radius=2)[:300]).all()
    assert not of_object(world, views, described.unit_from_world, radius=2)[300:].any()
    assert "700 points, of which" in description
    with pytest.raises(CompareError, match="does not belong to these cameras"):
        of_object(world + 1e4, views, described.unit_from_world)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "no PLY header"),
        (b"obj\n", "no PLY header"),
        (b"ply\nformat ascii 1.0\nelement vertex 999999999999\nend_header\n", "claims 999999999999 elements"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n12",
            "cannot be read|no po",
        ),
        (b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n", "no points|cannot be read"),
    ],
    ids=["empty", "no ply", "too many", "cut off", "no points"],
)
def test_damaged_clouds(tmp_path, content, message):
    path = tmp_path / "fused.ply"
    path.write_bytes(content)
    with pytest.raises(CompareError, match=message):
        read_ply_cloud(path)


def test_points_that_are_not_finite_are_left_out(tmp_path, cloud):
    points = cloud.points.copy()
    points[:3] = np.nan
    write_ply_cloud(PointCloud(points, cloud.normals, cloud.colors), tmp_path / "fused.ply")
    assert np.allclose(read_ply_cloud(tmp_path / "fused.ply").colors, cloud.colors[3:])


def test_too_few_fused_points(tmp_path, cloud):
    write_ply_cloud(PointCloud(cloud.points[:5]), tmp_path / "fused.ply")
    with pytest.raises(CompareError, match="holds 5 points"):
        fused_cloud(tmp_path, tmp_path / "fused.ply")
