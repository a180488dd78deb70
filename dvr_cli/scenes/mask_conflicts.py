"""A part of the object that moved between photographs: found by masks that contradict each other, and settled.

Strict carving gives a place to whoever calls it background, so a lid that stood elsewhere in some photographs is gone
from all of them but for shreds. Here masks vote first: places that many masks miss (the hull does not cover their
object) and few refute show where there is a conflict. Then some photographs are found whose masks agree about the
places around: all but a few that refute most, or else the longest run of photographs in the order of their names, since
things move between turns of the camera rather than back and forth. The others are disregarded there. Masks that agree
up to a pixel or two are left alone.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from dvr_cli.processors import available_threads
from dvr_cli.scenes.hull import (
    Silhouette,
    ball_samples,
    count_votes,
    dissents,
    grown,
    look_up,
    projected,
    sampled,
    silhouettes,
)
from dvr_cli.scenes.views import LoadedView

SAMPLES = 128
"""Voxels along the region of interest; a multiple of FIRST_SAMPLES."""
FIRST_SAMPLES = 32
"""Voxels of a first look, for where to look closely."""
MASK_PIXELS = 4
"""Pixels of the masks that vote, per voxel: much finer, since masks conflict by less than a voxel."""
DISSENT = 0.12
"""Share of the views that see a place which may be wrong about it; with fewer than 9 views no mask is doubted."""
MISSED = 0.2
"""Share of all views that have to miss a place. A part that moved: 0.5; masks that are a pixel off: up to 0.15."""
REACH = 12
"""Voxels around missed places that are looked at: what moved is larger than what is missed of it."""
ONE_MISSES, ALL_MISS = 0.2, 0.03
"""Of what shows the places in question alone, the shares that masks that agree may miss: of one mask and of all."""
SHORTEST = 0.2
"""Share of all views that a run has to have."""
LOOKS = 48
"""Ends of runs that are tried; with more views, runs end at every second or third."""
LEAST_PIXELS = 12
"""Of a mask that has fewer that show the places in question alone, nothing can be said."""


@dataclass(frozen=True)
class _Mask:
    """One mask at two sizes."""

    fine: Silhouette
    """Votes: every pixel widened by one."""
    coarse: Silhouette
    """A voxel is about a pixel wide."""

    def misses(self, hull: Float[np.ndarray, "p 3"], points: Float[np.ndarray, "q 3"]) -> Bool[np.ndarray, "q"]:
        """Points seen at pixels of the object, more than a pixel across, that the hull does not cover."""
        missed = ndimage.binary_opening(self.coarse.mask & ~self.shows(hull))
        return look_up(replace(self.coarse, mask=missed), points)[1]

    def shows(self, points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "h w"]:
        """The coarse pixels that points project to, without the gaps between them."""
        return ndimage.binary_closing(projected(self.coarse, points))


@dataclass(frozen=True)
class _Quarrel:
    """The places around a conflict and what each mask says of them."""

    points: Float[np.ndarray, "p 3"]
    missed: Bool[np.ndarray, "p"]
    """Those that many masks miss and few refute."""
    refuted: Bool[np.ndarray, "v p"]
    alone: list[Bool[np.ndarray, "_ _"]]
    """For each mask the coarse pixels that show these places and nothing else of the object."""
    masks: list[_Mask]

    def agree(self, chosen: Int[np.ndarray, "c"]) -> bool:
        """Whether what none of the chosen masks refutes covers what they call object."""
        left = self.points[~self.refuted[chosen].any(axis=0)]
        total = total_missed = 0
        for index in chosen[:: max(1, len(chosen) // LOOKS)]:
            mask = self.masks[index]
            object_there = mask.coarse.mask & self.alone[index]
            size, missed = int(object_there.sum()), int((object_there & ~mask.shows(left)).sum())
            if size >= LEAST_PIXELS and missed > ONE_MISSES * size:
                return False
            total, total_missed = total + size, total_missed + missed
        return total_missed <= ALL_MISS * total


def without_conflicts(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]
) -> tuple[list[LoadedView], list[str]]:
    """The views, with `disregarded` set where a part has moved in them, and the names of those.

    A second for 50 views whose masks agree, a few more where they do not.
    """
    masked = [view for view in views if view.mask is not None]
    found: dict[str, Bool[np.ndarray, "_ _"]] = {}
    if len(masked) * DISSENT >= 1:
        with ThreadPoolExecutor(available_threads()) as pool:
            found = _outvoted(masked, unit_from_world, pool)
    settled = [
        replace(view, disregarded=sampled(found[view.name], *view.image.shape[:2])) if view.name in found else view
        for view in views
    ]
    return settled, list(found)


def _outvoted(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], pool: ThreadPoolExecutor
) -> dict[str, Bool[np.ndarray, "_ _"]]:
    """By name the pixels to disregard: of all masks but those that agree; none where there is no conflict or no run."""
    masks = _masks(views, unit_from_world)
    hull, missed = _hull_and_missed(_near_object(views, unit_from_world), masks, pool)
    if len(missed) == 0:
        return {}
    quarrel = _quarrel(missed, hull, masks, pool)
    agreeing = _agreeing(quarrel)
    if agreeing is None:
        return {}
    others = np.setdiff1d(np.arange(len(masks)), agreeing)
    return {masks[i].fine.name: quarrel.alone[i] for i in others if quarrel.alone[i].any()}


def _agreeing(quarrel: _Quarrel) -> Int[np.ndarray, "c"] | None:
    """Masks that agree: all but those few that refute the most, or the longest run; None where neither is to be had."""
    count = len(quarrel.masks)
    loudest_first = np.argsort(-quarrel.refuted[:, quarrel.missed].sum(axis=1), kind="stable")
    for wrong in range(1, int(DISSENT * count) + 1):
        quiet = np.sort(loudest_first[wrong:])
        if quarrel.agree(quiet):
            return quiet
    return _longest_run(quarrel)


def _longest_run(quarrel: _Quarrel) -> Int[np.ndarray, "c"] | None:
    """The longest run of masks, in the order of their names, that agree."""
    count = len(quarrel.masks)
    step = -(-count // LOOKS)
    best, end = np.arange(0), 0
    for start in range(0, count, step):
        end = max(end, start)
        while end < count and quarrel.agree(np.arange(start, min(end + step, count))):
            end = min(end + step, count)
        if end - start > len(best):
            best = np.arange(start, end)
    return best if len(best) >= SHORTEST * count else None


def _hull_and_missed(
    points: Float[np.ndarray, "p 3"], masks: Sequence[_Mask], pool: ThreadPoolExecutor
) -> tuple[Float[np.ndarray, "h 3"], Float[np.ndarray, "m 3"]]:
    """The points that no mask refutes, and those that many miss and few refute."""
    seen, background = np.zeros((2, len(points)), np.int32)
    for one_sees, on_mask in pool.map(lambda mask: look_up(mask.fine, points), masks):
        seen += one_sees
        background += one_sees & ~on_mask
    inside = (background == 0) & (seen >= 2)
    open_to_doubt = points[~inside & (background <= DISSENT * seen) & (seen >= 2)]
    hull = points[inside]
    missing = np.zeros(len(open_to_doubt), np.int32)
    for one_misses in pool.map(lambda mask: mask.misses(hull, open_to_doubt), masks):
        missing += one_misses
    return hull, open_to_doubt[missing >= MISSED * len(masks)]


def _quarrel(
    missed: Float[np.ndarray, "m 3"], hull: Float[np.ndarray, "h 3"], masks: list[_Mask], pool: ThreadPoolExecutor
) -> _Quarrel:
    """What the masks say of the places around the missed ones."""
    around, is_missed, is_near = _surroundings(missed, hull)
    body = hull[~is_near]
    refuted = dissents([mask.fine for mask in masks], around)
    alone = list(pool.map(lambda mask: mask.shows(around) & ~ndimage.binary_dilation(mask.shows(body)), masks))
    return _Quarrel(around, is_missed, refuted, alone, masks)


def _near_object(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "p 3"]:
    """Fine samples within the coarse ones that no more than DISSENT of the views refute."""
    votes = count_votes(silhouettes(views, unit_from_world, FIRST_SAMPLES), ball_samples(FIRST_SAMPLES))
    seen = votes.background + votes.object
    near = votes.points[(votes.background <= DISSENT * seen) & (votes.object >= 2)]
    side = SAMPLES // FIRST_SAMPLES
    steps = (np.arange(side, dtype=np.float32) - (side - 1) / 2) * (2 / SAMPLES)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return (near[:, None] + offsets).reshape(-1, 3).astype(np.float32)


def _masks(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> list[_Mask]:
    """All masks at both sizes, in the order of their names."""
    in_order = sorted(views, key=lambda view: view.name)
    fine = silhouettes(in_order, unit_from_world, MASK_PIXELS * SAMPLES, grow=False)
    coarse = silhouettes(in_order, unit_from_world, SAMPLES, grow=False)
    return [_Mask(replace(large, mask=grown(large.mask)), small) for large, small in zip(fine, coarse, strict=True)]


def _surroundings(
    missed: Float[np.ndarray, "m 3"], hull: Float[np.ndarray, "h 3"]
) -> tuple[Float[np.ndarray, "p 3"], Bool[np.ndarray, "p"], Bool[np.ndarray, "h"]]:
    """All samples within REACH voxels of missed ones, which of them are missed, and which of the hull's are near."""
    is_missed = np.zeros((SAMPLES,) * 3, bool)
    is_missed[_place(missed)] = True
    near = ndimage.distance_transform_edt(~is_missed) <= REACH
    places = np.argwhere(near)
    points = ((places + 0.5) * (2 / SAMPLES) - 1).astype(np.float32)
    return points, is_missed[tuple(places.T)], near[_place(hull)]


def _place(points: Float[np.ndarray, "p 3"]) -> tuple[Int[np.ndarray, "p"], ...]:
    """Indices of samples in a cube of all."""
    return tuple(np.clip(np.floor((points + 1) * (SAMPLES / 2)), 0, SAMPLES - 1).astype(np.intp).T)
