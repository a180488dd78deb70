"""Rays along the edges of masks: against the twin, and what must hold of a photographed sphere."""

from dataclasses import replace

import pytest
import torch

from dvr_cli.fitting.rims import rim_pixels
from dvr_cli.kernels.rims import graze
from dvr_cli.kernels.twins import rims as twins
from dvr_cli.kernels.twins.cameras import in_double
from dvr_cli.kernels.views import BACKGROUND, DISREGARDED, OBJECT, UNKNOWN
from tests.kernels.tiny_views import RADIUS

STEP = 1 / 64
PIXEL = 3.9 / (1.75 * 96)
"""Of the sphere's photographs, in unit space, at the farthest camera's distance."""


@pytest.fixture(scope="module")
def rims(ball):
    views, pixels = rim_pixels(ball)
    return views[::20].contiguous(), pixels[::20].contiguous()


@pytest.mark.parametrize("label", [OBJECT, UNKNOWN, DISREGARDED])
def test_graze_agrees_with_the_twin(ball, rims, label):
    masks = ball.masks.clone()
    begin, end = int(ball.starts[3]), int(ball.starts[5])
    masks[begin:end] = torch.where(masks[begin:end] == OBJECT, label, masks[begin:end])
    stack = replace(ball, masks=masks)
    lengths, points = graze(stack, *rims, STEP)
    expected_lengths, expected_points = twins.graze(in_double(stack), *rims, STEP)
    assert (lengths > 0).float().mean() > 0.9
    # A place that rounding puts on either side of a mask's edge changes a length by a step.
    same = (lengths - expected_lengths).abs() < 1e-5
    assert same.float().mean() > 0.98
    some = same & (lengths > 0)
    torch.testing.assert_close(points[some].double(), expected_points[some], atol=1e-5, rtol=0)


def test_points_lie_on_the_sphere(ball, rims):
    lengths, points = graze(ball, *rims, STEP)
    touching = (lengths > 0) & (lengths < 0.3)
    error = (points[touching].norm(dim=1) - RADIUS).abs()
    assert touching.float().mean() > 0.6
    assert error.median() < 0.4 * PIXEL
    assert error.max() < 1.5 * PIXEL


def test_no_ray_touches_more_than_the_sphere_and_what_masks_leave_around_it(ball, rims):
    """A ray at a depth below the surface is inside for 2 sqrt(2 r depth), and masks are a pixel too wide at most."""
    lengths, _ = graze(ball, *rims, STEP)
    assert lengths.median() < 2 * (2 * RADIUS * 1.5 * PIXEL) ** 0.5


def test_an_empty_mask_leaves_nothing_of_any_other_ray(ball, rims):
    masks = ball.masks.clone()
    masks[: int(ball.starts[1])] = BACKGROUND
    lengths, _ = graze(replace(ball, masks=masks), *rims, STEP)
    views = rims[0]
    # But where that view does not look.
    assert (lengths[views > 0] == 0).float().mean() > 0.9
    assert (lengths[views == 0] > 0).any()


def test_what_is_not_known_cuts_nothing_off(ball, rims):
    """With all other masks unknown a ray touches all along the cube."""
    masks = torch.full_like(ball.masks, UNKNOWN)
    masks[: int(ball.starts[1])] = ball.masks[: int(ball.starts[1])]
    own = rims[0] == 0
    lengths, _ = graze(replace(ball, masks=masks), rims[0][own], rims[1][own].contiguous(), STEP)
    assert (lengths > 1.8).all()
