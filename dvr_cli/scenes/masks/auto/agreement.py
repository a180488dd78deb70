"""What the masks of all other views say about one view: the hull of the others, seen from it.

Places in space are asked for how many masks call them background. A view's own mask has no vote on itself. Well within
the silhouette of the places that hardly any other mask denies, a pixel is likely object, the likelier the longer its
ray stays in the hull: a true gap that few views look through leaves shreds of hull in it, a hole that one mask has by
mistake the whole object. Beyond the silhouette of the places that a few more deny, a pixel is likely background.
Between the two the others are silent, because the hull is coarse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.hull import Silhouette, ball_samples, look_up, pixels_of, projected, silhouettes
from dvr_cli.scenes.views import LoadedView

SAMPLES = 60
"""Places along each side of the box around the hull."""
FIRST_SAMPLES = 40
"""Along the region of interest, to find that box."""
DISSENT = 0.08
"""Share of the other views that may be wrong about a place."""
WELL_SEEN = 0.3
"""Of the most object votes that a place has: where fewer look, nothing is carved and nothing known."""
FEWEST_VIEWS = 3
"""Of which two can agree about the third."""
SMALL_PIECE = 0.1
"""Pieces of the hull below this share of the largest are not the object: a scale bar, specks of the background."""


@dataclass(frozen=True)
class Opinion:
    """What the other views say about the pixels of one, at the resolution of the hull."""

    thickness: Float[np.ndarray, "h w"]
    """Of the hull of all others along the ray of each pixel, 1 for the median; 0 near the silhouette's border."""
    outside: Bool[np.ndarray, "h w"]
    """Pixels beyond the hull of the others, even if a few of these are not believed."""
    silhouette: Bool[np.ndarray, "h w"]
    """Of the hull of all others, without slack."""


def opinions(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], whole: bool = True
) -> list[Opinion | None]:
    """For each view, what the others say about it; None for all of them where there is no hull, or fewer than three.

    `whole`: the object is in one piece, so that smaller pieces of the hull count as outside.
    """
    if len(views) < FEWEST_VIEWS:
        return [None] * len(views)
    first = ball_samples(FIRST_SAMPLES)
    found = silhouettes(views, unit_from_world, FIRST_SAMPLES)
    inside = _agreed(*_votes(found, first))
    if not inside.any():
        return [None] * len(views)
    points, spacing = _box_samples(first[inside], 2 / FIRST_SAMPLES)
    found = silhouettes(views, unit_from_world, round(2 / spacing))
    called_object, called_background = _votes(found, points)
    piece = _main_pieces(points, _agreed(called_object, called_background), spacing) if whole else None
    told: list[Opinion | None] = []
    for index, silhouette in enumerate(found):
        object_votes = called_object.sum(axis=0, dtype=np.int32) - called_object[index]
        background_votes = called_background.sum(axis=0, dtype=np.int32) - called_background[index]
        told.append(_opinion(silhouette, points, object_votes, background_votes, piece))
    return told


def _opinion(
    silhouette: Silhouette,
    points: Float[np.ndarray, "p 3"],
    object_votes: Int[np.ndarray, "p"],
    background_votes: Int[np.ndarray, "p"],
    piece: Bool[np.ndarray, "p"] | None,
) -> Opinion:
    from scipy import ndimage

    allowed = np.floor(DISSENT * (object_votes + background_votes))
    known = object_votes >= max(1.0, WELL_SEEN * float(object_votes.max(initial=0)))
    # What no other view sees is not denied by any.
    strict, lenient = known & (background_votes <= allowed / 2), background_votes <= allowed
    if piece is not None:
        strict, lenient = strict & piece, lenient & piece
    covered = ndimage.binary_closing(np.pad(projected(silhouette, points[strict]), 1))[1:-1, 1:-1]
    reached = ndimage.binary_dilation(projected(silhouette, points[lenient]), iterations=2)
    deep = ndimage.binary_erosion(covered, iterations=2, border_value=1)
    # Places are about a pixel apart, so their number on a ray is its length in the hull.
    pixel, seen = pixels_of(silhouette, points[strict])
    counts = np.bincount(pixel[seen], minlength=covered.size).reshape(covered.shape)
    thickness = ndimage.uniform_filter(counts.astype(np.float32), 3)
    usual = float(np.median(thickness[covered])) if covered.any() else 1.0
    return Opinion(np.where(deep, thickness / max(usual, 1e-6), 0), ~reached, covered)


def _votes(
    found: Sequence[Silhouette], points: Float[np.ndarray, "p 3"]
) -> tuple[Bool[np.ndarray, "views p"], Bool[np.ndarray, "views p"]]:
    """Which view calls which place object, and which background."""
    called_object = np.zeros((len(found), len(points)), bool)
    called_background = np.zeros((len(found), len(points)), bool)
    for index, silhouette in enumerate(found):
        seen, on_mask = look_up(silhouette, points)
        called_object[index], called_background[index] = on_mask, seen & ~on_mask
    return called_object, called_background


def _agreed(
    called_object: Bool[np.ndarray, "views p"], called_background: Bool[np.ndarray, "views p"]
) -> Bool[np.ndarray, "p"]:
    object_votes, background_votes = called_object.sum(axis=0), called_background.sum(axis=0)
    enough = max(min(2, len(called_object)), WELL_SEEN * float(object_votes.max(initial=0)))
    return (object_votes >= enough) & (background_votes <= np.floor(DISSENT * (object_votes + background_votes)))


def _box_samples(inside: Float[np.ndarray, "p 3"], voxel: float) -> tuple[Float[np.ndarray, "q 3"], float]:
    """Places on a grid over the box around a hull, within the unit ball, and their spacing."""
    low, high = inside.min(axis=0) - voxel, inside.max(axis=0) + voxel
    spacing = float((high - low).max()) / SAMPLES
    axes = [np.arange(start + spacing / 2, end, spacing) for start, end in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    return grid[(grid**2).sum(axis=1) <= 1], spacing


def _main_pieces(
    points: Float[np.ndarray, "p 3"], inside: Bool[np.ndarray, "p"], spacing: float
) -> Bool[np.ndarray, "p"]:
    """Which places are not of a small piece of the hull, apart from the large ones."""
    from scipy import ndimage

    place = tuple(np.round((points - points.min(axis=0)) / spacing).astype(np.intp).T)
    grid = np.zeros([int(axis.max()) + 1 for axis in place], bool)
    grid[place] = inside
    labels, count = ndimage.label(grid)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = sizes > SMALL_PIECE * sizes.max()
    small = ~large
    small[0] = False
    around_small, around_large = (ndimage.binary_dilation(kind[labels], iterations=2) for kind in (small, large))
    return (~around_small | around_large)[place]


def with_mask(view: LoadedView, mask: Bool[np.ndarray, "h w"]) -> LoadedView:
    """The view with another mask."""
    return replace(view, mask=mask)
