"""A mesh whose vertices are merged in clusters, where every cluster can be taken apart again.

A face of the original whose corners lie in three clusters is a face of the merged mesh; the others have become an edge
or a vertex. Clusters are named by the nodes of a `MergeTree`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.simplifying.merge_tree import MergeTree

PULL_TO_MIDDLE = 1e-3
"""Weight of a cluster's middle against the planes of its faces: it decides where these leave a direction open."""
FARTHEST_SPREADS = 3.0
"""A cluster's vertex stays within this many standard deviations of its vertices from their middle."""


class MergedMesh:
    """An original mesh, the clusters of its vertices, and where each cluster lies."""

    def __init__(
        self,
        vertices: Float[np.ndarray, "v 3"],
        faces: Int[np.ndarray, "f 3"],
        collapses: Int[np.ndarray, "c 2"],
        positions: Float[np.ndarray, "w 3"],
    ) -> None:
        """All vertices belong to a face; `positions` are those of the clusters with faces, by surviving vertex.

        Positions that do not fit the clusters or are not finite are not used but solved for.
        """
        self.vertices, self.faces = vertices, faces
        self.tree = MergeTree(len(vertices), collapses)
        self.positions = np.zeros((self.tree.nodes, 3))
        self.positions[: len(vertices)] = vertices
        self.face_normals = _area_normals(vertices, faces)
        """Normals of the original's faces, as long as their area."""
        self.normals = np.zeros((self.tree.nodes, 3))
        """Sum of the normals of the original's faces at every cluster."""
        wanted, index, touching = self._around(self.tree.all_clusters())
        self.normals[wanted] = _sums(index, self.face_normals[touching], len(wanted))
        used = self.mesh()[1]
        if len(used) == len(positions) and np.isfinite(positions).all():
            self.positions[used[np.argsort(self.tree.survivor[used])]] = positions
        else:
            self._place(wanted, index, touching)

    def count(self) -> int:
        """Number of faces."""
        return int(is_face(self.corner_clusters()).sum())

    def corner_clusters(self) -> Int[np.ndarray, "f 3"]:
        """The cluster of each corner of the original's faces."""
        return self.tree.root[self.faces]

    def mesh(self) -> tuple[Mesh, Int[np.ndarray, "w"]]:
        """The merged mesh, and the cluster of each of its vertices."""
        clusters = self.corner_clusters()
        faces = clusters[is_face(clusters)]
        named = np.zeros(self.tree.nodes, dtype=bool)
        named[faces] = True
        used = np.flatnonzero(named)
        return Mesh(self.positions[used], (np.cumsum(named) - 1)[faces]), used

    def cut(self, clusters: Int[np.ndarray, "r"], times: int | None) -> Bool[np.ndarray, "n"]:
        """Halve these clusters `times` times, or take them apart (None). Marks the nodes that are new clusters."""
        marked = self.tree.dissolve(clusters) if times is None else self.tree.cut(clusters, times)
        wanted, index, touching = self._around(marked)
        self.normals[wanted] = _sums(index, self.face_normals[touching], len(wanted))
        self._place(wanted, index, touching)
        return marked

    def touching(self, marked: Bool[np.ndarray, "n"]) -> Int[np.ndarray, "t"]:
        """Faces of the original with a corner in a marked cluster."""
        return np.flatnonzero(marked[self.tree.root][self.faces].any(axis=1))

    def _around(
        self, marked: Bool[np.ndarray, "n"]
    ) -> tuple[Int[np.ndarray, "w"], Int[np.ndarray, "t 3"], Int[np.ndarray, "t"]]:
        """The marked clusters, the number among them of each corner of the faces that touch them, and those faces.

        A corner in none of them has the number of clusters.
        """
        touching = self.touching(marked)
        wanted = np.flatnonzero(marked)
        numbers = np.full(self.tree.nodes, len(wanted), dtype=np.int32)
        numbers[wanted] = np.arange(len(wanted))
        return wanted, numbers[self.tree.root[self.faces[touching]]], touching

    def _place(
        self, wanted: Int[np.ndarray, "w"], index: Int[np.ndarray, "t 3"], touching: Int[np.ndarray, "t"]
    ) -> None:
        """Find positions for those of the clusters that have several vertices."""
        several = wanted >= self.tree.vertices
        self.positions[wanted[several]] = self._solved(wanted, index, touching)[several]

    def _solved(
        self, wanted: Int[np.ndarray, "w"], index: Int[np.ndarray, "t 3"], touching: Int[np.ndarray, "t"]
    ) -> Float[np.ndarray, "w 3"]:
        """The points nearest to the planes of the clusters' faces in the sense of least squares, weighted by area.

        After Garland and Heckbert, "Surface simplification using quadric error metrics" (1997), with a small pull to
        the middle of the cluster's vertices and a bound on the distance from it.
        """
        count = len(wanted)
        numbers = np.full(self.tree.nodes, -1)
        numbers[wanted] = np.arange(count)
        cluster = numbers[self.tree.root]
        members = np.flatnonzero(cluster >= 0)
        middle, spread = _moments(self.vertices[members], cluster[members], count)
        row, corner = np.nonzero(index < count)
        index = index[row, corner]
        normals = self.face_normals[touching[row]]
        length = np.linalg.norm(normals, axis=1)
        unit = normals / np.maximum(length, 1e-300)[:, None]
        offset = np.einsum("ij,ij->i", unit, self.vertices[self.faces[touching[row], 0]] - middle[index])
        matrix, side = np.zeros((count, 3, 3)), np.zeros((count, 3))
        for i in range(3):
            side[:, i] = np.bincount(index, weights=length * unit[:, i] * offset, minlength=count)
            for j in range(i, 3):
                matrix[:, i, j] = np.bincount(index, weights=length * unit[:, i] * unit[:, j], minlength=count)
                matrix[:, j, i] = matrix[:, i, j]
        pull = PULL_TO_MIDDLE * np.trace(matrix, axis1=1, axis2=2) + 1e-300
        step = np.linalg.solve(matrix + pull[:, None, None] * np.eye(3), side[:, :, None])[:, :, 0]
        far = np.linalg.norm(step, axis=1) / np.maximum(FARTHEST_SPREADS * spread, 1e-300)
        return middle + step / np.maximum(far, 1.0)[:, None]


