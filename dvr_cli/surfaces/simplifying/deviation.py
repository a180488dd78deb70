"""How far two surfaces are apart: the largest distance, both ways, over points spread on either.

Of the original, its vertices and the centres of its faces; of the other, also the middles of its edges, because it is
the coarser one. Distances are exact to 1e-7 of the mesh's size; between the points the surfaces may be a little farther
apart.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.surfaces.simplifying.crossings import unique_edges

MOST_POINTS = 1_000_000
"""Points of the original that are measured; of larger meshes it is every second, third, ... vertex and face."""


@dataclass(frozen=True)
class Deviation:
    """Distances between an original and another mesh, units of the vertices."""

    from_original: Float[np.ndarray, "p"]
    """Of the original's points to the other mesh."""
    to_original: Float[np.ndarray, "q"]
    """Of the other's points to the original."""
    corners: Int[np.ndarray, "q 3"]
    """The vertices of the other mesh that each of its points is the mean of (a vertex or edge repeats one)."""

    def all(self) -> Float[np.ndarray, "d"]:
        return np.concatenate([self.from_original, self.to_original])

    @property
    def largest(self) -> float:
        return float(self.all().max(initial=0.0))


class Original:
    """A mesh that others are compared with."""

    def __init__(self, mesh: Mesh, most_points: int = MOST_POINTS) -> None:
        self.caster = RayCaster(mesh)
        stride = max(1, -(-(len(mesh.vertices) + len(mesh.faces)) // most_points))
        vertices = np.arange(0, len(mesh.vertices), stride)
        faces = mesh.faces[::stride]
        self.corners = np.concatenate([np.stack([vertices] * 3, axis=1), faces])
        """The vertices that each measured point is the mean of."""
        self.points = np.concatenate([mesh.vertices[vertices], mesh.vertices[faces].mean(axis=1)])

    def deviation(self, other: Mesh) -> Deviation:
        """Distances of the original's points to the other mesh and of the other's points to the original."""
        vertices = np.unique(other.faces)
        edges = unique_edges(other.faces, len(other.vertices))
        corners = np.concatenate([np.stack([vertices] * 3, axis=1), edges[:, [0, 0, 1]], other.faces])
        own = np.concatenate(
            [other.vertices[vertices], other.vertices[edges].mean(axis=1), other.vertices[other.faces].mean(axis=1)]
        )
        return Deviation(RayCaster(other).distance(self.points), self.caster.distance(own), corners)
