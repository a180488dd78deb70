"""Do masks and cameras agree about one object? The visual hull of those that do, and what each view says about it.

A mask that contradicts the others is left out of the hull, so that the others, and what is wrong with it, can be judged
by them. `covering` is one number for a whole set of cameras: a correction is believed only when it raises that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.checks import CARVING_SAMPLES, conflicting_masks, hull_points, silhouette_iou, suspicious_masks
from dvr_cli.scenes.hull import (
    Silhouette,
    Votes,
    ball_samples,
    carved_alone,
    count_votes,
    covered,
    grown,
    pixels_of,
    projected,
    silhouettes,
)
from dvr_cli.scenes.views import LoadedView, Scene

COVERING_SAMPLES = 40
MOST_VIEWS = 150
"""Evenly chosen, for `covering`: more say nothing new."""
FEW_VIEWS = 20
"""The same, for searches, which ask again and again."""
SPECK = 0.003
"""Share of the region of interest that the hull must take, and leave."""
LEAST_GAIN = 0.05
"""Masks' worth that leaving out one of them must win for the hull of all others together."""
MOST_TRIED = 6
MOST_WRONG = 4
"""Masks that contradict a place, of which one may be wrong."""
DISTURBING_SAMPLES = 80
"""Along the region of interest: finer than for the hull itself, because masks are grown by one sample only."""
SUSPECT_IOU = 0.95
"""Least IoU of a mask with the hull, below which one asks whether some are wrong; good scenes have 0.95 to 0.98."""
AGREES = 0.8
"""Median share of the masks that their hull covers, from which on cameras and masks are taken to agree.

Good scenes have 0.94 and more.
"""


@dataclass(frozen=True)
class Agreement:
    """What the masks of a scene say together."""

    hull: Float[np.ndarray, "p 3"]
    """Samples of the hull of the trusted masks, unit ball; fine enough for its silhouettes."""
    volume: float
    """Of that hull, as a share of the unit ball."""
    conflicting: tuple[str, ...]
    """Masks without which there would be a hull; empty when there is one with all of them."""
    trusted: frozenset[str]
    iou: dict[str, float]
    """Of each mask with the silhouette of that hull."""
    carved_alone: dict[str, float]
    """Share of the hull that each mask alone removes; empty where there is no hull of all masks."""
    silhouettes: dict[str, Silhouette]
    """Masks at the resolution of the hull."""


