"""The first field: the visual hull, carved where several views agree that space is free.

Coarse depth maps (a plane sweep inside the hull) count only where other views' depths confirm them. They vote for free
space and for surfaces, and of all ways to carve the hull that respect the votes the one with the least area is taken:
what is left over between confirmed depths, in a cup for instance, costs area and goes. Silhouettes have a veto: every
ray through a mask keeps at least the vertex on it with the fewest votes against.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from dvr_cli.config import Start
from dvr_cli.fitting.smooth_cut import smooth_cut
from dvr_cli.kernels import hull as hull_kernels
from dvr_cli.kernels.views import OBJECT, ViewArrays

APART = 6.0
"""Degrees between views, seen from the middle of the cube, from which on they show each other's depth well."""

TOGETHER = 60.0
"""Degrees beyond which views no longer show the same; being apart is of no use there."""

TWO_STEPS = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), 2)
"""Vertices about one that a contour touches at which the hull is not carved and nothing is guessed behind a surface."""
CUT_ITERATIONS = (300, 80, 30)
"""Of `smooth_cut` from its coarsest grid on; more on the finest one change next to nothing here."""


@dataclass(frozen=True)
class DepthMaps:
    """Confirmed coarse distances of all views, flat; 0 where unknown."""

    t_map: Float[Tensor, "map_pixels"]
    starts: Int[Tensor, "v"]
    step: int


