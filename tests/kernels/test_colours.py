"""Errors of colours against derivatives of the twin's norm, in double precision."""

import torch

from dvr_cli.kernels.colours import colour_errors
from dvr_cli.kernels.twins.colours import robust_norm
from tests.tolerances import ROUNDING, assert_agree


def test_slopes_are_the_norms_derivatives_and_softness_its_reciprocal():
    g = torch.Generator().manual_seed(0)
    colours, expected = torch.rand(2, 3000, 3, generator=g)
    colours[:500] = expected[:500] + 0.01 * colours[:500]
    found = colour_errors(colours, expected)
    double = colours.double().requires_grad_()
    norm = robust_norm(double, expected.double())
    (slopes,) = torch.autograd.grad(norm.sum(), double)
    assert_agree(found.slopes, slopes, ROUNDING)
    assert_agree(found.softness, 1 / norm.detach(), ROUNDING)
    errors = colours.double() - expected.double()
    assert_agree(found.sums, torch.stack([errors.abs().sum(), errors.square().sum()]), ROUNDING)


def test_no_rays_have_no_errors():
    found = colour_errors(torch.zeros(0, 3), torch.zeros(0, 3))
    assert found.slopes.shape == (0, 3) and found.sums.tolist() == [0, 0]
