"""Depths that each view sees through another place of the hull go; what is missing from the hull stays missing."""

import pytest
import torch

from dvr_cli.config import Start
from dvr_cli.fitting.initial import DepthMaps, empty_maps, mask_pixels, neighbour_views, places_on
from dvr_cli.fitting.mirror_images import without_mirror_images
from dvr_cli.kernels.hull import confirm
from tests.kernels.tiny_views import RADIUS, ball_hit, ball_sdf, ball_views

N = 64
STEP = 2
START = Start(voxels=N, see_through=0.25)
LAMP = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8]), dim=0)
IMAGE = RADIUS / 2 * LAMP
"""Where a mirror ball shows a lamp that is far away, half its radius below the surface."""
SIZE = 0.08


@pytest.fixture(scope="module")
def ball():
    return ball_views(30)


def rays_of(ball):
    views, pixels = mask_pixels(ball, STEP)
    return views, pixels, *ball.rays(views, pixels)


def maps_of(ball, views, pixels, t) -> DepthMaps:
    maps = empty_maps(ball, STEP)
    maps.t_map[places_on(maps, ball, views, pixels)] = t
    return maps


def mirrored(ball) -> DepthMaps:
    """The lamp's image in all views from which the ball shows it, up to 70 degrees from the lamp, and nothing else."""
    views, pixels, origins, directions = rays_of(ball)
    along = ((IMAGE - origins) * directions).sum(dim=1)
    across = (IMAGE - origins - along[:, None] * directions).norm(dim=1)
    towards = torch.nn.functional.normalize(ball.centres, dim=1)
    shown = (towards @ LAMP > 0.34)[views.long()]
    return maps_of(ball, views, pixels, torch.where((across < SIZE) & shown, along, 0))


def test_a_lamps_image_in_a_ball_is_confirmed_but_does_not_count(ball):
    views, pixels, *_ = rays_of(ball)
    depth = mirrored(ball)
    t = depth.t_map[places_on(depth, ball, views, pixels)]
    agree = confirm(ball, neighbour_views(ball, 8), depth.starts, STEP, views, pixels, t, depth.t_map, 0.05)
    assert (t > 0).sum() > 100
    assert (agree[t > 0] >= 2).float().mean() > 0.95
    left = without_mirror_images(depth, ball, ball_sdf(N, RADIUS), START).t_map
    assert (left > 0).sum() < 0.05 * (depth.t_map > 0).sum()


def test_what_all_views_see_through_counts(ball):
    """A hull a tenth larger all around than the object, of which every fifth pixel shows no depth."""
    views, pixels, origins, directions = rays_of(ball)
    t, hit = ball_hit(origins, directions)
    known = hit & (torch.rand(len(t), generator=torch.Generator().manual_seed(0)) < 0.8)
    depth = maps_of(ball, views, pixels, torch.where(known, t, 0))
    left = without_mirror_images(depth, ball, ball_sdf(N, RADIUS + 0.2), START).t_map
    assert (left > 0).sum() > 0.99 * (depth.t_map > 0).sum()


def test_depth_near_the_hull_counts_however_few_have_any(ball):
    views, pixels, origins, directions = rays_of(ball)
    t, hit = ball_hit(origins, directions)
    known = hit & (torch.rand(len(t), generator=torch.Generator().manual_seed(0)) < 0.05)
    depth = maps_of(ball, views, pixels, torch.where(known, t, 0))
    assert torch.equal(without_mirror_images(depth, ball, ball_sdf(N, RADIUS), START).t_map, depth.t_map)


def test_without_a_share_to_ask_for_all_count(ball):
    depth = mirrored(ball)
    left = without_mirror_images(depth, ball, ball_sdf(N, RADIUS), START.model_copy(update={"see_through": 0.0}))
    assert torch.equal(left.t_map, depth.t_map)
    empty = without_mirror_images(empty_maps(ball, STEP), ball, ball_sdf(N, RADIUS), START)
    assert (empty.t_map == 0).all()
