"""First hits of any field by equal steps and the secant method, in memory that does not depend on the number of steps.

Samples are taken from the front to the back in blocks of steps. A ray is done at its first crossing from outside to
inside; those that are left go on. What is kept between blocks is a few numbers per ray, and no evaluation of the field
has more than `MOST_POINTS` points, whatever the number of rays and steps (paper, section 3.2).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.fields.protocol import Field, KnowsEmptySpace, RayHits

MOST_POINTS = {"cpu": 1 << 12, "cuda": 1 << 18}
"""Points per evaluation of the field, by kind of device. Fewer save evaluations behind hits, and the activations of a
wide network stay in a processor's cache; more keep a graphics processor busy."""
SECANT_STEPS = 8
LONGER_BLOCK = 16
"""How many times as many samples a block may have where space is known to be empty: bounds the memory for them."""


def cube_interval(
    ray_origins: Float[Tensor, "n 3"], ray_directions: Float[Tensor, "n 3"], half_width: float = 1.0
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """[near, far] of rays in the cube [-half_width, half_width]^3, in front of the origin; near > far for a miss."""
    safe = torch.where(ray_directions.abs() < 1e-9, torch.full_like(ray_directions, 1e-9), ray_directions)
    a, b = (-half_width - ray_origins) / safe, (half_width - ray_origins) / safe
    near = torch.minimum(a, b).amax(dim=1).clamp(min=0)
    return near, torch.maximum(a, b).amin(dim=1)


@dataclass
class _Brackets:
    """What is known of every ray while it is marched."""

    low: Float[Tensor, "n"]
    """Distance of the last sample outside; after a hit, of the one before it."""
    low_value: Float[Tensor, "n"]
    high: Float[Tensor, "n"]
    high_value: Float[Tensor, "n"]
    hit: Bool[Tensor, "n"]
    starts_inside: Bool[Tensor, "n"]
    nearest_t: Float[Tensor, "n"]
    nearest_value: Float[Tensor, "n"]


def march_equal_steps(
    field: Field, ray_origins: Float[Tensor, "n 3"], ray_directions: Float[Tensor, "n 3"], steps: int
) -> RayHits:
    """First crossings from outside to inside at `steps` equal steps in the cube, refined; without gradient.

    The first sample lies where the ray enters the cube (or begins), the last where it leaves. A ray that starts inside
    has no hit before it has left the solid.
    """
    if steps < 2:
        raise ValueError(f"{steps} steps: a crossing needs at least two samples.")
    with torch.no_grad():
        near, far = cube_interval(ray_origins, ray_directions, field.half_width)
        found = _march(field, ray_origins, ray_directions, near, far, steps)
        index = found.hit.nonzero().squeeze(1)
        t = torch.zeros_like(near)
        t[index] = _secant(field, ray_origins, ray_directions, found, index)
    return RayHits(t, found.hit, found.nearest_t, found.nearest_value, found.starts_inside)


def _march(field: Field, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, steps: int) -> _Brackets:
    missed, nowhere = torch.full_like(near, torch.inf), torch.zeros_like(near, dtype=torch.bool)
    # Until the first sample is taken a ray counts as inside: nothing can be crossed there.
    found = _Brackets(
        near.clone(), -missed, near.clone(), -missed, nowhere, nowhere.clone(), near.clone(), missed.clone()
    )
    spacing, most = (far - near) / (steps - 1), MOST_POINTS[near.device.type]
    for active in (near < far).nonzero().squeeze(1).split(most):
        start = 0
        while start < steps and len(active):
            block = min(steps - start, max(1, most // len(active)))
            longest = min(steps - start, LONGER_BLOCK * block)
            index = torch.arange(start, start + longest, device=near.device)
            t = near[active, None] + spacing[active, None] * index
            points, asked = _next_points(field, origins[active], directions[active], t, block, most)
            t = t[:, : points.shape[1]]
            _take_in(found, active, t, _values(field, points, asked, most), first=start == 0)
            start += t.shape[1]
            active = active[~found.hit[active]]
    return found


def _next_points(
    field: Field, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"], t: Tensor, block: int, most: int
) -> tuple[Float[Tensor, "r b 3"], Bool[Tensor, "r b"] | None]:
    """(the points of the next samples, where the field has to be asked) given the distances of more than are needed.

    `block` samples, which is as many as the field can be asked for at once. Where space is known to be empty there are
    more, as far as no more points than that have to be asked for.
    """
    if not isinstance(field, KnowsEmptySpace):
        return origins[:, None] + t[:, :block, None] * directions[:, None], None
    points = origins[:, None] + t[..., None] * directions[:, None]
    asked = ~field.certainly_outside(points.reshape(-1, 3)).reshape(t.shape)
    taken = max(int((asked.sum(dim=0).cumsum(0) <= most).sum()), block)
    return points[:, :taken], asked[:, :taken]


def _values(
    field: Field, points: Float[Tensor, "r b 3"], asked: Bool[Tensor, "r b"] | None, most: int
) -> Float[Tensor, "r b"]:
    """The field at points; +inf where it need not be asked."""
    flat = points.reshape(-1, 3)
    index = None if asked is None else asked.reshape(-1).nonzero().squeeze(1)
    found = torch.cat([field.value(part) for part in (flat if index is None else flat[index]).split(most)])
    if index is None:
        return found.reshape(points.shape[:2])
    values = torch.full((len(flat),), torch.inf, dtype=found.dtype, device=found.device)
    values[index] = found
    return values.reshape(points.shape[:2])


def _take_in(found: _Brackets, rays: Int[Tensor, "r"], t: Tensor, values: Tensor, first: bool) -> None:
    """The block's samples of some rays into what is known of them."""
    if first:
        found.starts_inside[rays] = values[:, 0] < 0
    all_t = torch.cat([found.low[rays, None], t], dim=1)
    all_values = torch.cat([found.low_value[rays, None], values], dim=1)
    crossing = (all_values[:, :-1] >= 0) & (all_values[:, 1:] < 0)
    hit = crossing.any(dim=1)
    # Of a ray without a hit the last sample is kept, as the first of the next block.
    place = torch.where(hit, crossing.int().argmax(dim=1), t.shape[1])[:, None]
    found.low[rays] = all_t.gather(1, place)[:, 0]
    found.low_value[rays] = all_values.gather(1, place)[:, 0]
    after = (place + 1).clamp(max=t.shape[1])
    found.high[rays] = all_t.gather(1, after)[:, 0]
    found.high_value[rays] = all_values.gather(1, after)[:, 0]
    found.hit[rays] = hit
    reached = torch.arange(t.shape[1], device=t.device)[None] < torch.where(hit[:, None], after, t.shape[1])
    least, nearest = torch.where(reached, values, torch.inf).min(dim=1)
    better = least < found.nearest_value[rays]
    found.nearest_t[rays] = torch.where(better, t.gather(1, nearest[:, None])[:, 0], found.nearest_t[rays])
    found.nearest_value[rays] = torch.where(better, least, found.nearest_value[rays])


def _secant(field: Field, origins: Tensor, directions: Tensor, found: _Brackets, index: Int[Tensor, "h"]) -> Tensor:
    """Distances of the hits: the secant method within the bracket."""
    parts = []
    for part in index.split(MOST_POINTS[origins.device.type]) if len(index) else []:
        o, d = origins[part], directions[part]
        low, low_value, high, high_value = (
            array[part] for array in (found.low, found.low_value, found.high, found.high_value)
        )
        if isinstance(field, KnowsEmptySpace):
            # Space that is known to be empty was not evaluated.
            unknown = low_value.isinf()
            low_value = torch.where(unknown, field.value(o + low[:, None] * d).clamp(min=0), low_value)
        for _ in range(SECANT_STEPS):
            middle = low + (high - low) * low_value / (low_value - high_value).clamp(min=1e-12)
            value = field.value(o + middle[:, None] * d)
            outside = value >= 0
            low, low_value = torch.where(outside, middle, low), torch.where(outside, value, low_value)
            high, high_value = torch.where(outside, high, middle), torch.where(outside, high_value, value)
        parts.append(low + (high - low) * low_value / (low_value - high_value).clamp(min=1e-12))
    return torch.cat(parts) if parts else found.low[index]
