"""Depth maps of all views by multi-view stereo: which views to compare, and PatchMatch from coarse to fine.

Maps lie flat behind each other like the photographs of a `ViewArrays`; a pixel off the object has cost `NO_PLANE`.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.fitting.initial import mask_pixels
from dvr_cli.fitting.stereo_settings import MvsLevel, MvsSettings
from dvr_cli.fitting.working_cube import WorkingCube, cube_hull, in_cube, working_cube
from dvr_cli.kernels import patchmatch
from dvr_cli.kernels.distances import signed_distance
from dvr_cli.kernels.matching import Comparing, matching_of, with_known
from dvr_cli.kernels.planes import NO_PLANE
from dvr_cli.kernels.views import ViewArrays, divisor_for, stack_views
from dvr_cli.scenes.views import LoadedView

BEST_ANGLE = 12.0
"""Degrees between the rays of two views to a point at which they say most about its depth without looking different."""
NARROWER, WIDER = 5.0, 14.0
"""Standard deviations, in degrees, of the preference for that angle."""
SURFACE_POINTS = 2000


@dataclass(frozen=True)
class Region:
    """Where the object may be."""

    cube: WorkingCube
    hull: Float[Tensor, "n n n"]
    """Signed distances to the visual hull, in the cube."""
    sights: Float[Tensor, "p 3"] | None = None
    """Points that say which views look at the same things; None: the surface of the hull."""


@dataclass(frozen=True)
class PlaneMaps:
    """A plane for every pixel of every view."""

    stack: ViewArrays
    """The photographs at the maps' scale, in the cube."""
    views: Int[Tensor, "p"]
    """View of each object pixel."""
    pixels: Int[Tensor, "p 2"]
    """Whole (x, y) of each object pixel."""
    planes: Float[Tensor, "pixels 3"]
    """Inverse depth and its change per pixel to the right and down."""
    costs: Float[Tensor, "pixels"]
    """Mean loss of the best sources, `NO_PLANE` where there is no plane."""
    weights: Float[Tensor, "pixels"]
    """Curvature of the losses with respect to inverse depth."""
    matching: Any
    """The same photographs for kernels: a `kernels.matching.Matching`."""
    witnesses: Int[Tensor, "v m"]
    """Views that may confirm each view's depths, -1 for none."""


def region_of(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], settings: MvsSettings,
              device: torch.device) -> Region:  # fmt: skip
    """The cube around the visual hull and the hull in it; SceneError when it is empty."""
    stack = stack_views(views, unit_from_world, divisor_for(views, 200), device)
    cube = working_cube(stack, unit_from_world)
    inside = cube_hull(in_cube(stack, cube), cube, settings.hull_voxels)
    return Region(cube, signed_distance(torch.as_tensor(inside).to(device)))


def source_views(stack: ViewArrays, hull: Float[Tensor, "n n n"], count: int) -> Int[Tensor, "v m"]:
    """For each view the `count` others that see most of the same surface at a good angle, best first; -1 fills up.

    The surface is the hull's, as far as it faces both views and lies in both images.
    """
    return views_of_points(stack, *_hull_surface(hull), count)


def views_of_points(
    stack: ViewArrays, points: Float[Tensor, "p 3"], normals: Float[Tensor, "p 3"] | None, count: int
) -> Int[Tensor, "v m"]:
    """The same for points, which face where their normals do or, without these, everywhere."""
    towards = stack.centres[:, None] - points[None]
    towards = torch.nn.functional.normalize(towards, dim=2)
    sees = torch.ones_like(towards[..., 0], dtype=torch.bool)
    if normals is not None:
        sees = (towards * normals).sum(dim=2) > 0.1
    in_camera = torch.einsum("vij,vpj->vpi", stack.rotations, points[None] - stack.centres[:, None])
    q = torch.einsum("vij,vpj->vpi", stack.intrinsics, in_camera)
    pixel = q[..., :2] / q[..., 2:].clamp(min=1e-6)
    size = torch.stack([stack.widths, stack.heights], dim=1)[:, None]
    sees &= ((pixel >= 0) & (pixel < size)).all(dim=2) & (q[..., 2] > 0)
    scores = torch.full((stack.count, stack.count), -1.0)
    for view in range(stack.count):
        cosine = (towards * towards[view]).sum(dim=2).clamp(-1, 1)
        angle = cosine.acos().rad2deg() - BEST_ANGLE
        worth = torch.exp(-0.5 * (angle / torch.where(angle < 0, NARROWER, WIDER)) ** 2) + 1e-4
        scores[view] = (worth * (sees & sees[view])).sum(dim=1).cpu()
    scores.fill_diagonal_(-1)
    best, order = scores.sort(dim=1, descending=True, stable=True)
    order = torch.where(best > 0, order, -1)[:, :count].int()
    return torch.nn.functional.pad(order, (0, count - order.shape[1]), value=-1).contiguous().to(stack.gray.device)


