"""Laws of moving vertices onto the level set: nearer, never broken; caps and flat bases keep their planes."""

import numpy as np
import pytest

from dvr_cli.errors import ExportError
from dvr_cli.scenes.synthetic_shapes import Sphere, Torus
from dvr_cli.surfaces.base import base_offset, with_flat_base
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.level_set import onto_level_set
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.simplifying.crossings import crossings
from dvr_cli.surfaces.simplifying.simplification import simplify
from dvr_cli.surfaces.topology import euler_characteristic, faces_outward, is_manifold, is_watertight, signed_volume
from tests.surfaces.hard_shapes import DOUBLE_TORUS, surface

UP = np.array([0.0, 0.0, 1.0])


def assert_sound(mesh, like):
    assert faces_outward(mesh)
    assert is_manifold(mesh)
    assert euler_characteristic(mesh) == euler_characteristic(like)
    assert len(crossings(mesh)[0]) == 0


@pytest.mark.parametrize("shape", [Sphere(0.6), Torus(0.5, 0.2), DOUBLE_TORUS], ids=["sphere", "torus", "double torus"])
@pytest.mark.parametrize("faces", [3000, 600])
def test_vertices_of_a_simplified_mesh_return_to_the_level_set(shape, faces):
    full = surface(shape)
    simple = simplify(full, faces=faces).mesh
    moved = onto_level_set(simple, shape.value, shape.gradient)
    before, after = np.abs(shape.value(simple.vertices)), np.abs(shape.value(moved.vertices))
    assert (after <= before + 1e-12).all()
    assert np.quantile(after, 0.99) < 1e-6
    assert after.mean() < 0.05 * before.mean()
    assert_sound(moved, full)
    np.testing.assert_array_equal(moved.faces, simple.faces)
    np.testing.assert_allclose(np.linalg.norm(moved.normals, axis=1), 1, atol=1e-9)
    slope = shape.gradient(moved.vertices)
    np.testing.assert_allclose(moved.normals, slope / np.linalg.norm(slope, axis=1, keepdims=True), atol=1e-6)


def test_what_lies_on_the_level_set_stays():
    shape = Torus(0.5, 0.2)
    full = surface(shape)
    np.testing.assert_allclose(onto_level_set(full, shape.value, shape.gradient).vertices, full.vertices, atol=2e-6)


def test_a_field_that_would_break_the_mesh_moves_it_no_farther_than_is_safe():
    full = surface(Sphere(0.5))
    simple = simplify(full, faces=500).mesh
    rng = np.random.default_rng(0)

    def wild(points):
        return rng.normal(size=points.shape)

    for value in (Sphere(0.2).value, lambda points: np.sin(200 * points).sum(axis=1)):
        assert_sound(onto_level_set(simple, value, wild), full)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_field_that_is_not_finite_moves_nothing(bad):
    simple = simplify(surface(Sphere(0.5)), faces=500).mesh
    moved = onto_level_set(
        simple, lambda points: np.full(len(points), bad), lambda points: np.full((len(points), 3), bad)
    )
    np.testing.assert_array_equal(moved.vertices, simple.vertices)
    np.testing.assert_allclose(np.linalg.norm(moved.normals, axis=1), 1)


def test_a_mesh_without_faces_stays():
    empty = Mesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=np.int64))
    assert onto_level_set(empty, Sphere(0.5).value, Sphere(0.5).gradient) is empty


def test_caps_stay_on_the_walls_and_within_them():
    shape = Sphere(0.7, (0.6, 0.0, 0.0))
    full = surface(shape)
    simple = simplify(full, faces=1200).mesh
    moved = onto_level_set(simple, shape.value, shape.gradient)
    assert_sound(moved, full)
    assert np.abs(moved.vertices).max() == 1.0
    on_wall = moved.vertices[:, 0] == 1.0
    assert on_wall.sum() > 8
    np.testing.assert_allclose(moved.normals[on_wall], np.tile([1.0, 0.0, 0.0], (on_wall.sum(), 1)))
    rim = np.hypot(moved.vertices[on_wall, 1], moved.vertices[on_wall, 2])
    assert rim.max() == pytest.approx(np.sqrt(0.7**2 - 0.4**2), abs=1e-4)
    assert np.quantile(np.abs(shape.value(moved.vertices[~on_wall])), 0.99) < 1e-5


@pytest.mark.parametrize("up", [UP, -UP, np.array([1.0, 2.0, 2.0])])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_flat_base_cuts_the_ball_at_its_height(up, share):
    ball = Sphere(0.6)
    direction = up / np.linalg.norm(up)
    offset = base_offset(surface(ball), up, share)
    assert offset == pytest.approx(-0.6 + share * 1.2, abs=2e-3)
    value, gradient = with_flat_base(ball.value, ball.gradient, up, offset)
    full = extract(value, gradient, resolution=65)
    height = 0.6 + offset
    cut_off = np.pi * height**2 * (3 * 0.6 - height) / 3
    assert signed_volume(full) == pytest.approx(4 / 3 * np.pi * 0.6**3 - cut_off, rel=1e-2)
    mesh = onto_level_set(simplify(full, faces=1500).mesh, value, gradient)
    assert_sound(mesh, full)
    assert euler_characteristic(mesh) == 2
    heights = mesh.vertices @ direction
    assert heights.min() > offset - 2e-3
    assert (np.abs(heights - offset) < 1e-6).sum() > 8
    base = np.abs(heights[mesh.faces] - offset).max(axis=1) < 1e-3
    corners = mesh.vertices[mesh.faces[base]]
    # Marching cubes bevel the crease by up to a cell: the flat part ends short of the circle.
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    radius = np.sqrt(0.6**2 - offset**2)
    assert np.pi * (radius - 1.5 * 2 / 64) ** 2 < area < 1.001 * np.pi * radius**2


def test_a_base_through_a_standing_ring_has_two_feet_and_no_filling():
    ring = Torus(0.5, 0.15)
    full = extract(*with_flat_base(ring.value, ring.gradient, UP, 0.0), resolution=97)
    assert is_watertight(full)
    assert euler_characteristic(full) == 2
    assert signed_volume(full) == pytest.approx(np.pi**2 * 0.5 * 0.15**2, rel=1e-2)


def test_a_base_that_cuts_nothing_off_changes_nothing():
    ball = Sphere(0.6)
    value, gradient = with_flat_base(ball.value, ball.gradient, UP, -0.9)
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (500, 3))
    np.testing.assert_array_equal(value(points), ball.value(points))
    np.testing.assert_array_equal(gradient(points), ball.gradient(points))


def test_a_base_that_makes_no_sense_is_refused():
    ball = surface(Sphere(0.6), 17)
    for share in (-0.1, 1.0, np.nan):
        with pytest.raises(ExportError, match="share"):
            base_offset(ball, UP, share)
    for up in (np.zeros(3), np.array([np.nan, 0.0, 1.0])):
        with pytest.raises(ExportError, match="no length"):
            base_offset(ball, up, 0.1)
    with pytest.raises(ExportError, match="no faces"):
        base_offset(Mesh(ball.vertices, ball.faces[:0]), UP, 0.1)
