"""Laws of the ray caster: closed forms on a sphere, wherever it lies and however large it is."""

import numpy as np
import pytest

from dvr_cli.errors import ExportError
from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

SHIFT, SCALE = np.array([5000.0, -300.0, 20.0]), 3.0


@pytest.fixture(scope="module")
def far_ball():
    mesh = extract(Sphere(0.5).value, Sphere(0.5).gradient, resolution=96)
    return Mesh(mesh.vertices * SCALE + SHIFT, mesh.faces)


def test_distance_is_that_of_the_sphere(far_ball):
    offsets = np.random.default_rng(0).normal(size=(200, 3))
    expected = np.abs(np.linalg.norm(offsets, axis=1) - 0.5) * SCALE
    # The polyhedron lies up to 0.6 h^2 / r = 2.7e-4 inside the sphere of unit space.
    np.testing.assert_allclose(RayCaster(far_ball).distance(offsets * SCALE + SHIFT), expected, atol=8.5e-4)


def test_rays_hit_at_the_multiple_of_their_direction(far_ball):
    starts = np.random.default_rng(1).normal(size=(6, 7, 3))
    starts *= 4 / np.linalg.norm(starts, axis=-1, keepdims=True)
    found = RayCaster(far_ball).cast(starts + SHIFT, -0.5 * starts)
    np.testing.assert_allclose(found.t, (4 - 0.5 * SCALE) / 2, atol=4.2e-4)
    corners = far_ball.vertices[far_ball.faces[found.face]]
    points = starts + SHIFT - 0.5 * found.t[..., None] * starts
    np.testing.assert_allclose(np.einsum("...k,...ki->...i", found.weights, corners), points, atol=1e-5)


def test_miss_is_told(far_ball):
    found = RayCaster(far_ball).cast(np.array([[0.0, 0, 0]]), np.array([[0.0, 1, 0]]))
    assert np.isinf(found.t).all() and (found.face == -1).all()


def test_mesh_without_faces_is_refused():
    with pytest.raises(ExportError, match="no faces"):
        RayCaster(Mesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=np.int64)))
