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
from dvr_cli.kernels.draws import toss
from dvr_cli.kernels.inner_edges import ask_rims, planes_met, rays_beside
from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.rows import rows_of
from dvr_cli.kernels.views import ViewArrays

SHARE = 0.25
"""Of the compared rays, how many ask a neighbouring pixel."""
FARTHEST_PIXEL = 5
"""Pixels along x and y to the neighbour."""


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
        return Compared(*rows_of(self, index))


def add_inner_edges(
    field: GridField,
    stack: ViewArrays,
    rays: Compared,
    settings: Settings,
    level: Level,
    seeds: tuple[int, int],
) -> None:
    """Add the gradient and the curvature of what inner edges ask to the field's; see `kernels.inner_edges.ask_rims`.

    Chance decides which rays ask, and which pixels.
    """
    weight, photometric = settings.losses.inner_edges, settings.photometric
    if weight == 0:
        return
    rays, other_t, other_normals = _planes_of_neighbours(field, stack, rays, *seeds)
    flat = torch.zeros(len(other_t), 2, device=other_t.device)
    loss, _, curvature, _ = patch_ncc(
        stack, rays.views, rays.pixels, rays.directions, other_t, other_normals, flat, rays.sources,
        keep=photometric.keep, radius=level.patch_radius, noise=photometric.noise,
    )  # fmt: skip
    points, gradient, curvature = ask_rims(
        field.sdf.detach(), (rays.origins, rays.directions, rays.t), other_t,
        (rays.loss, rays.curvature), (loss, curvature), weight, settings.losses.margin,
    )  # fmt: skip
    field.add_gradient(points, gradient)
    field.add_curvature(points, curvature)


def _planes_of_neighbours(
    field: GridField, stack: ViewArrays, rays: Compared, asking: int, beside: int
) -> tuple[Compared, Float[Tensor, "i"], Float[Tensor, "i 3"]]:
    """Some of the rays beside inner edges; where each meets the tangent plane of what a neighbouring pixel sees; that
    plane's normal."""
    asked = toss(len(rays.t), SHARE, asking, rays.t.device).nonzero().squeeze(1)
    origins, directions = rays_beside(stack, rays.views, rays.pixels, asked, FARTHEST_PIXEL, beside)
    hits = field.first_hit(origins, directions)
    own = rays.origins, rays.directions, rays.t
    plane_t, normals, usable = planes_met(field.sdf.detach(), own, asked, (origins, directions, hits.t, hits.hit))
    asked, plane_t, normals = rows_of((asked, plane_t, normals), usable.nonzero().squeeze(1))
    return rays.of(asked), plane_t, normals
