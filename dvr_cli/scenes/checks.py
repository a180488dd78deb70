"""Do cameras, masks and bounds fit together? What `dvr inspect` says, and what stops a reconstruction before it starts.

All in the unit ball of the scene. The IoU of a view compares its mask with the silhouette of the hull that the masks
make together. A mask that alone cuts much out of the hull is left out of it, or it would spoil the IoU of all the
others.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.cameras import projection_of
from dvr_cli.scenes.hull import (
    Silhouette,
    Votes,
    ball_samples,
    carved_alone,
    conflicting_views,
    count_votes,
    covered,
    grown,
    look_up,
    projected,
    silhouettes,
)
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import LoadedView, Scene

CARVING_SAMPLES = 56
# The hull whose silhouettes are compared with the masks has this many voxels across its own extent.
SILHOUETTE_SAMPLES = 112
# Samples are thrown out together when less than this share is left: copying the others takes longer than asking again.
WORTH_COPYING = 0.8
# A mask that alone removes this share of the hull, and five times the usual share, is no witness. Good masks remove up
# to 0.09 with 6 views and 0.03 with 12; one moved sideways by a sixth of the object removes 0.17.
SUSPICIOUS_SHARE = 0.1
# A hull of less than this share of the unit ball must cover this share of the masks (median of the views), or it is
# shreds that bad masks have left. Good scenes have 0.1 and more of the ball and cover 0.94 and more; two black masks of
# twelve leave 0.001 and 0.01. Not higher, because views may show parts of a large object only.
SMALL_HULL = 0.05
LEAST_COVERED = 0.2
LOW_IOU = 0.9


@dataclass(frozen=True)
class ViewCheck:
    """How well one view fits the others."""

    name: str
    hull_iou: float | None
    """Hull silhouette against mask, 0 to 1, coarse (0.97 is as good as 1); None without a mask."""
    carved_alone: float | None
    """Share of the hull that this mask alone removes, 0 to 1."""
    mask_coverage: float | None
    """Share of the image that is object."""
    trusted: bool
    """False when the mask was left out of the hull because it alone cuts much out of it."""
    sees_object: bool
    """Some of the unit ball projects into the image."""


@dataclass(frozen=True)
class SceneCheck:
    """How well the views fit together."""

    views: tuple[ViewCheck, ...]
    hull_volume: float | None
    """Volume of the hull as a share of the unit ball; None without masks."""
    notes: tuple[str, ...]
    """What a user should know, one sentence each."""


def check_hull(scene: Scene, views: Sequence[LoadedView]) -> None:
    """SceneError if the object lies outside the images or the masks leave no point inside; a second for 50 views."""
    _require_object_in_images(scene, views)
    found = silhouettes(views, scene.unit_from_world, CARVING_SAMPLES)
    if found:
        _require_hull(found, count_votes(found, ball_samples(CARVING_SAMPLES)), len(views))


def check_scene(scene: Scene, views: Sequence[LoadedView]) -> SceneCheck:
    """Everything that `check_hull` refuses, and for each view how well its mask agrees with the others."""
    _require_object_in_images(scene, views)
    sees = sees_ball(scene, views)
    found = silhouettes(views, scene.unit_from_world, CARVING_SAMPLES)
    if not found:
        checks = tuple(
            ViewCheck(view.name, None, None, None, False, bool(seen)) for view, seen in zip(views, sees, strict=True)
        )
        return SceneCheck(checks, None, ("no masks: nothing tells the object from the background",))
    votes = count_votes(found, ball_samples(CARVING_SAMPLES))
    _require_hull(found, votes, len(views))
    alone = carved_alone(found, votes)
    suspicious = suspicious_masks(alone)
    trusted = [silhouette for silhouette, bad in zip(found, suspicious, strict=True) if not bad]
    trusted_votes = votes if len(trusted) == len(found) else count_votes(trusted, votes.points)
    trusted_names = {silhouette.name for silhouette in trusted}
    iou = _hull_iou(scene, views, trusted_names, trusted_votes)
    alone_of = {silhouette.name: float(share) for silhouette, share in zip(found, alone, strict=True)}
    checks = tuple(
        ViewCheck(
            view.name,
            iou.get(view.name),
            alone_of.get(view.name),
            None if view.mask is None else float(view.mask.mean()),
            view.name in trusted_names,
            bool(seen),
        )
        for view, seen in zip(views, sees, strict=True)
    )
    return SceneCheck(checks, float(trusted_votes.inside().mean()), _notes(checks))


def worst_views(check: SceneCheck, count: int = 3) -> list[ViewCheck]:
    """The views whose masks agree least with the others, worst first."""
    with_iou = [view for view in check.views if view.hull_iou is not None]
    return sorted(with_iou, key=lambda view: view.hull_iou or 0.0)[:count]


def sees_ball(scene: Scene, views: Sequence[LoadedView]) -> Bool[np.ndarray, "views"]:
    """Whether any of a few hundred points of the unit ball projects into each image."""
    points = ball_samples(10)
    sees = []
    for view in views:
        # Only the borders of the image count, not its pixels.
        camera = view.camera.resized(1, 1)
        projection = (projection_of(camera) @ scene.world_from_unit).astype(np.float32)
        seen, _ = look_up(Silhouette(view.name, projection, np.ones((1, 1), dtype=bool)), points)
        sees.append(seen.any())
    return np.array(sees)


def _require_object_in_images(scene: Scene, views: Sequence[LoadedView]) -> None:
    sees = sees_ball(scene, views)
    if 2 * sees.sum() >= len(sees):
        return
    blind = [view.name for view, seen in zip(views, sees, strict=True) if not seen]
    centre = np.round(scene.world_from_unit[:3, 3], 4).tolist()
    raise SceneError(
        f"The object lies outside {len(blind)} of {len(views)} images ({listed(blind, 3)}): nothing within "
        f"the bounds around {centre} (from {scene.bounds_source}) projects into them.\n"
        "Expected cameras that look at the object; check that scale_mat and the cameras are in the same world units."
    )


def conflicting_masks(found: list[Silhouette], votes: Votes) -> list[str]:
    """Names of masks without which there would be a hull; empty when there is one with all of them."""
    if _explains_masks(found, votes, 0):
        return []
    # How many masks each point must be allowed to contradict until what remains looks like the masks.
    dissenting = next((count for count in range(1, len(found)) if _explains_masks(found, votes, count)), None)
    return conflicting_views(found, votes, dissenting)


def suspicious_masks(alone: Float[np.ndarray, "views"]) -> Bool[np.ndarray, "views"]:
    """Which masks remove so much of the hull by themselves that they are no witnesses; `alone` from `carved_alone`."""
    return alone > max(SUSPICIOUS_SHARE, 5 * float(np.median(alone)))


def _require_hull(found: list[Silhouette], votes: Votes, view_count: int) -> None:
    names = conflicting_masks(found, votes)
    if not names:
        return
    raise SceneError(
        f"The hull is empty: no point (or next to none) lies inside all {len(found)} masks. It would not be without "
        f"{len(names)} of them: {listed(names, 8)}.\nExpected masks that are white on the object; look at these (of "
        f"{view_count} views), correct them, or leave the views out with --views."
    )


def _explains_masks(found: list[Silhouette], votes: Votes, dissenting: int) -> bool:
    """Whether the points that contradict at most so many masks are more than shreds beside the object."""
    inside = votes.inside(dissenting)
    if not (inside & votes.well_seen(0.5)).any():
        return False
    hull = inside & votes.well_seen(0.25)
    if hull.mean() > SMALL_HULL:
        return True
    return float(np.median(covered(found, votes.points[hull], votes.points))) > LEAST_COVERED


def _hull_iou(scene: Scene, views: Sequence[LoadedView], trusted: set[str], coarse: Votes) -> dict[str, float]:
    """IoU of each mask with the silhouette of the hull of the trusted masks, at the resolution of the hull's voxels."""
    points, exact = hull_points(views, scene.unit_from_world, trusted, coarse)
    return {silhouette.name: silhouette_iou(silhouette, points) for silhouette in exact}


