"""Twin of `kernels.rims`: from where to where a ray lies in all other masks."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.twins.cameras import directions_of, project
from dvr_cli.kernels.twins.grid import cube_interval
from dvr_cli.kernels.views import BACKGROUND, ViewArrays


def object_at(stack: ViewArrays, view: int, x: Int[Tensor, "*k"], y: Int[Tensor, "*k"]) -> Float[Tensor, "*k"]:
    """0 for background, 1 for all else, also beyond the image."""
    height, width = int(stack.heights[view]), int(stack.widths[view])
    within = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    place = stack.starts[view] + torch.where(within, y * width + x, 0)
    return torch.where(within & (stack.masks[place.long()] == BACKGROUND), 0.0, 1.0).to(stack.centres.dtype)


def object_share(stack: ViewArrays, view: int, position: Float[Tensor, "*k 2"]) -> Float[Tensor, "*k"]:
    """The same between pixel centres, linearly."""
    corner = (position - 0.5).floor()
    share = position - 0.5 - corner
    x, y = corner.long().unbind(dim=-1)
    upper = torch.lerp(object_at(stack, view, x, y), object_at(stack, view, x + 1, y), share[..., 0])
    lower = torch.lerp(object_at(stack, view, x, y + 1), object_at(stack, view, x + 1, y + 1), share[..., 0])
    return torch.lerp(upper, lower, share[..., 1])


def graze(
    stack: ViewArrays, views: Int[Tensor, "p"], pixels: Int[Tensor, "p 2"], step: float, least: float = 0.2
) -> tuple[Float[Tensor, "p"], Float[Tensor, "p 3"]]:
    """Lengths and middles of what all other masks leave of rays, the middles moved to the masks' edges."""
    origins = stack.centres[views.long()]
    directions = torch.nn.functional.normalize(directions_of(stack, views, pixels), dim=1)
    near, far = cube_interval(origins, directions)
    count = int(((far - near).clamp(min=0).max() / step).ceil()) + 1
    t = near[:, None] + (torch.arange(count, dtype=near.dtype, device=near.device) + 0.5) * step
    points = origins[:, None] + t[..., None] * directions[:, None]
    inside = t < far[:, None]
    for view in range(stack.count):
        position, depth = project(stack, torch.full_like(t, view, dtype=torch.int32), points)
        objects = object_share(stack, view, position) >= least
        inside &= objects | (depth <= 0) | (views == view)[:, None]
    first = torch.where(inside, t, torch.inf).amin(dim=1)
    last = torch.where(inside, t, -torch.inf).amax(dim=1)
    length = torch.where(inside.any(dim=1), last - first + step, 0)
    middle = torch.where(inside.any(dim=1), (first + last) / 2, 0)
    offsets = [(right, down) for right in range(-3, 4) for down in range(-3, 4)]
    outwards = torch.zeros_like(middle)[:, None].expand(-1, 2).clone()
    for view in range(stack.count):
        of_view = views == view
        x, y = pixels[of_view].long().unbind(dim=1)
        for right, down in offsets:
            share = object_at(stack, view, x + right, y + down)
            outwards[of_view] -= share[:, None] * torch.tensor([right, down], dtype=share.dtype, device=share.device)
    outwards = 0.5 * torch.nn.functional.normalize(outwards, dim=1)
    edge = directions_of(stack, views, pixels + outwards)
    depth = middle * torch.einsum("ri,ri->r", stack.rotations[views.long()][:, 2], directions)
    return length, origins + depth[:, None] * edge
