"""Masks with holes that the other masks refute: found by votes, and filled.

A mask that calls part of the object background cuts a wedge through everything that its rays pass: a lid, a handle,
the wall behind. One such mask among many can be told: where nearly all views that see a place call it object, and the
place lies deep within what they call object, the few that call it background are wrong there. A true hole that only a
few views look through is mostly narrow, so that nothing in it is deep; and what is seen through it looks like what is
seen beside the object.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from dvr_cli.scenes.hull import Silhouette, ball_samples, count_votes, dissents, projected, sampled, silhouettes
from dvr_cli.scenes.views import LoadedView

SAMPLES = 64
"""Voxels along the region of interest."""
DISSENT = 0.06
"""Share of the views that see a place which may be wrong about it; with fewer than 17 views no mask is doubted."""
DEEP = 1 / 3
"""Share of the greatest distance from the border of what the others call object from which on a place is deep."""
LEAST_VOLUME = 0.003
"""A mask is wrong when it cuts away more than this share of the object's volume from deep places."""
ALIKE = 0.1
"""Greatest difference of two colours, of any channel in [0, 1], that may be of one thing."""
BACKGROUND_SHARE = 0.25
"""A hole that looks like more than this share of what is beside the object is a true one. The mouth of a vessel that
masks called background: up to 0.07; the jaws of a clamp before a plain background: 1."""


def with_holes_filled(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]
) -> tuple[list[LoadedView], list[str]]:
    """The views, masks with refuted holes filled, and the names of those; a second for 50 views."""
    found = silhouettes(views, unit_from_world, SAMPLES)
    holes = {s.name: hole for s, hole in zip(found, _holes(found), strict=True)}
    repaired, names = [], []
    for view in views:
        hole = holes.get(view.name)
        if view.mask is not None and hole is not None and _to_be_filled(view.image, view.mask, hole):
            repaired.append(replace(view, mask=_filled(view.mask, hole)))
            names.append(view.name)
        else:
            repaired.append(view)
    return repaired, names


def _holes(found: Sequence[Silhouette]) -> list[Bool[np.ndarray, "h w"] | None]:
    """For each silhouette the pixels that it wrongly calls background, None where there are none."""
    votes = count_votes(found, ball_samples(SAMPLES))
    seen = votes.background + votes.object
    inside = (votes.background <= DISSENT * seen) & (seen * DISSENT >= 1)
    depth = _depth(inside, votes.points)
    wrong = inside & (votes.background > 0)
    points, is_deep = votes.points[wrong], depth[wrong] >= DEEP * depth.max(initial=0)
    holes: list[Bool[np.ndarray, "h w"] | None] = []
    for silhouette, called_background in zip(found, dissents(found, points), strict=True):
        deep = called_background & is_deep
        if deep.sum() > LEAST_VOLUME * inside.sum():
            holes.append(_seen_through(silhouette, points[called_background], points[deep]))
        else:
            holes.append(None)
    return holes


def _depth(inside: Bool[np.ndarray, "p"], points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
    """Distance of each sample of the ball, in samples, from the nearest that is not inside; 0 there."""
    # One more on every side: beyond the ball nothing is inside.
    place = tuple(((points + 1) * (SAMPLES / 2)).astype(np.intp).T + 1)
    grid = np.zeros((SAMPLES + 2,) * 3, bool)
    grid[place] = inside
    return ndimage.distance_transform_edt(grid)[place]


def _seen_through(
    silhouette: Silhouette, wrong: Float[np.ndarray, "p 3"], deep: Float[np.ndarray, "q 3"]
) -> Bool[np.ndarray, "h w"]:
    """The parts of the background through which wrong points are seen, deep ones among them."""
    background = ndimage.binary_closing(projected(silhouette, wrong)) & ~silhouette.mask
    # Opened, so that the hole does not leak through a narrow gap into the background beside the object.
    opened = ndimage.binary_opening(background)
    labels, count = ndimage.label(opened)
    kept = np.zeros(count + 1, bool)
    kept[labels[projected(silhouette, deep)]] = True
    kept[0] = False
    return ndimage.binary_dilation(kept[labels]) & background


def _to_be_filled(
    image: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], hole: Bool[np.ndarray, "h2 w2"]
) -> bool:
    """Whether the mask has the hole, and it does not have the colour of much that is beside the object."""
    hole = sampled(hole, *mask.shape) & ~mask
    if not hole.any():
        return False
    beside = (ndimage.distance_transform_edt(~mask) < np.sqrt(mask.sum()) / 4) & ~mask & ~hole
    if not beside.any():
        return True
    difference = np.abs(image[beside] - np.median(image[hole], axis=0)).max(axis=1)
    return bool((difference < ALIKE).mean() <= BACKGROUND_SHARE)


def _filled(mask: Bool[np.ndarray, "h w"], hole: Bool[np.ndarray, "h2 w2"]) -> Bool[np.ndarray, "h w"]:
    """The mask with the hole and the seam between them: a silhouette is wider than its mask by up to two pixels."""
    filled = mask | sampled(hole, *mask.shape)
    seam = max(1, round(3 * mask.shape[0] / hole.shape[0]))
    around = sampled(ndimage.binary_dilation(hole, iterations=3), *mask.shape)
    return filled | (ndimage.binary_closing(filled, iterations=seam) & around)
