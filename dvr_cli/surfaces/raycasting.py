"""A mesh in Open3D's ray casting scene: first hits of rays and nearest points, on the CPU.

Open3D computes in single precision. The mesh is moved to the origin and scaled to unit size for it, which leaves an
error of about 1e-7 of the mesh's size however far from the origin the world puts it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh


@dataclass(frozen=True)
class RayHit:
    """First hits; arrays have the leading shape of the rays."""

    t: Float[np.ndarray, "*rays"]
    """Multiple of the direction vector; inf for a miss."""
    face: Int[np.ndarray, "*rays"]
    """-1 for a miss."""
    weights: Float[np.ndarray, "*rays 3"]
    """Barycentric weights of the face's corners."""


class RayCaster:
    """A mesh that can be asked for first hits and nearest points; positions are those of the mesh's vertices."""

    def __init__(self, mesh: Mesh) -> None:
        """Raises ExportError for a mesh without faces."""
        import open3d

        if not len(mesh.faces):
            raise ExportError("the mesh has no faces, so nothing can be measured on it or drawn of it.")
        used = mesh.vertices[np.unique(mesh.faces)]
        self._centre = used.mean(axis=0)
        self._size = max(float(np.ptp(used, axis=0).max()), 1e-300)
        self._tensor = open3d.core.Tensor.from_numpy
        self._scene = open3d.t.geometry.RaycastingScene()
        faces = np.ascontiguousarray(mesh.faces, dtype=np.uint32)
        self._scene.add_triangles(self._tensor(self._local(mesh.vertices)), self._tensor(faces))

    def cast(self, origins: Float[np.ndarray, "*rays 3"], directions: Float[np.ndarray, "*rays 3"]) -> RayHit:
        """First hit of every ray; directions need not have unit length."""
        rays = np.concatenate([self._local(origins), (directions / self._size).astype(np.float32)], axis=-1)
        found = self._scene.cast_rays(self._tensor(rays))
        t = found["t_hit"].numpy().astype(np.float64)
        face = np.where(np.isfinite(t), found["primitive_ids"].numpy().astype(np.int64), -1)
        second_third = found["primitive_uvs"].numpy().astype(np.float64)
        weights = np.concatenate([1 - second_third.sum(axis=-1, keepdims=True), second_third], axis=-1)
        return RayHit(t, face, weights)

    def all_hits(
        self, origins: Float[np.ndarray, "r 3"], directions: Float[np.ndarray, "r 3"]
    ) -> tuple[Int[np.ndarray, "h"], Int[np.ndarray, "h"], Float[np.ndarray, "h"]]:
        """Every hit of every ray, in no order: the ray, the face, and the multiple of the direction vector (>= 0)."""
        rays = np.concatenate([self._local(origins), (directions / self._size).astype(np.float32)], axis=-1)
        found = self._scene.list_intersections(self._tensor(rays))
        return (
            found["ray_ids"].numpy().astype(np.int64),
            found["primitive_ids"].numpy().astype(np.int64),
            found["t_hit"].numpy().astype(np.float64),
        )

    def distance(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        """Unsigned distance of every point to the nearest point of the mesh's faces."""
        return self.nearest(points)[0]

    def nearest(self, points: Float[np.ndarray, "p 3"]) -> tuple[Float[np.ndarray, "p"], Int[np.ndarray, "p"]]:
        """Unsigned distance of every point to the mesh, and the face that is nearest."""
        found = self._scene.compute_closest_points(self._tensor(self._local(points)))
        offset = found["points"].numpy().astype(np.float64) - (points - self._centre) / self._size
        return np.linalg.norm(offset, axis=1) * self._size, found["primitive_ids"].numpy().astype(np.int64)

    def _local(self, positions: Float[np.ndarray, "*p 3"]) -> Float[np.ndarray, "*p 3"]:
        return np.ascontiguousarray((positions - self._centre) / self._size, dtype=np.float32)
