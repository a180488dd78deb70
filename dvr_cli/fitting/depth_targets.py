"""Depth that is known beforehand, made ready for the optimisation: sparse points, their rays, dense maps, first votes.

Points may be noisy and some are plainly wrong. Those go at once that several masks call background, that lie outside
the cube, or that have no neighbours; of what is left `point_spreads` says how exact it is. Lengths are in the working
cube.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.fitting.initial import DepthMaps
from dvr_cli.fitting.point_spreads import point_spreads
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.scenes.hull import count_votes, silhouettes
from dvr_cli.scenes.sparse_depth import with_points
from dvr_cli.scenes.views import LoadedView, SparseDepth

MOST_POINTS = 200_000
"""More points than this bring nothing; a random choice of them is kept."""
_DISSENT = 1
"""Masks that may call a point background, e.g. for an error of a mask."""
_MASK_SAMPLES = 112
_NEIGHBOURS = 6
_LONELY = 4.0
"""Points this many times farther from their neighbours than usual are dropped ..."""
_LONELY_AT_LEAST = 0.05
"""... if it is more than this length, so that unevenly spread points survive."""
_WIDEST_FOOTPRINT = 3


@dataclass(frozen=True)
class SparseTargets:
    """Points on the surface with the rays that see them."""

    points: Float[Tensor, "p 3"]
    spreads: Float[Tensor, "p"]
    """Standard deviation of each point's distance from the surface."""
    pair_views: Int[Tensor, "q"]
    """For each ray, its view."""
    pair_points: Int[Tensor, "q"]
    """For each ray, its point."""
    touched: Float[Tensor, "c 3"] | None = None
    """Those of the points that contours touch, where masks agree to the pixel (`fitting.rims`)."""


def sparse_targets(
    sparse: SparseDepth, views: Sequence[LoadedView], cube_from_world: Float[np.ndarray, "4 4"], device: torch.device
) -> SparseTargets:
    """The points worth using, in the cube; there may be none."""
    points = sparse.points @ cube_from_world[:3, :3].T + cube_from_world[:3, 3]
    keep = (np.abs(points) < 1).all(axis=1)
    if keep.sum() > MOST_POINTS:
        chosen = np.random.default_rng(0).choice(np.flatnonzero(keep), MOST_POINTS, replace=False)
        keep = np.zeros_like(keep)
        keep[chosen] = True
    keep[keep] = _within_masks(points[keep], views, cube_from_world)
    keep[keep] = _in_company(points[keep])
    kept = with_points(sparse, keep)
    spreads = point_spreads(points[keep], kept, [view.camera for view in views])
    pairs = np.zeros((0, 2), np.int64) if kept.visibility is None else np.unique(kept.visibility, axis=0)

    def tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(device=device, dtype=dtype)

    return SparseTargets(
        tensor(points[keep], torch.float32),
        tensor(spreads, torch.float32),
        tensor(pairs[:, 0], torch.int32),
        tensor(pairs[:, 1], torch.int32),
    )


def together(first: SparseTargets | None, second: SparseTargets | None) -> SparseTargets | None:
    """The points and rays of both, or of the one that there is."""
    if first is None or second is None:
        return first or second
    return SparseTargets(
        torch.cat([first.points, second.points]),
        torch.cat([first.spreads, second.spreads]),
        torch.cat([first.pair_views, second.pair_views]),
        torch.cat([first.pair_points, second.pair_points + len(first.points)]),
        second.touched if first.touched is None else first.touched,
    )


def _within_masks(
    points: Float[np.ndarray, "p 3"], views: Sequence[LoadedView], cube_from_world: Float[np.ndarray, "4 4"]
) -> Bool[np.ndarray, "p"]:
    found = silhouettes(views, cube_from_world, _MASK_SAMPLES)
    return count_votes(found, points.astype(np.float32)).inside(_DISSENT) if found else np.ones(len(points), bool)


def _in_company(points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "p"]:
    """False for points without neighbours: on a surface that was measured there would be some."""
    from scipy.spatial import cKDTree

    if len(points) <= _NEIGHBOURS:
        return np.ones(len(points), bool)
    distance = cKDTree(points).query(points, k=_NEIGHBOURS + 1)[0][:, 1:].mean(axis=1)
    return distance <= max(_LONELY * float(np.median(distance)), _LONELY_AT_LEAST)


