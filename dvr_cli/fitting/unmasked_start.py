"""Working cube and first field of scenes without masks: what coarse depth of all views says, cut with the least area.

Every depth votes: what lies before it is free, what lies just behind it is inside. The labelling of least area that
respects the votes closes gaps where nothing could be compared, and leaves out what too few depths support. Space behind
surfaces, which nobody has seen, is inside up to the border of the region of interest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from dvr_cli.config import Settings
from dvr_cli.errors import SceneError
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.depth_targets import SparseTargets, with_known_depth
from dvr_cli.fitting.seen_depth import SeenDepth
from dvr_cli.fitting.smooth_cut import smooth_cut
from dvr_cli.fitting.surroundings import distance_maps
from dvr_cli.fitting.working_cube import HULL_VOXELS, LARGEST, MARGIN, WorkingCube, in_cube
from dvr_cli.kernels import hull as hull_kernels
from dvr_cli.kernels.distances import signed_distance
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.scenes.cameras import similarity_scale

SUPPORTING_VIEWS = 2
"""Depths that must lie at a vertex for the cube to hold it."""


@dataclass(frozen=True)
class _Votes:
    """What depths say of every vertex of a grid over the cube."""

    outside: Float[Tensor, "n n n"]
    """For free space less those for a surface, bounded."""
    support: Float[Tensor, "n n n"]
    """For a surface."""
    domain: Bool[Tensor, "n n n"]
    """The region of interest, without the walls of the cube."""


Known = Callable[[WorkingCube, ViewArrays], tuple[SparseTargets | None, Float[Tensor, "pixels"] | None]]
"""Points and depth maps that were given, in a cube; maps at the scale of its views."""


def unmasked_cube(small: ViewArrays, seen: SeenDepth, unit_from_world: Float[np.ndarray, "4 4"], settings: Settings,
                  known: Known) -> WorkingCube:  # fmt: skip
    """The cube around what depths support in the region of interest; SceneError when that is nothing.

    `small`: the views at the depth maps' scale, in the scene's unit space, UNKNOWN where no mask was given. Where
    comparing photographs has shown nothing, `known` depth decides.
    """
    whole = WorkingCube(np.diag([1 / LARGEST] * 3 + [1.0]) @ unit_from_world, np.zeros(3), 1 / LARGEST)
    stack = in_cube(small, whole)
    places = _supported(_votes(stack, seen, whole, settings, HULL_VOXELS), SUPPORTING_VIEWS)
    if not len(places):
        # Known depth needs no second view to confirm it.
        places = _supported(_votes(stack, seen, whole, settings, HULL_VOXELS, *known(whole, stack)), 1)
    if not len(places):
        raise SceneError(
            "Without masks the object has to be found by comparing photographs, and no depth in the region of interest "
            "is confirmed by two other views.\nExpected at least three overlapping photographs of something with "
            "texture. Give masks (--masks, --masks auto) or depth seen from known views (a COLMAP model, depth maps), "
            "or check the cameras and the region of interest with dvr inspect SCENE."
        )
    spacing = 2 * LARGEST / (HULL_VOXELS - 1)
    samples = places * spacing - LARGEST
    low, high = samples.min(axis=0) - 2 * spacing, samples.max(axis=0) + 2 * spacing
    centre, half = (low + high) / 2, float((high - low).max()) / 2 * MARGIN
    if half > LARGEST:
        centre, half = np.zeros(3), LARGEST
    cube_from_unit = np.diag([1 / half, 1 / half, 1 / half, 1.0])
    cube_from_unit[:3, 3] = -centre / half
    return WorkingCube(cube_from_unit @ unit_from_world, -centre / half, 1 / half)


def _supported(votes: _Votes, least: int) -> Int[np.ndarray, "p 3"]:
    """Vertices inside the cut at which so many depths lie."""
    inside = smooth_cut(votes.outside, votes.domain) & (votes.support >= least)
    return inside.nonzero().cpu().numpy()


def unmasked_field(
    small: ViewArrays,
    seen: SeenDepth,
    cube: WorkingCube,
    settings: Settings,
    sparse: SparseTargets | None = None,
    dense: Float[Tensor, "pixels"] | None = None,
) -> GridField:
    """A smooth distance field around what the cut leaves; `small` in the cube, `dense` at its scale, 0 = unknown.

    SceneError when nothing is left.
    """
    votes = _votes(small, seen, cube, settings, settings.surroundings.voxels, sparse, dense)
    inside = smooth_cut(votes.outside, votes.domain)
    if not inside.any():
        raise SceneError(
            "Nothing is left in the region of interest: the photographs see through all of it.\n"
            "Check with dvr inspect SCENE where the region of interest lies; masks or sparse points say it better."
        )
    sdf = ndimage.gaussian_filter(signed_distance(inside).cpu().numpy(), 1.0)
    return GridField(torch.as_tensor(sdf).to(small.gray.device))


def _votes(
    small: ViewArrays,
    seen: SeenDepth,
    cube: WorkingCube,
    settings: Settings,
    voxels: int,
    sparse: SparseTargets | None = None,
    dense: Float[Tensor, "pixels"] | None = None,
) -> _Votes:
    own = settings.surroundings
    everywhere = torch.full((voxels, voxels, voxels), -1.0, device=small.gray.device)
    depth = distance_maps(seen, small, similarity_scale(cube.cube_from_world))
    depth = with_known_depth(depth, small, sparse, dense)
    margin = own.margin * 2.0 / voxels
    free, support = hull_kernels.vote(small, everywhere, depth.starts, depth.step, depth.t_map, margin)
    outside = (free - support).clamp(-own.most_votes, own.most_votes)
    axis = torch.linspace(-1, 1, voxels, device=free.device)
    x, y, z = ((axis - float(centre)).square() for centre in cube.ball_centre)
    domain = x[:, None, None] + y[None, :, None] + z[None, None, :] <= cube.ball_radius**2
    domain[[0, -1]], domain[:, [0, -1]], domain[:, :, [0, -1]] = False, False, False
    # Masks, where there are a few, know better.
    masked_out = ~hull_kernels.visual_hull(small, voxels, radius=torch.inf)
    outside = torch.where(masked_out & (free + support > 0), own.most_votes, outside)
    return _Votes(own.certainty * outside, support, domain)
