"""Sampling and thinning: closed forms, slow twins, and that blocks change nothing."""

import numpy as np
import open3d
import pytest

from dvr_cli.comparing import points as points_module
from dvr_cli.comparing.points import faces_near_box, lattice_points, surface_area, thin, voxel_means
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.mesh import Mesh
from tests.comparing.exact_shapes import ball

RIGHT_TRIANGLE = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))


def one_by_one(points, radius, generator):
    """Thinning as DTU's evaluation does it: visit in random order, remove the neighbours."""
    left = np.ones(len(points), dtype=bool)
    for index in generator.permutation(len(points)):
        if left[index]:
            left[((points - points[index]) ** 2).sum(axis=1) <= radius**2] = False
            left[index] = True
    return np.flatnonzero(left)


def crowd(count, seed=1):
    """Random points, a tenth of them twice and some all in one place."""
    points = np.random.default_rng(seed).uniform(size=(count, 3))
    points[: count // 10] = points[count // 10 : 2 * (count // 10)]
    points[-count // 10 :] = 0.5
    return points


def grid():
    """Neighbours at exactly the radius of 0.2, up to rounding."""
    return np.stack(np.meshgrid(*[np.arange(10) * 0.2] * 3), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize(
    ("points", "radius"), [(crowd(3000), 0.05), (crowd(3000), 0.3), (crowd(2000), 0.002), (grid(), 0.2), (grid(), 0.21)]
)
def test_thinning_is_that_of_one_by_one(points, radius):
    found = thin(points, radius, np.random.default_rng(2))
    np.testing.assert_array_equal(found, one_by_one(points, radius, np.random.default_rng(2)))
    assert 0 < len(found) < len(points)


def test_size_of_blocks_changes_nothing(monkeypatch):
    points = crowd(3000)
    expected = thin(points, 0.05, np.random.default_rng(3))
    for first, largest in ((1, 50), (10, 3000), (5000, 5000)):
        monkeypatch.setattr(points_module, "FIRST_BLOCK", first)
        monkeypatch.setattr(points_module, "BLOCK", largest)
        np.testing.assert_array_equal(thin(points, 0.05, np.random.default_rng(3)), expected)


def test_thinned_points_are_apart_and_cover():
    points = lattice_points(ball(subdivisions=3), 0.02)
    kept = points[thin(points, 0.05, np.random.default_rng(0))]
    tree = points_module.search_tree(kept)
    assert not len(tree.query_pairs(0.05))
    assert tree.query(points)[0].max() <= 0.05


def test_points_in_one_place_thin_to_one():
    """As many pairs as there are would fill any memory."""
    assert len(thin(np.zeros((200_000, 3)), 0.1, np.random.default_rng(0))) == 1
    assert len(thin(np.zeros((0, 3)), 0.1, np.random.default_rng(0))) == 0


def lattice_by_loops(mesh, spacing):
    """The same lattice, a node at a time."""
    found = [*mesh.vertices]
    for first, second, third in mesh.vertices[mesh.faces]:
        a, b = second - first, third - first
        area = np.linalg.norm(np.cross(a, b))
        if area == 0:
            continue
        step = spacing * np.sqrt(np.linalg.norm(a) * np.linalg.norm(b) / area)
        parts_a, parts_b = int(np.linalg.norm(a) / step), int(np.linalg.norm(b) / step)
        for i in range(parts_a):
            for j in range(parts_b):
                u, v = (i + 0.5) / parts_a, (j + 0.5) / parts_b
                if u + v < 1:
                    found.append(first + u * a + v * b)
    return np.array(found)


@pytest.mark.parametrize("block", [7, 2_000_000])
def test_lattice_is_that_of_loops(monkeypatch, block):
    monkeypatch.setattr(points_module, "BLOCK", block)
    generator = np.random.default_rng(0)
    mesh = Mesh(generator.normal(size=(30, 3)), generator.integers(0, 30, size=(40, 3)))
    np.testing.assert_allclose(lattice_points(mesh, 0.3), lattice_by_loops(mesh, 0.3), atol=1e-12)


def test_lattice_of_a_right_triangle():
    """Ten parts on each leg: the cells whose middle lies below the diagonal, 45 of 100."""
    assert len(lattice_points(RIGHT_TRIANGLE, 0.1 + 1e-12)) == 3 + 36, "nine parts each"
    nodes = lattice_points(RIGHT_TRIANGLE, 0.1 - 1e-12)[3:]
    assert len(nodes) == 45
    assert nodes[:, :2].min() == pytest.approx(0.05) and nodes.sum(axis=1).max() < 1


def test_lattice_stands_for_area():
    mesh = ball(subdivisions=2)
    nodes = len(lattice_points(mesh, 0.01)) - len(mesh.vertices)
    assert nodes == pytest.approx(surface_area(mesh) / 0.01**2, rel=0.1)


def test_small_and_flat_triangles_bring_their_vertices_only():
    assert len(lattice_points(RIGHT_TRIANGLE, 5.0)) == 3
    flat = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2], [0, 0, 0]]))
    assert len(lattice_points(flat, 0.01)) == 3


def test_absurd_density_is_refused_at_once():
    with pytest.raises(CompareError, match=r"5e\+17 points.*at most 1e\+08"):
        lattice_points(RIGHT_TRIANGLE, 1e-9)


def test_voxel_means_are_open3ds():
    points = np.random.default_rng(0).normal(size=(5000, 3))
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    expected = np.asarray(cloud.voxel_down_sample(0.3).points)
    found = voxel_means(points, 0.3)
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-12)


def test_voxels_far_too_small_are_refused():
    with pytest.raises(CompareError, match="same units"):
        voxel_means(np.array([[0.0, 0, 0], [1000, 0, 0]]), 1e-6)
    assert len(voxel_means(np.zeros((0, 3)), 1.0)) == 0


def test_faces_that_cross_the_box_stay():
    mesh = ball(subdivisions=3)
    near = faces_near_box(mesh, np.array([0.5, -2, -2]), np.array([2.0, 2, 2]))
    assert 0 < len(near.faces) < len(mesh.faces)
    corners = mesh.vertices[mesh.faces][:, :, 0]
    assert len(near.faces) == (corners.max(axis=1) >= 0.5).sum()
