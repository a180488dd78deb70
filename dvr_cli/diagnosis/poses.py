"""Findings about single cameras: far from the others, looking elsewhere, twice the same, exchanged between two views.

Also focal lengths that no lens has, or that differ from those of the other views.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from dvr_cli.diagnosis.agreement import Agreement, silhouette_of_hull
from dvr_cli.diagnosis.findings import Finding
from dvr_cli.scenes.checks import LOW_IOU, SILHOUETTE_SAMPLES, sees_ball, silhouette_iou
from dvr_cli.scenes.hull import Silhouette, silhouettes
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import LoadedView, Scene

FAR = 4.0
"""Times the median distance from the object; hand-held scenes stay below 3."""
NEAR = 0.1
SAME_PLACE = 1e-6
"""Distance between two cameras, as a share of that to the object."""
SAME_TURN = 1e-5
"""Largest difference of their rotation matrices."""
NARROW_DEGREES, WIDE_DEGREES = 3.0, 130.0
"""Fields of view of lenses that people use (without fisheyes)."""
FOCAL_RATIO = 1.5
"""Focal length over the median of the views with the same image size."""
SWAPPED_IOU = 0.85
"""With the hull of the others, that both masks must reach after their cameras were exchanged."""
MOST_SUSPECTS = 12


def pose_findings(scene: Scene, views: Sequence[LoadedView]) -> list[Finding]:
    """Outliers and repeated poses; needs cameras only."""
    return [*_outliers(scene, views), *_repeated(scene)]


def outside_finding(scene: Scene, views: Sequence[LoadedView]) -> list[Finding]:
    """The region of interest lies outside more than half of the images."""
    sees = sees_ball(scene, views)
    if 2 * sees.sum() >= len(sees):
        return []
    blind = tuple(view.name for view, seen in zip(views, sees, strict=True) if not seen)
    centre = np.round(scene.world_from_unit[:3, 3], 4).tolist()
    text = (
        f"The object lies outside {len(blind)} of {len(views)} images: nothing within the region of interest around "
        f"{centre} (from {scene.bounds_source}) projects into them"
    )
    advice = "Check that cameras and region of interest are in the same world and units, and the axes of the cameras"
    return [Finding("object-outside", "fatal", text, advice, blind)]


def focal_findings(scene: Scene) -> list[Finding]:
    """Fields of view that are implausible, and single views that differ from the rest."""
    cameras = [view.camera for view in scene.views]
    degrees = np.array([2 * np.rad2deg(np.arctan(0.5 * c.width / c.intrinsics[0, 0])) for c in cameras])
    strange = [view.name for view, angle in zip(scene.views, degrees, strict=True) if not _plausible(angle)]
    if strange:
        worst = degrees[[view.name for view in scene.views].index(strange[0])]
        text = (
            f"{count_of(len(strange), 'camera')} with an implausible field of view ({worst:.3g} degrees across for "
            f"{strange[0]}): {listed(strange)}"
        )
        advice = "Write the focal length in pixels of the full-size image"
        return [Finding("focal-length", "warning", text, advice, tuple(strange))]
    shares = np.array([c.intrinsics[0, 0] / max(c.width, c.height) for c in cameras])
    ratio = shares / np.median(shares)
    odd = [v.name for v, r in zip(scene.views, ratio, strict=True) if not 1 / FOCAL_RATIO < r < FOCAL_RATIO]
    # Two lenses, or a zoom, are no mistake; a view or two among many are suspicious.
    if not odd or len(odd) > max(2, len(cameras) // 10):
        return []
    text = f"{count_of(len(odd), 'camera')} with a focal length unlike that of the others: {listed(odd)}"
    return [Finding("focal-length", "warning", text, "Check the intrinsics of these views", tuple(odd))]


def swapped_findings(scene: Scene, views: Sequence[LoadedView], agreement: Agreement) -> list[Finding]:
    """Pairs of views whose masks fit the hull of the others when they exchange their cameras, and not otherwise."""
    by_name = {view.name: view for view in views if view.mask is not None and view.mask.any()}
    suspects = [
        name
        for name in by_name
        if name in agreement.conflicting or name not in agreement.trusted or agreement.iou.get(name, 0.0) < LOW_IOU
    ]
    suspects = sorted(suspects, key=lambda name: agreement.iou.get(name, 0.0))[:MOST_SUSPECTS]
    if len(suspects) < 2 or not len(agreement.hull):
        return []
    spacing = _spacing(agreement.hull)
    pairs, used = [], set[str]()
    scored = []
    for index, first in enumerate(suspects):
        for second in suspects[index + 1 :]:
            fit = min(
                _iou_with_camera(by_name[first], by_name[second], scene, agreement, spacing),
                _iou_with_camera(by_name[second], by_name[first], scene, agreement, spacing),
            )
            scored.append((fit, first, second))
    for fit, first, second in sorted(scored, key=lambda entry: (-entry[0], *entry[1:])):
        before = max(agreement.iou.get(first, 0.0), agreement.iou.get(second, 0.0))
        if fit > max(SWAPPED_IOU, before + 0.05) and not used & {first, second}:
            pairs.append((first, second))
            used |= {first, second}
    if not pairs:
        return []
    named = listed(f"{first} and {second}" for first, second in pairs)
    text = f"The cameras of {named} seem to be exchanged: their masks fit the others when each takes the other's camera"
    advice = "Exchange the two poses, or the names of the two photographs"
    return [Finding("swapped-poses", "warning", text, advice, tuple(name for pair in pairs for name in pair))]


def _iou_with_camera(
    pixels: LoadedView, camera: LoadedView, scene: Scene, agreement: Agreement, spacing: float
) -> float:
    """IoU of one view's mask with the hull as another view's camera sees it."""
    exchanged = replace(pixels, camera=camera.camera.resized(pixels.camera.height, pixels.camera.width))
    found: list[Silhouette] = silhouettes([exchanged], scene.unit_from_world, round(2 / spacing), grow=False)
    return silhouette_iou(found[0], agreement.hull) if silhouette_of_hull(found[0], agreement.hull).any() else 0.0


def _spacing(hull: Float[np.ndarray, "p 3"]) -> float:
    """Distance between the samples of a hull, as `checks.hull_points` lays them."""
    return float((hull.max(axis=0) - hull.min(axis=0)).max()) / SILHOUETTE_SAMPLES


def _plausible(degrees: float) -> bool:
    return bool(NARROW_DEGREES < degrees < WIDE_DEGREES)


def _outliers(scene: Scene, views: Sequence[LoadedView]) -> list[Finding]:
    """Cameras far from where the others stand, and those that do not see the region of interest, if they are few."""
    distances = np.array([np.linalg.norm(v.camera.centre - scene.world_from_unit[:3, 3]) for v in scene.views])
    median = float(np.median(distances))
    sees = sees_ball(scene, views)
    reasons: dict[str, str] = {}
    for view, distance, seen in zip(scene.views, distances, sees, strict=True):
        if not seen:
            reasons[view.name] = "looks elsewhere"
        elif len(distances) > 3 and distance > FAR * median:
            reasons[view.name] = f"{distance / median:.1f} times as far from the object as usual"
        elif len(distances) > 3 and distance < NEAR * median:
            reasons[view.name] = "inside or right at the object"
    # When most do not see the object, it is the object that is lost.
    if not reasons or 2 * (~sees).sum() > len(sees):
        return []
    named = listed(f"{name} ({reason})" for name, reason in reasons.items())
    text = f"{count_of(len(reasons), 'camera')} apart from the others: {named}"
    advice = "Check the poses of these views, or leave them out with --views"
    return [Finding("pose-outlier", "warning", text, advice, tuple(reasons))]


def _repeated(scene: Scene) -> list[Finding]:
    centres = np.stack([view.camera.centre for view in scene.views])
    rotations = np.stack([view.camera.camera_from_world[:3, :3] for view in scene.views])
    scale = float(np.median(np.linalg.norm(centres - scene.world_from_unit[:3, 3], axis=1)))
    again: dict[str, str] = {}
    for index in range(1, len(centres)):
        near = np.linalg.norm(centres[:index] - centres[index], axis=1) < SAME_PLACE * scale
        alike = np.abs(rotations[:index] - rotations[index]).max(axis=(1, 2)) < SAME_TURN
        if (near & alike).any():
            again[scene.views[index].name] = scene.views[int(np.flatnonzero(near & alike)[0])].name
    if not again:
        return []
    named = listed((f"{second} as {first}" for second, first in again.items()), 4)
    text = f"{count_of(len(again), 'view')} with the very camera of another view: {named}"
    advice = "Unless the photographs are the same as well, one of these poses is wrong: write it again"
    return [Finding("same-pose", "warning", text, advice, tuple(again))]
