"""The checks of a whole mesh mean what they say: manifold or not, on shapes whose answer is known."""

import numpy as np
import pytest

from dvr_cli.scenes.synthetic_shapes import Sphere, Torus
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import is_manifold, is_watertight, singular_vertices

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
CORNERS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def made_of(faces):
    faces = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    return Mesh(np.random.default_rng(0).random((int(faces.max(initial=0)) + 1, 3)), faces)


@pytest.mark.parametrize(
    ("faces", "singular"),
    [
        pytest.param(TETRAHEDRON, [], id="tetrahedron"),
        pytest.param([[0, 1, 2]], [], id="one face"),
        pytest.param([[0, 1, 2], [2, 1, 3]], [], id="an open sheet"),
        pytest.param([[0, 1, 2], [1, 0, 3], [0, 1, 4]], [0, 1], id="three faces on an edge"),
        pytest.param([[0, 1, 2], [0, 3, 4]], [0], id="two fans at a vertex"),
        pytest.param([[0, 1, 1]], [1], id="a face with a vertex twice"),
        pytest.param(np.concatenate([TETRAHEDRON, [[0, 5, 4], [0, 4, 6], [4, 5, 6], [0, 6, 5]]]), [0], id="pinched"),
    ],
)
def test_singular_vertices_are_those_without_a_single_fan(faces, singular):
    mesh = made_of(faces)
    np.testing.assert_array_equal(np.flatnonzero(singular_vertices(mesh)), singular)
    assert is_manifold(mesh) == (not singular)


def test_a_pinched_mesh_is_watertight_all_the_same():
    assert is_watertight(made_of(np.concatenate([TETRAHEDRON, [[0, 5, 4], [0, 4, 6], [4, 5, 6], [0, 6, 5]]])))


@pytest.mark.parametrize("shape", [Sphere(0.6), Torus(0.5, 0.2)])
def test_extracted_surfaces_are_manifold(shape):
    assert is_manifold(extract(shape.value, shape.gradient, resolution=33))


def test_no_faces_is_no_manifold():
    mesh = Mesh(CORNERS, np.zeros((0, 3), dtype=np.int64))
    assert not is_manifold(mesh)
    assert not singular_vertices(mesh).any()
