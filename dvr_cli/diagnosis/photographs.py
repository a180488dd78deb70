"""Findings about the photographs themselves: unreadable, blurred, too bright, twice, without colour, turned."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.diagnosis.evidence import Evidence, ViewEvidence
from dvr_cli.diagnosis.findings import Finding, and_more
from dvr_cli.diagnosis.pixel_figures import THUMBNAIL
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import LoadedView

NEIGHBOURS = 6
"""Views from similar directions that sharpness and brightness are compared with."""
NEAR_DEGREES = 45.0
"""Views that look farther apart show other things in another light."""
FEWEST_NEIGHBOURS = 3
LEAST_DETAIL = 0.05
LEAST_SHARPNESS = 0.7
"""Of the neighbours'; a Gaussian blur of one pixel gives about 0.6 on a textured surface."""
MOST_BRIGHTNESS = 2.0
"""Times the neighbours', or as many times less; lamps at the side of an object make 1.6 from one view to the next."""
MOST_WHITE = 0.5
"""Share of the object in a photograph; a white skull in bright light has 0.4 and can be reconstructed."""
SAME_PICTURE = 0.003
"""Root mean square difference of thumbnails; JPEG compression of one and the same photograph stays below."""
FLAT = 0.01
"""Standard deviation of a thumbnail below which it tells nothing."""


def file_findings(evidence: Evidence) -> list[Finding]:
    """What headers and names say, and which files cannot be decoded."""
    findings = [*_unreadable(evidence)]
    of_kind: list[tuple[str, Callable[[ViewEvidence], bool], str, str]] = [
        ("sixteen-bit", lambda v: v.header is not None and v.header.bits > 8, "have 16 bits a channel", _SIXTEEN),
        ("cmyk", lambda v: v.header is not None and v.header.colours == "cmyk", "have CMYK colours", _CMYK),
        ("alpha-unused", _alpha_unused, "have an alpha channel that is not used as a mask", _ALPHA),
    ]
    for name, holds, what, advice in of_kind:
        if names := [view.view.name for view in evidence.views if holds(view)]:
            findings.append(Finding(name, "note", f"{_photographs(names, evidence)} {what}", advice, tuple(names)))
    return [*findings, *_orientation(evidence), *_names(evidence)]


_SIXTEEN = "Grey ones are used in full, colours at 8 bits; photographs that are linear (dark) are better saved as sRGB"
_CMYK = "They are converted without a colour profile; save them as RGB for faithful colours"
_ALPHA = "Remove mask/ or leave --no-masks out if it is the mask; otherwise nothing is to be done"


def pixel_findings(evidence: Evidence) -> list[Finding]:
    """What the pixels say; nothing where they were not decoded."""
    seen = [view for view in evidence.views if view.pixels is not None]
    if not seen:
        return []
    return [*_duplicates(seen), *_without_colour(seen), *_overexposed(seen)]


def relative_figures(evidence: Evidence) -> tuple[dict[str, float], dict[str, float]]:
    """Sharpness and brightness of each view by name, as shares of the median of its neighbours'.

    Objects are compared with objects and whole photographs with whole photographs: where only some views have a mask,
    the background would make the difference. Views with fewer than FEWEST_NEIGHBOURS have none.
    """
    seen = [view for view in evidence.views if view.pixels is not None]
    objects = [view for view in seen if view.pixels is not None and view.pixels.white is not None]
    whole = [view for view in seen if view.pixels is not None and view.pixels.white is None]
    (sharp, bright), (more_sharp, more_bright) = _relative_to_neighbours(objects), _relative_to_neighbours(whole)
    return {**sharp, **more_sharp}, {**bright, **more_bright}


def _relative_to_neighbours(seen: Sequence[ViewEvidence]) -> tuple[dict[str, float], dict[str, float]]:
    """The same among views of which the same was judged."""
    sharp, bright = {}, {}
    sharpness = np.array([view.pixels.sharpness for view in seen if view.pixels is not None])
    brightness = np.array([view.pixels.brightness for view in seen if view.pixels is not None])
    for index, neighbours in enumerate(_neighbours([view.loaded for view in seen])):
        if len(neighbours) < FEWEST_NEIGHBOURS:
            continue
        name = seen[index].view.name
        # Without any fine detail the figure is 1, so what lies above 1 is compared.
        usual = max(float(np.median(sharpness[neighbours])) - 1, LEAST_DETAIL)
        sharp[name] = float(max(sharpness[index] - 1, LEAST_DETAIL) / usual)
        bright[name] = float((brightness[index] + 1e-3) / (np.median(brightness[neighbours]) + 1e-3))
    return sharp, bright


