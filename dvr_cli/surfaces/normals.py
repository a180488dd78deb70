"""Normals of a mesh that stores none."""

import numpy as np
from jaxtyping import Float

from dvr_cli.surfaces.mesh import Mesh


def vertex_normals(mesh: Mesh) -> Float[np.ndarray, "v 3"]:
    """Unit normals at the vertices: the mean of the faces around each, weighted by area; zero where there is none."""
    corners = mesh.vertices[mesh.faces]
    of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index, count = mesh.faces.ravel(), len(mesh.vertices)
    repeated = np.repeat(of_faces, 3, axis=0)
    total = np.stack([np.bincount(index, weights=axis, minlength=count) for axis in repeated.T], axis=1)
    lengths = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(lengths > 0, total / np.where(lengths > 0, lengths, 1.0), 0.0)
