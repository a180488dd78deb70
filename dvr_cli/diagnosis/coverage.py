"""Findings about where the cameras stand: how many, how far apart, and what side nobody has photographed.

Directions are seen from the centre of the region of interest. A place on the viewing sphere is covered when a camera
stands within 30 degrees of it, which is about as far as matching reaches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.diagnosis.findings import Finding
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.rig import up_direction
from dvr_cli.scenes.views import Scene, View

COVERED_DEGREES = 30.0
SPHERE_SAMPLES = 2000
FEW_VIEWS = 8
FEWEST_WITHOUT_MASKS = 3
"""A depth that photographs tell counts when two others confirm it."""
MANY_VIEWS = 300
WIDE_GAP_DEGREES = 80.0
"""Radius of the largest cap without a camera from which on it is worth a word; a level ring leaves 70 above."""
SPARSE_DEGREES = 35.0
"""Median angle to the nearest camera: beyond it photographs hardly show the same points."""


@dataclass(frozen=True)
class Coverage:
    """Where the cameras stand around the object."""

    share: float
    """Of the viewing sphere within COVERED_DEGREES of a camera, 0 to 1."""
    gap_degrees: float
    """Angle from the middle of the largest gap to the nearest camera, 0 to 180."""
    gap_where: str
    """In words: above, below, or a side named by the nearest views."""
    spacing_degrees: float
    """Median angle from a camera to the nearest other one; 180 for a single view."""
    gap_direction: Float[np.ndarray, "3"]
    """Unit vector from the object to the middle of the gap, world axes."""


def coverage_of(scene: Scene) -> Coverage | None:
    """How the cameras are spread about the region of interest; None when one stands in its centre."""
    offsets = np.stack([view.camera.centre for view in scene.views]) - scene.world_from_unit[:3, 3]
    lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or lengths.min() <= 0:
        return None
    directions = offsets / lengths
    samples = _fibonacci_sphere(SPHERE_SAMPLES)
    nearest = np.arccos(np.clip((samples @ directions.T).max(axis=1), -1, 1))
    gap = int(nearest.argmax())
    between = np.clip(directions @ directions.T, -1, 1)
    np.fill_diagonal(between, -1)
    spacing = np.arccos(between.max(axis=1)) if len(directions) > 1 else np.array([np.pi])
    return Coverage(
        float((nearest < np.deg2rad(COVERED_DEGREES)).mean()),
        float(np.rad2deg(nearest[gap])),
        _where(samples[gap], directions, scene.views),
        float(np.rad2deg(np.median(spacing))),
        samples[gap],
    )


def coverage_findings(scene: Scene, coverage: Coverage | None, masked: bool = True) -> list[Finding]:
    """Too few views, too many, too far apart, or a side without any; `masked`: whether any view has a mask."""
    count = len(scene.views)
    if count == 1:
        return [
            Finding(
                "one-view",
                "fatal",
                "There is one view only, and one photograph says nothing about depth",
                "Give two views at least, and about twenty all around for a whole object (--views chooses more)",
                (scene.views[0].name,),
            )
        ]
    findings = []
    if count < FEWEST_WITHOUT_MASKS and not masked and scene.sparse_depth is None and scene.depth_map_paths is None:
        text = (
            f"There are {count} views without masks, and no depth: what is in them is found by comparing them, and a "
            "depth counts where two other views confirm it"
        )
        advice = f"Give {FEWEST_WITHOUT_MASKS} views at least, better twenty all around (--views chooses), or masks"
        findings.append(Finding("few-views", "fatal", text, advice))
    elif count < FEW_VIEWS:
        text = f"There are {count} views only: what few of them see will be guessed"
        findings.append(Finding("few-views", "warning", text, "Take more photographs, about twenty all around"))
    if count > MANY_VIEWS:
        findings.append(Finding("many-views", "note", *_many(scene)))
    if coverage is None:
        return findings
    if coverage.spacing_degrees > SPARSE_DEGREES and count >= 3:
        text = f"From a camera to the next are {coverage.spacing_degrees:.0f} degrees, seen from the object (median)"
        advice = "Take photographs in between, 10 to 20 degrees apart, so that neighbours show the same points"
        findings.append(Finding("sparse-views", "note", text, advice))
    if coverage.gap_degrees > WIDE_GAP_DEGREES:
        text = (
            f"No camera stands within {coverage.gap_degrees:.0f} degrees of a direction {coverage.gap_where}; "
            f"{coverage.share:.0%} of the viewing sphere is covered"
        )
        advice = "What only that side would show will be guessed; photograph it if it matters"
        findings.append(Finding("coverage-gap", "note", text, advice))
    return findings


def _many(scene: Scene) -> tuple[str, str]:
    """Text and advice for a scene that needs much memory."""
    camera = scene.views[0].camera
    longest = max(camera.height, camera.width)
    factor = min(1.0, 800 / longest)
    # Photographs are kept as three floats a pixel, and masks as a byte.
    gigabytes = len(scene.views) * camera.height * camera.width * factor**2 * 13 / 1e9
    text = (
        f"There are {len(scene.views)} views: at 800 pixels their photographs alone take {gigabytes:.1f} GB of memory"
    )
    return text, "Use some of them with --views, or a smaller --image-size, where memory is short"


def _where(direction: Float[np.ndarray, "3"], directions: Float[np.ndarray, "v 3"], views: Sequence[View]) -> str:
    up = up_direction([view.camera for view in views])
    nearest = np.argsort(-(directions @ direction), kind="stable")[:2]
    beside = f"(nearest: {listed(views[int(index)].name for index in nearest)})"
    if up is None:
        return f"opposite to most of them {beside}" if directions.mean(axis=0) @ direction < 0 else beside
    height = float(np.rad2deg(np.arcsin(np.clip(direction @ up, -1, 1))))
    if abs(height) > 50:
        return f"{'above' if height > 0 else 'below'} the object {beside}"
    return f"at the side, {abs(height):.0f} degrees {'up' if height > 0 else 'down'} {beside}"


def _fibonacci_sphere(count: int) -> Float[np.ndarray, "s 3"]:
    """Evenly spread unit vectors."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = index * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
