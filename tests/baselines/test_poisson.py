"""Screened Poisson: a sphere sampled exactly is the sphere, and trimming takes away what nothing supports."""

import numpy as np
import pytest

from dvr_cli.baselines.normals import (
    directions_to_cameras,
    directions_to_nearest,
    normals_towards,
    outward_normals,
)
from dvr_cli.baselines.poisson import PoissonSurface, screened_poisson
from dvr_cli.baselines.trimming import smoothed, split_at, trim_by_density
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.cleaning import face_areas
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import is_watertight, signed_volume

CENTRE, RADIUS, COUNT = np.array([1000.0, -2000.0, 300.0]), 40.0, 5000
HOLE_HEIGHT = 0.9


def unit_sphere(count=COUNT):
    """Points spread evenly: Fibonacci's spiral."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)


def sphere_cloud(with_hole=False):
    normals = unit_sphere()
    normals = normals[normals[:, 2] < HOLE_HEIGHT] if with_hole else normals
    return PointCloud(CENTRE + RADIUS * normals, normals, 0.5 + 0.5 * normals)


@pytest.fixture(scope="module")
def whole():
    return screened_poisson(sphere_cloud(), depth=7)


@pytest.fixture(scope="module")
def capped():
    return screened_poisson(sphere_cloud(with_hole=True), depth=7)


def test_sphere_comes_back(whole):
    mesh = whole.mesh
    offset = (mesh.vertices - CENTRE) / RADIUS
    assert is_watertight(mesh)
    # Half the spacing of the points is 0.025 of the radius.
    assert np.abs(np.linalg.norm(offset, axis=1) - 1).max() < 0.01
    assert signed_volume(mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.005)
    # Colours are spread over neighbouring points. Measured: 0.129 at worst, 0.009 on average.
    assert np.abs(mesh.colors - (0.5 + 0.5 * offset)).max() < 0.15
    assert np.abs(mesh.colors - (0.5 + 0.5 * offset)).mean() < 0.012
    assert whole.points == COUNT


def test_same_cloud_gives_the_same_surface(whole):
    again = screened_poisson(sphere_cloud(), depth=7)
    assert np.array_equal(again.mesh.vertices, whole.mesh.vertices)
    assert np.array_equal(again.mesh.faces, whole.mesh.faces)


def test_density_counts_levels_of_the_octree(whole):
    sparse = screened_poisson(PointCloud(CENTRE + RADIUS * unit_sphere(COUNT // 4), unit_sphere(COUNT // 4)), depth=7)
    # A quarter of the points per area is one level less.
    assert np.median(whole.density) - np.median(sparse.density) == pytest.approx(1, abs=0.1)


def test_trimming_takes_the_cap_away_and_leaves_the_rest(capped):
    def highest(mesh):
        return ((mesh.vertices[:, 2] - CENTRE[2]) / RADIUS).max()

    area = face_areas(capped.mesh).sum()
    trimmed = capped.trimmed(np.median(capped.density) - 0.5)
    true_area = 4 * np.pi * RADIUS**2 * (1 + HOLE_HEIGHT) / 2
    assert highest(capped.mesh) > 0.99
    assert highest(trimmed) < HOLE_HEIGHT + 0.04
    assert face_areas(trimmed).sum() == pytest.approx(true_area, rel=0.02)
    assert area > 1.02 * true_area
    assert np.abs(trimmed.colors - (0.5 + 0.5 * (trimmed.vertices - CENTRE) / RADIUS)).max() < 0.15


def test_more_trimming_leaves_less(capped):
    low, high = np.percentile(capped.density, (1, 60))
    areas = [face_areas(capped.trimmed(trim)).sum() for trim in (0.0, *np.linspace(low, high, 5))]
    assert areas[0] == face_areas(capped.mesh).sum()
    assert (np.diff(areas) <= 1e-9 * areas[0]).all()
    assert areas[-1] < 0.9 * areas[0]


def test_trimming_everything_says_how_dense_the_cloud_is(capped):
    with pytest.raises(CompareError, match=r"trim 10 removes the whole surface.*reach octree depths of 5\.\d to 5\.\d"):
        capped.trimmed(10)


@pytest.mark.parametrize("trim", [-1.0, np.nan, 21.0])
def test_trim_out_of_range(capped, trim):
    with pytest.raises(CompareError, match="out of range"):
        capped.trimmed(trim)


def test_split_keeps_surface_and_winding():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    square = Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    split, kept = split_at(square, vertices[:, 0], 0.25)
    areas = face_areas(split)
    assert areas.sum() == pytest.approx(1)
    assert areas[kept].sum() == pytest.approx(0.75)
    corners = split.vertices[split.faces]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] >= 0).all()
    middles = corners.mean(axis=1)[:, 0]
    assert np.array_equal(middles > 0.25, kept)


def test_split_through_vertices_and_beside_everything():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    square = Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    for threshold, share in ((0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (2.0, 0.0)):
        split, kept = split_at(square, vertices[:, 0], threshold)
        assert np.isfinite(split.vertices).all()
        assert face_areas(split).sum() == pytest.approx(1)
        assert face_areas(split)[kept].sum() == pytest.approx(share)


def test_islands_change_sides(whole):
    # One dense vertex in a sparse surface makes no piece of its own, nor one sparse vertex a hole.
    density = np.full(len(whole.mesh.vertices), 4.0)
    density[100] += 20.0
    threshold = 4 + 0.9 * (smoothed(whole.mesh.faces, density).max() - 4)
    assert len(trim_by_density(whole.mesh, density, threshold).faces) == 0
    assert is_watertight(trim_by_density(whole.mesh, 8 - density, 8 - threshold))
    # A threshold far below the peak leaves a piece large enough to stay.
    assert len(trim_by_density(whole.mesh, density, 4.05).faces) > 0


def test_normals_are_found_where_there_are_none():
    cloud = sphere_cloud(with_hole=True)
    found = outward_normals(cloud.points)
    assert np.einsum("pi,pi->p", found, cloud.normals).min() > 0.95


def test_cameras_decide_which_side_is_out():
    # A bowl seen from within: away from the middle would be wrong.
    normals = -unit_sphere()
    bowl = normals[:, 2] > 0.2
    points, normals = CENTRE + RADIUS * -normals[bowl], normals[bowl]
    cameras = CENTRE + np.array([[0.0, 0, 100], [30, 0, 90], [0, -30, 90]])
    found = outward_normals(points, directions_to_nearest(points, cameras))
    assert np.einsum("pi,pi->p", found, normals).min() > 0.95


def test_normals_turn_to_the_cameras():
    cloud = sphere_cloud()
    centres = CENTRE + 5 * RADIUS * np.concatenate([np.eye(3), -np.eye(3)])
    visibility = np.argwhere((centres - CENTRE) @ cloud.normals.T > 0.3 * 5 * RADIUS)
    towards = directions_to_cameras(cloud.points, centres, visibility)
    found = normals_towards(cloud.points, towards)
    assert np.einsum("pi,pi->p", found, cloud.normals).min() > 0.95


def test_cloud_without_normals_gives_the_sphere():
    surface = screened_poisson(PointCloud(sphere_cloud().points), depth=6)
    assert signed_volume(surface.mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)
    assert surface.mesh.colors is None


def test_unusable_points_are_left_out(whole):
    good = sphere_cloud()
    points = np.concatenate([good.points, np.full((3, 3), np.nan), CENTRE[None]])
    normals = np.concatenate([good.normals, np.ones((3, 3)), np.zeros((1, 3))])
    colors = np.concatenate([good.colors, np.ones((4, 3))])
    surface = screened_poisson(PointCloud(points, normals, colors), depth=7)
    assert np.array_equal(surface.mesh.vertices, whole.mesh.vertices)


@pytest.mark.parametrize(
    "points, message",
    [
        (np.zeros((0, 3)), "0 usable points of 0"),
        (np.random.default_rng(0).normal(size=(19, 3)), "19 usable points of 19"),
        (np.full((100, 3), np.nan), "0 usable points of 100"),
        (np.tile([[1e5, 2e5, 3e5]], (100, 1)), "in one place"),
    ],
    ids=["empty", "few", "nan", "one place"],
)
def test_clouds_that_span_no_surface(points, message):
    with pytest.raises(CompareError, match=message):
        screened_poisson(PointCloud(points))


def test_depth_out_of_range():
    with pytest.raises(CompareError, match="depth 30 is out of range"):
        screened_poisson(sphere_cloud(), depth=30)


def test_says_nothing(capfd):
    # Twenty points on a plane make the library complain.
    flat = np.random.default_rng(1).uniform(size=(25, 3)) * [1, 1, 0]
    surface = screened_poisson(PointCloud(flat, np.tile([[0.0, 0.0, 1.0]], (25, 1))), depth=5)
    assert isinstance(surface, PoissonSurface)
    assert capfd.readouterr() == ("", "")


def test_sparse_specks_go(whole):
    # A piece of its own is no hole in the surface, however small.
    mesh, count = whole.mesh, len(whole.mesh.vertices)
    speck = Mesh(
        np.concatenate([mesh.vertices, CENTRE + np.eye(3)]),
        np.concatenate([mesh.faces, count + np.array([[0, 1, 2]])]),
    )
    density = np.concatenate([whole.density, np.zeros(3)])
    assert len(trim_by_density(speck, density, 2.0).faces) == len(mesh.faces)
    assert len(trim_by_density(speck, density, 10.0).faces) == 0
