"""Findings about sparse points: their reprojection error, whether they lie on the object, and in which units."""

from dataclasses import dataclass

import numpy as np

from dvr_cli.diagnosis.corrections import scaled_about_origin
from dvr_cli.diagnosis.findings import Finding
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.views import Scene, SparseDepth

LARGE_ERROR = 2.0
"""Median reprojection error, pixels; good models have 0.3 to 1."""
OUTLYING = 3.0
"""Times the median over the views, and above LARGE_ERROR."""
FEW_IN_BOUNDS = 0.05
SPECK = 0.025
"""Standard deviation of points, as a share of the radius of the region of interest, below which they are a speck."""
POWERS = (-4, -3, -2, -1, 1, 2, 3, 4)
MOST_UNSEEN = 0.2
"""Share of the pairs (view, point) for which the point lies behind the camera or outside the image."""
LEAST_POINTS = 20


@dataclass(frozen=True)
class PointFigures:
    """What can be said about the points of a scene."""

    count: int
    in_bounds: int
    observations: int | None
    """Pairs (view, point)."""
    median_error: float | None
    """Pixels."""
    median_views: float | None
    """Views that see a point, median."""
    unseen: float | None
    """Share of the pairs that cannot be: behind the camera, or outside the image."""
    error_of_view: dict[str, float]
    """Median error of the points that each view sees, pixels."""


def point_figures(scene: Scene) -> PointFigures | None:
    """Figures of the scene's points; None without any."""
    sparse = scene.sparse_depth
    if sparse is None:
        return None
    in_bounds = np.linalg.norm(apply(scene.unit_from_world, sparse.points), axis=1) <= 1
    pairs = sparse.visibility
    seen_by = None if pairs is None or not len(pairs) else np.bincount(pairs[:, 1], minlength=len(sparse.points))
    return PointFigures(
        len(sparse.points),
        int(in_bounds.sum()),
        None if pairs is None else len(pairs),
        None if sparse.error is None else float(np.median(sparse.error)),
        None if seen_by is None else float(np.median(seen_by[seen_by > 0])),
        _unseen(scene, sparse),
        _errors(scene, sparse),
    )


def point_findings(scene: Scene, figures: PointFigures | None) -> list[Finding]:
    """What is wrong with the points."""
    if figures is None:
        return []
    findings = [*_in_bounds(scene, figures)]
    if figures.unseen is not None and figures.unseen > MOST_UNSEEN:
        text = (
            f"{figures.unseen:.0%} of the observations cannot be: the point lies behind the camera or outside the image"
        )
        advice = "Points and cameras are not of the same model, or the views are in another order: export both again"
        findings.append(Finding("points-unseen", "warning", text, advice))
    return [*findings, *_error_findings(figures)]


def _in_bounds(scene: Scene, figures: PointFigures) -> list[Finding]:
    if figures.count < LEAST_POINTS:
        return []
    _, spread = _inside(scene, 1.0)
    if figures.in_bounds >= FEW_IN_BOUNDS * figures.count and spread > SPECK:
        return []
    text = (
        f"{figures.in_bounds} of {figures.count} points lie within the region of interest (from {scene.bounds_source})"
    )
    power, share = _better_power(scene)
    if share > 0.5:
        text += f"; multiplied by {10.0**power:g} it would be {share:.0%} of them"
        advice = f"Write points and cameras in the same units: these points seem {10.0**-power:g} times too large"
        if power > 0:
            advice = f"Write points and cameras in the same units: these points seem {10.0**power:g} times too small"
        return [Finding("points-scale", "warning", text, advice)]
    advice = "Check that the points are in the world of the cameras; points of the background do no harm"
    return [Finding("points-outside", "warning", text, advice)]


def _better_power(scene: Scene) -> tuple[int, float]:
    """The power of ten that brings most points into the region of interest, and their share.

    Points that shrink to a speck there do not count.
    """
    best = (0, 0.0)
    for power in POWERS:
        share, spread = _inside(scene, 10.0**power)
        if share > best[1] and spread > 2 * SPECK:
            best = (power, share)
    return best


def _inside(scene: Scene, factor: float) -> tuple[float, float]:
    """Share of the points within the region of interest when they are multiplied, and how far they spread there."""
    places = scaled_about_origin(scene, factor)
    inside = np.linalg.norm(places, axis=1) <= 1
    return float(inside.mean()), float(np.median(places[inside].std(axis=0))) if inside.any() else 0.0


def _unseen(scene: Scene, sparse: SparseDepth) -> float | None:
    if sparse.visibility is None or not len(sparse.visibility):
        return None
    wrong = 0
    for index, view in enumerate(scene.views):
        points = sparse.points[sparse.visibility[sparse.visibility[:, 0] == index, 1]]
        pixels, depth = view.camera.project(points)
        # Features at the border of a photograph may leave the image when it is undistorted.
        slack = 0.02 * max(view.camera.width, view.camera.height)
        size = np.array([view.camera.width, view.camera.height])
        with np.errstate(invalid="ignore"):
            inside = (depth > 0) & (pixels >= -slack).all(axis=1) & (pixels <= size + slack).all(axis=1)
        wrong += int((~inside).sum())
    return wrong / len(sparse.visibility)


def _errors(scene: Scene, sparse: SparseDepth) -> dict[str, float]:
    if sparse.visibility is None or sparse.error is None:
        return {}
    medians = {}
    for index, view in enumerate(scene.views):
        errors = sparse.error[sparse.visibility[sparse.visibility[:, 0] == index, 1]]
        if len(errors) >= LEAST_POINTS:
            medians[view.name] = float(np.median(errors))
    return medians


def _error_findings(figures: PointFigures) -> list[Finding]:
    if figures.median_error is not None and figures.median_error > LARGE_ERROR:
        error = f"{figures.median_error:.1f} pixels"
        text = f"The points have a reprojection error of {error} (median); good cameras have below 1"
        advice = "The cameras are inexact: make them again (dvr prepare), with lens distortion where there is any"
        return [Finding("reprojection-error", "warning", text, advice)]
    if len(figures.error_of_view) < 3:
        return []
    usual = float(np.median(list(figures.error_of_view.values())))
    bad = {n: e for n, e in figures.error_of_view.items() if e > max(OUTLYING * usual, LARGE_ERROR)}
    if not bad:
        return []
    names = sorted(bad, key=lambda name: -bad[name])
    named = listed(f"{name} ({bad[name]:.1f} pixels)" for name in names)
    text = f"Points seen by {named} reproject worse than those of the others ({usual:.1f} pixels)"
    advice = "Check the poses of these views, or leave them out with --views"
    return [Finding("reprojection-error", "warning", text, advice, tuple(names))]
