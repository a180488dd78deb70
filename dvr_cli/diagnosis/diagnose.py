"""From a scene to a diagnosis: all kinds of findings in order, the worst first.

`quick_diagnosis` looks at headers, cameras, points and small masks, for the seconds before a reconstruction; `diagnose`
decodes every photograph, and with `deep` matches neighbours as well.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np

from dvr_cli.diagnosis.agreement import Agreement, agreement_of
from dvr_cli.diagnosis.corrections import axes_without_masks, correction_findings, size_without_masks
from dvr_cli.diagnosis.coverage import Coverage, coverage_findings, coverage_of
from dvr_cli.diagnosis.evidence import Evidence, ViewEvidence, examine, from_loaded
from dvr_cli.diagnosis.findings import Diagnosis, Finding, ViewFigures, and_more, sorted_findings
from dvr_cli.diagnosis.masks import all_inverted, constant_findings, mask_findings, mask_shifts
from dvr_cli.diagnosis.photographs import file_findings, pixel_findings, relative_figures, relative_findings
from dvr_cli.diagnosis.points import PointFigures, point_figures, point_findings
from dvr_cli.diagnosis.poses import focal_findings, outside_finding, pose_findings, swapped_findings
from dvr_cli.diagnosis.sizes import mixed_size_findings, mixed_sizes_without_masks
from dvr_cli.errors import DvrError
from dvr_cli.scenes.bounds import GUESS
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.checks import sees_ball
from dvr_cli.scenes.depth_maps import load_depth_map
from dvr_cli.scenes.hull import is_full
from dvr_cli.scenes.images import working_shape
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.sparse_depth import with_views
from dvr_cli.scenes.views import LoadedView, Scene

MOST_QUICK_VIEWS = 100
"""That are looked at before a reconstruction."""
MOST_HULL_POINTS = 4000
"""For pictures."""
FOUND_BOUNDS = ("hull of", "a guess", "sparse points")
"""What `bounds_source` says when the format did not say where the object is."""


def quick_diagnosis(scene: Scene, threads: int | None = None) -> Diagnosis:
    """What can be told without decoding a photograph: a second or two for 50 views, and of more than 100 no more.

    A diagnosis that is `fatal` says that a reconstruction would fail; `Diagnosis.refusal` is the text for the user,
    `Diagnosis.warning_lines` what should be said before it begins.
    """
    return _diagnosis(examine(_thinned(scene), threads, decode=False), {}, {})


def _thinned(scene: Scene) -> Scene:
    """The scene with at most MOST_QUICK_VIEWS views, evenly chosen."""
    step = -(-len(scene.views) // MOST_QUICK_VIEWS)
    if step <= 1:
        return scene
    kept = tuple(range(0, len(scene.views), step))
    maps, scales = scene.depth_map_paths, scene.depth_scales
    return replace(
        scene,
        views=tuple(scene.views[index] for index in kept),
        sparse_depth=None if scene.sparse_depth is None else with_views(scene.sparse_depth, kept),
        depth_map_paths=None if maps is None else tuple(maps[index] for index in kept),
        depth_scales=None if scales is None else tuple(scales[index] for index in kept),
    )


def diagnose(
    scene: Scene,
    threads: int | None = None,
    deep: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Everything that can be found; `deep` matches neighbouring photographs and holds the matches against the cameras.

    `report(done, total)` is called in this thread while photographs are decoded. Files that cannot be decoded are
    findings, not errors.
    """
    evidence = examine(scene, threads, decode=True, report=report)
    findings, errors, counts = [], {}, {}
    readable = not any(view.photograph_problem for view in evidence.views)
    if deep and readable and len(scene.views) > 1:
        from dvr_cli.diagnosis.epipolar import epipolar_figures, epipolar_findings

        figures = epipolar_figures(scene, threads)
        findings = epipolar_findings(figures)
        errors, counts = figures.error_of_view, figures.matches_of_view
    return _diagnosis(evidence, errors, counts, [*_depth_map_findings(scene), *findings])


