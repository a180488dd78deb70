"""Findings about masks: empty, full, inverted, shifted, contradicting, missing; and whether there is a hull at all.

What is said to be wrong with a mask is believed only when putting it right makes it agree with the hull of the others.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from dvr_cli.diagnosis.agreement import Agreement, best_covering, common_shift, silhouette_of_hull
from dvr_cli.diagnosis.evidence import Evidence
from dvr_cli.diagnosis.findings import Finding, Severity
from dvr_cli.scenes.hull import is_full
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import LoadedView

INVERTED_IOU = 0.7
"""With the hull of the others, that a mask must reach when it is inverted, and it must then be twice as good."""
BETTER_BY = 0.05
"""IoU that a shift must win before it is believed ..."""
LEAST_SHIFT = 0.02
"""... and its length, as a share of the width of the mask."""
GOOD_IOU = 0.97
"""Median from which on nobody asks whether all masks are shifted alike."""
COMMON_GAIN = 0.03
"""That moving all masks back must win in the share of them that their hull covers ..."""
LEAST_COMMON = 0.01
"""... and by how much they must be moved, as a share of the image's width."""
DISAGREES = 0.85
"""IoU below which a mask is worth a look even if it harms none of the others."""
BORDER_OF_INVERTED = 0.7


def mask_findings(
    evidence: Evidence, agreement: Agreement | None, shifts: dict[str, tuple[float, float]]
) -> list[Finding]:
    """All findings about masks; `shifts` from `mask_shifts`."""
    masked = [view for view in evidence.loaded if view.mask is not None]
    if not masked:
        if any(view.mask_problem for view in evidence.views):
            return []
        text = "There are no masks: nothing tells the object from the background"
        advice = (
            "Put masks into mask/ or make them with --masks auto; without them the surroundings are modelled as well"
        )
        return [Finding("no-masks", "note", text, advice)]
    findings = [*_missing(evidence), *constant_findings(evidence), *_taken_inverted(evidence)]
    telling = [view for view in masked if view.mask is not None and not is_full(view.mask)]
    if not telling:
        return findings
    if agreement is None:
        text = "No mask has any object in it, so there is no hull"
        advice = "Write masks that are white on the object (docs/formats.md)"
        return [*findings, Finding("hull-empty", "fatal", text, advice, tuple(view.name for view in masked))]
    inverted = _inverted(telling, agreement)
    findings += _hull(agreement, len(telling))
    findings += inverted
    named = {name for finding in [*findings, *inverted] if finding.name != "hull-empty" for name in finding.views}
    shifted = _all_shifted(evidence, agreement) or _shifted(shifts, named, agreement)
    named |= {name for finding in shifted for name in finding.views}
    return [*findings, *shifted, *_disagreeing(agreement, named, shifted)]


def mask_shifts(
    views: Sequence[LoadedView], full_sizes: dict[str, int], agreement: Agreement
) -> dict[str, tuple[float, float]]:
    """For each mask that would fit the hull clearly better elsewhere: by how much it lies beside it, (x, y).

    In pixels of the full-size image, whose width `full_sizes` gives by name. A mask that is trusted has helped to make
    the hull, so its shift is found too small rather than too large.
    """
    shifts = {}
    for view in views:
        silhouette = agreement.silhouettes.get(view.name)
        if silhouette is None or not silhouette.mask.any() or agreement.iou.get(view.name, 1.0) > 0.97:
            continue
        found = _best_shift(silhouette.mask, silhouette_of_hull(silhouette, agreement.hull))
        if found is not None:
            scale = full_sizes[view.name] / silhouette.mask.shape[1]
            shifts[view.name] = (float(found[0] * scale), float(found[1] * scale))
    return shifts


