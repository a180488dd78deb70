"""Masks' edges: which pixels they are, and how much they count."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dvr_cli.fields.grid import GridField, gradient_buffer
from dvr_cli.fitting.initial import neighbour_views
from dvr_cli.fitting.pixels import pixel_pool
from dvr_cli.fitting.step import EDGE_MEMORY, StepState, accumulate, trust_in_edges
from dvr_cli.kernels.views import DISREGARDED, OBJECT, stack_views
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import sphere
from tests.fitting.tiny_runs import TINY
from tests.kernels.tiny_views import RADIUS, ball_sdf, ball_views


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


def test_disregarded_pixels_are_not_drawn_and_have_no_edges():
    scene, views, _ = synthetic_scene(sphere(RADIUS), views=2, image_size=64)
    disregarded = np.zeros(views[0].image.shape[:2], bool)
    disregarded[:, 31:] = True
    for divisor in (1, 2):
        views[0] = replace(views[0], disregarded=disregarded)
        stack = stack_views(views, scene.unit_from_world, divisor, torch.device("cpu"))
        height, width = int(stack.heights[0]), int(stack.widths[0])
        first = 31 // divisor
        labels = stack.masks[: height * width].reshape(height, width)
        assert (labels[:, first:] == DISREGARDED).all() and (labels[:, :first] <= OBJECT).all()
        pool = pixel_pool(stack, 3)
        of_first = pool.views == 0
        assert pool.pixels[of_first, 0].max() == first - 1
        beside = of_first & (pool.pixels[:, 0] == first - 1)
        assert not pool.at_edge[beside].any() and pool.at_edge[of_first].any()
        assert (stack.masks[height * width :] <= OBJECT).all()


def test_edges_lose_trust_as_more_rays_outside_them_hit():
    """Half at the share that the setting names."""
    state = StepState.at_start(GridField(ball_sdf(24)), TINY)
    trust = []
    for share in (0.0, 0.1, 0.2, 0.4, 1.0):
        state.edge_hits = torch.tensor(share)
        trust.append(float(trust_in_edges(state, 0.2)))
    assert trust[0] == 1
    assert abs(trust[2] - 0.5) < 1e-6
    assert trust == sorted(trust, reverse=True)


@pytest.mark.parametrize(("size", "wants"), [(0.95, 1), (1.05, -1)])
def test_silhouettes_alone_move_the_surface_to_the_masks(size, wants):
    """A step against the gradient lowers the values of a ball that is too small, and raises those of one too large."""
    losses = TINY.losses.model_copy(update={"rgb": 0.0, "photometric": 0.0, "inner_edges": 0.0})
    stack = ball_views()
    pool, neighbours = pixel_pool(stack, 4), neighbour_views(stack, 8)
    field = GridField(ball_sdf(24, size * RADIUS))
    state, settings = StepState.at_start(field, TINY), TINY.model_copy(update={"losses": losses})
    accumulate(field, state, stack, pool, neighbours, settings, TINY.levels[0], torch.Generator().manual_seed(0))
    gradient = wants * gradient_buffer(field.sdf)
    assert gradient.sum() > 0
    assert (gradient < 0).sum() < 0.01 * (gradient > 0).sum()
    assert field.sdf_curvature[gradient > 0].all()


def test_rays_outside_edges_hit_where_the_surface_is_too_wide():
    """None with a ball that is too small, all with one that is too large, remembered with the right weight."""
    stack = ball_views()
    pool, neighbours = pixel_pool(stack, 4), neighbour_views(stack, 8)
    shares = []
    for radius in (0.8 * RADIUS, 1.2 * RADIUS):
        field = GridField(ball_sdf(24, radius))
        state = StepState.at_start(field, TINY)
        state.edge_hits = torch.zeros(())
        generator = torch.Generator().manual_seed(0)
        report = accumulate(field, state, stack, pool, neighbours, TINY, TINY.levels[0], generator)
        assert "edge_hits" not in report
        shares.append(float(state.edge_hits) / (1 - EDGE_MEMORY))
    assert shares[0] == 0
    assert abs(shares[1] - 1) < 1e-5


def test_trust_has_to_be_earned():
    """A level begins with little trust; steps with no ray outside that hits bring it to nearly one."""
    stack = ball_views()
    pool, neighbours = pixel_pool(stack, 4), neighbour_views(stack, 8)
    field = GridField(ball_sdf(24, 0.8 * RADIUS))
    state = StepState.at_start(field, TINY)
    doubt = TINY.losses.edge_doubt
    trust = [float(trust_in_edges(state, doubt))]
    for seed in range(60):
        accumulate(field, state, stack, pool, neighbours, TINY, TINY.levels[0], torch.Generator().manual_seed(seed))
        trust.append(float(trust_in_edges(state, doubt)))
    assert trust[0] < 0.25 and trust[-1] > 0.95 and trust == sorted(trust)


def test_masks_that_agree_pull_harder():
    """The weight with full trust is 1 + exact_masks times the one with none left, for the pull of every wrong ray."""
    stack = ball_views()
    pool, neighbours = pixel_pool(stack, 4), neighbour_views(stack, 8)
    only = TINY.losses.model_copy(update={"photometric": 0.0, "rgb": 0.0})
    pulls = []
    for factor in (0.0, 3.0):
        field = GridField(ball_sdf(24, 0.8 * RADIUS))
        settings = TINY.model_copy(update={"losses": only.model_copy(update={"exact_masks": factor})})
        state = StepState.at_start(field, settings)
        state.edge_hits = torch.zeros(())
        generator = torch.Generator().manual_seed(0)
        accumulate(field, state, stack, pool, neighbours, settings, settings.levels[0], generator)
        pulls.append(float(field.sdf_curvature.sum()))
    assert abs(pulls[1] / pulls[0] - 4) < 1e-3


def test_edges_that_are_right_are_known_but_ask_for_nothing():
    """A ball a little too large: no ray through it misses, so the weight of occupancy cannot ask for anything."""
    stack = ball_views()
    pool, neighbours = pixel_pool(stack, 4), neighbour_views(stack, 8)
    found = []
    for occupancy in (0.0, 1.0, 2.0):
        losses = TINY.losses.model_copy(
            update={"photometric": 0.0, "rgb": 0.0, "inner_edges": 0.0, "occupancy": occupancy}
        )
        settings = TINY.model_copy(update={"losses": losses})
        field = GridField(ball_sdf(48, 1.03 * RADIUS))
        state = StepState.at_start(field, settings)
        accumulate(
            field, state, stack, pool, neighbours, settings, settings.levels[0], torch.Generator().manual_seed(0)
        )
        found.append((gradient_buffer(field.sdf).clone(), field.sdf_curvature.clone()))
    known = [curvature - found[0][1] for _, curvature in found]
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][0], found[2][0])
    assert known[1].sum() > 0
    torch.testing.assert_close(known[2], 2 * known[1], rtol=1e-3, atol=1e-3 * float(known[1].max()))