def is_face(clusters: Int[np.ndarray, "f 3"]) -> Bool[np.ndarray, "f"]:
    """Whether the three corners lie in three clusters."""
    first, second, third = clusters.T
    return (first != second) & (second != third) & (third != first)


def _area_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    """Normals as long as the area, in parts that keep the temporary arrays small."""
    normals = np.empty((len(faces), 3))
    for start in range(0, len(faces), 1 << 18):
        first, second, third = (vertices[corner] for corner in faces[start : start + (1 << 18)].T)
        normals[start : start + (1 << 18)] = 0.5 * np.cross(second - first, third - first)
    return normals


def _sums(index: Int[np.ndarray, "t 3"], vectors: Float[np.ndarray, "t 3"], count: int) -> Float[np.ndarray, "w 3"]:
    """Sum of each face's vector at the indices of its three corners; the index `count` is left out."""
    sums = np.zeros((count, 3))
    for corner in index.T:
        for axis in range(3):
            sums[:, axis] += np.bincount(corner, weights=vectors[:, axis], minlength=count + 1)[:count]
    return sums


def _moments(
    points: Float[np.ndarray, "p 3"], group: Int[np.ndarray, "p"], count: int
) -> tuple[Float[np.ndarray, "c 3"], Float[np.ndarray, "c"]]:
    """Mean of the points of each group, and their root mean square distance from it."""
    size = np.maximum(np.bincount(group, minlength=count), 1)
    middle = np.stack([np.bincount(group, weights=axis, minlength=count) for axis in points.T], axis=1) / size[:, None]
    square = np.bincount(group, weights=((points - middle[group]) ** 2).sum(axis=1), minlength=count)
    return middle, np.sqrt(square / size)
