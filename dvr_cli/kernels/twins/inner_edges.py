"""The slow and obvious twin of `kernels.inner_edges`, in any precision; the loss of rims itself, for autograd."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.kernels.twins.cameras import directions_of
from dvr_cli.kernels.twins.draws import random_integer, random_start
from dvr_cli.kernels.twins.grid import grid_gradient, grid_value
from dvr_cli.kernels.twins.worth import bound_to_beat
from dvr_cli.kernels.views import ViewArrays


def rays_beside(
    stack: ViewArrays,
    ray_views: Int[Tensor, "r"],
    ray_pixels: Int[Tensor, "r 2"],
    asked: Int[Tensor, "i"],
    farthest: int,
    seed: int,
) -> tuple[Float[Tensor, "i 3"], Float[Tensor, "i 3"]]:
    """See `kernels.inner_edges.rays_beside`."""
    state, shift_x = random_integer(random_start(seed, torch.arange(len(asked))), -farthest, farthest + 1)
    _, shift_y = random_integer(state, -farthest, farthest + 1)
    views, pixels = ray_views[asked], ray_pixels[asked] + torch.stack([shift_x, shift_y], dim=1)
    directions = torch.nn.functional.normalize(directions_of(stack, views, pixels), dim=1)
    return stack.centres[views.long()], directions


def planes_met(
    sdf: Float[Tensor, "n n n"],
    rays: tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"], Float[Tensor, "r"]],
    asked: Int[Tensor, "i"],
    beside: tuple[Float[Tensor, "i 3"], Float[Tensor, "i 3"], Float[Tensor, "i"], Bool[Tensor, "i"]],
) -> tuple[Float[Tensor, "i"], Float[Tensor, "i 3"], Bool[Tensor, "i"]]:
    """See `kernels.inner_edges.planes_met`."""
    voxel = 2 / (sdf.shape[0] - 1)
    ray_origins, ray_directions, ray_t = (part[asked] for part in rays)
    origins, directions, t, hit = beside
    points = origins + t[:, None] * directions
    normals = torch.nn.functional.normalize(grid_gradient(sdf, points), dim=1)
    facing = -(normals * ray_directions).sum(dim=1)
    plane_t = -(normals * (points - ray_origins)).sum(dim=1) / facing.clamp(min=0.15)
    edge = hit & ((t - ray_t).abs() > 3 * voxel)
    near = ((plane_t - t).abs() < 6 * voxel) & ((plane_t - ray_t).abs() > 3 * voxel)
    return plane_t, normals, edge & near & (facing > 0.15)


def rim_loss(
    sdf: Float[Tensor, "n n n"],
    rays: tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"], Float[Tensor, "r"]],
    other_t: Float[Tensor, "r"],
    matches: tuple[Float[Tensor, "r"], Float[Tensor, "r"]],
    other_matches: tuple[Float[Tensor, "r"], Float[Tensor, "r"]],
    weight: float,
    margin: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "r"]]:
    """(the loss whose derivatives `kernels.inner_edges.ask_rims` gives, its curvature)."""
    voxel = 2 / (sdf.shape[0] - 1)
    origins, directions, t = rays
    better = (other_matches[1] > 0) & (other_matches[0] < bound_to_beat(*matches))
    value = grid_value(sdf, origins + torch.minimum(t, other_t)[:, None] * directions)
    residual = torch.where(other_t < t, value, -value) / voxel + margin
    worth = weight * (better & (residual > 0) & (residual < 2.5))
    return 0.5 * (worth * residual.square()).sum(), worth / voxel**2
