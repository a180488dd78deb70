"""What to photograph better: sentences for a person, from the numbers of an outcome.

A verdict is one of `good`, `usable` and `poor`. Each sentence says what was seen and what to do.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from dvr_cli.preparing.outcome import FEWEST_OBSERVATIONS, Outcome

GOOD_SHARE, USABLE_SHARE = 0.9, 0.6
"""Of the photographs that are connected."""
GOOD_ERROR, USABLE_ERROR = 1.2, 2.0
"""Pixels of mean reprojection error."""
GOOD_TRACK, USABLE_TRACK = 3.5, 2.5
"""Photographs per point."""
FEW_PHOTOGRAPHS = 15
WHOLE_TURN = 320.0
"""Degrees around that count as all around."""
WIDE_STEP = 30.0
"""Degrees between neighbours, beyond half of what SIFT can bridge."""
LISTED = 5
FEWEST_CONNECTIONS = 15
"""Matches that make two photographs overlap, COLMAP's own limit."""


def verdict(outcome: Outcome) -> str:
    """`good`, `usable` or `poor`: the worst of what the numbers say."""
    share = len(outcome.registered) / max(outcome.photographs, 1)
    levels = [
        (share >= USABLE_SHARE) + (share >= GOOD_SHARE),
        (outcome.reprojection_error <= USABLE_ERROR) + (outcome.reprojection_error <= GOOD_ERROR),
        (outcome.track_length >= USABLE_TRACK) + (outcome.track_length >= GOOD_TRACK),
        2 if len(outcome.registered) >= FEW_PHOTOGRAPHS else 1,
    ]
    return ("poor", "usable", "good")[min(levels)]


def advice(
    outcome: Outcome,
    names: Sequence[str],
    inliers: Int[np.ndarray, "v v"],
    blurred: Sequence[str],
    is_video: bool = False,
) -> list[str]:
    """Sentences, the most important first; `inliers` are the matches between each two of `names`."""
    sentences = _unconnected(outcome, names, inliers)
    if len(outcome.groups) > 1:
        sizes = " and ".join(str(size) for size in outcome.groups[:LISTED])
        sentences.append(
            f"The photographs fall into groups of {sizes} that do not overlap; the largest is used. Take photographs "
            "on the way from one to the other."
        )
    sentences += _precision(outcome)
    weak = [photograph.name for photograph in outcome.registered if photograph.points < FEWEST_OBSERVATIONS]
    if weak:
        sentences.append(
            f"{_listed(weak)} {_share(weak, 'sees', 'see')} fewer than {FEWEST_OBSERVATIONS} points, so that the pose "
            "is weak: take more beside them, or leave them out."
        )
    if blurred:
        steady = "Move more slowly, with more light" if is_video else "Hold the camera still, or take more light"
        sentences.append(
            f"{_listed(blurred)} {_share(blurred, 'is', 'are')} more blurred than the others. {steady}; leave out what "
            "is not needed."
        )
    sentences += _sides(outcome)
    if len(outcome.registered) < FEW_PHOTOGRAPHS:
        sentences.append(
            f"{len(outcome.registered)} photographs show little: 30 to 80, all around and from two heights, are usual."
        )
    return sentences


def _unconnected(outcome: Outcome, names: Sequence[str], inliers: Int[np.ndarray, "v v"]) -> list[str]:
    """One sentence for each run of unconnected photographs that follow one another."""
    missing = set(outcome.unregistered)
    sentences: list[str] = []
    start = 0
    while start < len(names):
        if names[start] not in missing:
            start += 1
            continue
        end = start
        while end + 1 < len(names) and names[end + 1] in missing:
            end += 1
        sentences.append(_unconnected_run(names, start, end, missing, inliers))
        start = end + 1
    if len(sentences) > LISTED:
        rest = len(sentences) - LISTED
        sentences = [*sentences[:LISTED], f"{rest} more runs of photographs could not be connected (prepare.json)."]
    return sentences


def _unconnected_run(
    names: Sequence[str], start: int, end: int, missing: set[str], inliers: Int[np.ndarray, "v v"]
) -> str:
    count = end - start + 1
    who = names[start] if count == 1 else f"{count} photographs, {names[start]} to {names[end]},"
    connected = np.array([name not in missing for name in names])
    overlap = inliers[start : end + 1][:, connected]
    most = int(overlap.max()) if overlap.size else 0
    if most < FEWEST_CONNECTIONS:
        why = "nothing in them was found in any other" if count > 1 else "nothing in it was found in any other"
    else:
        best = np.flatnonzero(connected)[int(overlap.max(axis=0).argmax())]
        why = f"the best overlap is {most} features, with {names[best]}"
    around = [names[index] for index in (start - 1, end + 1) if 0 <= index < len(names)]
    where = f"between {around[0]} and {names[start]}" if start > 0 else f"between {names[end]} and {around[-1]}"
    return f"{who} could not be connected ({why}): take more with 60 % overlap {where}."


def _precision(outcome: Outcome) -> list[str]:
    sentences = []
    if outcome.reprojection_error > GOOD_ERROR:
        sentences.append(
            f"The mean reprojection error of {outcome.reprojection_error:.2f} pixels is large (below 1 is usual): "
            "something moved, the zoom or focus changed, or the lens needs another --camera."
        )
    if outcome.track_length < GOOD_TRACK:
        sentences.append(
            f"A point is seen in {outcome.track_length:.1f} photographs (4 or more is usual): take more photographs "
            "with more overlap, and light without reflections."
        )
    return sentences


def _sides(outcome: Outcome) -> list[str]:
    """About gaps; nothing where the cameras do not look at one thing."""
    coverage = outcome.coverage
    if not coverage.inwards:
        return []
    sentences = []
    if coverage.largest_step > WIDE_STEP and coverage.beside_step is not None:
        first, second = coverage.beside_step
        sentences.append(
            f"There are {coverage.largest_step:.0f} degrees between {first} and {second}: take photographs in between, "
            "every 10 to 15 degrees."
        )
    if coverage.level and coverage.around < WHOLE_TURN:
        sentences.append(
            f"It was photographed over {coverage.around:.0f} of 360 degrees; the side that no photograph shows stays "
            "open. If it has another side, walk all around it."
        )
    if coverage.level and coverage.highest - coverage.lowest < 10:
        sentences.append(
            f"All photographs were taken from one height ({coverage.lowest:.0f} to {coverage.highest:.0f} degrees "
            "above the middle): a second round from above shows the top."
        )
    return sentences


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def _share(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
