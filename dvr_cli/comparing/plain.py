"""The protocol `plain`: distances between two shapes in both directions, for any object in any units.

Points are drawn uniformly by area on a mesh (a cloud brings its own) and measured to the other shape: to its triangles,
or to the nearest point of a cloud. *Accuracy* is the mean distance from the shape to the reference, *completeness* the
mean from the reference to the shape, *Chamfer* the mean of the two. *Precision* and *recall* at a threshold are the
shares of those distances below it, *F* their harmonic mean. *Normal consistency* is the mean |cos| of the angle between
a point's normal and that of the nearest place on the other shape, over both directions. *Hausdorff* at q per cent is
the larger of the two directions' q-th percentiles; at 100 it is the usual distance of Hausdorff, over the samples.

With cameras, only points that at least two of them see count, each mesh hiding its own points: what nobody photographed
can be neither right nor wrong. A cloud hides nothing, so of a cloud every point in two pictures counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.comparing.metrics import f_score
from dvr_cli.comparing.shapes import Samples, Shape, Target, diagonal_of, sample_shape
from dvr_cli.comparing.visibility import in_picture, views_that_see
from dvr_cli.errors import CompareError
from dvr_cli.scenes.views import Camera

SAMPLES = 200_000
"""Points per shape when nothing is said."""
THRESHOLDS = (0.25, 0.5, 1.0)
"""Of F, in per cent of the reference's diagonal."""
HAUSDORFF_PERCENTILES = (90, 95, 99, 100)
LEAST_CAMERAS = 2
SLACK_SHARE = 1e-4
"""A point is hidden by what stands farther from it than this share of the reference's diagonal."""


@dataclass(frozen=True)
class _Direction:
    """What was measured from one shape to the other."""

    distances: Float[np.ndarray, "p"]
    cosines: Float[np.ndarray, "q"] | None
    """|cos| between normals where both exist; None when one shape has none."""
    drawn: int
    """Points before the cameras had their say."""


def plain(
    shape: Shape,
    reference: Shape,
    *,
    samples: int = SAMPLES,
    thresholds: Sequence[float] = THRESHOLDS,
    cameras: Sequence[Camera] | None = None,
    seed: int = 0,
    workers: int = -1,
) -> Evaluation:
    """Accuracy, completeness, Chamfer, F, normal consistency and Hausdorff percentiles of a shape (see the module).

    `thresholds` are in per cent of the diagonal of the reference's bounding box. With `cameras`, only what at least
    two of them see counts. `workers` are the threads of the search in clouds (-1: all). Raises CompareError for a shape
    that is empty or, with cameras, is seen by none. Measures: `accuracy`, `completeness`, `chamfer` (world units),
    the same with `_percent` (of the diagonal), `precision_at_X_percent`, `recall_...`, `f_...` for every threshold X,
    `normal_consistency`, `hausdorff_90`, `_95`, `_99`, `_max`.
    """
    generator = np.random.default_rng(seed)
    target, reference_target = Target(shape, workers), Target(reference, workers)
    diagonal = diagonal_of(reference)
    if not diagonal > 0:
        raise CompareError("the reference is a single point: expected a shape with an extent.")
    forth = _measure("the mesh", target, reference_target, samples, cameras, SLACK_SHARE * diagonal, generator)
    back = _measure("the reference", reference_target, target, samples, cameras, SLACK_SHARE * diagonal, generator)
    settings: dict[str, Any] = {
        "samples": samples,
        "points": len(forth.distances),
        "reference_points": len(back.distances),
        "diagonal": diagonal,
        "thresholds_percent": [float(threshold) for threshold in thresholds],
        "visible_to": None if cameras is None else LEAST_CAMERAS,
        "cameras": None if cameras is None else len(cameras),
        "seed": seed,
    }
    measures = (
        *_distances(forth, back, diagonal),
        *(measure for threshold in thresholds for measure in _f_score(forth, back, threshold, diagonal)),
        _normal_consistency(forth, back),
        *_hausdorff(forth, back),
    )
    return Evaluation("plain", settings, measures, _notes(target, reference_target, forth, back, cameras))