def _best_shift(mask: Bool[np.ndarray, "h w"], hull: Bool[np.ndarray, "h w"]) -> tuple[float, float] | None:
    """(x, y) from the hull's silhouette to the mask, where moving the mask back wins enough IoU; else None.

    The overlap of all shifts is a correlation, found by Fourier transform. Where many shifts are as good as the best,
    their mean is taken.
    """
    if not hull.any():
        return None
    smaller, larger = sorted((int(mask.sum()), int(hull.sum())))
    if smaller / larger - _iou(mask, hull) < BETTER_BY:
        # Even one on top of the other they would not be enough better.
        return None
    # It takes a second to import.
    from scipy.signal import fftconvolve

    height, width = mask.shape
    overlap = fftconvolve(hull.astype(np.float32), mask[::-1, ::-1].astype(np.float32))
    area = float(smaller + larger)
    iou = overlap / (area - overlap)
    best = float(iou.max())
    rows, columns = np.nonzero(iou >= best - 0.002)
    # Entry (height - 1, width - 1) stands for no shift of the mask.
    back_y, back_x = rows.mean() - (height - 1), columns.mean() - (width - 1)
    across = float(mask.any(axis=0).sum() + mask.any(axis=1).sum()) / 2
    if best - float(iou[height - 1, width - 1]) < BETTER_BY or np.hypot(back_x, back_y) < LEAST_SHIFT * across:
        return None
    return -float(back_x), -float(back_y)


def _missing(evidence: Evidence) -> list[Finding]:
    names = [v.view.name for v in evidence.views if v.view.mask_path is None]
    if not names:
        return []
    text = f"{len(names)} of {len(evidence.views)} views have no mask: {listed(names)}"
    advice = "Add these masks, or leave the views out with --views; colours of such views count, their outlines do not"
    return [Finding("masks-missing", "warning", text, advice, tuple(names))]


def constant_findings(evidence: Evidence) -> list[Finding]:
    """Masks that are one colour all over."""
    findings = []
    masked = [view for view in evidence.loaded if view.mask is not None]
    empty = [view.name for view in masked if view.mask is not None and not view.mask.any()]
    full = [view.name for view in masked if view.mask is not None and is_full(view.mask)]
    if empty:
        text = f"{count_of(len(empty), 'mask')} black all over: {listed(empty)}"
        advice = "Write these masks again (white on the object), or leave the views out with --views"
        severity: Severity = "warning" if len(empty) < len(masked) else "fatal"
        findings.append(Finding("mask-empty", severity, text, advice, tuple(empty)))
    if full and len(full) == len(masked):
        masks = f"All {len(full)} masks are" if len(full) > 1 else "The only mask is"
        text = f"{masks} white all over: nothing tells the object from the background"
        advice = (
            "Write them again (black beside the object), let --masks auto make some, or go without: --no-masks; white "
            "masks say that the whole photographs are the object"
        )
        findings.append(Finding("mask-full", "fatal", text, advice))
    elif full:
        text = f"{count_of(len(full), 'mask')} white all over: {listed(full)}"
        advice = "Write these masks again (black beside the object), or remove them; they carve nothing"
        findings.append(Finding("mask-full", "warning", text, advice, tuple(full)))
    return findings


def _hull(agreement: Agreement, count: int) -> list[Finding]:
    if not agreement.conflicting:
        return []
    names = agreement.conflicting
    text = (
        f"The hull is empty: no point (or next to none) lies inside all {count} masks; it would not be without "
        f"{len(names)} of them: {listed(names)}"
    )
    advice = "Look at these masks and cameras, correct them, or leave the views out with --views"
    return [Finding("hull-empty", "fatal", text, advice, names)]


def _inverted(masked: Sequence[LoadedView], agreement: Agreement) -> list[Finding]:
    """Masks whose opposite fits the hull of the others."""
    inverted = []
    for view in masked:
        silhouette = agreement.silhouettes.get(view.name)
        if silhouette is None or agreement.iou.get(view.name, 1.0) > INVERTED_IOU or not len(agreement.hull):
            continue
        hull = silhouette_of_hull(silhouette, agreement.hull)
        opposite = _iou(~silhouette.mask, hull)
        if opposite > max(INVERTED_IOU, 2 * _iou(silhouette.mask, hull)):
            inverted.append(view.name)
    if not inverted:
        return []
    text = f"{count_of(len(inverted), 'mask')} inverted (black on the object): {listed(inverted)}"
    advice = "Invert them: white must mark the object"
    return [Finding("mask-inverted", "warning", text, advice, tuple(inverted))]


