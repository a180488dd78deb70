"""Where rays meet the surface, differentiably: the heart of DVR.

A ray o + t w with |w| = 1 meets the surface where value(o + t w; theta) = 0. Differentiating that equation gives

    dt/dtheta = -(d value / d theta) / (grad value . w)          (Niemeyer et al., CVPR 2020, equation 5)

so one evaluation at the hit replaces the whole march in the backward pass.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dvr_cli.fields.protocol import Field, FindsSurface, MarchesRays, RayHits
from dvr_cli.rendering.marching import march_equal_steps

LEAST_SLOPE = 0.1
"""Rays that graze the surface at less than this |grad value . w| have their gradient bounded; the sign is kept."""


@dataclass(frozen=True)
class Surface:
    """The hits of a batch of rays, h of them."""

    t: Float[Tensor, "h"]
    """Distance along the ray; differentiable with respect to the field's parameters."""
    points: Float[Tensor, "h 3"]
    """o + t w; differentiable through t."""
    normals: Float[Tensor, "h 3"]
    """Unit gradient of the field, detached; faces the camera up to grazing rays."""
    slope: Float[Tensor, "h"]
    """grad value . w, bounded away from zero, detached; negative for front faces."""


def first_hit(
    field: Field, ray_origins: Float[Tensor, "n 3"], ray_directions: Float[Tensor, "n 3"], steps: int = 128
) -> RayHits:
    """First crossings from outside to inside in the cube, without gradient.

    A field that marches rays itself does so; any other is sampled at `steps` equal steps and refined by eight steps of
    the secant method (paper, section 3.2).
    """
    if isinstance(field, MarchesRays):
        return field.first_hit(ray_origins, ray_directions)
    return march_equal_steps(field, ray_origins, ray_directions, steps)


def surface_at(
    field: Field, ray_origins: Float[Tensor, "h 3"], ray_directions: Float[Tensor, "h 3"], t: Float[Tensor, "h"]
) -> Surface:
    """The surface at known hit distances; t gets the implicit gradient.

    The returned t has the given one's value; it is written as t - (value - stop(value)) / (grad value . w), with stop a
    value without gradient, whose derivative with respect to the parameters is the equation above. A field that finds
    the surface itself does so.
    """
    if isinstance(field, FindsSurface):
        return Surface(*field.surface(ray_origins, ray_directions, t, LEAST_SLOPE))
    points = ray_origins + t.detach()[:, None] * ray_directions
    gradient = field.gradient(points)
    slope = (gradient * ray_directions).sum(dim=1)
    bounded = torch.where(slope < 0, slope.clamp(max=-LEAST_SLOPE), slope.clamp(min=LEAST_SLOPE))
    value = field.value(points)
    t = t.detach() - (value - value.detach()) / bounded
    normals = torch.nn.functional.normalize(gradient, dim=1)
    return Surface(t, ray_origins + t[:, None] * ray_directions, normals, bounded)
