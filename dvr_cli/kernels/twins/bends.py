"""The slow and obvious twin of `kernels.bends`, in any precision."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.views import ViewArrays


def points_around(
    stack: ViewArrays,
    ray_views: Int[Tensor, "h"],
    ray_pixels: Int[Tensor, "h 2"],
    points: Float[Tensor, "h 3"],
    normals: Float[Tensor, "h 3"],
    reach: float,
) -> tuple[Float[Tensor, "h five 3"], Float[Tensor, "h 2"]]:
    """See `kernels.bends.points_around`."""
    origins = stack.centres[ray_views.long()]
    ones = torch.ones_like(points[:, :1])
    asked, lengths = [], []
    for shift in ([1, 0], [0, 1]):
        pixel = torch.cat([ray_pixels + torch.tensor(shift, device=points.device) + 0.5, ones], dim=1)
        back = stack.rotations.transpose(1, 2) @ stack.inverse_intrinsics
        beside = torch.einsum("rij,rj->ri", back[ray_views.long()], pixel.to(points.dtype))
        t = ((points - origins) * normals).sum(dim=1) / (beside * normals).sum(dim=1)
        step = origins + t[:, None] * beside - points
        length = step.norm(dim=1).clamp(min=1e-9)
        offset = reach * step / length[:, None]
        asked += [points + offset, points - offset]
        lengths.append(length)
    return torch.stack([*asked, points], dim=1), torch.stack(lengths, dim=1)


def bends_of(
    values: Float[Tensor, "h five"],
    lengths: Float[Tensor, "h 2"],
    normals: Float[Tensor, "h 3"],
    directions: Float[Tensor, "h 3"],
    reach: float,
) -> Float[Tensor, "h 2"]:
    """See `kernels.bends.bends_of`."""
    lift = 0.5 * (values[:, 0:4:2] + values[:, 1:4:2]) - values[:, 4:]
    facing = -(normals * directions).sum(dim=1).clamp(max=-0.15)
    return lift.clamp(-0.5 * reach, 0.5 * reach) * (lengths / reach) ** 2 / facing[:, None]