def _taken_inverted(evidence: Evidence) -> list[Finding]:
    """Masks that reading has found to be inverted (`scenes.masks.meaning`) and has put right in memory."""
    names = tuple(v.view.name for v in evidence.views if v.view.mask_meaning == "black")
    if not names:
        return []
    text = f"{count_of(len(names), 'mask')} inverted (black on the object), taken the other way round: {listed(names)}"
    return [Finding("mask-inverted", "warning", text, "Invert them in their files, for other programs", names)]


def all_inverted(evidence: Evidence) -> list[Finding]:
    """All masks with object and background exchanged: what they call object fills the borders of the images.

    Their opposites must agree as well, because an object that is photographed from near fills borders too.
    """
    masked = evidence.masked
    borders = [_border_share(view.mask) for view in masked if view.mask is not None]
    if len(masked) < 2 or np.median(borders) < BORDER_OF_INVERTED:
        return []
    opposites = [replace(view, mask=~view.mask) for view in masked if view.mask is not None and not view.mask.all()]
    if len(opposites) < 2 or best_covering(evidence.scene, opposites) < 0.9:
        return []
    text = f"All {len(masked)} masks are inverted (black on the object): with their opposites there is a hull"
    return [Finding("mask-inverted", "fatal", text, "Invert them: white must mark the object")]


def _border_share(mask: Bool[np.ndarray, "h w"]) -> float:
    """Share of the pixels at the border of the image that are object."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())


def _all_shifted(evidence: Evidence, agreement: Agreement) -> list[Finding]:
    """Masks that all lie beside the object alike, as those of cropped or padded images do."""
    values = list(agreement.iou.values())
    if not values or np.median(values) > GOOD_IOU:
        return []
    shift, before, after = common_shift(evidence.masked, evidence.scene.unit_from_world)
    if after < before + COMMON_GAIN or np.linalg.norm(shift) < LEAST_COMMON:
        return []
    width = float(np.median([view.view.camera.width for view in evidence.views]))
    x, y = shift * width
    text = (
        f"All {len(evidence.masked)} masks lie beside the object, all alike: by about ({x:+.0f}, {y:+.0f}) pixels "
        f"(their hull covers {before:.0%} of them, and {after:.0%} when they are moved back)"
    )
    advice = (
        "Masks were made for images that are cropped or padded otherwise, or the principal point is wrong: make masks "
        "from these photographs"
    )
    return [Finding("mask-shifted", "warning", text, advice)]


def _shifted(shifts: dict[str, tuple[float, float]], explained: set[str], agreement: Agreement) -> list[Finding]:
    names = [name for name in shifts if name not in explained and name not in agreement.trusted]
    if not names:
        return []
    names.sort(key=lambda name: agreement.iou.get(name, 0.0))
    where = (f"{name} by ({shifts[name][0]:+.0f}, {shifts[name][1]:+.0f}) pixels" for name in names)
    text = f"{count_of(len(names), 'mask')} beside the object, seen from the others: {listed(where)}"
    advice = "Check whether mask and photograph of these views belong together, and their cameras"
    return [Finding("mask-shifted", "warning", text, advice, tuple(names))]


def _disagreeing(agreement: Agreement, explained: set[str], shifted: Sequence[Finding]) -> list[Finding]:
    """Masks that fit the hull badly for no reason that has been named."""
    common = any(not finding.views for finding in shifted)
    low = [name for name, iou in agreement.iou.items() if iou < DISAGREES and name not in explained]
    low += [n for n in agreement.iou if n not in agreement.trusted and n not in explained and n not in low]
    if not low or common:
        return []
    low.sort(key=lambda name: agreement.iou[name])
    named = listed(f"{name} ({agreement.iou[name]:.2f})" for name in low)
    disagree = count_of(len(low), "mask disagrees", "masks disagree")
    text = f"{disagree} with the hull of the others (IoU): {named}"
    advice = "Look at these masks and cameras: parts cut off, background taken for object, or a wrong pose"
    return [Finding("mask-disagrees", "warning", text, advice, tuple(low))]


def _iou(mask: Bool[np.ndarray, "h w"], hull: Bool[np.ndarray, "h w"]) -> float:
    union = int((mask | hull).sum())
    return float((mask & hull).sum() / union) if union else 0.0
