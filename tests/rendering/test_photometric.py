"""The photometric loss is differentiable with respect to t alone, with the slope that the kernel gives."""

import torch

from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.rendering.photometric import photometric_loss
from tests.kernels.tiny_views import PLANE_NORMAL, plane_views


def arguments():
    stack = plane_views()
    pixels = torch.tensor([[20, 20], [30, 32], [40, 25], [1, 1]], dtype=torch.int32)
    views = torch.zeros(4, dtype=torch.int32)
    origins, directions = stack.rays(views, pixels)
    normals = torch.tensor(PLANE_NORMAL).float().expand(4, 3).contiguous()
    t = 0.04 - (origins * normals).sum(dim=1) / (directions * normals).sum(dim=1)
    sources = torch.tensor([1, 2, 3, 4], dtype=torch.int32).expand(4, 4).contiguous()
    options = {"keep": 2, "radius": 3, "noise": 0.01}
    return (stack, views, pixels, directions), t, (normals, torch.zeros(4, 2), sources), options


def test_gradient_of_the_loss_is_the_kernels_slope():
    before, t, after, options = arguments()
    variable = t.clone().requires_grad_()
    loss, curvature = photometric_loss(*before, variable, *after, **options)
    expected_loss, slope, expected_curvature = patch_ncc(*before, t, *after, **options)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])
    (loss * weights).sum().backward()
    assert torch.equal(loss.detach(), expected_loss)
    assert torch.equal(curvature, expected_curvature)
    assert torch.equal(variable.grad, weights * slope)
    assert torch.all(slope[:3] != 0)


def test_rays_that_cannot_be_compared_have_no_gradient():
    before, t, after, options = arguments()
    variable = t.clone().requires_grad_()
    loss, curvature = photometric_loss(*before, variable, *after, **options)
    loss.sum().backward()
    assert loss[3] == 0
    assert curvature[3] == 0
    assert variable.grad[3] == 0
