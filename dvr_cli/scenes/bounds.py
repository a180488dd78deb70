"""Where is the object? The ball that becomes the unit ball, when the format does not say.

With masks: the bounding ball of a coarse visual hull. With sparse points: a ball around those that most photographs
have in their middle. With both: the hull, cut where it runs far beyond the points. With neither: half the distance to
the cameras around the point that they look at. A tenth is added to every radius.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.cameras import axes_meeting_point, ball_similarity, projection_of
from dvr_cli.scenes.hull import (
    Silhouette,
    Votes,
    ball_samples,
    conflicting_views,
    count_votes,
    is_full,
    silhouettes,
)
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import LoadedView, SparseDepth

MARGIN = 1.1
GUESS = "a guess from where the cameras look"
"""What `bounds_source` says when nothing better is known."""
# Sides of the sample grids of the first, wide look and of the second one around what the first has found.
SAMPLES = (40, 56)
# The hull runs on where few cameras look. A larger share cuts objects that leave many frames; with 0.6 a ball is 1.2
# times (40 views all around) to 1.5 times (49 views from one side) as large as one set by hand, with 0.3 up to 2.4.
SEEN_SHARE = 0.6
# Fewer points than this say nothing about the extent of the object.
MIN_POINTS = 20
# Of the farthest points and of those that stick out most along an axis, this share is left out.
OUTLIERS = 0.02
# The middle of a photograph, in half widths and half heights.
MIDDLE = 0.5
# Points lie where there is texture; the object goes on beyond them.
BEYOND_POINTS = 1.1
# A camera stands outside of the object: the ball reaches at most this share of the way to the nearest one.
NEAREST_CAMERA = 0.9
# Masks of very large sets of views: evenly chosen ones are enough for a ball.
MAX_SILHOUETTES = 120


@dataclass(frozen=True)
class Ball:
    """A ball in the world."""

    centre: Float[np.ndarray, "3"]
    radius: float

    @property
    def unit_from_world(self) -> Float[np.ndarray, "4 4"]:
        """Similarity that takes this ball to the unit ball."""
        return ball_similarity(self.centre, self.radius)


def find_bounds(views: list[LoadedView], sparse: SparseDepth | None) -> tuple[Float[np.ndarray, "4 4"], str]:
    """`unit_from_world` and, in words, where it comes from.

    Views need masks (or None) and cameras only, see `images.small_masks`; masks that are white all over do not count.
    SceneError if the masks contradict each other everywhere, or if there is nothing to go by.
    """
    masked = [view for view in views if view.mask is not None and view.mask.any() and not is_full(view.mask)]
    points = sparse.points if sparse is not None and len(sparse.points) >= MIN_POINTS else None
    cameras_ball = _ball_of_cameras(views)
    points_ball = None if points is None else _ball_of_points(points, cameras_ball)
    if len(masked) >= 2:
        ball, words = _ball_of_hull(masked, points_ball)
    elif points is not None and points_ball is not None:
        ball, words = _ball_of_attention(points, views) or points_ball, f"{len(points)} sparse points"
    elif cameras_ball is not None:
        ball, words = Ball(cameras_ball.centre, 0.5 * cameras_ball.radius), GUESS
    else:
        raise SceneError(
            "Nothing says where the object is: no scale_mat, no masks, no sparse points, and the cameras do not look "
            "at one place.\nPass --masks or --depth, or write scale_mat (docs/formats.md)."
        )
    return Ball(ball.centre, ball.radius * MARGIN).unit_from_world, words


def _ball_of_cameras(views: list[LoadedView]) -> Ball | None:
    """Around the point that the cameras look at, out to the nearest camera; None if they do not look at one place."""
    centre = axes_meeting_point(np.stack([projection_of(view.camera) for view in views]))
    if centre is None:
        return None
    distances = np.array([np.linalg.norm(view.camera.centre - centre) for view in views])
    return Ball(centre, float(np.quantile(distances, 0.1))) if distances.min() > 0 else None


def _ball_of_points(points: Float[np.ndarray, "p 3"], cameras_ball: Ball | None) -> Ball:
    """Around the middle of the points, leaving out background and the farthest two per cent of what remains."""
    if cameras_ball is not None:
        # Background lies behind the object as far away as the cameras or farther.
        near = np.linalg.norm(points - cameras_ball.centre, axis=1) < cameras_ball.radius
        if near.sum() >= MIN_POINTS:
            points = points[near]
    low, high = np.quantile(points, [0.02, 0.98], axis=0)
    centre = (low + high) / 2
    radius = float(np.quantile(np.linalg.norm(points - centre, axis=1), 0.98))
    return Ball(centre, max(radius, 1e-9 * float(np.abs(centre).max() + 1)))


def _ball_of_attention(points: Float[np.ndarray, "p 3"], views: list[LoadedView]) -> Ball | None:
    """Around the points that most photographs have in their middle; None when hardly any point is in any middle.

    A point counts by the squared share of the views whose middle it lies in: surroundings leave the middle as the
    camera moves, what was photographed does not.
    """
    share = np.mean([_in_middle(view, points) for view in views], axis=0)
    weights = share**2
    if (weights > 0).sum() < MIN_POINTS:
        return None
    low, high = (np.array([_quantile(axis, weights, q) for axis in points.T]) for q in (OUTLIERS, 1 - OUTLIERS))
    centre = (low + high) / 2
    distances = np.linalg.norm(points - centre, axis=1)
    nearest = min(float(np.linalg.norm(view.camera.centre - centre)) for view in views)
    radius = min(BEYOND_POINTS * _quantile(distances, weights, 1 - OUTLIERS), NEAREST_CAMERA * nearest / MARGIN)
    return Ball(centre, radius) if radius > 0 else None


def _in_middle(view: LoadedView, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
    """1 for points in the middle of a photograph, else 0."""
    pixels, depth = view.camera.project(points)
    half = np.array([view.camera.width, view.camera.height]) / 2
    with np.errstate(invalid="ignore"):
        return ((depth > 0) & (np.abs(pixels / half - 1) < MIDDLE).all(axis=1)).astype(np.float64)


def _quantile(values: Float[np.ndarray, "p"], weights: Float[np.ndarray, "p"], share: float) -> float:
    """The least value that, with all smaller ones, has at least this share of the weight."""
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weights[order])
    return float(values[order][min(np.searchsorted(summed, share * summed[-1]), len(values) - 1)])


def _ball_of_hull(masked: list[LoadedView], points_ball: Ball | None) -> tuple[Ball, str]:
    step = -(-len(masked) // MAX_SILHOUETTES)
    masked = masked[::step]
    ball, dissenting = _first_ball(masked), 0
    for samples_per_side in SAMPLES:
        found = silhouettes(masked, ball.unit_from_world, samples_per_side)
        votes = count_votes(found, ball_samples(samples_per_side))
        dissenting = _dissenting(found, votes)
        kept = votes.points[votes.inside(dissenting) & votes.well_seen(SEEN_SHARE)] * ball.radius + ball.centre
        if points_ball is not None:
            near = np.linalg.norm(kept - points_ball.centre, axis=1) < 1.5 * points_ball.radius
            kept = kept[near] if near.any() else kept
        # A sample stands for its voxel, whose corners are this much farther out.
        reach = np.sqrt(3) * ball.radius / samples_per_side
        ball = _bounding_ball(kept, reach)
    words = f"hull of {count_of(len(masked), 'mask')}"
    if dissenting:
        words += f" (each point may contradict {dissenting} of them)"
    return ball, words + (" and sparse points" if points_ball is not None else "")


def _first_ball(masked: list[LoadedView]) -> Ball:
    """A ball that is surely large enough: around the point nearest to the rays through the middles of the masks."""
    boxes = np.stack([_mask_box(view) for view in masked])
    rays = [view.camera.rays(box.mean(axis=0, keepdims=True)) for view, box in zip(masked, boxes, strict=True)]
    origins = np.concatenate([ray[0] for ray in rays])
    directions = np.concatenate([ray[1] for ray in rays])
    centre = _nearest_point_to_lines(origins, directions)
    radii = []
    for view, box in zip(masked, boxes, strict=True):
        depth = abs(float(view.camera.project(centre[None])[1][0]))
        half_diagonal = np.linalg.norm(box[1] - box[0]) / 2
        radii.append(half_diagonal * depth / view.camera.intrinsics[0, 0])
    # Masks that are white nearly all over and stray specks must not decide.
    return Ball(centre, 1.8 * float(np.quantile(radii, 0.75)))


def _nearest_point_to_lines(
    origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "3"]:
    """The point with the least sum of distances to the lines (least squares, reweighted)."""
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    weights = np.ones(len(origins))
    point = origins.mean(axis=0)
    for _ in range(10):
        weighted = across * weights[:, None, None]
        # A little weight on the mean of the cameras keeps parallel rays solvable.
        system = weighted.sum(axis=0) + 1e-9 * weights.sum() * np.eye(3)
        point = np.linalg.solve(
            system, (weighted @ origins[:, :, None]).sum(axis=0)[:, 0] + 1e-9 * weights.sum() * point
        )
        distances = np.linalg.norm((across @ (point - origins)[:, :, None])[:, :, 0], axis=1)
        weights = 1 / np.maximum(distances, 1e-3 * distances.max() + 1e-12)
    return point


def _mask_box(view: LoadedView) -> Float[np.ndarray, "2 2"]:
    """First and last corner (x, y) of the mask, pixels."""
    assert view.mask is not None
    rows, columns = np.flatnonzero(view.mask.any(axis=1)), np.flatnonzero(view.mask.any(axis=0))
    return np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], dtype=np.float64)


def _dissenting(found: list[Silhouette], votes: Votes) -> int:
    """How many masks a point may contradict: none, or a few where a bad mask cuts most of the hull away."""
    well_seen = votes.well_seen(SEEN_SHARE)
    volumes = [int((votes.inside(count) & well_seen).sum()) for count in range(1 + min(3, len(found) // 10))]
    if max(volumes) == 0:
        names = listed(conflicting_views(found, votes), 5)
        raise SceneError(
            f"The masks contradict each other: no point lies inside all of them. Fewest conflicts without: {names}.\n"
            "Check that those masks are white on the object and belong to their images (dvr inspect shows each)."
        )
    return next(count for count, volume in enumerate(volumes) if volume > 0 and 2 * volume >= volumes[-1])


def _bounding_ball(points: Float[np.ndarray, "p 3"], reach: float) -> Ball:
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    return Ball(centre, float(np.linalg.norm(points - centre, axis=1).max()) + reach)