def relative_findings(sharpness: dict[str, float], brightness: dict[str, float]) -> list[Finding]:
    """Views that are less sharp, or brighter or darker, than their neighbours."""
    findings = []
    blurred = sorted(
        (name for name in sharpness if sharpness[name] < LEAST_SHARPNESS), key=lambda name: sharpness[name]
    )
    if blurred:
        named = listed(f"{name} ({sharpness[name]:.2f})" for name in blurred)
        findings.append(
            Finding(
                "blurred",
                "warning",
                f"{count_of(len(blurred), 'photograph')} less sharp than the neighbouring ones (1 is usual): {named}",
                "Take them again, or leave them out with --views where enough others show the same side",
                tuple(blurred),
            )
        )
    strange = [name for name, value in brightness.items() if not 1 / MOST_BRIGHTNESS < value < MOST_BRIGHTNESS]
    if strange:
        strange.sort(key=lambda name: -abs(np.log(brightness[name])))
        named = listed(f"{name} ({brightness[name]:.2f} times as bright)" for name in strange)
        findings.append(
            Finding(
                "exposure",
                "warning",
                f"{count_of(len(strange), 'photograph')} unlike the neighbouring ones in brightness: {named}",
                "Fix exposure and white balance of the camera, or leave these views out with --views",
                tuple(strange),
            )
        )
    return findings


def _neighbours(views: Sequence[LoadedView]) -> list[Int[np.ndarray, "k"]]:
    """For each view those that look most nearly the same way from most nearly the same place."""
    if len(views) < 2:
        return [np.zeros(0, dtype=np.int64)] * len(views)
    directions = np.stack([view.camera.camera_from_world[2, :3] for view in views])
    centres = np.stack([view.camera.centre for view in views])
    spread = max(float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).mean()), 1e-300)
    found = []
    for index in range(len(views)):
        far = np.linalg.norm(centres - centres[index], axis=1) / spread
        far = far + np.linalg.norm(directions - directions[index], axis=1)
        far[index] = np.inf
        far[directions @ directions[index] < np.cos(np.deg2rad(NEAR_DEGREES))] = np.inf
        nearest = np.argsort(far, kind="stable")[:NEIGHBOURS]
        found.append(nearest[np.isfinite(far[nearest])])
    return found


def _photographs(names: Sequence[str], evidence: Evidence) -> str:
    return (
        "All photographs" if len(names) == len(evidence.views) else f"{len(names)} of {len(evidence.views)} photographs"
    )


def _unreadable(evidence: Evidence) -> list[Finding]:
    findings = []
    bad = [view for view in evidence.views if view.photograph_problem]
    if bad:
        reasons = "; ".join(_reason(view.photograph_problem) for view in bad[:3])
        findings.append(
            Finding(
                "unreadable-photograph",
                "fatal",
                f"{count_of(len(bad), 'photograph')} cannot be used: {reasons}" + and_more(len(bad) - 3),
                "Copy them again from their source, or leave these views out with --views",
                tuple(view.view.name for view in bad),
            )
        )
    masks = [view for view in evidence.views if view.mask_problem]
    if masks:
        findings.append(
            Finding(
                "unreadable-mask",
                "fatal",
                f"{count_of(len(masks), 'mask')} cannot be used: {_reason(masks[0].mask_problem)}"
                + and_more(len(masks) - 1),
                "Write them again, remove them, or leave these views out with --views",
                tuple(view.view.name for view in masks),
            )
        )
    return findings


def _reason(message: str) -> str:
    """The sentence of an error that says what is wrong, without its full stop."""
    return message.splitlines()[0].removesuffix(".")


