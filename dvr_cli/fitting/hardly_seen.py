"""Least area where no photograph looks at the surface squarely, such as undersides.

Photographs that graze a surface say nothing about it, so it begins as the visual hull, which bulges between the places
that contours touch; patches are too flat in such views to mend that later. Between what is seen, the smallest surface
is the better guess. The hull can only be too large, so nothing is added to it.

While a level is fitted, smoothing there and back has the least bending for its aim, not the least area: where nothing
holds a surface, it goes on beyond an edge as steep as it comes from there, and bulges. So it is kept tight.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.initial import around
from dvr_cli.kernels.band import find_band, smooth
from dvr_cli.kernels.facing import best_facing
from dvr_cli.kernels.views import ViewArrays

LEAST_FACING = 0.3
"""Cosine between normal and direction to a camera up to which it hardly sees a surface: 17 degrees."""
DEEPEST = 5.0
"""Voxels by which the surface may be moved, at most."""
PASSES = 600
"""By then most of what is thirty voxels wide has come to rest."""
SHARE = 0.6
"""Of the way to the neighbours' mean, in each pass; a mean alone would make alternating errors stay."""
SHARE_AFTER_SMOOTHING = 0.1
"""The same after each pass of smoothing in a level."""
REDISTANCING = 0.3
"""Much of it, because the vertices around the loose ones stay and would hold the surface where it was."""
BESIDE = np.ones((3, 3, 3), bool)
"""Vertices that a point of a contour holds: the nearest one and the 26 around it."""


def loose_vertices(
    sdf: Float[Tensor, "n n n"], centres: Float[Tensor, "v 3"], touched: Float[Tensor, "p 3"]
) -> Int[Tensor, "l"]:
    """Vertices near the surface that no camera, at these centres, looks at squarely and no contour holds."""
    band = find_band(sdf, DEEPEST * 2.0 / (sdf.shape[0] - 1))
    hardly = best_facing(sdf, band, centres) < LEAST_FACING
    return band[hardly & ~around(touched, sdf.shape[0], BESIDE).reshape(-1)[band.long()]].contiguous()


def with_least_area(field: GridField, stack: ViewArrays, touched: Float[Tensor, "p 3"]) -> GridField:
    """The field with the surface pulled tight where views in the cube hardly see it.

    What they do see holds it, and points on their contours, which are `touched`.
    """
    sdf = field.sdf.detach().clone()
    loose = loose_vertices(sdf, stack.centres, touched)
    if not len(loose):
        return field
    flat, places = sdf.reshape(-1), loose.long()
    before = flat[places]
    for _ in range(PASSES):
        smooth(loose, sdf, SHARE, REDISTANCING)
        flat[places] = torch.maximum(flat[places], before)
    return GridField(sdf)


def keep_tight(loose: Int[Tensor, "l"], sdf: Float[Tensor, "n n n"]) -> None:
    """Take loose vertices a little of the way back to least area, in place, after a pass of smoothing."""
    if len(loose):
        smooth(loose, sdf, SHARE_AFTER_SMOOTHING, 0.0)
