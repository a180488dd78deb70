"""Laws of finding where a mesh passes through itself, on shapes whose answer is known."""

import numpy as np
import pytest

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.simplifying.crossings import crossings

TRIANGLE = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def with_needle(tip, root):
    """A triangle in the plane z = 0 and a thin one from `tip` to `root`."""
    needle = np.array([tip, root, [root[0] + 0.01, root[1], root[2]]])
    return Mesh(np.concatenate([TRIANGLE, needle]), np.array([[0, 1, 2], [3, 4, 5]]))


@pytest.mark.parametrize(
    ("tip", "root", "found"),
    [
        pytest.param((0.2, 0.2, -0.5), (0.2, 0.2, 0.5), 2, id="through"),
        pytest.param((0.2, 0.2, 0.1), (0.2, 0.2, 0.5), 0, id="above"),
        pytest.param((2.2, 0.2, -0.5), (2.2, 0.2, 0.5), 0, id="beside"),
        pytest.param((0.7, 0.7, -0.5), (0.7, 0.7, 0.5), 0, id="past the slanted side"),
        pytest.param((3.0, 0.0, 0.0), (4.0, 0.0, 0.0), 0, id="in the same plane"),
    ],
)
def test_a_needle_through_a_triangle_is_found(tip, root, found):
    mesh = with_needle(tip, root)
    for chosen in (None, np.array([True, False]), np.array([False, True])):
        edges, faces = crossings(mesh, chosen)
        assert len({(*edge, face) for edge, face in zip(edges.tolist(), faces.tolist(), strict=True)}) == found
        assert set(faces.tolist()) == ({0} if found else set())


def test_neighbours_do_not_cross_and_no_faces_have_no_crossings():
    assert len(crossings(Mesh(TRIANGLE, np.array([[0, 1, 2], [2, 1, 0]])))[0]) == 0
    assert len(crossings(Mesh(TRIANGLE, np.zeros((0, 3), dtype=np.int64)))[0]) == 0