def _alpha_unused(view: ViewEvidence) -> bool:
    used = view.view.mask_meaning == "alpha" and view.view.mask_path == view.view.image_path
    return view.header is not None and view.header.has_alpha and not used


def _orientation(evidence: Evidence) -> list[Finding]:
    """Photographs whose EXIF asks for a turn: applied where only that fits the camera, else left as stored."""
    asking = [view for view in evidence.views if view.header is not None and view.header.orientation != 1]
    if not asking:
        return []
    ignored = [view for view in asking if view.view.orientation == 1]
    applied = len(asking) - len(ignored)
    names = tuple(view.view.name for view in ignored or asking)
    if not ignored:
        text = f"{count_of(applied, 'photograph')} turned as their EXIF orientation asks, because the cameras want it"
        return [Finding("exif-orientation", "note", text, "", names)]
    mixed = f", {count_of(applied, 'other is', 'others are')} turned" if applied else ""
    return [
        Finding(
            "exif-orientation",
            "warning",
            f"{count_of(len(ignored), 'photograph')} used as stored although the EXIF orientation asks for a turn"
            f"{mixed}: {listed(names)}",
            "Cameras and masks must be made for the pixels as stored; otherwise turn the files (jpegtran, exiftran) or "
            "remove the entry, and make the cameras again",
            names,
        )
    ]


def _names(evidence: Evidence) -> list[Finding]:
    odd = [view.view.name for view in evidence.views if not view.view.name.isascii() or " " in view.view.name]
    if not odd:
        return []
    text = f"{count_of(len(odd), 'name')} with spaces or letters beyond ASCII: {listed(odd)}"
    return [Finding("unusual-names", "note", text, "They are read as they are; other programs may not", tuple(odd))]


def _duplicates(seen: Sequence[ViewEvidence]) -> list[Finding]:
    thumbnails = np.stack([view.pixels.thumbnail.ravel() for view in seen if view.pixels is not None])
    telling = thumbnails.std(axis=1) > FLAT
    pairs = []
    for index in range(1, len(seen)):
        differences = _root_mean_square(thumbnails[:index] - thumbnails[index])
        for other in np.flatnonzero((differences < SAME_PICTURE) & telling[:index] & telling[index]):
            pairs.append((seen[int(other)].view.name, seen[index].view.name))
    if not pairs:
        return []
    named = listed((f"{first} and {second}" for first, second in pairs), 4)
    views = tuple(dict.fromkeys(second for _, second in pairs))
    hardly = count_of(len(views), "photograph hardly differs", "photographs hardly differ")
    return [
        Finding(
            "duplicate-photographs",
            "warning",
            f"{hardly} from another one, compared as grey thumbnails of {THUMBNAIL}x{THUMBNAIL} pixels: {named}",
            "Look at them: if one is a copy, leave it out with --views, or put the photograph of its camera there",
            views,
        )
    ]


def _root_mean_square(rows: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    return np.sqrt((rows**2).mean(axis=1))


def _without_colour(seen: Sequence[ViewEvidence]) -> list[Finding]:
    grey = [view.view.name for view in seen if view.pixels is not None and view.pixels.colour < 1.5 / 255]
    if not grey:
        return []
    if len(grey) == len(seen):
        return [Finding("grey-photographs", "note", "All photographs are grey", "The texture will be grey as well")]
    return [
        Finding(
            "grey-photographs",
            "warning",
            f"{len(grey)} of {len(seen)} photographs are grey and the others are not: {listed(grey)}",
            "Replace them by the photographs in colour, or leave them out with --views",
            tuple(grey),
        )
    ]


def _overexposed(seen: Sequence[ViewEvidence]) -> list[Finding]:
    share = {view.view.name: view.pixels.white or 0.0 for view in seen if view.pixels is not None}
    white = sorted((name for name in share if share[name] > MOST_WHITE), key=lambda name: -share[name])
    if not white:
        return []
    named = listed(f"{name} ({share[name]:.0%})" for name in white)
    return [
        Finding(
            "overexposed",
            "warning",
            f"{count_of(len(white), 'photograph')} in which more than {MOST_WHITE:.0%} of the object is white: {named}",
            "Photograph with less exposure: where everything is white there is nothing to match",
            tuple(white),
        )
    ]
