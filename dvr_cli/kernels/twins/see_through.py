"""The slow and obvious twin of `kernels.see_through`, in any precision."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.twins.cameras import pixel_under
from dvr_cli.kernels.twins.hull import map_at
from dvr_cli.kernels.views import ViewArrays


def see_through(
    stack: ViewArrays,
    map_starts: Int[Tensor, "v"],
    step: int,
    entry_map: Float[Tensor, "map_pixels"],
    t_map: Float[Tensor, "map_pixels"],
    points: Float[Tensor, "p 3"],
    *,
    near: float,
    behind: float,
) -> tuple[Int[Tensor, "p"], Int[Tensor, "p"]]:
    """See `kernels.see_through.see_through`."""
    seen, through = torch.zeros(2, len(points), dtype=torch.int32, device=points.device)
    for view in range(stack.count):
        views = torch.full((len(points),), view, dtype=torch.int32, device=points.device)
        pixel, in_image = pixel_under(stack, views, points)
        entry, depth = (map_at(stack, map_starts, step, each, views, pixel // step) for each in (entry_map, t_map))
        distance = (points - stack.centres[view]).norm(dim=1)
        sees = in_image & (entry > 0) & ((entry - distance).abs() < near)
        seen += sees
        through += sees & (depth - distance > behind)
    return seen, through
