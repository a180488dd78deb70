"""Distances to the boundary of a set of vertices: against the twin, which looks at all there are."""

import pytest
import torch

from dvr_cli.kernels.distances import signed_distance
from dvr_cli.kernels.twins import distances as twins


@pytest.mark.parametrize("n", [5, 10, 16])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.97])
@pytest.mark.parametrize("part", [slice(None), slice(3, 7), slice(0, 5), slice(-1, None)])
def test_every_vertex_has_the_distance_to_the_nearest_of_the_other_kind(n, share, part):
    """Also where the set touches walls, fills the grid or is a speck."""
    inside = torch.zeros(n, n, n, dtype=torch.bool)
    generator = torch.Generator().manual_seed(5)
    inside[part, part] = torch.rand(inside[part, part].shape, generator=generator) < share
    inside[n - 1, n - 1, 4] = True
    torch.testing.assert_close(signed_distance(inside).double(), twins.signed_distance(inside), atol=1e-6, rtol=1e-6)


def test_the_one_vertex_that_differs_is_found_from_everywhere():
    inside = torch.ones(12, 12, 12, dtype=torch.bool)
    inside[2, 11, 7] = False
    for kind in (inside, ~inside):
        torch.testing.assert_close(signed_distance(kind).double(), twins.signed_distance(kind), atol=1e-6, rtol=1e-6)


def test_nothing_is_nowhere_near():
    nothing = torch.zeros(4, 4, 4, dtype=torch.bool)
    assert torch.equal(signed_distance(nothing), torch.ones(4, 4, 4))
    assert (signed_distance(~nothing) < -2).all()
