"""Where rays meet the surface, differentiably: the heart of DVR.

A ray o + t w with |w| = 1 meets the surface where value(o + t w; theta) = 0. Differentiating that equation gives

    dt/dtheta = -(d value / d theta) / (grad value . w)          (Niemeyer et al., CVPR 2020, equation 5)

so one evaluation at the hit replaces the whole march in the backward pass.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dvr_cli.fields.protocol import Field, MarchesRays, RayHits

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
    with torch.no_grad():
        return _equal_steps(field, ray_origins, ray_directions, steps)


def surface_at(
    field: Field, ray_origins: Float[Tensor, "h 3"], ray_directions: Float[Tensor, "h 3"], t: Float[Tensor, "h"]
) -> Surface:
    """The surface at known hit distances; t gets the implicit gradient.

    The returned t has the given one's value; it is written as t - (value - stop(value)) / (grad value . w), with stop a
    value without gradient, whose derivative with respect to the parameters is the equation above.
    """
    points = ray_origins + t.detach()[:, None] * ray_directions
    gradient = field.gradient(points)
    slope = (gradient * ray_directions).sum(dim=1)
    bounded = torch.where(slope < 0, slope.clamp(max=-LEAST_SLOPE), slope.clamp(min=LEAST_SLOPE))
    value = field.value(points)
    t = t.detach() - (value - value.detach()) / bounded
    normals = torch.nn.functional.normalize(gradient, dim=1)
    return Surface(t, ray_origins + t[:, None] * ray_directions, normals, bounded)


def cube_interval(
    ray_origins: Float[Tensor, "n 3"], ray_directions: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """[near, far] of each ray in the cube [-1, 1]^3, in front of its origin; near > far where it misses."""
    safe = torch.where(ray_directions.abs() < 1e-9, torch.full_like(ray_directions, 1e-9), ray_directions)
    a, b = (-1 - ray_origins) / safe, (1 - ray_origins) / safe
    near = torch.minimum(a, b).amax(dim=1).clamp(min=0)
    return near, torch.maximum(a, b).amin(dim=1)


def _equal_steps(field: Field, origins: Tensor, directions: Tensor, steps: int) -> RayHits:
    near, far = cube_interval(origins, directions)
    meets: Bool[Tensor, "n"] = near < far
    share = torch.linspace(0, 1, steps, dtype=origins.dtype, device=origins.device)
    t = near[:, None] + (far - near).clamp(min=0)[:, None] * share
    points = origins[:, None] + t[..., None] * directions[:, None]
    values = field.value(points.reshape(-1, 3)).reshape(t.shape)
    crossing = (values[:, :-1] >= 0) & (values[:, 1:] < 0)
    hit = crossing.any(dim=1) & meets
    index = crossing.int().argmax(dim=1, keepdim=True)
    low, high = t.gather(1, index)[:, 0], t.gather(1, index + 1)[:, 0]
    f_low, f_high = values.gather(1, index)[:, 0], values.gather(1, index + 1)[:, 0]
    for _ in range(8):
        middle = low + (high - low) * f_low / (f_low - f_high).clamp(min=1e-12)
        f_middle = field.value(origins + middle[:, None] * directions)
        outside = f_middle >= 0
        low, f_low = torch.where(outside, middle, low), torch.where(outside, f_middle, f_low)
        high, f_high = torch.where(outside, high, middle), torch.where(outside, f_high, f_middle)
    middle = low + (high - low) * f_low / (f_low - f_high).clamp(min=1e-12)
    reached = torch.arange(steps, device=t.device)[None] <= torch.where(hit[:, None], index + 1, steps)
    nearest_value, nearest = torch.where(reached, values, torch.inf).min(dim=1)
    return RayHits(
        t=torch.where(hit, middle, 0),
        hit=hit,
        nearest_t=t.gather(1, nearest[:, None])[:, 0],
        nearest_value=torch.where(meets, nearest_value, torch.inf),
    )
