"""Where there are no masks: coarse depth of everything that the photographs show, the surroundings included.

Depth maps by multi-view stereo reach far beyond the region of interest. A depth counts where other views confirm it;
its pixel then shows the object, if the depth lies within the region of interest, or background, if it lies behind it.
All other pixels stay unknown. A pixel whose neighbours say otherwise is unknown as well: coarse maps have no exact
edges, and the surface shall not follow them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dvr_cli.config import Surroundings
from dvr_cli.fitting import stereo
from dvr_cli.fitting.initial import DepthMaps
from dvr_cli.fitting.seen_depth import SeenDepth
from dvr_cli.fitting.stereo_settings import MvsLevel, MvsSettings
from dvr_cli.fitting.working_cube import WorkingCube
from dvr_cli.kernels.fusion import Agreement, count_agreeing
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN, ViewArrays, divisor_for, stack_views
from dvr_cli.scenes.cameras import similarity_scale
from dvr_cli.scenes.views import LoadedView

FEWEST_VIEWS = 3
"""A depth counts when two other views confirm it."""
FEWEST_MASKS = 3
"""With fewer masks than this the hull says nothing, and depth has to say where the object is."""
BORDER = 0.03
"""Depths this close to the border of the region of interest, in its radii, are neither object nor background."""
SIGHTS = 500
"""Points in the region of interest that say which views look at the same things."""
LEVELS = (
    MvsLevel(passes=3, reach=4, draws=3, scale=1.0, refinements=1, radius=2),
    MvsLevel(passes=2, reach=3, draws=2, scale=0.3, refinements=1, radius=3, stride=2),
)


def too_few_masks(views: Sequence[LoadedView]) -> bool:
    """Whether masks cannot say where the object is, so that depth has to: some are missing, and few are there."""
    masks = sum(view.mask is not None for view in views)
    return masks < min(FEWEST_MASKS, len(views))


def see_all_around(
    views: Sequence[LoadedView],
    unit_from_world: Float[np.ndarray, "4 4"],
    settings: Surroundings,
    device: torch.device,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> SeenDepth:
    """Confirmed depth of every view, of whatever it shows up to `settings.reach` radii of the region of interest.

    With fewer than three views nothing can be confirmed, and nothing is known. `report(done, total)` is called between
    passes over the pixels.
    """
    divisor = divisor_for(views, settings.image_size)
    small = stack_views(views, unit_from_world, divisor, device)
    heights, widths = small.heights.cpu().numpy(), small.widths.cpu().numpy()
    if len(views) < FEWEST_VIEWS:
        return SeenDepth(divisor, heights, widths, np.zeros((len(small.gray), 3), np.float32))
    wide = np.diag([1 / settings.reach] * 3 + [1.0]) @ unit_from_world
    cube = WorkingCube(wide, np.zeros(3), 1.0)
    everywhere = torch.full((4, 4, 4), -1.0, device=device)
    region = stereo.Region(cube, everywhere, _sights(settings.reach, seed, device))
    whole = [replace(view, mask=None) for view in views]
    stereo_settings = MvsSettings(
        image_size=settings.image_size,
        levels=LEVELS,
        sources=settings.sources,
        keep=2,
        noise=settings.noise,
        largest_cost=settings.largest_cost,
        depth_tolerance=settings.depth_tolerance,
        normal_tolerance=settings.normal_tolerance,
        agreeing=settings.confirmations,
    )
    maps = stereo.plane_maps(whole, region, stereo_settings, device, report or (lambda done, total: None), seed)
    confirmed = _confirmed(maps, stereo_settings)
    planes = torch.where(confirmed[:, None], maps.planes, 0) * similarity_scale(wide)
    return SeenDepth(divisor, heights, widths, planes.cpu().numpy())


def _sights(reach: float, seed: int, device: torch.device) -> Float[Tensor, "p 3"]:
    """Points spread evenly over the region of interest, in a cube that is `reach` times as large."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(SIGHTS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = directions * np.cbrt(generator.uniform(size=(SIGHTS, 1))) / reach
    return torch.as_tensor(points.astype(np.float32)).to(device)


def _confirmed(maps: stereo.PlaneMaps, settings: MvsSettings) -> Tensor:
    """For each pixel of the maps whether enough other views agree with its plane."""
    cosine = math.cos(math.radians(settings.normal_tolerance))
    agreement = Agreement(settings.depth_tolerance, settings.pixel_tolerance, cosine)
    candidates = (maps.costs < settings.largest_cost).to(torch.uint8)
    listed = (maps.matching, maps.views, maps.pixels, maps.planes)
    count = count_agreeing(*listed, candidates, maps.witnesses, agreement)
    confirmed = torch.zeros(len(maps.costs), dtype=torch.bool, device=maps.costs.device)
    confirmed[maps.stack.pixel_index(maps.views, maps.pixels)] = count >= settings.agreeing
    return confirmed


