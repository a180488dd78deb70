"""The similarity that lays one cloud on another: coarse by extent and axes, fine by ICP with scale (Open3D).

Coarse: the clouds as they are, and all 24 ways to lay the principal axes of one along those of the other with the same
root mean square size; a few steps of ICP from each, and the one with the least truncated distance both ways goes on.
Fine: point-to-point ICP with ever smaller reach. What the surfaces do not determine (a turn of a bottle about its axis)
the result does not either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.points import search_tree
from dvr_cli.errors import CompareError

COARSE_POINTS = 2_000
FINE_POINTS = 100_000
COARSE_REACH = 0.1
"""Of the reference's diagonal, for the first ICP and for the truncation."""
COARSE_STEPS = 15
FINE_REACHES = (0.05, 0.02, 0.01)
"""Of the reference's diagonal; then those that the protocol names."""
FINE_STEPS = 30
_LARGEST_CHANGE = 2.0
"""Of the scale during ICP, which would gladly shrink a cloud to a point that fits everywhere."""


@dataclass(frozen=True)
class Alignment:
    """How one cloud was laid on another."""

    reference_from_shape: Float[np.ndarray, "4 4"]
    """Similarity."""
    fitness: float
    """Share of the points within the last reach of the reference."""
    rmse: float
    """Root mean square of their distances."""
    reach: float

    @property
    def scale(self) -> float:
        """Factor of lengths."""
        return float(np.cbrt(np.linalg.det(self.reference_from_shape[:3, :3])))

    @property
    def degrees(self) -> float:
        """Angle of the rotation."""
        rotation = self.reference_from_shape[:3, :3] / self.scale
        return float(np.degrees(np.arccos(np.clip(0.5 * (np.trace(rotation) - 1), -1, 1))))


def align(
    points: Float[np.ndarray, "p 3"],
    reference: Float[np.ndarray, "q 3"],
    reaches: Sequence[float],
    generator: np.random.Generator,
) -> Alignment:
    """The similarity that takes `points` onto `reference`; `reaches` (world units, falling) are the last ones of ICP.

    CompareError when no similarity lays one on the other.
    """
    diagonal = float(np.linalg.norm(np.ptp(reference, axis=0)))
    if len(points) < 4 or len(reference) < 4 or not diagonal > 0 or not np.ptp(points, axis=0).max() > 0:
        raise CompareError("Nothing can be aligned: expected shapes with an extent and at least four points.")
    few, few_reference = _choice(points, COARSE_POINTS, generator), _choice(reference, COARSE_POINTS, generator)
    reach = COARSE_REACH * diagonal
    tried = [_icp(few, few_reference, start, reach, COARSE_STEPS) for start in _candidates(few, few_reference)]
    costs = [_cost(few, few_reference, found.reference_from_shape, reach) for found in tried]
    best = tried[int(np.argmin(costs))]
    many, many_reference = _choice(points, FINE_POINTS, generator), _choice(reference, FINE_POINTS, generator)
    planned = [share * diagonal for share in FINE_REACHES]
    smallest = min(reaches, default=np.inf)
    for length in [*[length for length in planned if length > smallest], *reaches]:
        found = _icp(many, many_reference, best.reference_from_shape, length, FINE_STEPS)
        if not found.fitness > 0 or not 1 / _LARGEST_CHANGE < found.scale / best.scale < _LARGEST_CHANGE:
            raise CompareError(
                f"No similarity lays the mesh on the reference: within {length:.4g} of it lie {found.fitness:.0%} of "
                f"the points, at a scale of {found.scale:.4g}.\n"
                "Align them by other means, e.g. by their cameras, and leave out --align."
            )
        best = found
    return best


def _choice(points: Float[np.ndarray, "p 3"], count: int, generator: np.random.Generator) -> Float[np.ndarray, "k 3"]:
    if len(points) <= count:
        return points
    return points[generator.choice(len(points), count, replace=False)]


def _candidates(points: Float[np.ndarray, "p 3"], reference: Float[np.ndarray, "q 3"]) -> list[np.ndarray]:
    """Similarities to start from: none at all, and one for every way to match the principal axes."""
    centre, centre_reference = points.mean(axis=0), reference.mean(axis=0)
    scale = np.sqrt(reference.var(axis=0).sum() / points.var(axis=0).sum())
    axes = np.linalg.svd(points - centre, full_matrices=False)[2]
    axes_reference = np.linalg.svd(reference - centre_reference, full_matrices=False)[2]
    starts = [np.eye(4)]
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        rotation = (axes_reference[list(order)] * np.array(signs)[:, None]).T @ axes
        if np.linalg.det(rotation) > 0:
            start = np.eye(4)
            start[:3, :3] = scale * rotation
            start[:3, 3] = centre_reference - scale * rotation @ centre
            starts.append(start)
    return starts


def _icp(
    points: Float[np.ndarray, "p 3"],
    reference: Float[np.ndarray, "q 3"],
    start: Float[np.ndarray, "4 4"],
    reach: float,
    steps: int,
) -> Alignment:
    from open3d import geometry, pipelines, utility

    registration = pipelines.registration
    clouds = [geometry.PointCloud(utility.Vector3dVector(np.ascontiguousarray(each))) for each in (points, reference)]
    found = registration.registration_icp(
        clouds[0],
        clouds[1],
        reach,
        start,
        registration.TransformationEstimationPointToPoint(True),
        registration.ICPConvergenceCriteria(max_iteration=steps),
    )
    matrix = np.array(found.transformation, dtype=np.float64)
    if not np.isfinite(matrix).all() or not np.linalg.det(matrix[:3, :3]) > 0:
        return Alignment(start, 0.0, np.inf, reach)
    return Alignment(matrix, float(found.fitness), float(found.inlier_rmse), reach)


def _cost(
    points: Float[np.ndarray, "p 3"],
    reference: Float[np.ndarray, "q 3"],
    matrix: Float[np.ndarray, "4 4"],
    reach: float,
) -> float:
    """Mean distance both ways, cut off at the reach: a cloud that has shrunk leaves the reference uncovered."""
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    forth = search_tree(reference).query(moved)[0]
    back = search_tree(moved).query(reference)[0]
    return float(np.minimum(forth, reach).mean() + np.minimum(back, reach).mean())
