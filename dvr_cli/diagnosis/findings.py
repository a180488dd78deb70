"""The words of a diagnosis: what was found, how bad it is, and what to do.

A finding has a name that does not change, so that scripts and docs/troubleshooting.md can refer to it. "fatal" means
that a reconstruction would fail or show nothing of the object; "warning" that it will suffer; "note" that nothing needs
to be done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Severity = Literal["note", "warning", "fatal"]

SEVERITIES: tuple[Severity, ...] = ("fatal", "warning", "note")
"""From worst to best."""

TITLES: Mapping[str, str] = {
    # Photographs
    "unreadable-photograph": "a photograph cannot be decoded",
    "missing-photographs": "photographs are listed but not there",
    "blurred": "photographs are less sharp than their neighbours",
    "exposure": "photographs are brighter or darker than their neighbours",
    "overexposed": "much of the object is white",
    "duplicate-photographs": "photographs that hardly differ",
    "grey-photographs": "photographs without colour",
    "sixteen-bit": "more than 8 bits a channel",
    "cmyk": "photographs in the colours of a printer",
    "alpha-unused": "transparency that is not used as a mask",
    "exif-orientation": "photographs that ask to be turned",
    "unusual-names": "names with spaces or letters beyond ASCII",
    # Cameras
    "one-view": "a single view",
    "few-views": "few views",
    "many-views": "many views",
    "axis-convention": "cameras with other axes than they should have",
    "swapped-poses": "two views with each other's camera",
    "pose-outlier": "a camera apart from the others, or one that looks elsewhere",
    "same-pose": "several photographs with one and the same camera",
    "intrinsics-size": "intrinsics of another image size",
    "focal-length": "implausible or differing focal lengths",
    "epipolar-error": "matches that contradict the cameras",
    "few-matches": "hardly any matches between neighbours",
    # Coverage, scale and points
    "coverage-gap": "a wide gap between the cameras",
    "sparse-views": "neighbouring cameras far apart",
    "bounds-guessed": "nothing says where the object is",
    "object-outside": "the region of interest lies outside the images",
    "scale-mismatch": "cameras and region of interest in different units",
    "points-scale": "points and cameras in different units",
    "points-outside": "few points lie in the region of interest",
    "points-unseen": "points that the views named for them cannot see",
    "reprojection-error": "points that reproject badly",
    "missing-depth": "depth maps or points are named but not there",
    # Masks
    "no-masks": "no masks",
    "masks-missing": "some views without a mask",
    "unreadable-mask": "a mask cannot be decoded",
    "mask-empty": "masks without any object",
    "mask-full": "masks that are object all over",
    "mask-inverted": "masks with object and background exchanged",
    "mask-shifted": "masks beside the object",
    "mask-disagrees": "masks that contradict the others",
    "hull-empty": "no point lies inside all masks",
    # Reading
    "unreadable-depth": "a depth map cannot be read",
    "reader-note": "what the reader says",
}
"""Every finding by name, with a title; docs/troubleshooting.md has a row for each."""


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know."""

    name: str
    """A key of TITLES."""
    severity: Severity
    text: str
    """What is so, in one sentence, without the full stop."""
    advice: str = ""
    """What to do, in one sentence; empty where nothing is to be done."""
    views: tuple[str, ...] = ()
    """Names of the views that it is about, the worst first; empty when it is about all of them."""

    def __post_init__(self) -> None:
        if self.name not in TITLES:
            raise ValueError(f"{self.name!r} is no finding: add it to TITLES and docs/troubleshooting.md")

    def line(self) -> str:
        """Everything in one line."""
        return f"{self.text}." + (f" {self.advice}." if self.advice else "")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "severity": self.severity,
            "text": self.text,
            "advice": self.advice,
            "views": list(self.views),
        }


@dataclass(frozen=True)
class ViewFigures:
    """What was measured of one view; None where it was not, or cannot be."""

    name: str
    sharpness: float | None = None
    """Fine detail as a share of coarse detail, relative to the neighbouring views: 1 is usual, 0.5 is blurred."""
    brightness: float | None = None
    """Of the object, relative to the neighbouring views: 1 is usual."""
    mask_coverage: float | None = None
    """Share of the image that is object."""
    hull_iou: float | None = None
    """Silhouette of the hull against the mask, 0 to 1, coarse (0.97 is as good as 1)."""
    carved_alone: float | None = None
    """Share of the hull that this mask alone removes, 0 to 1."""
    trusted: bool | None = None
    """False when the mask was left out of the hull because it contradicts the others."""
    mask_shift: tuple[float, float] | None = None
    """From where the hull has it to the mask, (x, y) in pixels of the full-size image; None where that is unclear."""
    sees_object: bool | None = None
    """Some of the region of interest projects into the image."""
    point_error: float | None = None
    """Median reprojection error of the points that it sees, pixels."""
    epipolar_error: float | None = None
    """Median distance of its matches from the epipolar lines that the cameras give, pixels of the full-size image."""
    matches: int | None = None
    """Matches with its neighbours that the epipolar error is a median over."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found in a scene."""

    findings: tuple[Finding, ...]
    """The worst first."""
    views: tuple[ViewFigures, ...] = ()
    """One per view of the scene, in its order."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Of the whole scene, JSON-ready: coverage, hull volume, points."""
    hull_points: Float[np.ndarray, "p 3"] | None = None
    """Some points of the visual hull, world coordinates, for pictures."""

    @property
    def fatal(self) -> bool:
        """Whether a reconstruction would fail."""
        return any(finding.severity == "fatal" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        counts = {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}
        if counts["fatal"]:
            first = next(finding for finding in self.findings if finding.severity == "fatal")
            return f"A reconstruction would fail: {TITLES[first.name]}."
        if counts["warning"]:
            what = "one thing" if counts["warning"] == 1 else f"{counts['warning']} things"
            return f"A reconstruction would work, but {what} should be looked at first."
        return "Cameras, masks and bounds agree."

    def culprits(self) -> tuple[str, ...]:
        """Views named by warnings and fatal findings, each once."""
        named = (name for f in self.findings if f.severity != "note" for name in f.views)
        return tuple(dict.fromkeys(named))

    def refusal(self) -> str:
        """Why not to begin, with advice: the text of an error for a fatal diagnosis."""
        fatal = [finding for finding in self.findings if finding.severity == "fatal"]
        lines = [f"{finding.text}.\n{finding.advice}." for finding in fatal]
        return "\n".join(lines)

    def warning_lines(self, most: int = 5) -> list[str]:
        """One line for each warning, then for what the reader of the scene chose or passed over, the first `most` each.

        What was left out is said in one more.
        """
        warnings = [f"Warning: {finding.line()}" for finding in self.findings if finding.severity == "warning"]
        notes = [f"Note: {finding.line()}" for finding in self.findings if finding.name == "reader-note"]
        lines = warnings[:most] + notes[:most]
        return lines + (["dvr inspect says more."] if len(lines) < len(warnings) + len(notes) else [])


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def and_more(count: int) -> str:
    """What ends a list of sentences that was cut off; nothing where nothing was.

    >>> and_more(2), and_more(0)
    ('; and 2 more', '')
    """
    return f"; and {count} more" if count > 0 else ""