def hull_points(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], trusted: Set[str], coarse: Votes
) -> tuple[Float[np.ndarray, "p 3"], list[Silhouette]]:
    """Samples of the hull of the trusted masks, unit ball, and all masks at the resolution of these samples.

    `coarse`: the votes of the trusted masks; without any point inside there are no samples and no masks.
    """
    inside = coarse.points[coarse.inside()]
    if not len(inside):
        return inside, []
    voxel = 2 / CARVING_SAMPLES
    low, high = inside.min(axis=0) - voxel, inside.max(axis=0) + voxel
    spacing = float((high - low).max()) / SILHOUETTE_SAMPLES
    points = _refined(inside, voxel, spacing)
    exact = silhouettes(views, unit_from_world, round(2 / spacing), grow=False)
    kept = np.ones(len(points), dtype=bool)
    for silhouette in exact:
        if silhouette.name in trusted:
            seen, on_mask = look_up(silhouette, points)
            kept &= ~seen | on_mask
            if kept.mean() < WORTH_COPYING:
                points, kept = points[kept], np.ones(int(kept.sum()), dtype=bool)
    return points[kept], exact


def _refined(inside: Float[np.ndarray, "p 3"], voxel: float, spacing: float) -> Float[np.ndarray, "q 3"]:
    """Fill each kept voxel with samples of at most the given spacing."""
    count = int(np.ceil(voxel / spacing))
    offsets = ((np.arange(count, dtype=np.float32) + 0.5) / count - 0.5) * np.float32(voxel)
    block = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    return (inside[:, None, :] + block[None, :, :]).reshape(-1, 3)


