"""Coarse depths that are mirror images, which must not carve the hull.

A lamp's image in a rounded, glossy surface stands still behind it while the camera moves by a hundred degrees, so that
views confirm its depth like that of a dot in a hole. But each of them sees it through another place of the surface, of
which most other views show nothing of the kind, while nearly all views that look into a hole find something in it.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dvr_cli.config import Start
from dvr_cli.fitting.initial import DepthMaps, empty_maps, mask_pixels, places_on
from dvr_cli.kernels.march import march
from dvr_cli.kernels.see_through import see_through
from dvr_cli.kernels.views import ViewArrays

MARGINS = 2.0
"""Of `Start.margin`, between the hull and a depth that is behind it."""


def without_mirror_images(depth: DepthMaps, stack: ViewArrays, hull: Float[Tensor, "n n n"], start: Start) -> DepthMaps:
    """The maps less the depths behind places of the hull (signed distances) that too few views see through.

    Of the views that see the place where a depth's ray enters the hull, `start.see_through` have to.
    """
    voxel = 2.0 / hull.shape[0]
    near, behind = start.tolerance * voxel, MARGINS * start.margin * voxel
    views, pixels = mask_pixels(stack, depth.step)
    places = places_on(depth, stack, views, pixels)
    origins, directions = stack.rays(views, pixels)
    entry, enters, *_ = march(hull, origins, directions)
    entries = empty_maps(stack, depth.step).t_map
    entries[places] = torch.where(enters, entry, 0)
    deep = (enters & (depth.t_map[places] - entry > behind)).nonzero().squeeze(1)
    points = origins[deep] + entry[deep, None] * directions[deep]
    seen, through = see_through(stack, depth.starts, depth.step, entries, depth.t_map, points, near=near, behind=behind)
    t_map = depth.t_map.clone()
    t_map[places[deep[through < start.see_through * seen]]] = 0
    return replace(depth, t_map=t_map)