def empty_maps(stack: ViewArrays, step: int) -> DepthMaps:
    """Maps in which no depth is known."""
    sizes = -(-stack.widths.long() // step) * -(-stack.heights.long() // step)
    starts = (sizes.cumsum(0) - sizes).int()
    return DepthMaps(torch.zeros(int(sizes.sum()), device=stack.gray.device), starts, step)


def places_on(
    maps: DepthMaps, stack: ViewArrays, views: Int[Tensor, "p"], pixels: Int[Tensor, "p 2"]
) -> Int[Tensor, "p"]:
    """Where in the maps the depths of pixels stand."""
    widths = -(-stack.widths.long() // maps.step)
    column, row = (pixels.long() // maps.step).unbind(dim=1)
    return maps.starts[views.long()] + row * widths[views.long()] + column


def neighbour_views(stack: ViewArrays, count: int) -> Int[Tensor, "v m"]:
    """For each view the `count` others to compare it with, from the nearest directions, nearest first; -1 fills up.

    Photographs next to each other in a film look the same and fix no depth. Therefore a view that lies within `APART`
    of this one or of one already taken has to wait until there is no other within `TOGETHER`.
    """
    towards = torch.nn.functional.normalize(stack.centres, dim=1)
    cosine = towards @ towards.T
    cosine.fill_diagonal_(-2)
    close = cosine > math.cos(math.radians(APART))
    apart = ~close & (cosine > math.cos(math.radians(TOGETHER)))
    wide = min(count, stack.count - 1)
    taken = torch.eye(stack.count, dtype=torch.bool, device=cosine.device)
    chosen = torch.zeros(stack.count, wide, dtype=torch.long, device=cosine.device)
    for column in range(wide):
        # Cosines differ by 2 at most, so whatever is apart comes before everything that is not.
        chosen[:, column] = (cosine + 3.0 * apart).masked_fill(taken, -3).argmax(dim=1)
        taken.scatter_(1, chosen[:, column : column + 1], True)
        apart &= ~close[chosen[:, column]]
    order = cosine.gather(1, chosen).argsort(dim=1, descending=True, stable=True)
    return torch.nn.functional.pad(chosen.gather(1, order).int(), (0, count - wide), value=-1).contiguous()


def mask_pixels(
    stack: ViewArrays, step: int = 1, only_known: bool = False
) -> tuple[Int[Tensor, "p"], Int[Tensor, "p 2"]]:
    """(view, (x, y)) of every `step`-th pixel that may be object in both directions, from half a step on.

    `only_known`: without the pixels of which masks say nothing.
    """
    views, pixels = [], []
    masks = stack.masks.cpu()
    masks = masks == OBJECT if only_known else masks
    for v in range(stack.count):
        start, height, width = int(stack.starts[v]), int(stack.heights[v]), int(stack.widths[v])
        mask = masks[start : start + height * width].reshape(height, width)
        found = mask[step // 2 :: step, step // 2 :: step].nonzero() * step + step // 2
        pixels.append(found.flip(1))
        views.append(torch.full((len(found),), v))
    device = stack.gray.device
    return torch.cat(views).int().to(device), torch.cat(pixels).int().to(device).contiguous()


def coarse_depth(
    stack: ViewArrays, hull: Float[Tensor, "n n n"], neighbours: Int[Tensor, "v m"], start: Start
) -> DepthMaps:
    """Plane-sweep depth inside the hull for every `step`-th pixel, kept where other views confirm it."""
    step = start.pixel_step
    views, pixels = mask_pixels(stack, step)
    t, score = hull_kernels.sweep(
        stack, neighbours, hull, views, pixels,
        planes=start.planes, sources=start.sources, radius=start.patch_radius, noise=start.noise,
    )  # fmt: skip
    t = torch.where(score > start.least_score, t, 0)
    maps = empty_maps(stack, step)
    index = places_on(maps, stack, views, pixels)
    maps.t_map[index] = t
    tolerance = start.tolerance * 2.0 / start.voxels
    agree = hull_kernels.confirm(stack, neighbours, maps.starts, step, views, pixels, t, maps.t_map, tolerance)
    confirmed = torch.zeros_like(maps.t_map)
    confirmed[index] = torch.where(agree >= start.confirmations, t, 0)
    return replace(maps, t_map=confirmed)


def carve(
    stack: ViewArrays,
    hull: Float[Tensor, "n n n"],
    depth: DepthMaps,
    start: Start,
    touched: Float[Tensor, "p 3"] | None = None,
) -> Bool[np.ndarray, "n n n"]:
    """The hull less what views agree is free, every mask ray keeping something; True inside.

    Around points that it is known to be `touched` at the hull is the object, whatever photographs seem to show.
    """
    margin = start.margin * 2.0 / hull.shape[0]
    free, support = hull_kernels.vote(stack, hull, depth.starts, depth.step, depth.t_map, margin)
    if touched is not None and len(touched):
        near = around(touched, hull.shape[0], TWO_STEPS)
        free, support = torch.where(near, 0, free), torch.where(near, support.clamp(min=1), support)
    against = free - support
    inside = (hull < 0).cpu().numpy()
    found = smooth_cut(_evidence(hull, free, support, start), torch.ones_like(hull, dtype=torch.bool), CUT_ITERATIONS)
    kept = found.cpu().numpy() & inside
    views, pixels = mask_pixels(stack, 2, only_known=True)
    origins, directions = stack.rays(views, pixels)
    for _ in range(8):
        kept_tensor = torch.as_tensor(kept).to(device=hull.device, dtype=torch.uint8)
        restore = hull_kernels.veto(hull, kept_tensor, against, origins, directions)
        places = restore[restore >= 0].unique().cpu().numpy()
        if len(places) == 0:
            break
        back = np.zeros_like(kept)
        back.reshape(-1)[places] = True
        kept = kept | (ndimage.binary_dilation(back, iterations=1) & inside)
    return kept


def nearest_vertex(points: Float[Tensor, "p 3"], n: int) -> Int[Tensor, "p"]:
    """Index of the vertex of a grid of n^3 over the cube that is nearest to each point."""
    return _index(_place(points, n), n)


def around(points: Float[Tensor, "p 3"], n: int, shape: Bool[np.ndarray, "k k k"]) -> Bool[Tensor, "n n n"]:
    """The vertices of a grid over the cube in a shape about the vertices nearest to points."""
    offsets = torch.as_tensor(np.argwhere(shape) - shape.shape[0] // 2, device=points.device)
    near = torch.zeros(n**3, dtype=torch.bool, device=points.device)
    # Beyond a wall comes the wall, which lies in a convex shape, too.
    near[_index((_place(points, n)[:, None] + offsets).clamp(0, n - 1).reshape(-1, 3), n)] = True
    return near.reshape(n, n, n)


def _place(points: Float[Tensor, "p 3"], n: int) -> Int[Tensor, "p 3"]:
    return ((points.clamp(-1, 1) + 1) * ((n - 1) / 2)).round().long()


def _index(place: Int[Tensor, "p 3"], n: int) -> Int[Tensor, "p"]:
    i, j, k = place.unbind(dim=1)
    return (i * n + j) * n + k


def _evidence(
    hull: Float[Tensor, "n n n"], free: Float[Tensor, "n n n"], support: Float[Tensor, "n n n"], start: Start
) -> Float[Tensor, "n n n"]:
    """That a vertex is outside, in faces of a voxel, for `smooth_cut`; negative: inside."""
    votes = (free - start.surface_worth * support).clamp(-start.most_votes, start.most_votes)
    # Nothing says what is below the hull where no depth was found. Its surface is taken for the object's, in a layer
    # with more evidence than the area of both its sides, or the least area would be to leave out all that is plain.
    depth = -hull * (hull.shape[0] / 2.0)
    shell = (depth < start.shell) & (free < start.free_votes) & (support < 1)
    evidence = torch.where(shell, -start.shell_worth, start.certainty * votes)
    return torch.where(hull < 0, evidence, 2 * start.most_votes)
