"""The field before the first step: the visual hull in the working cube, carved where depth says that space is free.

Depth comes from comparing photographs (`initial.coarse_depth`), from sparse points and from dense maps, whatever there
is; `initial.carve` lets it vote and gives silhouettes a veto.
"""

import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from dvr_cli.config import Start
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting import initial
from dvr_cli.fitting.depth_targets import SparseTargets, with_known_depth
from dvr_cli.fitting.hardly_seen import with_least_area
from dvr_cli.fitting.mirror_images import without_mirror_images
from dvr_cli.fitting.working_cube import WorkingCube, cube_hull
from dvr_cli.kernels.distances import signed_distance
from dvr_cli.kernels.views import ViewArrays

NEIGHBOURS = 8
"""Views whose depth may confirm a depth."""
FEWEST_VIEWS = 3
"""A coarse depth is the best of a pair of comparisons, so it needs two other views."""


def first_field(
    stack: ViewArrays,
    cube: WorkingCube,
    start: Start,
    sparse: SparseTargets | None = None,
    dense: Float[Tensor, "pixels"] | None = None,
    touched: Float[Tensor, "p 3"] | None = None,
) -> GridField:
    """A smooth distance field around the carved hull of views stacked in the cube; SceneError if the hull is empty.

    `dense` are distances along the rays of the stack's pixels, 0 where unknown; at points that are `touched` is the
    object for certain.
    """
    device = stack.gray.device
    sdf = hull = signed_distance(torch.as_tensor(cube_hull(stack, cube, start.voxels)).to(device))
    compare = start.carve and stack.count >= FEWEST_VIEWS
    votes = dense is not None or (sparse is not None and len(sparse.pair_points) > 0)
    if compare or votes:
        if compare:
            depth = initial.coarse_depth(stack, hull, initial.neighbour_views(stack, NEIGHBOURS), start)
            depth = without_mirror_images(depth, stack, hull, start)
        else:
            depth = initial.empty_maps(stack, start.pixel_step)
        depth = with_known_depth(depth, stack, sparse, dense)
        kept = initial.carve(stack, hull, depth, start, touched)
        sdf = signed_distance(torch.as_tensor(kept).to(device))
    # The distance to a set of vertices has steps of one voxel; this rounds them.
    field = GridField(torch.as_tensor(ndimage.gaussian_filter(sdf.cpu().numpy(), 1.0)).to(device))
    # Where masks are not exact, only the hull's own surface keeps outlines from being drawn in.
    return field if touched is None else with_least_area(field, stack, touched)
