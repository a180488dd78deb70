"""The protocol `dtu`: that of the DTU MVS data set (Jensen et al., Large Scale Multi-view Stereopsis Evaluation, 2014).

Everything is in mm. The shape becomes points Q (vertices and a lattice on each triangle, see `points.lattice_points`;
a cloud's own points), thinned in random order to 0.2 mm. Accuracy is over the points of Q in the observed volume, each
measured to the nearest of ALL reference points; completeness is over the reference points above the plane, each
measured to the nearest of ALL points of Q. Distances of 20 mm and more are dropped, not clamped, from both (strict, so
a stray part far away costs nothing: how many were dropped is a part of the result). Overall is the mean of the two.
docs/evaluating.md says where this differs from the MATLAB code and why.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.dtu_files import ObservedVolume
from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.comparing.metrics import sample_surface
from dvr_cli.comparing.points import (
    check_count,
    faces_near_box,
    lattice_points,
    search_tree,
    surface_area,
    thin,
    within_box,
)
from dvr_cli.comparing.shapes import Shape, check_shape, positions
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh

Sampling = Literal["lattice", "uniform"]

THIN = 0.2
"""mm."""
MAX_DISTANCE = 20.0
"""mm."""
SEARCH_CAP = 60.0
"""mm: points farther than this from the observed volume's box are left out first (MaxDist of MATLAB's MaxDistCP)."""
UNIFORM_PER_CELL = 2.0
"""Points per thin^2 of area in uniform sampling: six on average within `thin` of any place, so few holes stay."""


@dataclass(frozen=True)
class _Side:
    """Distances of one direction, split by the 20 mm rule."""

    kept: Float[np.ndarray, "p"]
    dropped: int

    @property
    def mean(self) -> float | None:
        return float(self.kept.mean()) if len(self.kept) else None

    @property
    def median(self) -> float | None:
        return float(np.median(self.kept)) if len(self.kept) else None


def dtu(
    shape: Shape,
    reference: Shape,
    observed: ObservedVolume | None,
    plane: Float[np.ndarray, "4"] | None,
    *,
    thin_to: float = THIN,
    max_distance: float = MAX_DISTANCE,
    sampling: Sampling = "lattice",
    samples: int | None = None,
    seed: int = 0,
    workers: int = -1,
) -> Evaluation:
    """Accuracy, completeness and overall as mean and median in mm, and what the distance rule dropped.

    Without `observed` or `plane` all points count, and a note says so. `samples`: number of points of uniform sampling
    (None: two per thin_to^2 of area). A mesh as reference is sampled and thinned like the shape; a cloud is taken as
    it is. CompareError when nothing lies in the observed volume or above the plane. Measures: `accuracy_mean`,
    `completeness_mean`, `overall_mean`, the same with `_median`, `accuracy_dropped`, `completeness_dropped`.
    """
    generator = np.random.default_rng(seed)
    check_shape(shape)
    check_shape(reference)
    box = None if observed is None else (observed.lower - SEARCH_CAP, observed.upper + SEARCH_CAP)
    sampled = _points_of(shape, thin_to, sampling, samples, box, generator)
    points = sampled[thin(sampled, thin_to, generator, workers)]
    truth = reference.points if isinstance(reference, PointCloud) else None
    if truth is None:
        truth = _points_of(reference, thin_to, sampling, samples, None, generator)
        truth = truth[thin(truth, thin_to, generator, workers)]
    judged = points if observed is None else points[observed.contains(points)]
    wanted = truth if plane is None else truth[truth @ plane[:3] + plane[3] > 0]
    _check_overlap(shape, observed, judged, wanted)
    accuracy = _side(judged, truth, max_distance, workers)
    completeness = _side(wanted, points, max_distance, workers)
    settings: dict[str, Any] = {
        "thin": thin_to,
        "max_distance": max_distance,
        "sampling": sampling if isinstance(shape, Mesh) else "points of the cloud",
        "sampled_points": len(sampled),
        "points": len(points),
        "judged_points": len(judged),
        "reference_points": len(truth),
        "judged_reference_points": len(wanted),
        "observation_mask": observed is not None,
        "plane": plane is not None,
        "seed": seed,
    }
    return Evaluation("dtu", settings, _measures(accuracy, completeness), _notes(accuracy, completeness, settings))


def _points_of(
    shape: Shape,
    spacing: float,
    sampling: Sampling,
    samples: int | None,
    box: tuple[np.ndarray, np.ndarray] | None,
    generator: np.random.Generator,
) -> Float[np.ndarray, "p 3"]:
    """Points of a shape; with a box, those in it, and nothing is sampled on triangles beyond it."""
    if isinstance(shape, PointCloud):
        points = np.asarray(shape.points, dtype=np.float64)
        check_count(len(points), "the cloud")
    else:
        # Vertices that no face uses are no surface.
        near = faces_near_box(shape, *(box or (np.full(3, -np.inf), np.full(3, np.inf))))
        if not len(near.faces):
            return np.zeros((0, 3))
        if sampling == "lattice":
            points = lattice_points(near, spacing)
        else:
            expected = UNIFORM_PER_CELL * surface_area(near) / spacing**2 if samples is None else samples
            check_count(expected, "uniform sampling of the mesh")
            points = sample_surface(near, max(round(expected), 1), generator)[0]
    return points if box is None else points[within_box(points, *box)]


def _check_overlap(
    shape: Shape, observed: ObservedVolume | None, judged: Float[np.ndarray, "p 3"], wanted: Float[np.ndarray, "q 3"]
) -> None:
    if not len(judged):
        assert observed is not None
        found = positions(shape)
        extent = [np.round(corner, 2).tolist() for corner in (found.min(axis=0), found.max(axis=0))]
        raise CompareError(
            f"No point of the mesh lies in the observed volume: the mesh spans {extent[0]} to {extent[1]}, the volume "
            f"{observed.lower.tolist()} to {observed.upper.tolist()} mm.\n"
            "The mesh must be in the world coordinates of the scan, in mm, and the mask must be that of the same scan."
        )
    if not len(wanted):
        raise CompareError(
            "No point of the reference lies above the plane.\nUse the plane file of the same scan as the reference."
        )


def _side(
    points: Float[np.ndarray, "p 3"], others: Float[np.ndarray, "q 3"], max_distance: float, workers: int
) -> _Side:
    """Distances to the nearest of the others, those of `max_distance` and more dropped."""
    if not len(others):
        return _Side(np.zeros(0), len(points))
    # Neighbours beyond the bound come out as inf; looking for them would take most of the time and change nothing.
    distance = search_tree(others).query(points, distance_upper_bound=max_distance, workers=workers)[0]
    kept = distance[distance < max_distance]
    return _Side(kept, len(points) - len(kept))


def _measures(accuracy: _Side, completeness: _Side) -> tuple[Measure, ...]:
    found = []
    for statistic in ("mean", "median"):
        first, second = getattr(accuracy, statistic), getattr(completeness, statistic)
        overall = None if first is None or second is None else 0.5 * (first + second)
        for name, value in (("accuracy", first), ("completeness", second), ("overall", overall)):
            found.append(Measure(f"{name}_{statistic}", value, "mm", "lower", f"{name}, {statistic}"))
    for name, side in (("accuracy", accuracy), ("completeness", completeness)):
        found.append(Measure(f"{name}_dropped", float(side.dropped), "points", "lower", f"{name}, points dropped"))
    return tuple(found)


def _notes(accuracy: _Side, completeness: _Side, settings: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    limit = settings["max_distance"]
    for what, side in (("mesh", accuracy), ("reference", completeness)):
        total = side.dropped + len(side.kept)
        if side.dropped:
            notes.append(
                f"{side.dropped} of {total} judged points of the {what} ({side.dropped / total:.2%}) are {limit:g} mm "
                "or more away and were dropped, as the protocol has it."
            )
    missing = [name for name, key in (("mask", "observation_mask"), ("plane", "plane")) if not settings[key]]
    if missing:
        notes.append(
            f"No observation {' and no '.join(missing)} was given, so more points count than in DTU's own evaluation: "
            "the numbers cannot stand beside published ones."
        )
    return tuple(notes)
