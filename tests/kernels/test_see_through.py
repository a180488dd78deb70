"""Which views see a place, and which see through it: against the twin, and on a sphere in a larger one."""

import torch

from dvr_cli.fitting.initial import empty_maps, mask_pixels, places_on
from dvr_cli.kernels.see_through import see_through
from dvr_cli.kernels.twins import see_through as twins
from dvr_cli.kernels.twins.cameras import in_double
from dvr_cli.kernels.views import ViewArrays
from tests.kernels.tiny_views import RADIUS, ball_hit

STEP = 3
LIMITS = {"near": 0.05, "behind": 0.1}


def map_of(ball: ViewArrays, radius: float) -> torch.Tensor:
    """Distances to a sphere about the same centre along every third pixel's ray, 0 off it."""
    views, pixels = mask_pixels(ball, STEP)
    origins, directions = ball.rays(views, pixels)
    scale = RADIUS / radius
    t, hit = ball_hit(scale * origins, directions)
    maps = empty_maps(ball, STEP)
    maps.t_map[places_on(maps, ball, views, pixels)] = torch.where(hit, t / scale, 0)
    return maps.t_map


def points_on(radius: float) -> torch.Tensor:
    towards = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    return radius * torch.nn.functional.normalize(towards, dim=1)


def test_counts_agree_with_the_twin(ball):
    starts, entries = empty_maps(ball, STEP).starts, map_of(ball, 0.55)
    depths = torch.where(torch.rand(len(entries), generator=torch.Generator().manual_seed(1)) < 0.5, entries + 0.2, 0)
    maps = [entries, depths, points_on(0.55)]
    found = see_through(ball, starts, STEP, *maps, **LIMITS)
    expected = twins.see_through(in_double(ball), starts, STEP, *(each.double() for each in maps), **LIMITS)
    for one, other in zip(found, expected, strict=True):
        assert one.max() > 3
        assert (one != other).float().mean() < 0.01  # a point on the line between two pixels may fall into either


def test_views_on_one_side_see_a_place_and_through_it(ball):
    """Most of those whose direction lies within 60 degrees of the normal, and none behind the horizon."""
    starts, entries, depths = empty_maps(ball, STEP).starts, map_of(ball, 0.55), map_of(ball, 0.4)
    points = points_on(0.55)
    seen, through = see_through(ball, starts, STEP, entries, depths, points, **LIMITS)
    directions = torch.nn.functional.normalize(ball.centres[None] - points[:, None], dim=2)
    cosines = (directions * points[:, None] / 0.55).sum(dim=2)
    assert (seen >= 0.9 * (cosines > 0.5).sum(dim=1)).float().mean() > 0.95
    assert (seen <= (cosines > -0.1).sum(dim=1)).all()
    assert (through <= seen).all()
    # Towards the rim of the larger sphere rays miss the smaller one.
    assert (through >= 0.9 * (cosines > 0.8).sum(dim=1)).float().mean() > 0.9


def test_depth_that_is_not_well_behind_is_not_through(ball):
    starts, entries = empty_maps(ball, STEP).starts, map_of(ball, 0.55)
    for depths in (torch.zeros_like(entries), entries, entries + 0.04):
        seen, through = see_through(ball, starts, STEP, entries, depths, points_on(0.55), **LIMITS)
        assert seen.max() > 3
        assert (through == 0).all()


def test_no_points(ball):
    maps = empty_maps(ball, STEP)
    seen, through = see_through(ball, maps.starts, STEP, maps.t_map, maps.t_map, torch.zeros(0, 3), **LIMITS)
    assert len(seen) == len(through) == 0