def diagnose_views(scene: Scene, views: Sequence[LoadedView]) -> Diagnosis:
    """The same for views that are in memory already, at whatever size; headers are not looked at, nothing is matched.

    `scene` must have these views, perhaps among others.
    """
    names = {view.name for view in views}
    same = replace(scene, views=tuple(view for view in scene.views if view.name in names), sparse_depth=None)
    return _diagnosis(from_loaded(same, list(views)), {}, {})


def _diagnosis(
    evidence: Evidence,
    epipolar_errors: dict[str, float],
    matches: dict[str, int],
    more: Sequence[Finding] = (),
) -> Diagnosis:
    scene, views = evidence.scene, evidence.loaded
    agreement = agreement_of(evidence.carving, scene.unit_from_world) if evidence.masked else None
    full_width = {view.view.name: view.view.camera.width for view in evidence.views}
    shifts = {} if agreement is None else mask_shifts(evidence.masked, full_width, agreement)
    coverage, points = coverage_of(scene), point_figures(scene)
    sharpness, brightness = relative_figures(evidence)
    findings = [
        *_reader_findings(scene),
        *file_findings(evidence),
        *coverage_findings(scene, coverage, any(view.view.mask_path is not None for view in evidence.views)),
        *_camera_findings(evidence, agreement, shifts),
        *point_findings(scene, points),
        *pixel_findings(evidence),
        *relative_findings(sharpness, brightness),
        *more,
    ]
    sees = sees_ball(scene, views)
    view_figures = tuple(
        _view_figures(view, bool(seen), agreement, shifts, sharpness, brightness, points, epipolar_errors, matches)
        for view, seen in zip(evidence.views, sees, strict=True)
    )
    figures = _scene_figures(scene, agreement, coverage, points)
    return Diagnosis(sorted_findings(findings), view_figures, figures, _hull_points(scene, agreement))


def _camera_findings(
    evidence: Evidence, agreement: Agreement | None, shifts: dict[str, tuple[float, float]]
) -> list[Finding]:
    """Cameras, bounds and masks: where one mistake of all cameras explains it, that mistake alone."""
    scene, views = evidence.scene, evidence.loaded
    given = not scene.bounds_source.startswith(FOUND_BOUNDS) and "sparse points" not in scene.bounds_source
    plain = [*pose_findings(scene, views), *focal_findings(scene)]
    if len(scene.views) < 2:
        return mask_findings(evidence, agreement, {})
    if agreement is None:
        mixed = mixed_sizes_without_masks(scene)
        whole = axes_without_masks(scene)
        whole = whole or [*outside_finding(scene, views), *mixed, *size_without_masks(scene)]
        guess = _guessed_bounds(evidence) if not whole else []
        return [*_unexplained(plain, mixed), *whole, *guess, *mask_findings(evidence, None, {})]
    mixed = mixed_size_findings(scene, evidence.masked)
    if any(finding.severity == "fatal" for finding in mixed):
        return [*mixed, *constant_findings(evidence)]
    whole = all_inverted(evidence) or correction_findings(scene, evidence.masked, given)
    if whole:
        return [*mixed, *whole, *constant_findings(evidence)]
    swapped = swapped_findings(scene, views, agreement)
    exchanged = {name for finding in swapped for name in finding.views}
    masks = mask_findings(evidence, agreement, {n: s for n, s in shifts.items() if n not in exchanged})
    masks = [finding for finding in masks if finding.name != "mask-disagrees" or not set(finding.views) <= exchanged]
    if len(evidence.masked) < 2:
        # The hull of one mask has no end, so that the region of interest is not from masks.
        masks += _guessed_bounds(evidence)
    return [*outside_finding(scene, views), *mixed, *_unexplained([*plain, *swapped, *masks], mixed)]


def _unexplained(findings: Sequence[Finding], mixed: Sequence[Finding]) -> list[Finding]:
    """Those that say more than that some views have cameras of another image size."""
    resized = {name for finding in mixed for name in finding.views}
    explained = ("focal-length", "pose-outlier", "swapped-poses", "mask-shifted", "mask-disagrees", "hull-empty")
    return [f for f in findings if f.name not in explained or not f.views or not set(f.views) <= resized]


