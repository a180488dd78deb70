"""Patch NCC between views as a differentiable function of the hit distance."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.fields.protocol import Field
from dvr_cli.kernels.bends import bends_of, points_around
from dvr_cli.kernels.patches import Comparison, patch_ncc
from dvr_cli.kernels.rows import rows_of
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.kernels.worth import prefer_better, weigh
from dvr_cli.rendering.surface import Surface


@dataclass(frozen=True)
class Guesses:
    """Other patches to try, one per ray; see `kernels.worth`."""

    offsets: Float[Tensor, "h"]
    """Distances along the ray from the surface."""
    normals: Float[Tensor, "h 3"]
    longest_pull: float
    """A ray is pulled towards a better patch, but by no more than this."""
    allowed: Bool[Tensor, "h"] | None = None
    """Rays that may try theirs; None: all."""


def with_slope(variable: Tensor, slope: Tensor, loss: Tensor | None = None) -> Tensor:
    """A loss whose derivative with respect to a variable, `slope`, is already known; zero if its value does not count.

    One number, or as many as `loss` has; then each depends on its own part of the variable.
    """
    return _WithSlope.apply(variable, slope, variable.new_zeros(()) if loss is None else loss)


class _WithSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, variable: Tensor, slope: Tensor, loss: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, loss_gradient: Tensor) -> tuple[Tensor, None, None]:
        return loss_gradient * ctx.saved_tensors[0], None, None


def photometric_loss(
    stack: ViewArrays,
    ray_views: Int[Tensor, "h"],
    ray_pixels: Int[Tensor, "h 2"],
    directions: Float[Tensor, "h 3"],
    t: Float[Tensor, "h"],
    normals: Float[Tensor, "h 3"],
    bends: Float[Tensor, "h 2"],
    sources: Int[Tensor, "h s"],
    *,
    keep: int,
    radius: int,
    noise: float,
    agreement: float,
    guesses: Guesses | None = None,
) -> tuple[Float[Tensor, "h"], Float[Tensor, "h"]]:
    """(1 - NCC per ray, its curvature with respect to t); the loss is differentiable with respect to t alone.

    Zero, with zero curvature, where no source view can be compared. See `kernels.patches` for the mathematics.

    Slope and curvature are weighted by what a comparison is worth; with `guesses` each ray also tries a patch
    elsewhere. See `kernels.worth`.
    """

    def compare(*rays: Tensor) -> Comparison:
        return patch_ncc(stack, *rays, keep=keep, radius=radius, noise=noise)

    here = t.detach()
    found = compare(ray_views, ray_pixels, directions, here, normals, bends, sources)
    bound = weigh(found, agreement)
    if guesses is not None:
        # No loss is below zero: what matches well need not be tried elsewhere.
        may = bound > 0 if guesses.allowed is None else guesses.allowed & (bound > 0)
        tried = may.nonzero().squeeze(1)
        elsewhere = [ray_views, ray_pixels, directions, here + guesses.offsets, guesses.normals, bends, sources]
        other = compare(*rows_of(elsewhere, tried))
        prefer_better(found, bound, tried, guesses.offsets, other, agreement, guesses.longest_pull)
    return with_slope(t, found.slope, found.loss), found.curvature


def surface_bends(
    field: Field,
    stack: ViewArrays,
    ray_views: Int[Tensor, "h"],
    ray_pixels: Int[Tensor, "h 2"],
    surface: Surface,
    directions: Float[Tensor, "h 3"],
    reach: float,
) -> Float[Tensor, "h 2"]:
    """How far, in t per squared pixel, the surface lies behind its tangent plane along a pixel's x and y.

    A planar patch on a convex surface fits best a little inside it (0.04 % of the diagonal on a statue at 640 pixels),
    so patches are bent by the field's second differences over `reach` (unit-space length) in the tangent plane.
    """
    points, normals = surface.points.detach(), surface.normals.detach()
    asked, lengths = points_around(stack, ray_views, ray_pixels, points, normals, reach)
    with torch.no_grad():
        values = field.value(asked.reshape(-1, 3)).reshape(-1, asked.shape[1])
    return bends_of(values, lengths, normals, directions, reach)