def dense_targets(
    views: Sequence[LoadedView], stack: ViewArrays, divisor: int, cube_from_world: Float[np.ndarray, "4 4"]
) -> Float[Tensor, "pixels"] | None:
    """Distance along the ray of every pixel of the stack, in the cube, 0 where unknown; None without depth maps."""
    if all(view.depth is None for view in views):
        return None
    parts = []
    scale = float(np.cbrt(np.linalg.det(cube_from_world[:3, :3])))
    for index, view in enumerate(views):
        height, width = int(stack.heights[index]), int(stack.widths[index])
        if view.depth is None:
            parts.append(np.zeros(height * width, np.float32))
            continue
        # A mean across an edge would be a depth that nothing has: one pixel of each block stands for it.
        first = divisor // 2
        depth = view.depth[first::divisor, first::divisor][:height, :width]
        z_is_one = np.linalg.inv(stack.intrinsics[index].cpu().numpy().astype(np.float64))
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ z_is_one.T
        t = depth * scale * np.linalg.norm(rays, axis=-1)
        parts.append(np.nan_to_num(t, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32).ravel())
    return torch.as_tensor(np.concatenate(parts)).to(stack.gray.device)


def with_known_depth(
    maps: DepthMaps, stack: ViewArrays, sparse: SparseTargets | None, dense: Float[Tensor, "pixels"] | None
) -> DepthMaps:
    """The coarse depth maps that carve the hull, with what is known beforehand put where they have nothing.

    A point with its view fills its cell of the map and the cells around it, as far as points are apart: its ray votes
    for free space before it and supports what is there, as a depth found by comparing photographs does. Where two
    points meet the nearer counts, which carves less.
    """
    t_map = maps.t_map
    if dense is not None:
        t_map = torch.where(t_map > 0, t_map, _on_cells(dense, maps, stack))
    if sparse is not None and len(sparse.pair_points):
        splats = _splats(maps, stack, sparse)
        t_map = torch.where(t_map > 0, t_map, splats)
    return replace(maps, t_map=t_map.contiguous())


def _on_cells(dense: Float[Tensor, "pixels"], maps: DepthMaps, stack: ViewArrays) -> Float[Tensor, "map_pixels"]:
    parts = []
    for start, height, width in torch.stack([stack.starts, stack.heights, stack.widths], dim=1).tolist():
        image = dense[start : start + height * width].reshape(height, width)
        parts.append(image[:: maps.step, :: maps.step].reshape(-1))
    return torch.cat(parts)


def _splats(maps: DepthMaps, stack: ViewArrays, sparse: SparseTargets) -> Float[Tensor, "map_pixels"]:
    """The points in the maps of the views that saw them; 0 where there is none."""
    views, points = sparse.pair_views.long(), sparse.points[sparse.pair_points.long()]
    offset = points - stack.centres[views]
    homogeneous = torch.einsum("qij,qj->qi", stack.intrinsics[views] @ stack.rotations[views], offset)
    column = (homogeneous[:, 0] / homogeneous[:, 2] / maps.step).floor().long()
    row = (homogeneous[:, 1] / homogeneous[:, 2] / maps.step).floor().long()
    widths, heights = -(-stack.widths.long() // maps.step), -(-stack.heights.long() // maps.step)
    visible = (homogeneous[:, 2] > 0) & (column >= 0) & (row >= 0) & (column < widths[views]) & (row < heights[views])
    reach = _footprint(stack.count, views[visible], column[visible], row[visible])
    t = torch.full_like(maps.t_map, torch.inf)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            r, c = row + down, column + right
            fits = visible & (c >= 0) & (r >= 0) & (c < widths[views]) & (r < heights[views])
            index = maps.starts[views].long() + r * widths[views] + c
            t.scatter_reduce_(0, index[fits], offset[fits].norm(dim=1), "amin")
    return torch.where(t.isfinite(), t, 0)


def _footprint(view_count: int, views: Int[Tensor, "q"], columns: Int[Tensor, "q"], rows: Int[Tensor, "q"]) -> int:
    """Half the usual distance between neighbouring points in a map, in cells."""
    from scipy.spatial import cKDTree

    spacings = []
    for view in range(view_count):
        cells = torch.stack([columns[views == view], rows[views == view]], dim=1).unique(dim=0).cpu().numpy()
        if len(cells) > 1:
            spacings.append(cKDTree(cells).query(cells, k=2)[0][:, 1])
    if not spacings:
        return 0
    return min(_WIDEST_FOOTPRINT, round(float(np.median(np.concatenate(spacings))) / 2))
