"""Distances between a mesh and the surface it should be.

Points are drawn uniformly by area on both surfaces and measured to the other surface itself, not to points on it, so
that the number of samples adds no bias. *Accuracy* is the mean distance from the mesh to the reference,
*completeness* the mean from the reference to the mesh, *Chamfer* the mean of the two. Distances are in the units of
the vertices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

F_SCORE_SHARE = 0.005
"""Threshold of the F-score when none is named, as a share of the diagonal of the reference's bounding box."""


@dataclass(frozen=True)
class SurfaceDistance:
    """How far two surfaces are apart; lengths in the units of the vertices."""

    accuracy: float
    completeness: float
    diagonal: float
    """Of the reference's bounding box."""
    threshold: float
    """Of precision and recall."""
    precision: float
    """Share of the mesh within the threshold of the reference."""
    recall: float
    """Share of the reference within the threshold of the mesh."""

    @property
    def chamfer(self) -> float:
        """Mean of accuracy and completeness."""
        return 0.5 * (self.accuracy + self.completeness)

    @property
    def chamfer_percent(self) -> float:
        """Chamfer distance in per cent of the reference's diagonal."""
        return 100 * self.chamfer / self.diagonal

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall; 0 when both are."""
        return f_score(self.precision, self.recall)


def surface_distance(
    mesh: Mesh,
    reference: Mesh,
    samples: int,
    generator: np.random.Generator,
    threshold: float | None = None,
) -> SurfaceDistance:
    """Accuracy, completeness, Chamfer and F-score of a mesh against a reference mesh, from `samples` points on each."""
    caster, reference_caster = RayCaster(mesh), RayCaster(reference)
    diagonal = float(np.linalg.norm(np.ptp(reference.vertices[np.unique(reference.faces)], axis=0)))
    limit = F_SCORE_SHARE * diagonal if threshold is None else threshold
    to_reference = reference_caster.distance(sample_surface(mesh, samples, generator)[0])
    to_mesh = caster.distance(sample_surface(reference, samples, generator)[0])
    return SurfaceDistance(
        accuracy=float(to_reference.mean()),
        completeness=float(to_mesh.mean()),
        diagonal=diagonal,
        threshold=limit,
        precision=float((to_reference <= limit).mean()),
        recall=float((to_mesh <= limit).mean()),
    )


def f_score(precision: float, recall: float) -> float:
    """Harmonic mean of precision and recall; 0 when both are."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def sample_surface(
    mesh: Mesh, samples: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "p 3"], Int[np.ndarray, "p"]]:
    """Points drawn uniformly by area, and the face of each."""
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        raise ExportError("the mesh has no area, so no distance can be measured to it: it has no faces or is flat.")
    # Strata along the cumulated area: the same law as independent draws, with less noise.
    positions = (np.arange(samples) + generator.uniform(size=samples)) / samples * areas.sum()
    faces = np.minimum(np.searchsorted(np.cumsum(areas), positions, side="right"), len(areas) - 1)
    root, second = np.sqrt(generator.uniform(size=samples)), generator.uniform(size=samples)
    weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    return np.einsum("pc,pci->pi", weights, corners[faces]), faces.astype(np.int64)


def distance_to_shape(
    points: Float[np.ndarray, "p 3"],
    value: Callable[[Float[np.ndarray, "p 3"]], Float[np.ndarray, "p"]],
    unit_from_world: Float[np.ndarray, "4 4"],
) -> Float[np.ndarray, "p"]:
    """Signed distance (world units, negative inside) of world points to a shape given as a distance in unit space.

    Exact where `value` is; near the creases of a blended shape it is a bound from below.
    """
    linear = unit_from_world[:3, :3]
    return value(points @ linear.T + unit_from_world[:3, 3]) / np.cbrt(np.linalg.det(linear))
