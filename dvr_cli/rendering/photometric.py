"""Patch NCC between views as a differentiable function of the hit distance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.views import ViewArrays


class _WithSlope(torch.autograd.Function):
    """A loss whose derivative with respect to t is already known."""

    @staticmethod
    def forward(ctx, t: Tensor, loss: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return loss.clone()

    @staticmethod
    def backward(ctx, loss_gradient: Tensor) -> tuple[Tensor, None, None]:
        return loss_gradient * ctx.saved_tensors[0], None, None


def photometric_loss(
    stack: ViewArrays,
    ray_views: Int[Tensor, "h"],
    ray_pixels: Int[Tensor, "h 2"],
    directions: Float[Tensor, "h 3"],
    t: Float[Tensor, "h"],
    normals: Float[Tensor, "h 3"],
    sources: Int[Tensor, "h s"],
    *,
    keep: int,
    radius: int,
    noise: Float[Tensor, "h"],
) -> tuple[Float[Tensor, "h"], Float[Tensor, "h"]]:
    """(1 - NCC per ray, its curvature with respect to t); the loss is differentiable with respect to t alone.

    Zero, with zero curvature, where no source view can be compared. See `kernels.patches` for the mathematics.
    """
    loss, slope, curvature = patch_ncc(
        stack, ray_views, ray_pixels, directions, t.detach(), normals, sources, keep=keep, radius=radius, noise=noise
    )
    return _WithSlope.apply(t, loss, slope), curvature
