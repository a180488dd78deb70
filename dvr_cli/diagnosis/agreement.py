"""Do masks and cameras agree about one object? The visual hull of those that do, and what each view says about it.

A mask that contradicts the others is left out of the hull, so that the others, and what is wrong with it, can be judged
by them. `covering` is one number for a whole set of cameras: a correction is believed only when it raises that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.checks import CARVING_SAMPLES, conflicting_masks, hull_points, silhouette_iou, suspicious_masks
from dvr_cli.scenes.hull import (
    Silhouette,
    ball_samples,
    carved_alone,
    count_votes,
    covered,
    grown,
    projected,
    silhouettes,
)
from dvr_cli.scenes.views import LoadedView, Scene

COVERING_SAMPLES = 40
MOST_VIEWS = 150
"""Evenly chosen, for `covering`: more say nothing new."""
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
    trusted = [silhouette for silhouette in found if silhouette.name not in left_out]
    votes = votes if len(trusted) == len(found) else count_votes(trusted, votes.points)
    names = frozenset(silhouette.name for silhouette in trusted)
    points, exact = hull_points(views, unit_from_world, names, votes)
    iou = {silhouette.name: silhouette_iou(silhouette, points) for silhouette in exact}
    volume = float(votes.inside().mean())
    by_name = {silhouette.name: silhouette for silhouette in exact}
    return Agreement(points, volume, tuple(conflicting), names, iou, alone, by_name)


def covering(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"]) -> float:
    """Median share of each mask that the hull of all masks covers, 0 to 1; 0 without a hull.

    Good masks and cameras have 0.94 and more. Never raises.
    """
    chosen = views[:: -(-len(views) // MOST_VIEWS)] if views else views
    found = silhouettes(chosen, unit_from_world, COVERING_SAMPLES)
    if len(found) < 2:
        return 0.0
    samples = ball_samples(COVERING_SAMPLES)
    votes = count_votes(found, samples)
    hull = samples[votes.inside() & votes.well_seen(0.25)]
    return float(np.median(covered(found, hull, samples))) if len(hull) else 0.0


def best_covering(
    scene: Scene, views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"] | None = None
) -> float:
    """`covering` in the scene's region of interest, or in the one that these views themselves suggest."""
    from dvr_cli.scenes.bounds import find_bounds

    best = covering(views, scene.unit_from_world if unit_from_world is None else unit_from_world)
    if best >= AGREES:
        return best
    try:
        found, _ = find_bounds(list(views), None)
    except (SceneError, np.linalg.LinAlgError):
        return best
    return max(best, covering(views, found))


def silhouette_of_hull(silhouette: Silhouette, hull: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a silhouette that the hull covers; samples are about a pixel apart, so gaps are closed."""
    return ~grown(~grown(projected(silhouette, hull)))