def distance_maps(seen: SeenDepth, small: ViewArrays, world_scale: float) -> DepthMaps:
    """Distances along the rays, 0 where unknown, as maps that vote. `world_scale`: lengths of the stack per world's."""
    t = _distances(torch.as_tensor(seen.planes[:, 0]).to(small.gray.device), small, world_scale)
    return DepthMaps(t.contiguous(), small.starts, 1)


def with_labels(
    stack: ViewArrays, seen: SeenDepth, views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]
) -> ViewArrays:
    """The stack with what depth says of the views that have no mask: object, background or unknown."""
    masks = []
    for view, (start, height, width) in enumerate(
        torch.stack([stack.starts, stack.heights, stack.widths], dim=1).tolist()
    ):
        if views[view].mask is not None:
            masks.append(stack.masks[start : start + height * width])
            continue
        rows, columns = _parents(seen, view, height, width)
        labels = view_labels(seen, view, views[view], unit_from_world)[rows][:, columns]
        masks.append(torch.as_tensor(np.ascontiguousarray(labels).ravel()).to(stack.masks))
    return replace(stack, masks=torch.cat(masks).contiguous())


def view_labels(
    seen: SeenDepth, index: int, view: LoadedView, unit_from_world: Float[np.ndarray, "4 4"]
) -> UInt8[np.ndarray, "h w"]:
    """BACKGROUND, OBJECT or UNKNOWN for the pixels of a view's coarse depth map."""
    from scipy import ndimage

    height, width, start = int(seen.heights[index]), int(seen.widths[index]), int(seen.starts[index])
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([x.ravel(), y.ravel()], axis=1) * seen.divisor
    origins, directions = view.camera.rays(pixels)
    inverse = seen.planes[start : start + height * width, 0].astype(np.float64)
    known = inverse > 0
    cosine = directions @ view.camera.camera_from_world[2, :3]
    t = similarity_scale(unit_from_world) / np.where(known, inverse, 1) / cosine
    origins = origins @ unit_from_world[:3, :3].T + unit_from_world[:3, 3]
    directions = directions @ unit_from_world[:3, :3].T / similarity_scale(unit_from_world)
    nearest = -np.einsum("ni,ni->n", origins, directions)
    squared = 1 - np.einsum("ni,ni->n", origins, origins) + nearest**2
    leaves = nearest + np.sqrt(np.maximum(squared, 0))
    radius = np.linalg.norm(origins + t[:, None] * directions, axis=1)
    labels = np.full(height * width, UNKNOWN, np.uint8)
    labels[known & (radius < 1 - BORDER)] = OBJECT
    labels[known & (radius > 1 + BORDER) & (t > leaves)] = BACKGROUND
    image = labels.reshape(height, width)
    passing = ((squared <= 0) | (leaves <= 0)).reshape(height, width)
    alike = ndimage.maximum_filter(image, 3) == ndimage.minimum_filter(image, 3)
    # A ray that does not meet the region of interest sees background whatever it shows.
    return np.where(passing, BACKGROUND, np.where(alike, image, UNKNOWN)).astype(np.uint8)


def _parents(seen: SeenDepth, view: int, height: int, width: int) -> tuple[Int[np.ndarray, "h"], Int[np.ndarray, "w"]]:
    """Coarse rows and columns of a view's pixels at another scale."""

    def along(count: int, coarse: int) -> Int[np.ndarray, "n"]:
        # Scales are powers of two apart; the rest of the last rows and columns was cut off when the map was made.
        factor = max(1, round(count / coarse))
        return np.minimum(np.arange(count) // factor, coarse - 1)

    return along(height, int(seen.heights[view])), along(width, int(seen.widths[view]))


def _distances(inverse: Float[Tensor, "pixels"], stack: ViewArrays, world_scale: float) -> Float[Tensor, "pixels"]:
    """Distance along the ray of every pixel from inverse camera depth in world units; 0 where that is not positive."""
    parts = []
    for start, height, width, back in zip(
        stack.starts.tolist(), stack.heights.tolist(), stack.widths.tolist(), stack.inverse_intrinsics, strict=True
    ):
        y, x = torch.meshgrid(
            torch.arange(height, device=inverse.device) + 0.5,
            torch.arange(width, device=inverse.device) + 0.5,
            indexing="ij",
        )
        ray = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ back.T
        w = inverse[start : start + height * width].reshape(height, width)
        parts.append(torch.where(w > 0, ray.norm(dim=-1) * world_scale / w.clamp(min=1e-30), 0).ravel())
    return torch.cat(parts)
