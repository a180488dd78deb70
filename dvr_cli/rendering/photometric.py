"""Patch NCC between views as a differentiable function of the hit distance."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.fields.protocol import Field
from dvr_cli.kernels.bends import bends_of, points_around
from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.rows import rows
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.rendering.surface import Surface

LEAD = 0.15
"""By how much another depth must match better than the surface's own."""
GOOD = 0.3
"""1 - NCC below which another depth counts at all."""
MOST_TRUST = 2.0
"""No match counts more than this: a highlight that moves with the camera matches as well as texture does."""


def bound_to_beat(loss: Float[Tensor, "h"], curvature: Float[Tensor, "h"]) -> Float[Tensor, "h"]:
    """1 - NCC below which a patch elsewhere matches clearly better; curvature 0 where nothing could be compared."""
    return (torch.where(curvature > 0, loss, 1.0) - LEAD).clamp(max=GOOD)


@dataclass(frozen=True)
class Guesses:
    """Other patches to try, one per ray (random guesses as in PatchMatch: Barnes et al., 2009; Bleyer et al., 2011)."""

    offsets: Float[Tensor, "h"]
    """Distances along the ray from the surface."""
    normals: Float[Tensor, "h 3"]
    longest_pull: float
    """A ray is pulled towards a better patch, but by no more than this."""


def with_slope(variable: Tensor, loss: Tensor, slope: Tensor) -> Tensor:
    """A loss whose derivative with respect to a variable, `slope`, is already known."""
    return _WithSlope.apply(variable, loss, slope)


class _WithSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, variable: Tensor, loss: Tensor, slope: Tensor) -> Tensor:
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

    Slope and curvature are weighted by what a comparison is worth, as in iteratively reweighted least squares. Two
    patches of one signal with noise correlate by signal over signal plus noise, so NCC / (1 - NCC) is the signal in
    units of the noise. And a ray counts half where its two source views want surfaces `agreement` apart.

    NCC sees a pixel or two far. With `guesses` each ray also tries a patch elsewhere; where that matches clearly
    better, the ray is pulled there with the curvature found there.
    """

    def compare(rays: Tensor | None, at: Tensor, facing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def of(values: Tensor) -> Tensor:
            return values if rays is None else rows(values, rays)

        loss, slope, curvature, discord = patch_ncc(
            stack, of(ray_views), of(ray_pixels), of(directions), at, facing, of(bends), of(sources),
            keep=keep, radius=radius, noise=noise,
        )  # fmt: skip
        agreeing = 1 / (1 + (discord / agreement).square())
        return loss, agreeing * slope, agreeing * curvature

    loss, slope, curvature = compare(None, t.detach(), normals)
    trust = ((1 - loss) / loss.clamp(min=1e-6)).clamp(max=MOST_TRUST)
    slope, curvature = trust * slope, trust * curvature
    if guesses is not None:
        bound = bound_to_beat(loss, curvature)
        # No loss is below zero: what matches well need not be tried elsewhere.
        tried = (bound > 0).nonzero().squeeze(1)
        offsets = rows(guesses.offsets, tried)
        other_t = rows(t.detach(), tried) + offsets
        other_loss, _, other_curvature = compare(tried, other_t, rows(guesses.normals, tried))
        better = ((other_curvature > 0) & (other_loss < rows(bound, tried))).nonzero().squeeze(1)
        pull = rows(offsets, better).clamp(-guesses.longest_pull, guesses.longest_pull)
        found, other_curvature = rows(tried, better), rows(other_curvature, better)
        loss[found], slope[found], curvature[found] = rows(other_loss, better), -other_curvature * pull, other_curvature
    return with_slope(t, loss, slope), curvature


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