def _measure(
    name: str,
    source: Target,
    other: Target,
    samples: int,
    cameras: Sequence[Camera] | None,
    slack: float,
    generator: np.random.Generator,
) -> _Direction:
    """Distances from points of `source` to `other`."""
    drawn = sample_shape(source.shape, samples, generator)
    points, normals = drawn.points, drawn.normals
    if cameras is not None:
        seen = _seen(source, drawn, cameras, slack)
        if not seen.any():
            raise CompareError(
                f"No part of {name} is seen by {LEAST_CAMERAS} of the {len(cameras)} cameras.\n"
                "It lies elsewhere than the scene, or is inside out: check that it is in the scene's world coordinates."
            )
        points, normals = points[seen], None if normals is None else normals[seen]
    distances, other_normals = other.nearest(points)
    cosines = None
    if normals is not None and other_normals is not None:
        # Triangles without area have no normal, so they say nothing.
        known = (np.abs(normals).max(axis=1) > 0) & (np.abs(other_normals).max(axis=1) > 0)
        cosines = np.abs(np.einsum("pi,pi->p", normals[known], other_normals[known]))
    return _Direction(distances, cosines, len(drawn.points))


def _seen(source: Target, drawn: Samples, cameras: Sequence[Camera], slack: float) -> np.ndarray:
    """Which points enough cameras see."""
    if source.caster is not None:
        return views_that_see(source.caster, drawn.points, drawn.normals, cameras, slack) >= LEAST_CAMERAS
    counts = np.zeros(len(drawn.points), dtype=np.int64)
    for camera in cameras:
        seen = in_picture(camera, drawn.points)
        if drawn.normals is not None:
            seen &= np.einsum("pi,pi->p", camera.centre - drawn.points, drawn.normals) > 0
        counts += seen
    return counts >= LEAST_CAMERAS


def _distances(forth: _Direction, back: _Direction, diagonal: float) -> list[Measure]:
    accuracy, completeness = float(forth.distances.mean()), float(back.distances.mean())
    values = {"accuracy": accuracy, "completeness": completeness, "chamfer": 0.5 * (accuracy + completeness)}
    return [Measure(name, value, "world units", "lower") for name, value in values.items()] + [
        Measure(f"{name}_percent", 100 * value / diagonal, "% of diagonal", "lower", name)
        for name, value in values.items()
    ]


def _f_score(forth: _Direction, back: _Direction, threshold: float, diagonal: float) -> list[Measure]:
    limit = threshold / 100 * diagonal
    precision, recall = float((forth.distances < limit).mean()), float((back.distances < limit).mean())
    values = {"precision": precision, "recall": recall, "f": f_score(precision, recall)}
    return [
        Measure(f"{name}_at_{threshold:g}_percent", value, "", "higher", f"{_label(name)} at {threshold:g} %")
        for name, value in values.items()
    ]


def _label(name: str) -> str:
    return "F" if name == "f" else name


def _normal_consistency(forth: _Direction, back: _Direction) -> Measure:
    value = None
    if forth.cosines is not None and back.cosines is not None and len(forth.cosines) and len(back.cosines):
        value = 0.5 * float(forth.cosines.mean() + back.cosines.mean())
    return Measure("normal_consistency", value, "", "higher")


def _hausdorff(forth: _Direction, back: _Direction) -> list[Measure]:
    found = []
    for percentile in HAUSDORFF_PERCENTILES:
        value = max(float(np.percentile(part.distances, percentile)) for part in (forth, back))
        largest = percentile == 100
        label = "Hausdorff" if largest else f"Hausdorff, {percentile} %"
        found.append(Measure(f"hausdorff_{'max' if largest else percentile}", value, "world units", "lower", label))
    return found


def _notes(
    target: Target, reference: Target, forth: _Direction, back: _Direction, cameras: Sequence[Camera] | None
) -> tuple[str, ...]:
    notes = []
    if cameras is not None:
        mine, theirs = len(forth.distances) / forth.drawn, len(back.distances) / back.drawn
        notes.append(
            f"Only what at least {LEAST_CAMERAS} of {len(cameras)} cameras see counts: {mine:.1%} of the mesh, "
            f"{theirs:.1%} of the reference."
        )
        if target.caster is None or reference.caster is None:
            notes.append("A cloud hides nothing: of a cloud every point within two pictures counts.")
    if forth.cosines is None or back.cosines is None:
        notes.append("There is no normal consistency, because a cloud has no normals.")
    return tuple(notes)
