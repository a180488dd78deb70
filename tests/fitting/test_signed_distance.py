"""The distance to the boundary of a set of vertices, against all distances there are."""

import numpy as np
import pytest

from dvr_cli.fitting.initial import signed_distance


def nearest(places, others):
    return np.linalg.norm(places[:, None] - others[None], axis=2).min(axis=1)


@pytest.mark.parametrize("share", [0.02, 0.4, 0.97])
@pytest.mark.parametrize("part", [slice(None), slice(3, 7), slice(0, 5), slice(9, 10)])
def test_every_vertex_has_the_distance_to_the_nearest_of_the_other_kind(share, part):
    """Also where the set touches walls, fills the grid or is a speck."""
    n = 10
    inside = np.zeros((n, n, n), dtype=bool)
    inside[part, part] = np.random.default_rng(5).random(inside[part, part].shape) < share
    inside[n - 1, n - 1, 4] = True
    found = signed_distance(inside) * (n - 1) / 2
    within, without = np.argwhere(inside), np.argwhere(~inside)
    np.testing.assert_allclose(found[inside], 0.5 - nearest(within, without), atol=1e-5)
    np.testing.assert_allclose(found[~inside], nearest(without, within) - 0.5, atol=1e-5)


def test_nothing_is_nowhere_near():
    np.testing.assert_array_equal(signed_distance(np.zeros((4, 4, 4), dtype=bool)), 1)
