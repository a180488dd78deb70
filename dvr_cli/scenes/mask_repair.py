"""Masks with holes that the other masks refute: found by votes, and filled.

A mask that calls part of the object background cuts a wedge through everything that its rays pass: a lid, a handle,
the wall behind. One such mask among many can be told: where nearly all views that see a place call it object, and the
place lies deep within what they call object, the few that call it background are wrong there. A true hole that only a
few views look through is narrow, so that nothing in it is deep.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from dvr_cli.scenes.hull import Silhouette, look_up, pixels_of, silhouettes
from dvr_cli.scenes.views import LoadedView

SAMPLES = 64
"""Voxels along the region of interest."""
DISSENT = 0.06
"""Share of the views that see a place which may be wrong about it; with fewer than 17 views no mask is doubted."""
DEEP = 1 / 3
"""Share of the greatest distance from the border of what the others call object from which on a place is deep."""
LEAST_VOLUME = 0.003
"""A mask is wrong when it cuts away more than this share of the object's volume from deep places."""
VOXEL = 2 / SAMPLES


def with_holes_filled(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]
) -> tuple[list[LoadedView], list[str]]:
    """The views, masks with refuted holes filled, and the names of those; a second for 50 views."""
    found = silhouettes(views, unit_from_world, SAMPLES)
    holes = {s.name: hole for s, hole in zip(found, _holes(found), strict=True) if hole is not None}
    repaired = [
        replace(view, mask=_filled(view.mask, holes[view.name]))
        if view.mask is not None and view.name in holes
        else view
        for view in views
    ]
    return repaired, list(holes)


def _holes(found: Sequence[Silhouette]) -> list[Bool[np.ndarray, "h w"] | None]:
    """For each silhouette the pixels that it wrongly calls background, None where there are none."""
    centres = (np.arange(SAMPLES, dtype=np.float32) + 0.5) * VOXEL - 1
    points = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
    in_ball = np.square(points).sum(axis=1) <= 1
    points = points[in_ball]
    says_background = np.zeros((len(found), len(points)), bool)
    seen = np.zeros(len(points), np.int32)
    for index, silhouette in enumerate(found):
        sees, on_mask = look_up(silhouette, points)
        says_background[index] = sees & ~on_mask
        seen += sees
    background = says_background.sum(axis=0)
    inside = (background <= DISSENT * seen) & (seen * DISSENT >= 1)
    depth = _depth(inside, in_ball)
    wrong = inside & (background > 0)
    deep = wrong & (depth >= DEEP * depth.max(initial=0))
    holes: list[Bool[np.ndarray, "h w"] | None] = []
    for silhouette, dissents in zip(found, says_background, strict=True):
        if (deep & dissents).sum() > LEAST_VOLUME * inside.sum():
            holes.append(_seen_through(silhouette, points[wrong & dissents], points[deep & dissents]))
        else:
            holes.append(None)
    return holes


def _depth(inside: Bool[np.ndarray, "p"], in_ball: Bool[np.ndarray, "n3"]) -> Float[np.ndarray, "p"]:
    """Distance of each point of the ball from the nearest voxel that is not inside; 0 there."""
    grid = np.zeros(len(in_ball), bool)
    grid[in_ball] = inside
    distance = ndimage.distance_transform_edt(np.pad(grid.reshape((SAMPLES,) * 3), 1)) * VOXEL
    return distance[1:-1, 1:-1, 1:-1].reshape(-1)[in_ball]


def _seen_through(
    silhouette: Silhouette, wrong: Float[np.ndarray, "p 3"], deep: Float[np.ndarray, "q 3"]
) -> Bool[np.ndarray, "h w"]:
    """The parts of the background through which wrong points are seen, deep ones among them."""
    holes, deep_pixels = np.zeros(silhouette.mask.size, bool), np.zeros(silhouette.mask.size, bool)
    for pixels, points in ((holes, wrong), (deep_pixels, deep)):
        pixel, seen = pixels_of(silhouette, points)
        pixels[pixel[seen]] = True
    background = ndimage.binary_closing(holes.reshape(silhouette.mask.shape)) & ~silhouette.mask
    # Opened, so that the hole does not leak through a narrow gap into the background beside the object.
    opened = ndimage.binary_opening(background)
    labels, count = ndimage.label(opened)
    kept = np.zeros(count + 1, bool)
    kept[labels.reshape(-1)[deep_pixels]] = True
    kept[0] = False
    return ndimage.binary_dilation(kept[labels]) & background


def _filled(mask: Bool[np.ndarray, "h w"], hole: Bool[np.ndarray, "h2 w2"]) -> Bool[np.ndarray, "h w"]:
    """The mask with the hole and the seam between them: a silhouette is wider than its mask by up to two pixels."""
    rows = ((np.arange(mask.shape[0]) + 0.5) * hole.shape[0] / mask.shape[0]).astype(np.intp)
    columns = ((np.arange(mask.shape[1]) + 0.5) * hole.shape[1] / mask.shape[1]).astype(np.intp)
    filled = mask | hole[rows[:, None], columns[None, :]]
    seam = max(1, round(3 * mask.shape[0] / hole.shape[0]))
    around = ndimage.binary_dilation(hole, iterations=3)[rows[:, None], columns[None, :]]
    return filled | (ndimage.binary_closing(filled, iterations=seam) & around)
