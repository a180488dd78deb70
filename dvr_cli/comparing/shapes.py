"""What a mesh and a cloud have in common when they are compared: points, and distances to them.

A `Mesh` is a surface: points are sampled on it, and distances are to its triangles. A `PointCloud` is taken as it is:
its points are the samples, and distances are to the nearest of them, which adds about half the spacing of the points
to every small distance.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.metrics import sample_surface
from dvr_cli.comparing.points import search_tree
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

Shape = Mesh | PointCloud


@dataclass(frozen=True)
class Samples:
    """Points of a shape, with the normals where it has any."""

    points: Float[np.ndarray, "p 3"]
    normals: Float[np.ndarray, "p 3"] | None
    """Unit length, outwards; zero on triangles without area."""


class Target:
    """A shape that distances are measured to; a search structure is built once."""

    def __init__(self, shape: Shape, workers: int = -1) -> None:
        """Raises CompareError for a shape that holds nothing."""
        self.shape = check_shape(shape)
        self.workers = workers
        if isinstance(shape, Mesh):
            self.caster: RayCaster | None = RayCaster(shape)
        else:
            self.caster = None
            self._tree = search_tree(shape.points)

    def nearest(
        self, points: Float[np.ndarray, "p 3"]
    ) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p 3"] | None]:
        """Distance of every point to the shape, and the shape's normal there where it has normals."""
        if self.caster is None:
            assert isinstance(self.shape, PointCloud)
            distance, index = self._tree.query(points, workers=self.workers)
            normals = self.shape.normals
            return distance, None if normals is None else normals[index]
        assert isinstance(self.shape, Mesh)
        distance, faces = self.caster.nearest(points)
        return distance, face_normals(self.shape, faces)


def sample_shape(shape: Shape, samples: int, generator: np.random.Generator) -> Samples:
    """`samples` points uniformly by area on a mesh; of a cloud its own points, a random choice if there are more."""
    check_shape(shape)
    if isinstance(shape, Mesh):
        points, faces = sample_surface(shape, samples, generator)
        return Samples(points, face_normals(shape, faces))
    if len(shape.points) <= samples:
        return Samples(shape.points, shape.normals)
    chosen = np.sort(generator.choice(len(shape.points), samples, replace=False))
    return Samples(shape.points[chosen], None if shape.normals is None else shape.normals[chosen])


def face_normals(mesh: Mesh, faces: np.ndarray) -> Float[np.ndarray, "p 3"]:
    """Unit normal of each of the faces named; zero for those without area."""
    corners = mesh.vertices[mesh.faces[faces]]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return crossed / np.maximum(np.linalg.norm(crossed, axis=1, keepdims=True), 1e-300)


def positions(shape: Shape) -> Float[np.ndarray, "p 3"]:
    """The points of a cloud, or the vertices that a mesh's faces use."""
    if isinstance(shape, PointCloud):
        return shape.points
    used = np.zeros(len(shape.vertices), dtype=bool)
    used[shape.faces] = True
    return shape.vertices[used]


def diagonal_of(shape: Shape) -> float:
    """Diagonal of the bounding box along the axes of the world."""
    return float(np.linalg.norm(np.ptp(positions(shape), axis=0)))


def check_shape(shape: Shape, name: str = "") -> Shape:
    """The shape itself; CompareError, which says `name`, if it is empty, has no faces or area, or is not finite."""
    where = name or ("the mesh" if isinstance(shape, Mesh) else "the cloud")
    if isinstance(shape, Mesh) and not len(shape.faces):
        raise CompareError(f"{where} is a mesh without faces: expected triangles, or a cloud of points.")
    found = positions(shape)
    if not len(found):
        raise CompareError(f"{where} is an empty cloud: expected at least one point.")
    bad = ~np.isfinite(found).all(axis=1)
    if bad.any():
        raise CompareError(f"{where} has {int(bad.sum())} of {len(bad)} points with NaN or infinite coordinates.")
    return shape