def _hull_surface(hull: Float[Tensor, "n n n"]) -> tuple[Float[Tensor, "p 3"], Float[Tensor, "p 3"]]:
    """Points near the hull's surface, evenly picked among the grid's vertices, and outward normals there."""
    n = hull.shape[0]
    spacing = 2 / (n - 1)
    near = (hull.abs() < spacing).nonzero()
    near = near[:: max(1, len(near) // SURFACE_POINTS)]
    gradient = torch.stack(torch.gradient(hull, spacing=spacing), dim=-1)[near[:, 0], near[:, 1], near[:, 2]]
    return near * spacing - 1, torch.nn.functional.normalize(gradient, dim=1)


def plane_maps(
    views: Sequence[LoadedView],
    region: Region,
    settings: MvsSettings,
    device: torch.device,
    report: Callable[[int, int], None],
    seed: int = 0,
) -> PlaneMaps:
    """PatchMatch on photographs of growing size; `report(done, total)` counts passes over all pixels."""
    finest = divisor_for(views, settings.image_size)
    total = sum(level.passes + 2 for level in settings.levels) + settings.geometric_passes
    done = itertools.count(1)
    maps: PlaneMaps | None = None
    for index, level in enumerate(settings.levels):
        divisor = finest * 2 ** (len(settings.levels) - 1 - index)
        stack = stack_views(views, region.cube.cube_from_world, divisor, device)
        maps = _begun(stack, region, settings, level, maps)
        report(next(done), total)
        for number in range(level.passes):
            _improve(maps, level, level.scale * 0.5**number, seed + 1000 * index + 2 * number)
            report(next(done), total)
        patchmatch.refine(*_listed(maps), maps.weights, steps=level.refinements, damping=settings.damping)
        report(next(done), total)
    assert maps is not None
    for number in range(settings.geometric_passes):
        _agree(maps, settings, seed + 1_000_000 + 2 * number)
        report(next(done), total)
    return maps


def _begun(
    stack: ViewArrays, region: Region, settings: MvsSettings, level: MvsLevel, coarse: PlaneMaps | None
) -> PlaneMaps:
    """Maps at the scale of `stack` with a plane for every object pixel: swept, or those of half the size."""
    count = max(settings.witnesses, settings.sources)
    if region.sights is None:
        witnesses = source_views(stack, region.hull, count)
    else:
        witnesses = views_of_points(stack, region.sights, None, count)
    sources = witnesses[:, : settings.sources].contiguous()
    margin = settings.hull_margin * 2 / (settings.hull_voxels - 1)
    comparing = Comparing(level.radius, level.stride, settings.keep, settings.noise, margin)
    matching = matching_of(stack, sources, region.hull, comparing)
    planes = torch.zeros(len(stack.gray), 3, device=stack.gray.device)
    costs, weights = torch.full_like(stack.gray, float(NO_PLANE)), torch.zeros_like(stack.gray)
    maps = PlaneMaps(stack, *mask_pixels(stack), planes, costs, weights, matching, witnesses)
    if coarse is None:
        patchmatch.sweep(matching, maps.views, maps.pixels, settings.spacing, planes, costs)
    else:
        planes[stack.pixel_index(maps.views, maps.pixels)] = _planes_of_parents(maps, coarse)
        patchmatch.cost(*_listed(maps))
    return maps


def _planes_of_parents(maps: PlaneMaps, coarse: PlaneMaps) -> Float[Tensor, "p 3"]:
    """For each object pixel the plane that maps of half the size have there; inverse depth 0 where they have none."""
    size = torch.stack([coarse.stack.widths, coarse.stack.heights], dim=1)[maps.views.long()]
    parents = torch.minimum(maps.pixels // 2, size - 1)
    place = coarse.stack.pixel_index(maps.views, parents)
    offset = (maps.pixels + 0.5) / 2 - (parents + 0.5)
    found = coarse.planes[place]
    w = found[:, 0] + (found[:, 1:] * offset).sum(dim=1)
    w = torch.where(coarse.costs[place] < float(NO_PLANE), w, 0)
    return torch.cat([w[:, None], found[:, 1:] / 2], dim=1)


def _agree(maps: PlaneMaps, settings: MvsSettings, seed: int) -> None:
    """One round in which planes that contradict the other views' planes cost more, then refinement as before."""
    level = settings.levels[-1]
    agreeing = replace(maps, matching=with_known(maps.matching, maps.planes.clone(), settings.geometric))
    patchmatch.cost(*_listed(agreeing))
    _improve(agreeing, level, level.scale, seed)
    patchmatch.refine(*_listed(maps), maps.weights, steps=level.refinements, damping=settings.damping)


def _improve(maps: PlaneMaps, level: MvsLevel, scale: float, seed: int) -> None:
    """One round over both colours of the checkerboard."""
    colour = maps.pixels.sum(dim=1) % 2
    for which in (0, 1):
        of_colour = colour == which
        patchmatch.improve(
            maps.matching, maps.views[of_colour], maps.pixels[of_colour].contiguous(), maps.planes, maps.costs,
            reach=level.reach, draws=level.draws, scale=scale, seed=seed + which,
        )  # fmt: skip


def _listed(maps: PlaneMaps) -> tuple[Any, Tensor, Tensor, Tensor, Tensor]:
    return maps.matching, maps.views, maps.pixels, maps.planes, maps.costs
