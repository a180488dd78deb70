"""Twins of `kernels.grid`, `kernels.lookup` and `kernels.march`: trilinear look-ups and the first hit of a ray.

Everything rests on torch's own `grid_sample`; derivatives are autograd's. A grid of n^3 vertices spans the cube
[-1, 1]^3; the first index belongs to x. Points outside the cube are clamped to it. Nothing is changed in place.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dvr_cli.kernels.march import SECANT_STEPS


def grid_value(grid: Float[Tensor, "n n n"], points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
    """Trilinear values; differentiable with respect to the grid and the points."""
    return _channels(grid[..., None], points)[:, 0]


def grid_gradient(
    grid: Float[Tensor, "n n n"], points: Float[Tensor, "p 3"], reach: float = 1.0
) -> Float[Tensor, "p 3"]:
    """Central differences of the trilinear value over `reach` voxels to either side, per unit length."""
    step = reach * 2 / (grid.shape[0] - 1)
    offsets = step * torch.eye(3, dtype=points.dtype, device=points.device)
    differences = [grid_value(grid, points + offset) - grid_value(grid, points - offset) for offset in offsets]
    return torch.stack(differences, dim=1) / (2 * step)


def grid_colour(
    albedo: Float[Tensor, "n n n 3"],
    sheen: Float[Tensor, "m m m 9"],
    points: Float[Tensor, "p 3"],
    directions: Float[Tensor, "p 3"],
) -> Float[Tensor, "p 3"]:
    """RGB: albedo + sum over axes a of sheen_a w_a; differentiable with respect to all of them."""
    by_axis = _channels(sheen, points).reshape(-1, 3, 3)
    return _channels(albedo, points) + (directions[:, :, None] * by_axis).sum(dim=1)


def scatter(
    grid: Float[Tensor, "n n n *c"], points: Float[Tensor, "p 3"], values: Float[Tensor, "p *c"]
) -> Float[Tensor, "n n n *c"]:
    """The grid plus what the adjoint of a look-up makes of `values`: the derivative of <look-up, values>."""
    channels = values.reshape(len(points), -1)
    zero = torch.zeros(*grid.shape[:3], channels.shape[1], dtype=grid.dtype, device=grid.device, requires_grad=True)
    (adjoint,) = torch.autograd.grad((_channels(zero, points) * channels).sum(), zero)
    return grid + adjoint.reshape(grid.shape)


def cube_interval(
    origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
) -> tuple[Float[Tensor, "r"], Float[Tensor, "r"]]:
    """(near, far) of the part of each ray that is inside the cube and in front of its origin; near > far: none.

    Along an axis that the ray is parallel to, it is inside always or never.
    """
    walls = torch.stack([(-1 - origins) / directions, (1 - origins) / directions])
    parallel = directions == 0
    never = parallel & (origins.abs() > 1)
    near = torch.where(parallel, -torch.inf, walls.amin(dim=0)).amax(dim=1).clamp(min=0)
    far = torch.where(parallel, torch.inf, walls.amax(dim=0)).amin(dim=1)
    return near, torch.where(never.any(dim=1), -1, far)


def march(
    sdf: Float[Tensor, "n n n"], origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
) -> tuple[Float[Tensor, "r"], Bool[Tensor, "r"], Float[Tensor, "r"], Float[Tensor, "r"], Bool[Tensor, "r"]]:
    """(t, hit, nearest_t, nearest_value, starts_inside).

    Steps of max(voxel / 2, 0.8 |f|) until f turns negative, then secant steps. The first sample lies 1e-4 behind the
    cube's wall. A ray that starts inside has to leave before it can hit.
    """
    voxel = 2 / (sdf.shape[0] - 1)
    near, far = cube_interval(origins, directions)
    t = near + 1e-4
    nearest_t, nearest_value = near.clone(), torch.full_like(near, torch.inf)
    before_t, before_value = t.clone(), torch.full_like(t, -1)
    bracket = torch.zeros(4, len(t), dtype=t.dtype, device=t.device)
    hit = torch.zeros_like(t, dtype=torch.bool)
    starts_inside = (t < far) & (grid_value(sdf, origins + t[:, None] * directions) < 0)
    while (alive := (t < far) & ~hit).any():
        value = grid_value(sdf, origins + t[:, None] * directions)
        nearer = alive & (value < nearest_value)
        nearest_t, nearest_value = torch.where(nearer, t, nearest_t), torch.where(nearer, value, nearest_value)
        enters = alive & (before_value >= 0) & (value < 0)
        bracket = torch.where(enters, torch.stack([before_t, t, before_value, value]), bracket)
        hit = hit | enters
        before_t, before_value = torch.where(alive, t, before_t), torch.where(alive, value, before_value)
        t = torch.where(alive, t + (0.8 * value.abs()).clamp(min=voxel / 2), t)
    t = torch.where(hit, _secant(sdf, origins, directions, bracket), 0)
    return t, hit, nearest_t, nearest_value, starts_inside


def _secant(sdf: Tensor, origins: Tensor, directions: Tensor, bracket: Float[Tensor, "4 r"]) -> Float[Tensor, "r"]:
    """Where the line through the ends of the bracket (a, b, f(a) >= 0, f(b) < 0) crosses zero, ends being improved."""
    a, b, at_a, at_b = bracket
    for _ in range(SECANT_STEPS):
        middle = a + (b - a) * at_a / (at_a - at_b)
        value = grid_value(sdf, origins + middle[:, None] * directions)
        outside = value >= 0
        a, at_a = torch.where(outside, middle, a), torch.where(outside, value, at_a)
        b, at_b = torch.where(outside, b, middle), torch.where(outside, at_b, value)
    return a + (b - a) * at_a / (at_a - at_b)


def _channels(grid: Float[Tensor, "n n n c"], points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
    """Trilinear values of all channels; torch's x is the last axis of its volume, ours is the first."""
    volume = grid.permute(3, 0, 1, 2)[None]
    places = points.flip(1)[None, :, None, None]
    values = torch.nn.functional.grid_sample(volume, places, padding_mode="border", align_corners=True)
    return values[0, :, :, 0, 0].T
