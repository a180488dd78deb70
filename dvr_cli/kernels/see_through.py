"""Of the views that see a place on the visual hull, how many see through it.

A view sees a place if the hull begins there along the view's ray, and sees through it if it has found a depth well
behind. What is really missing from the hull is seen by nearly all views that look at the hull there; the mirror image
of a lamp, which lies behind a glossy surface, shows in each view elsewhere on it.
"""

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.hull import place_in_map
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.views import ViewArrays

wp.set_module_options({"enable_backward": False})


@wp.kernel
def see_through_kernel(
    first: int,
    points: wp.array(dtype=wp.vec3),
    intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    heights: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    views: int,
    map_starts: wp.array(dtype=wp.int32),
    step: int,
    entry_map: wp.array(dtype=wp.float32),
    t_map: wp.array(dtype=wp.float32),
    near: float,
    behind: float,
    seen_out: wp.array(dtype=wp.int32),
    through_out: wp.array(dtype=wp.int32),
):
    e = first + wp.tid()
    point = points[e]
    seen = int(0)
    through = int(0)
    for v in range(views):
        place = place_in_map(point, intrinsics[v], rotations[v], centres[v], heights[v], widths[v], map_starts[v], step)
        if place >= 0 and entry_map[place] > 0.0:
            distance = wp.length(point - centres[v])
            if wp.abs(entry_map[place] - distance) < near:
                seen += 1
                if t_map[place] - distance > behind:
                    through += 1
    seen_out[e] = seen
    through_out[e] = through


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
    """(views that see each point of the hull, those of them that see through it).

    The maps hold distances along the rays of every `step`-th pixel, 0 where there is none: to where the hull begins,
    which is less than `near` from a point that is seen, and to what was found, more than `behind` the point if it is
    seen through. No gradient.
    """
    seen, through = (torch.empty(len(points), dtype=torch.int32, device=points.device) for _ in range(2))
    cameras = [stack.intrinsics, stack.rotations, stack.centres, stack.heights, stack.widths, stack.count]
    inputs = [points.contiguous(), *cameras, map_starts, step, entry_map, t_map, near, behind]
    launch(see_through_kernel, len(points), [*inputs, seen, through], points.device, least=256)
    return seen, through
