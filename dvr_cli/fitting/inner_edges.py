"""Edges of the object within its silhouette: which of two surfaces a pixel beside such an edge shows.

Where a near surface ends in front of a farther one no mask says where. A pixel that wrongly looks past the rim hits
what lies behind, far beyond the reach of its patch, and there matches badly, which counts for little: nothing pulls. So
some rays also try the surface that a neighbouring pixel sees, continued as a plane to their own ray (the spatial
propagation of PatchMatch stereo: Bleyer et al., 2011). Where that matches clearly better, the near surface is asked to
reach the ray, or to let it pass.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.config import Level, Settings
from dvr_cli.fields.grid import GridField
from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.rows import rows
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.rendering.photometric import bound_to_beat
from dvr_cli.rendering.surface import first_hit

SHARE = 0.25
"""Of the compared rays, how many ask a neighbouring pixel."""
FARTHEST_PIXEL = 5
"""Pixels along x and y to the neighbour."""
APART = 3.0
"""Voxels between two surfaces, at least."""
LONGEST_PLANE = 6.0
"""Voxels of depth over which the neighbour's surface may be continued."""
LEAST_FACING = 0.15
"""Cosine to the ray of a plane that can be compared."""
FARTHEST = 2.5
"""Voxels from the ray beyond which the near surface is not asked."""


class Compared(NamedTuple):
    """Rays that were compared with other views, and how well they matched."""

    views: Int[Tensor, "h"]
    pixels: Int[Tensor, "h 2"]
    origins: Float[Tensor, "h 3"]
    directions: Float[Tensor, "h 3"]
    t: Float[Tensor, "h"]
    sources: Int[Tensor, "h s"]
    loss: Float[Tensor, "h"]
    """1 - NCC."""
    curvature: Float[Tensor, "h"]
    """Zero where there was nothing to compare with."""

    def of(self, index: Int[Tensor, "i"]) -> "Compared":
        """Some of the rays."""
        return Compared(*(rows(part, index) for part in self))


def inner_edge_loss(
    field: GridField,
    stack: ViewArrays,
    rays: Compared,
    settings: Settings,
    level: Level,
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """The squared distance in voxels, weighted, by which the near surface is on the wrong side of a ray.

    Its curvature is added to the field.
    """
    weight, voxel, photometric = settings.losses.inner_edges, field.voxel, settings.photometric
    if weight == 0:
        return torch.zeros((), device=rays.t.device)
    rays, other_t, other_normals = _planes_of_neighbours(field, stack, rays, generator)
    flat = torch.zeros(len(other_t), 2, device=other_t.device)
    loss, _, curvature, _ = patch_ncc(
        stack, rays.views, rays.pixels, rays.directions, other_t, other_normals, flat, rays.sources,
        keep=photometric.keep, radius=level.patch_radius, noise=photometric.noise,
    )  # fmt: skip
    better = ((curvature > 0) & (loss < bound_to_beat(rays.loss, rays.curvature))).nonzero().squeeze(1)
    rays, other_t = rays.of(better), rows(other_t, better)
    # The near one of the two surfaces decides: it has to come as far as this ray, or to end before it.
    reaches = other_t < rays.t
    points = rays.origins + torch.minimum(other_t, rays.t)[:, None] * rays.directions
    value = field.value(points)
    residual = torch.where(reaches, value, -value) / voxel + settings.losses.margin
    worth = weight * ((residual > 0) & (residual < FARTHEST))
    field.add_curvature(points, worth / voxel**2)
    return 0.5 * (worth * residual.square()).sum()


def _planes_of_neighbours(
    field: GridField, stack: ViewArrays, rays: Compared, generator: torch.Generator
) -> tuple[Compared, Float[Tensor, "i"], Float[Tensor, "i 3"]]:
    """Some of the rays beside inner edges; where each meets the tangent plane of what a neighbouring pixel sees; that
    plane's normal."""
    voxel, device = field.voxel, rays.t.device
    asked = (torch.rand(len(rays.t), generator=generator) < SHARE).nonzero().squeeze(1)
    shape = (len(asked), 2)
    shift = torch.randint(-FARTHEST_PIXEL, FARTHEST_PIXEL + 1, shape, generator=generator, dtype=torch.int32)
    asked = asked.to(device)
    origins, directions = stack.rays(rows(rays.views, asked), rows(rays.pixels, asked) + shift.to(device))
    hits = first_hit(field, origins, directions)
    apart = (hits.hit & ((hits.t - rows(rays.t, asked)).abs() > APART * voxel)).nonzero().squeeze(1)
    rays, t = rays.of(rows(asked, apart)), rows(hits.t, apart)
    points = rows(origins, apart) + t[:, None] * rows(directions, apart)
    with torch.no_grad():
        normals = torch.nn.functional.normalize(field.gradient(points), dim=1)
    facing = -(normals * rays.directions).sum(dim=1)
    plane_t = -(normals * (points - rays.origins)).sum(dim=1) / facing.clamp(min=LEAST_FACING)
    near = ((plane_t - t).abs() < LONGEST_PLANE * voxel) & ((plane_t - rays.t).abs() > APART * voxel)
    usable = (near & (facing > LEAST_FACING)).nonzero().squeeze(1)
    return rays.of(usable), rows(plane_t, usable), rows(normals, usable)
