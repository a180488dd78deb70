"""The surface that colours are baked for: a mesh around its middle, fine enough to carry weights at its vertices."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.normals import vertex_normals
from dvr_cli.surfaces.unwrapping.texels import Texels

ENOUGH_FACES = 20_000
"""A coarser mesh is divided: weights and levels are linear over a face, and what hides a face may hide a part of it."""
SLACK_SHARE = 1e-5
"""Of the mesh's size: far above the rounding of single precision, far below anything that hides anything."""


@dataclass(frozen=True)
class LocalSurface:
    """A triangle mesh in single precision, in world units around `middle`."""

    vertices: Float32[np.ndarray, "v 3"]
    normals: Float32[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    middle: Float[np.ndarray, "3"]
    """What was subtracted from the world's coordinates."""
    slack: float
    """World units: what rounding needs in comparisons of depth."""

    @property
    def face_middles(self) -> Float32[np.ndarray, "f 3"]:
        """Centroids."""
        return self.vertices[self.faces].mean(axis=1)

    @property
    def face_normals(self) -> Float32[np.ndarray, "f 3"]:
        """Unit normals; zero for faces without area."""
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)

    def points(self, texels: Texels) -> Float32[np.ndarray, "n 3"]:
        """Local points of the surface at texels."""
        return interpolated(self.vertices[self.faces[texels.face]], texels.weights)


def interpolated(
    corners: Float32[np.ndarray, "n 3 c"], weights: Float32[np.ndarray, "n 3"]
) -> Float32[np.ndarray, "n c"]:
    """Values at the corners of faces, weighted. Written out: faster than einsum for so few terms."""
    total = corners[:, 0] * weights[:, :1]
    total += corners[:, 1] * weights[:, 1:2]
    total += corners[:, 2] * weights[:, 2:]
    return total


def local_surface(mesh: Mesh) -> LocalSurface:
    """The mesh around the middle of what its faces use."""
    used = mesh.vertices[np.unique(mesh.faces)]
    middle = (used.min(axis=0) + used.max(axis=0)) / 2
    normals = vertex_normals(mesh) if mesh.normals is None else mesh.normals
    size = float(np.ptp(used, axis=0).max())
    vertices = (mesh.vertices - middle).astype(np.float32)
    return LocalSurface(vertices, normals.astype(np.float32), mesh.faces, middle, SLACK_SHARE * size)


def divided(surface: LocalSurface, texels: Texels) -> tuple[LocalSurface, Texels, Int[np.ndarray, "n"]]:
    """The surface with enough faces, texels on it, and where each texel of the result was before; sorted by face.

    Every face is cut into four at the middles of its edges, as often as needed; the surface stays where it is.
    """
    face, weights = texels.face, texels.weights
    while 0 < len(surface.faces) < ENOUGH_FACES:
        surface = _divided_once(surface)
        face, weights = _in_child(face, weights)
    order = np.arange(len(face)) if (np.diff(face) >= 0).all() else np.argsort(face, kind="stable")
    return surface, Texels(texels.row[order], texels.column[order], face[order], weights[order]), order


def _divided_once(surface: LocalSurface) -> LocalSurface:
    """Children of face f: 4 f + 0, 1, 2 keep a corner, 4 f + 3 is the middle one."""
    faces = surface.faces
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, index = np.unique(edges, axis=0, return_inverse=True)
    middle = len(surface.vertices) + index.reshape(-1, 3)
    a, b, c = faces.T
    ab, bc, ca = middle.T
    children = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)
    vertices = surface.vertices[unique].mean(axis=1)
    normals = surface.normals[unique].sum(axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return LocalSurface(
        np.concatenate([surface.vertices, vertices]),
        np.concatenate([surface.normals, normals]),
        children,
        surface.middle,
        surface.slack,
    )


def _in_child(
    face: Int[np.ndarray, "n"], weights: Float32[np.ndarray, "n 3"]
) -> tuple[Int[np.ndarray, "n"], Float32[np.ndarray, "n 3"]]:
    """The same points as faces and weights of the divided surface."""
    # In the middle child the corners are the middles of edges: the weight of one is 1 - 2 times the opposite corner's.
    found = 1 - 2 * weights[:, [2, 0, 1]]
    child = np.full(len(face), 3)
    for corner in range(3):
        mine = np.flatnonzero(weights[:, corner] >= 0.5)
        child[mine] = corner
        kept = 2 * weights[mine]
        kept[:, corner] -= 1
        found[mine] = kept
    return (4 * face.astype(np.int64) + child).astype(np.int32), found
