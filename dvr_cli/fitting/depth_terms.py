"""What known depth asks of the field in a step: points lie on the surface, and rays end where depth says they do.

Residuals are in voxels and weights per voxel squared, as in `step`; each robust loss is a weighted square whose weight
is taken from the residual itself (iteratively reweighted least squares), which is also its Gauss-Newton curvature.

- At a point: f(point) / voxel, Geman-McClure: a point two voxels off is doubted, one far off has no say. A point
  counts for as much as it is exact (`point_spreads`): comparing photographs is about as exact as the usual point, and a
  surface that follows noise has bumps. Once the surface has settled, points are taken for as inexact as most of them
  are off it, because no spread shows an error that neighbours share, as of a cloud from other cameras.
- Along a ray: (t_hit - t_known) / voxel, Charbonnier: its pull does not grow with the distance, but reaches far,
  because a concavity opens from its rim inwards. Surface in front of the known depth must go. Surface behind it moves
  only when it is near: farther away it may belong to another part. Of sparse points only rays count that end well in
  front of their point: for the rest the point itself speaks, and better, since a ray that grazes the surface turns the
  point's noise into a large distance.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.config import Losses
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.depth_targets import SparseTargets
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.rendering.surface import first_hit, surface_at

MOST_DRAWN = 2048
"""Points, rays to points, and pixels with depth that one step looks at, each."""
DOUBT = 2.0
"""Voxels from the surface at which a point counts a quarter; on a settled surface three standard deviations ..."""
LEAST_DOUBT = 1.0
"""... but at least so much."""
HALF_WORTH = 0.3
"""Voxels of a point's standard deviation at which it counts half."""
LEAST_BEFORE = 2.0
"""Voxels before a sparse point from which the rays that see it are asked to go on."""
FARTHEST_BEHIND = 4.0
"""Voxels behind the known depth at which a surface still counts as the one that is meant."""
FARTHEST_BEFORE = 8.0
"""Voxels before the known depth beyond which the depth is taken for a wrong one: coarse levels open what is deep."""


@dataclass(frozen=True)
class DepthTargets:
    """All known depth, at the image scale of one level."""

    sparse: SparseTargets | None = None
    dense: Float[Tensor, "pixels"] | None = None
    """Distance along the ray of each pixel of the stack; 0 where unknown."""
    settled: bool = False
    """The surface has been through a level: what most sparse points are off it now is their own noise."""


def accumulate_depth(
    field: GridField, stack: ViewArrays, targets: DepthTargets, losses: Losses, generator: torch.Generator
) -> dict[str, Tensor]:
    """Add the gradients and curvatures of the depth losses to the field's; returns the mean losses by name.

    Nothing is added, and the result is empty, where no depth is known or its weight is zero.
    """
    report: dict[str, Tensor] = {}
    sparse, dense = targets.sparse, targets.dense
    if sparse is not None and losses.sparse_depth > 0 and len(sparse.points):
        index = _draw(len(sparse.points), generator).to(sparse.points.device)
        report["sparse_depth"] = _at_points(
            field, sparse.points[index], sparse.spreads[index], losses.sparse_depth, targets.settled
        )
        if len(sparse.pair_points):
            index = _draw(len(sparse.pair_points), generator).to(sparse.points.device)
            point, centre = sparse.pair_points[index].long(), stack.centres[sparse.pair_views[index].long()]
            offset = sparse.points[point] - centre
            known_t = offset.norm(dim=1)
            weights = losses.sparse_depth * _worth(field, sparse.spreads[point])
            report["sparse_rays"] = _along_rays(
                field, centre, offset / known_t[:, None], known_t, weights, latest=-LEAST_BEFORE
            )
    if dense is not None and losses.depth > 0:
        views, pixels = _draw_pixels(stack, generator)
        known_t = dense[stack.pixel_index(views, pixels)]
        known = (known_t > 0).nonzero().squeeze(1)
        origins, directions = stack.rays(views[known], pixels[known])
        weights = torch.full((len(known),), losses.depth, device=dense.device)
        report["depth"] = _along_rays(field, origins, directions, known_t[known], weights)
    return report


def _draw(count: int, generator: torch.Generator) -> Int[Tensor, "d"]:
    """At most MOST_DRAWN of `count` indices; all of them when there are no more."""
    if count <= MOST_DRAWN:
        return torch.arange(count)
    return torch.randint(count, (MOST_DRAWN,), generator=generator)


def _draw_pixels(stack: ViewArrays, generator: torch.Generator) -> tuple[Int[Tensor, "d"], Int[Tensor, "d 2"]]:
    """Pixels anywhere in the photographs, as (view, (x, y))."""
    flat = torch.randint(len(stack.gray), (MOST_DRAWN,), generator=generator).to(stack.gray.device)
    views = torch.searchsorted(stack.starts.long(), flat, right=True) - 1
    inside, width = flat - stack.starts[views], stack.widths[views]
    pixels = torch.stack([inside % width, inside // width], dim=1)
    return views.int(), pixels.int()


def _worth(field: GridField, spreads: Float[Tensor, "d"]) -> Float[Tensor, "d"]:
    """What points count, in (0, 1]: one half at HALF_WORTH voxels, the inverse of the variance far beyond."""
    return 1 / (1 + (spreads / (HALF_WORTH * field.voxel)).square())


def _at_points(
    field: GridField, points: Float[Tensor, "d 3"], spreads: Float[Tensor, "d"], weight: float, settled: bool
) -> Tensor:
    """Points lie on the surface; the mean of their weighted distances in voxels."""
    residual = field.value(points) / field.voxel
    found = residual.detach()
    doubt = torch.full_like(found, DOUBT)
    if settled:
        # The median of |x| of a normal distribution is 0.6745 standard deviations.
        spreads = spreads.clamp(min=float(1.4826 * found.abs().median()) * field.voxel)
        doubt = (3 * spreads / field.voxel).clamp(LEAST_DOUBT, DOUBT)
    weights = weight * _worth(field, spreads) / (1 + (found / doubt) ** 2) ** 2
    (0.5 * weights * residual.square()).sum().backward()
    field.add_curvature(points, weights / field.voxel**2)
    return (weights * found.abs()).mean()


def _along_rays(
    field: GridField,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    known_t: Float[Tensor, "r"],
    weights: Float[Tensor, "r"],
    latest: float = FARTHEST_BEHIND,
) -> Tensor:
    """Rays end at known distances; the mean of their weighted errors in voxels.

    A ray counts whose hit lies at most `latest` voxels behind what is known.
    """
    hits = first_hit(field, origins, directions)
    error = (hits.t - known_t) / field.voxel
    near = hits.hit & (error < latest) & (error > -FARTHEST_BEFORE)
    index = near.nonzero().squeeze(1)
    surface = surface_at(field, origins[index], directions[index], hits.t[index])
    residual = (surface.t - known_t[index]) / field.voxel
    found = residual.detach()
    weights = weights[index] / (1 + found.square()).sqrt()
    (0.5 * weights * residual.square()).sum().backward()
    field.add_curvature(surface.points.detach(), weights / (field.voxel * surface.slope) ** 2)
    return (weights * found.abs()).sum() / max(len(known_t), 1)
