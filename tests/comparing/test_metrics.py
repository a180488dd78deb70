"""Laws of the metrics: identity, offset, symmetry, scale, and what a missing half does."""

from dataclasses import asdict

import numpy as np
import pytest

from dvr_cli.comparing.metrics import distance_to_shape, sample_surface, surface_distance
from dvr_cli.errors import ExportError
from dvr_cli.scenes.synthetic import random_similarity
from dvr_cli.scenes.synthetic_shapes import Sphere, demo_shape
from dvr_cli.surfaces.cleaning import keep_faces
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh

NOTHING = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


def ball(radius):
    return extract(Sphere(radius).value, Sphere(radius).gradient, resolution=64)


def distance(mesh, reference, **options):
    return surface_distance(mesh, reference, 20_000, np.random.default_rng(0), **options)


def test_distance_to_itself_is_zero():
    found = distance(ball(0.5), ball(0.5))
    assert found.chamfer < 1e-6
    assert found.f_score == found.precision == found.recall == 1


@pytest.mark.parametrize("offset", [0.01, 0.04])
def test_concentric_spheres_are_their_difference_apart(offset):
    found = distance(ball(0.5 + offset), ball(0.5))
    # Both are polyhedra that cut up to h^2 / 8r = 2.5e-4 off their spheres.
    assert found.accuracy == pytest.approx(offset, abs=2e-4)
    assert found.completeness == pytest.approx(offset, abs=2e-4)
    assert distance(ball(0.5 + offset), ball(0.5), threshold=1.1 * offset).f_score == 1
    assert distance(ball(0.5 + offset), ball(0.5), threshold=0.9 * offset).f_score == 0


def test_swapping_swaps_accuracy_and_completeness():
    shape = demo_shape()
    mesh, reference = extract(shape.value, shape.gradient, resolution=32), ball(0.5)
    forth, back = distance(mesh, reference, threshold=0.05), distance(reference, mesh, threshold=0.05)
    assert forth.accuracy == pytest.approx(back.completeness, rel=0.01)
    assert forth.chamfer == pytest.approx(back.chamfer, rel=0.01)
    assert forth.f_score == pytest.approx(back.f_score, abs=0.01)


def test_similarity_scales_lengths_and_leaves_shares():
    world_from_unit = random_similarity(np.random.default_rng(1))
    scale = np.cbrt(np.linalg.det(world_from_unit[:3, :3]))
    here = distance(ball(0.52), ball(0.5), threshold=0.02)
    there = distance(
        to_world(ball(0.52), world_from_unit), to_world(ball(0.5), world_from_unit), threshold=0.02 * scale
    )
    assert there.chamfer == pytest.approx(scale * here.chamfer, rel=1e-3)
    assert there.accuracy == pytest.approx(scale * here.accuracy, rel=1e-3)
    assert there.f_score == pytest.approx(here.f_score, abs=0.02)
    # The diagonal of a bounding box along the axes is the only thing that a rotation may change.
    assert asdict(there).keys() == asdict(here).keys()


def test_missing_half_costs_completeness_only():
    whole = ball(0.5)
    half = keep_faces(whole, whole.vertices[whole.faces].mean(axis=1)[:, 0] > 0)
    found = distance(half, whole)
    assert found.accuracy < 1e-6 and found.precision == 1
    assert found.recall == pytest.approx(0.5, abs=0.02)
    assert found.completeness > 0.05


def test_samples_are_uniform_by_area():
    """A large and a small triangle, area 8 to 1."""
    vertices = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [9, 0, 0], [10, 0, 0], [9, 2, 0]], dtype=np.float64)
    mesh = Mesh(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
    points, faces = sample_surface(mesh, 9000, np.random.default_rng(0))
    assert (faces == 1).sum() == pytest.approx(1000, abs=2)
    np.testing.assert_allclose(points[faces == 0].mean(axis=0), [4 / 3, 4 / 3, 0], atol=0.05)
    assert (points[faces == 0][:, :2].sum(axis=1) <= 4 + 1e-12).all() and (points >= 0).all()


def test_distance_to_shape_is_signed_and_in_world_units():
    world_from_unit = random_similarity(np.random.default_rng(2))
    scale = np.cbrt(np.linalg.det(world_from_unit[:3, :3]))
    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for radius in (0.3, 0.5, 0.8):
        points = radius * directions @ world_from_unit[:3, :3].T + world_from_unit[:3, 3]
        found = distance_to_shape(points, Sphere(0.5).value, np.linalg.inv(world_from_unit))
        np.testing.assert_allclose(found, (radius - 0.5) * scale, atol=1e-9)


@pytest.mark.parametrize("empty_first", [True, False])
def test_empty_mesh_is_refused(empty_first):
    pair = (NOTHING, ball(0.5)) if empty_first else (ball(0.5), NOTHING)
    with pytest.raises(ExportError, match="no faces"):
        distance(*pair)


def test_flat_mesh_is_refused():
    with pytest.raises(ExportError, match="no area"):
        sample_surface(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])), 10, np.random.default_rng(0))