def silhouette_iou(silhouette: Silhouette, points: Float[np.ndarray, "p 3"]) -> float:
    """IoU of a mask with the pixels that the samples of a hull cover."""
    # Samples are about a pixel apart, so single pixels stay unhit: grow by one pixel and shrink back.
    covered = ~grown(~grown(projected(silhouette, points)))
    union = int((covered | silhouette.mask).sum())
    return 1.0 if union == 0 else float((covered & silhouette.mask).sum() / union)


def _notes(checks: tuple[ViewCheck, ...]) -> tuple[str, ...]:
    notes = []
    unmasked = [view.name for view in checks if view.hull_iou is None]
    if unmasked:
        notes.append(f"{len(unmasked)} of {len(checks)} views have no mask: {listed(unmasked)}")
    blind = [view.name for view in checks if not view.sees_object]
    if blind:
        do_not = count_of(len(blind), "view does not", "views do not")
        notes.append(f"{do_not} see the bounds at all: {listed(blind)}")
    low = [view for view in checks if view.hull_iou is not None and view.hull_iou < LOW_IOU]
    if low:
        low.sort(key=lambda view: view.hull_iou or 0.0)
        named = listed([f"{view.name} ({view.hull_iou:.2f})" for view in low])
        disagree = count_of(len(low), "mask disagrees", "masks disagree")
        notes.append(f"{disagree} with the hull of the others (IoU below {LOW_IOU}): {named}")
    for view in [view for view in checks if view.hull_iou is not None and not view.trusted][:3]:
        notes.append(f"the mask of {view.name} alone removes {view.carved_alone:.0%} of the hull, so it was left out")
    empty = [view.name for view in checks if view.mask_coverage == 0]
    if empty:
        notes.append(f"{count_of(len(empty), 'mask is', 'masks are')} black all over: {listed(empty)}")
    return tuple(notes)