def _depth_map_findings(scene: Scene) -> list[Finding]:
    """Depth maps that cannot be read; they are decoded at a small size, one after the other."""
    bad, reason = [], ""
    for view, path in zip(scene.views, scene.depth_map_paths or (), strict=False):
        try:
            if path is not None:
                load_depth_map(path, view, *working_shape(view.camera.height, view.camera.width, 40))
        except DvrError as error:
            bad.append(view.name)
            reason = reason or str(error).splitlines()[0].removesuffix(".")
    if not bad:
        return []
    text = f"{count_of(len(bad), 'depth map')} cannot be used: {reason}" + and_more(len(bad) - 1)
    advice = "Write them again, or remove them: a view may go without"
    return [Finding("unreadable-depth", "fatal", text, advice, tuple(bad))]


def _guessed_bounds(evidence: Evidence) -> list[Finding]:
    if evidence.scene.bounds_source != GUESS:
        return []
    masked = any(view.mask is not None for view in evidence.loaded)
    masks = "no two masks with a background" if masked else "no masks"
    text = f"Nothing says where the object is: no bounds, {masks}, no points; the region of interest is a guess"
    advice = (
        "Nothing at first: dvr reconstruct triangulates points by itself; where it finds too few, give masks (--masks "
        "auto makes some) or points (--depth FILE)"
    )
    if masked:
        advice = "Give more masks, or points (--depth auto triangulates some)"
    return [Finding("bounds-guessed", "warning", text, advice)]


def _reader_findings(scene: Scene) -> list[Finding]:
    """What the reader noted; what it names and what is missing has a finding of its own."""
    findings = []
    for note in scene.notes:
        text = note[:1].upper() + note[1:].removesuffix(".")
        if re.match(r"\d+ of \d+ photographs .*missing", note):
            advice = "Put them back under these names, or go on without them where enough others show the same side"
            findings.append(Finding("missing-photographs", "warning", text, advice))
        elif re.match(r"(the points|\d+ depth maps?) that .* missing", note):
            advice = "Put them where the file says, or name others with --depth; without them photographs alone decide"
            findings.append(Finding("missing-depth", "warning", text, advice))
        elif "views have no mask" not in note:
            findings.append(Finding("reader-note", "note", text))
    return findings


def _view_figures(
    view: ViewEvidence,
    sees_object: bool,
    agreement: Agreement | None,
    shifts: dict[str, tuple[float, float]],
    sharpness: dict[str, float],
    brightness: dict[str, float],
    points: PointFigures | None,
    epipolar_errors: dict[str, float],
    matches: dict[str, int],
) -> ViewFigures:
    name, mask = view.view.name, view.loaded.mask
    return ViewFigures(
        name=name,
        sharpness=sharpness.get(name),
        brightness=brightness.get(name),
        mask_coverage=None if mask is None else float(mask.mean()),
        hull_iou=None if agreement is None else agreement.iou.get(name),
        carved_alone=None if agreement is None else agreement.carved_alone.get(name),
        trusted=None if agreement is None or mask is None or is_full(mask) else name in agreement.trusted,
        mask_shift=shifts.get(name),
        sees_object=sees_object,
        point_error=None if points is None else points.error_of_view.get(name),
        epipolar_error=epipolar_errors.get(name),
        matches=matches.get(name),
    )


def _scene_figures(
    scene: Scene, agreement: Agreement | None, coverage: Coverage | None, points: PointFigures | None
) -> dict[str, object]:
    figures: dict[str, object] = {"hull_volume": None if agreement is None else agreement.volume}
    if coverage is not None:
        figures["coverage"] = {
            "share_of_sphere": coverage.share,
            "largest_gap_degrees": coverage.gap_degrees,
            "largest_gap": coverage.gap_where,
            "spacing_degrees": coverage.spacing_degrees,
        }
    if points is not None:
        plain = asdict(points)
        plain.pop("error_of_view")
        figures["points"] = plain
    return figures


def _hull_points(scene: Scene, agreement: Agreement | None) -> np.ndarray | None:
    if agreement is None or not len(agreement.hull):
        return None
    step = -(-len(agreement.hull) // MOST_HULL_POINTS)
    return apply(scene.world_from_unit, agreement.hull[::step].astype(np.float64))
