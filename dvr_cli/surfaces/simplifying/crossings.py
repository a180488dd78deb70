"""Where a mesh passes through itself: edges that go through a face.

Two triangles that cross do so, but for exact coincidences, along a segment that ends where an edge of one passes
through the other. Open3D lists the faces on every edge's line in single precision; what is near is decided in double
precision.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

EDGES_PER_CHUNK = 1 << 17
SLACK = 1e-3
"""Of an edge: hits this far beyond its ends are looked at in double precision."""


def crossings(
    mesh: Mesh, chosen: Bool[np.ndarray, "f"] | None = None
) -> tuple[Int[np.ndarray, "c 2"], Int[np.ndarray, "c"]]:
    """Pairs of an edge (its two vertices) and a face that it passes through; faces that share a vertex do not count.

    With `chosen` only pairs in which the face is chosen, or the edge one of a chosen face.
    """
    faces = np.arange(len(mesh.faces))
    if chosen is None:
        return _between(mesh, mesh.faces, faces)
    edges, through = _between(mesh, mesh.faces[chosen], faces)
    other_edges, other_through = _between(mesh, mesh.faces, faces[chosen])
    return np.concatenate([edges, other_edges]), np.concatenate([through, other_through])


def unique_edges(faces: Int[np.ndarray, "f 3"], vertices: int) -> Int[np.ndarray, "e 2"]:
    """Every edge of the faces once, the smaller vertex first."""
    following = np.roll(faces, -1, axis=1)
    keys = (np.minimum(faces, following).astype(np.int64) * vertices + np.maximum(faces, following)).ravel()
    keys.sort()
    keys = keys[np.concatenate([keys[:1] == keys[:1], keys[1:] != keys[:-1]])]
    return np.stack([keys // vertices, keys % vertices], axis=1)


def _between(
    mesh: Mesh, faces_of_edges: Int[np.ndarray, "g 3"], faces: Int[np.ndarray, "f"]
) -> tuple[Int[np.ndarray, "c 2"], Int[np.ndarray, "c"]]:
    """Crossings of the edges of some faces with others (given by their index)."""
    edges = unique_edges(faces_of_edges, len(mesh.vertices))
    found = [(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))]
    if not (len(faces) and len(edges)):
        return found[0]
    caster = RayCaster(Mesh(mesh.vertices, mesh.faces[faces]))
    for start in range(0, len(edges), EDGES_PER_CHUNK):
        part = edges[start : start + EDGES_PER_CHUNK]
        origins = mesh.vertices[part[:, 0]]
        ray, face, t = caster.all_hits(origins, mesh.vertices[part[:, 1]] - origins)
        near = (t > -SLACK) & (t < 1 + SLACK)
        edge, face = part[ray[near]], faces[face[near]]
        apart = (mesh.faces[face][:, :, None] != edge[:, None, :]).all(axis=(1, 2))
        edge, face = edge[apart], face[apart]
        through = _passes_through(mesh, edge, face)
        found.append((edge[through], face[through]))
    edges_of, faces_of = zip(*found, strict=True)
    return np.concatenate(edges_of), np.concatenate(faces_of)


def _passes_through(mesh: Mesh, edges: Int[np.ndarray, "c 2"], faces: Int[np.ndarray, "c"]) -> Bool[np.ndarray, "c"]:
    """Whether the ends lie on different sides of the face's plane and the edge within its three sides.

    Touching counts, an edge within the face's plane does not.
    """
    start, end = mesh.vertices[edges[:, 0]], mesh.vertices[edges[:, 1]]
    first, second, third = (mesh.vertices[mesh.faces[faces, corner]] for corner in range(3))
    sides = np.sign([_volume(start, first, second, third), _volume(end, first, second, third)])
    around = np.stack(
        [_volume(start, end, first, second), _volume(start, end, second, third), _volume(start, end, third, first)]
    )
    within = (around >= 0).all(axis=0) | (around <= 0).all(axis=0)
    return (sides[0] != sides[1]) & within


def _volume(
    first: Float[np.ndarray, "c 3"],
    second: Float[np.ndarray, "c 3"],
    third: Float[np.ndarray, "c 3"],
    fourth: Float[np.ndarray, "c 3"],
) -> Float[np.ndarray, "c"]:
    """Six times the signed volume of the tetrahedron."""
    return np.einsum("ci,ci->c", second - first, np.cross(third - first, fourth - first))
