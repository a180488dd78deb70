"""Points that silhouettes alone fix: how sure they are, and when there are none."""

from dataclasses import replace

import pytest
import torch

from dvr_cli.fitting.depth_targets import together
from dvr_cli.fitting.rims import rim_pixels, rim_targets
from dvr_cli.kernels.views import BACKGROUND, OBJECT
from tests.kernels.tiny_views import RADIUS, ball_views

LONGER = 0.3


@pytest.fixture(scope="module")
def ball():
    """With so few and coarse views rays touch longer than in photographs: `LONGER`."""
    return ball_views(24, 128)


def test_exact_masks_give_points_that_are_as_near_as_they_say(ball):
    found = rim_targets(ball, LONGER)
    share = (found.points.norm(dim=1) - RADIUS) / found.spreads
    assert len(found.points) > 1000
    assert len(found.pair_points) == 0
    assert 0.3 < share.square().mean().sqrt() < 1.2
    assert (share.abs() < 4).all()


def test_most_of_the_surface_is_near_a_point(ball):
    towards = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    nearest = torch.cdist(RADIUS * towards, rim_targets(ball, LONGER).points).min(dim=1).values
    assert (nearest < 0.05).float().mean() > 0.9


def test_masks_that_contradict_each_other_by_two_pixels_give_none(ball):
    masks = ball.masks.clone()
    for view in range(0, ball.count, 2):
        start, height, width = int(ball.starts[view]), int(ball.heights[view]), int(ball.widths[view])
        image = masks[start : start + height * width].reshape(height, width)
        narrow = image.clone()
        for shift in ((0, 2), (0, -2), (2, 0), (-2, 0)):
            narrow &= image.roll(shift, dims=(0, 1))
        image.copy_(narrow)
    assert rim_targets(replace(ball, masks=masks)) is None


def test_few_views_give_none():
    assert rim_targets(ball_views(7, 96)) is None


@pytest.mark.parametrize("label", [OBJECT, BACKGROUND])
def test_masks_without_an_edge_give_none(ball, label):
    assert rim_targets(replace(ball, masks=torch.full_like(ball.masks, label))) is None


def test_rims_are_the_last_pixels_before_the_background(ball):
    views, pixels = rim_pixels(ball)
    place = ball.pixel_index(views, pixels)
    assert (ball.masks[place] == OBJECT).all()
    width = ball.widths[views.long()].long()
    around = torch.stack(
        [ball.masks[place + step] for step in (1, -1)] + [ball.masks[place + s * width] for s in (1, -1)]
    )
    assert (around == BACKGROUND).any(dim=0).all()


def test_points_of_two_kinds_are_put_together(ball):
    found = rim_targets(ball, LONGER)
    seen = replace(found, pair_views=torch.tensor([3]).int(), pair_points=torch.tensor([7]).int())
    both = together(seen, seen)
    assert both.points.shape == (2 * len(found.points), 3)
    assert both.pair_points.tolist() == [7, 7 + len(found.points)]
    assert both.pair_views.tolist() == [3, 3]
    assert torch.equal(both.points[both.pair_points[1].long()], found.points[7])
