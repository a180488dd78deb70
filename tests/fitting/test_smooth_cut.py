"""The cut of least area: it respects evidence, forgives noise, closes gaps and prefers no side."""

import pytest
import torch

from dvr_cli.fitting.smooth_cut import smooth_cut
from tests.kernels.tiny_views import ball_sdf

N = 32
EVERYWHERE = torch.ones(N, N, N, dtype=torch.bool)


def test_certain_evidence_is_the_answer():
    inside = ball_sdf(N) < 0
    assert torch.equal(smooth_cut(torch.where(inside, -9.0, 9.0), EVERYWHERE), inside)


def test_single_voices_are_not_heard():
    evidence = torch.where(ball_sdf(N) < 0, -2.0, 2.0)
    expected = smooth_cut(evidence, EVERYWHERE)
    evidence[2, 3, 4], evidence[16, 16, 16] = -2.0, 2.0
    assert torch.equal(smooth_cut(evidence, EVERYWHERE), expected)


def test_gaps_close_flat():
    """A block of which nothing is known in a slab across it."""
    evidence = torch.full((N, N, N), 2.0)
    evidence[6:26, 6:26, 6:26] = -2.0
    expected = evidence < 0
    evidence[14:18] = 0.0
    assert (smooth_cut(evidence, EVERYWHERE) != expected).float().mean() < 0.005


def test_what_is_behind_a_surface_fills_up_to_the_border():
    """Free space, a layer of surface, and beyond it nothing known: no second surface appears there."""
    evidence = torch.zeros(N, N, N)
    evidence[:12], evidence[12:15] = 2.0, -2.0
    found = smooth_cut(evidence, EVERYWHERE)
    assert not found[:12].any() and found[12:].all()


def test_inside_and_outside_are_treated_alike():
    generator = torch.Generator().manual_seed(0)
    evidence = 4 * ball_sdf(N) + 0.5 * torch.randn(N, N, N, generator=generator)
    found, opposite = smooth_cut(evidence, EVERYWHERE), smooth_cut(-evidence, EVERYWHERE)
    assert (found == opposite).float().mean() < 1e-3


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 1, 0)])
def test_axes_are_treated_alike(axes):
    evidence = 4 * ball_sdf(N, 0.5, (0.2, 0.1, -0.1))
    evidence[10:14, 3:20, 5:8] = -3.0
    turned = smooth_cut(evidence.permute(axes).contiguous(), EVERYWHERE)
    assert (turned != smooth_cut(evidence, EVERYWHERE).permute(axes)).float().mean() < 1e-3


def test_nothing_lies_outside_of_the_domain():
    domain = ball_sdf(N, 0.7) < 0
    assert torch.equal(smooth_cut(torch.full((N, N, N), -1.0), domain), domain)
