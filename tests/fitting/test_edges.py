"""Masks' edges: which pixels they are, and how much they count."""

from itertools import pairwise

import torch

from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.pixels import pixel_pool
from dvr_cli.fitting.step import StepState, trust_in_edges
from tests.fitting.tiny_runs import TINY
from tests.kernels.tiny_views import ball_sdf, ball_views


def test_edges_are_where_a_neighbour_differs():
    stack = ball_views()
    pool = pixel_pool(stack, 4)
    width, height = int(stack.widths[0]), int(stack.heights[0])
    mask = stack.masks[: width * height].reshape(height, width) > 0
    in_view = pool.views == 0
    found = 0
    for (x, y), at_edge in zip(pool.pixels[in_view].tolist(), pool.at_edge[in_view].tolist(), strict=True):
        around = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]
        inside_image = [(a, b) for a, b in around if 0 <= a < width and 0 <= b < height]
        assert at_edge == any(mask[b, a] != mask[y, x] for a, b in inside_image)
        found += at_edge
    assert 40 < found < in_view.sum()


def test_edges_lose_trust_as_more_rays_outside_them_hit():
    """Half at the share that the setting names; rays within the mask and off its edge have no part in it."""
    state = StepState.at_start(GridField(ball_sdf(24)), TINY)
    at_edge = torch.tensor([True] * 10 + [False] * 5)
    is_object = torch.tensor([False] * 5 + [True] * 5 + [False] * 5)
    hit = torch.tensor([True, False, False, False, False] + [True] * 10)
    trust = [float(trust_in_edges(state, hit, is_object, at_edge, 0.2)) for _ in range(200)]
    assert all(later < earlier for earlier, later in pairwise(trust[:100]))
    assert abs(float(state.edge_hits) - 0.2) < 1e-4
    assert abs(trust[-1] - 0.5) < 1e-3
    misses = torch.zeros_like(hit)
    assert trust_in_edges(state, misses, is_object, at_edge, 0.2) > trust[-1]


def test_without_edges_there_is_no_doubt():
    state = StepState.at_start(GridField(ball_sdf(24)), TINY)
    nothing = torch.zeros(4, dtype=torch.bool)
    assert trust_in_edges(state, ~nothing, ~nothing, nothing, 0.1) == 1
