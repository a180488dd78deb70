"""Laws of extraction on analytic fields: topology, volume, level set, orientation; what may change them."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.errors import ExportError
from dvr_cli.scenes.synthetic_shapes import Blend, RoundedBox, Sphere, Torus, demo_shape
from dvr_cli.surfaces import sampling
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.sampling import BY_DISTANCE
from dvr_cli.surfaces.topology import euler_characteristic, is_watertight, signed_volume

TORUS_VOLUME = 2 * np.pi**2 * 0.5 * 0.2**2
DOUBLE_TORUS = Blend(Torus(0.3, 0.12, (-0.32, 0.0, 0.0)), Torus(0.3, 0.12, (0.32, 0.0, 0.0)), softness=0.05)

SURFACES = [
    pytest.param(Sphere(0.6), 2, 4 / 3 * np.pi * 0.6**3, id="sphere"),
    pytest.param(Torus(0.5, 0.2), 0, TORUS_VOLUME, id="torus"),
    pytest.param(DOUBLE_TORUS, -2, None, id="double torus"),
    pytest.param(demo_shape().distance, 0, None, id="demo"),
]


def counted_volume(shape):
    """Volume by counting the centres of 100^3 cells."""
    points = (np.argwhere(np.ones((100, 100, 100), dtype=bool)) + 0.5) / 50 - 1
    return 8 * (shape.value(points) < 0).mean()


@pytest.mark.parametrize(("shape", "euler", "volume"), SURFACES)
def test_mesh_has_the_topology_volume_and_level_set_of_the_field(shape, euler, volume):
    mesh = extract(shape.value, shape.gradient, resolution=97)
    assert is_watertight(mesh)
    assert euler_characteristic(mesh) == euler
    if volume is None:
        assert signed_volume(mesh) == pytest.approx(counted_volume(shape), rel=1.5e-2)  # counting is this coarse
    else:
        assert signed_volume(mesh) == pytest.approx(volume, rel=2.5e-3)  # flat faces cut 0.2 % off the torus
    assert np.abs(shape.value(mesh.vertices)).max() < 1e-5


@pytest.mark.parametrize(("shape", "euler", "volume"), SURFACES)
def test_faces_and_normals_look_outwards(shape, euler, volume):
    mesh = extract(shape.value, shape.gradient, resolution=65)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-12)
    corners = mesh.vertices[mesh.faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centres = corners.mean(axis=1)
    agreement = np.einsum("fi,fi->f", face_normals, shape.gradient(centres))
    assert (agreement > 0).mean() > 0.999
    assert (shape.value(mesh.vertices + 1e-3 * mesh.normals) > 0).all()


@pytest.mark.parametrize("coarse_resolution", [4, 9, 16, 33, 64, 500])
def test_refining_only_near_the_surface_changes_nothing(coarse_resolution):
    shape = demo_shape()
    dense = extract(shape.value, shape.gradient, resolution=48, sampling=replace(BY_DISTANCE, coarse_resolution=48))
    sparse = extract(
        shape.value, shape.gradient, resolution=48, sampling=replace(BY_DISTANCE, coarse_resolution=coarse_resolution)
    )
    np.testing.assert_array_equal(dense.faces, sparse.faces)
    np.testing.assert_array_equal(dense.vertices, sparse.vertices)


def test_only_a_fraction_of_the_cube_is_sampled():
    count = 0

    def counted(points):
        nonlocal count
        count += len(points)
        return Sphere(0.6).value(points)

    extract(counted, Sphere(0.6).gradient, resolution=192)
    assert count < 0.2 * 192**3


def test_chunk_size_changes_nothing(monkeypatch):
    shape = Torus(0.5, 0.2)
    whole = extract(shape.value, shape.gradient, lambda points, _: np.abs(points), resolution=33)
    monkeypatch.setattr(sampling, "CHUNK", 100)
    parts = extract(shape.value, shape.gradient, lambda points, _: np.abs(points), resolution=33)
    np.testing.assert_array_equal(whole.vertices, parts.vertices)
    np.testing.assert_array_equal(whole.colors, parts.colors)


def test_resolution_moves_the_surface_by_less_than_a_cell():
    shape = demo_shape()
    coarse = extract(shape.value, shape.gradient, resolution=50)
    fine = extract(shape.value, shape.gradient, resolution=81)
    for mesh, cell in ((coarse, 2 / 49), (fine, 2 / 80)):
        centres = mesh.vertices[mesh.faces].mean(axis=1)
        assert np.abs(shape.value(centres)).max() < 0.5 * cell
    assert signed_volume(coarse) == pytest.approx(signed_volume(fine), rel=1e-2)


def test_thin_sheet_between_coarse_samples_is_found():
    """The sheet is thinner than a coarse block and touches no coarse vertex; the distance bound finds it."""
    sheet = RoundedBox((0.5, 0.5, 0.004), 0.012, (0.0, 0.0, 0.07))
    mesh = extract(sheet.value, sheet.gradient, resolution=201, sampling=replace(BY_DISTANCE, coarse_resolution=17))
    assert is_watertight(mesh)
    assert euler_characteristic(mesh) == 2


def test_steep_field_gives_the_same_surface_as_its_distance():
    """A logit is not a distance: forty times as steep and clipped."""
    shape = demo_shape()

    def logit(points):
        return np.clip(40 * shape.value(points), -9, 9)

    mesh = extract(logit, shape.gradient, resolution=80)
    same = extract(shape.value, shape.gradient, resolution=80)
    np.testing.assert_array_equal(mesh.faces, same.faces)
    np.testing.assert_allclose(mesh.vertices, same.vertices, atol=1e-6)


def test_object_that_leaves_the_cube_is_closed_at_the_walls():
    shape = RoundedBox((2.0, 0.3, 0.3), 0.1)
    mesh = extract(shape.value, shape.gradient, resolution=40)
    assert is_watertight(mesh)
    assert signed_volume(mesh) > 0
    assert mesh.vertices.min() == -1 and mesh.vertices.max() == 1
    cap = mesh.vertices[:, 0] == 1
    inner = cap & (np.abs(mesh.vertices[:, 1:]) < 0.3).all(axis=1)
    np.testing.assert_array_equal(mesh.normals[inner], np.broadcast_to([1.0, 0, 0], (inner.sum(), 3)))


def test_noise_gives_a_closed_mesh():
    generator = np.random.default_rng(0)
    table = generator.normal(size=(20, 20, 20))

    def lookup(points):
        return table[tuple(np.clip(np.round((points + 1) * 9.5), 0, 19).astype(int).T)]

    mesh = extract(lookup, lambda points: points, resolution=20)
    assert is_watertight(mesh)
    assert np.isfinite(mesh.vertices).all()


def test_zero_exactly_on_grid_vertices():
    """A cube whose faces pass through grid vertices: no collapsed triangle, still closed."""
    mesh = extract(lambda points: np.abs(points).max(axis=1) - 0.5, lambda points: points, resolution=9)
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    assert is_watertight(mesh)
    assert areas.min() > 0


def test_colours_are_seen_along_the_inward_normal_and_clipped():
    shape = Sphere(0.5)
    mesh = extract(shape.value, shape.gradient, lambda _, directions: 2 * directions, resolution=24)
    np.testing.assert_allclose(mesh.colors, np.clip(-2 * mesh.normals, 0, 1))


def test_empty_field_says_so():
    with pytest.raises(ExportError, match="no surface"):
        extract(lambda points: np.ones(len(points)), lambda points: points, resolution=16)


def test_field_that_is_not_finite_says_where():
    def broken(points):
        return np.where(points[:, 0] > 0.2, np.nan, Sphere(0.6).value(points))

    with pytest.raises(ExportError, match="not finite at"):
        extract(broken, Sphere(0.6).gradient, resolution=16)


@pytest.mark.parametrize("resolution", [0, 7, 4096])
def test_resolution_out_of_range(resolution):
    with pytest.raises(ExportError, match="8 to 1024"):
        extract(Sphere(0.5).value, Sphere(0.5).gradient, resolution=resolution)


def test_to_world_is_a_similarity():
    shape = Sphere(0.5)
    mesh = extract(shape.value, shape.gradient, resolution=24)
    rotation = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    world_from_unit = np.eye(4)
    world_from_unit[:3, :3] = 7 * rotation
    world_from_unit[:3, 3] = [1, 2, 3]
    moved = to_world(mesh, world_from_unit)
    assert signed_volume(moved) == pytest.approx(7**3 * signed_volume(mesh))
    np.testing.assert_allclose(np.linalg.norm(moved.vertices - [1, 2, 3], axis=1), 3.5, atol=1e-3)
    np.testing.assert_allclose(moved.normals, mesh.normals @ rotation.T, atol=1e-12)


def test_to_world_refuses_reflections():
    mesh = extract(Sphere(0.5).value, Sphere(0.5).gradient, resolution=16)
    with pytest.raises(ValueError, match="mirrors"):
        to_world(mesh, np.diag([1.0, 1.0, -1.0, 1.0]))