def agreement_of(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> Agreement | None:
    """The hull of the masks; None when no view has a mask with anything in it."""
    found = silhouettes(views, unit_from_world, CARVING_SAMPLES)
    if not found:
        return None
    votes = count_votes(found, ball_samples(CARVING_SAMPLES))
    conflicting = conflicting_masks(found, votes)
    alone: dict[str, float] = {}
    left_out = set(conflicting)
    if not conflicting:
        shares = carved_alone(found, votes)
        alone = {silhouette.name: float(share) for silhouette, share in zip(found, shares, strict=True)}
        left_out = {s.name for s, bad in zip(found, suspicious_masks(shares), strict=True) if bad}
    hull, iou, exact, volume = _hull(views, unit_from_world, found, left_out, votes)
    if iou and min(value for name, value in iou.items() if name not in left_out) < SUSPECT_IOU:
        wrong = disturbing([view for view in views if view.name not in left_out], unit_from_world)
        if wrong:
            left_out |= wrong
            hull, iou, exact, volume = _hull(views, unit_from_world, found, left_out, votes)
    names = frozenset(silhouette.name for silhouette in found if silhouette.name not in left_out)
    return Agreement(hull, volume, tuple(conflicting), names, iou, alone, exact)


def _hull(
    views: Sequence[LoadedView],
    unit_from_world: Float[np.ndarray, "4 4"],
    found: Sequence[Silhouette],
    left_out: set[str],
    votes: Votes,
) -> tuple[Float[np.ndarray, "p 3"], dict[str, float], dict[str, Silhouette], float]:
    """Samples of the hull without some masks, IoU of each mask with it, the masks, and its share of the ball.

    `votes` are those of all masks.
    """
    trusted = [silhouette for silhouette in found if silhouette.name not in left_out]
    if len(trusted) < len(found):
        votes = count_votes(trusted, votes.points)
    points, exact = hull_points(views, unit_from_world, {silhouette.name for silhouette in trusted}, votes)
    iou = {silhouette.name: silhouette_iou(silhouette, points) for silhouette in exact}
    return points, iou, {silhouette.name: silhouette for silhouette in exact}, float(votes.inside().mean())


def disturbing(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> set[str]:
    """Names of views without whose masks the hull covers all others clearly better, one after the other.

    A wrong mask cuts away what others show, so these lack something as well, and the lowest IoU may be that of a good
    one. Tried are the masks that remove most by themselves.
    """
    exact = silhouettes(views, unit_from_world, DISTURBING_SAMPLES, grow=False)
    if not 3 <= len(exact) <= MOST_VIEWS:
        return set()
    found = [replace(silhouette, mask=grown(silhouette.mask)) for silhouette in exact]
    points = ball_samples(DISTURBING_SAMPLES)
    # What many masks contradict is in nobody's hull.
    points = points[count_votes(found, points).background <= MOST_WRONG]
    board = _Board(found, exact, points)
    kept = list(range(len(found)))
    lacking = board.lacking(kept)
    out: set[str] = set()
    while len(kept) > max(3, 0.6 * len(found)) and lacking[kept].sum() > LEAST_GAIN:
        alone = board.removed_alone(kept)
        tried = sorted(kept, key=lambda i: -alone[i])[:MOST_TRIED]
        after = {one: board.lacking([i for i in kept if i != one]) for one in tried}
        gains = {one: float((lacking - after[one])[[i for i in kept if i != one]].sum()) for one in tried}
        best = max(tried, key=lambda one: gains[one])
        if gains[best] < LEAST_GAIN:
            break
        kept.remove(best)
        out.add(found[best].name)
        lacking = after[best]
    return out


class _Board:
    """Which sample each view sees on its mask, beside it, and where: hulls of some of the views are then quick."""

    def __init__(
        self, found: Sequence[Silhouette], exact: Sequence[Silhouette], points: Float[np.ndarray, "p 3"]
    ) -> None:
        looked = [pixels_of(silhouette, points) for silhouette in found]
        self.pixel = np.stack([pixel.astype(np.int32) for pixel, _ in looked])
        self.seen = np.stack([seen for _, seen in looked])
        self.mask = [silhouette.mask for silhouette in exact]
        on = [silhouette.mask.reshape(-1)[pixel] for silhouette, pixel in zip(found, self.pixel, strict=True)]
        everything = [self._covered(index, self.seen[index]) for index in range(len(found))]
        self.reachable = [covered & mask for covered, mask in zip(everything, self.mask, strict=True)]
        self.on = np.stack(on) & self.seen

    def inside(self, kept: Sequence[int]) -> Bool[np.ndarray, "p"]:
        """Samples that no kept mask contradicts and at least two call object."""
        on, seen = self.on[list(kept)], self.seen[list(kept)]
        return ((seen & ~on).sum(axis=0) == 0) & (on.sum(axis=0) >= 2)

    def removed_alone(self, kept: Sequence[int]) -> dict[int, int]:
        """Samples that each kept mask alone contradicts."""
        against = self.seen[list(kept)] & ~self.on[list(kept)]
        once = against.sum(axis=0) == 1
        return {index: int((row & once).sum()) for index, row in zip(kept, against, strict=True)}

    def lacking(self, kept: Sequence[int]) -> Float[np.ndarray, "views"]:
        """Of every mask the share that the hull of the kept ones does not cover, of what any sample could."""
        inside = self.inside(kept)
        return np.array(
            [
                float((mask & ~self._covered(index, inside)).sum()) / max(int(mask.sum()), 1)
                for index, mask in enumerate(self.reachable)
            ]
        )

    def _covered(self, index: int, chosen: Bool[np.ndarray, "p"]) -> Bool[np.ndarray, "h w"]:
        """The pixels that these samples project to, grown by one: samples are about a pixel apart."""
        hit = np.zeros(self.mask[index].size, dtype=bool)
        hit[self.pixel[index][chosen & self.seen[index]]] = True
        return grown(hit.reshape(self.mask[index].shape))


def common_shift(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]
) -> tuple[Float[np.ndarray, "2"], float, float]:
    """By how much all masks lie beside the object, alike: the shift (x, y) as a share of the image's width.

    Also the median share of the masks that their hull covers as they are, and with that put right. A search from no
    shift, with steps from 8 to 1 per cent.
    """
    found = silhouettes(views[:: -(-len(views) // FEW_VIEWS)], unit_from_world, COVERING_SAMPLES)

    def score(shift: np.ndarray) -> float:
        return _covering([_moved_object(silhouette, shift) for silhouette in found])

    best, value = np.zeros(2), score(np.zeros(2))
    before, step = value, 0.08
    while step >= 0.01:
        around = [best + step * np.array(way) for way in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        scores = [score(shift) for shift in around]
        if max(scores) > value + 0.002:
            best, value = around[int(np.argmax(scores))], max(scores)
        else:
            step /= 2
    return best, before, value


def _moved_object(silhouette: Silhouette, shift: Float[np.ndarray, "2"]) -> Silhouette:
    """The silhouette with points projected beside where they were, by a share of the image's width; the mask stays."""
    projection = silhouette.projection.copy()
    projection[:2] += (shift * silhouette.mask.shape[1]).astype(np.float32)[:, None] * projection[2]
    return replace(silhouette, projection=projection)


def covering(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> float:
    """Median share of each mask that the hull of all masks covers, 0 to 1; 0 without a hull.

    Good masks and cameras have 0.94 and more. Never raises.
    """
    shares = covered_by_hull(views, unit_from_world)
    return float(np.median(list(shares.values()))) if shares else 0.0


def covered_by_hull(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> dict[str, float]:
    """Share of each mask that the hull of all masks covers, 0 to 1, by view; zeros without a hull. Never raises."""
    chosen = views[:: -(-len(views) // MOST_VIEWS)] if views else views
    found = silhouettes(chosen, unit_from_world, COVERING_SAMPLES)
    return {one.name: float(share) for one, share in zip(found, _covered_shares(found), strict=True)}


def _covering(found: Sequence[Silhouette]) -> float:
    return float(np.median(_covered_shares(found))) if found else 0.0


def _covered_shares(found: Sequence[Silhouette]) -> Float[np.ndarray, "views"]:
    """Share of each mask that the hull of all covers; zeros without a hull, or with one that is hardly any or all."""
    if len(found) < 2:
        return np.zeros(len(found))
    samples = ball_samples(COVERING_SAMPLES)
    votes = count_votes(found, samples)
    hull = samples[votes.inside() & votes.well_seen(0.25)]
    # A speck in a huge ball, or a ball within the object, covers whatever its few samples reach.
    if not SPECK < len(hull) / len(samples) < 1 - SPECK:
        return np.zeros(len(found))
    return covered(found, hull, samples)


def best_covering(
    scene: Scene, views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"] | None = None
) -> float:
    """`covering` in the scene's region of interest, or in the one that these views themselves suggest."""
    given = scene.unit_from_world if unit_from_world is None else unit_from_world
    return in_better_region(lambda region: covering(views, region), views, given)


def in_better_region(
    share: Callable[[Float[np.ndarray, "4 4"]], float],
    views: Sequence[LoadedView],
    unit_from_world: Float[np.ndarray, "4 4"],
) -> float:
    """A share of masks that a hull covers, in the region given or, if that is better, in the one that views suggest."""
    from dvr_cli.scenes.bounds import find_bounds

    best = share(unit_from_world)
    if best >= AGREES:
        return best
    try:
        found, _ = find_bounds(list(views), None)
    except (SceneError, np.linalg.LinAlgError):
        return best
    return max(best, share(found))


def silhouette_of_hull(silhouette: Silhouette, hull: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a silhouette that the hull covers; samples are about a pixel apart, so gaps are closed."""
    return ~grown(~grown(projected(silhouette, hull)))
