"""Which clusters of a merged mesh must come apart for it to be sound: same topology, no folds, no crossings.

A simplification is a map of the original onto the merged mesh. For a closed surface the result is the same surface up
to bending when all that goes to any one point is a disc or shrinks to a point (Moore 1925, "Concerning upper
semi-continuous collections of continua"). Per simplex that is a matter of counting:

- of a vertex: the cluster's vertices - edges + faces is 1 (a disc, not a ring or a sphere);
- of an edge between two clusters: the original's edges between them, less its faces between them, is 1 (one strip);
- of a face: one face of the original goes to it.

What these leave open on meshes with boundaries is seen by looking at the merged mesh itself.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.simplifying.crossings import crossings, unique_edges
from dvr_cli.surfaces.simplifying.merged_mesh import MergedMesh, is_face
from dvr_cli.surfaces.topology import face_components, signed_volumes, singular_vertices

FLATTEST = 1e-6
"""Twice the area of a face over the square of its longest side, below which it has no direction of its own."""
LEAST_VOLUME = 0.3
"""Share of its volume that a component must keep."""


def broken_clusters(merged: MergedMesh, marked: Bool[np.ndarray, "n"]) -> Int[np.ndarray, "r"]:
    """Clusters at a vertex, edge or face of the merged mesh to which not just a disc, a strip or a face goes.

    Only the marked clusters and what joins them to others are looked at.
    """
    faces = merged.faces[merged.touching(marked)]
    clusters = merged.tree.root[faces]
    edges = merged.tree.root[unique_edges(faces, len(merged.vertices))]
    inner = edges[:, 0] == edges[:, 1]
    sizes = np.bincount(merged.tree.root, minlength=len(marked))
    whole = (clusters[:, 0] == clusters[:, 1]) & (clusters[:, 1] == clusters[:, 2])
    characteristic = (
        sizes
        - np.bincount(edges[inner, 0], minlength=len(marked))
        + np.bincount(clusters[whole, 0], minlength=len(marked))
    )
    strips = _strips(edges[~inner], _two_clusters(clusters), len(marked))
    found = [
        np.flatnonzero(marked & (sizes > 0) & (characteristic != 1)),
        strips[marked[strips].any(axis=1)].ravel(),
        _repeated(clusters[is_face(clusters)]).ravel(),
    ]
    return _cuttable(np.concatenate(found), merged)


def faulty_clusters(merged: MergedMesh, marked: Bool[np.ndarray, "n"]) -> Int[np.ndarray, "r"]:
    """Clusters at faults of the merged mesh's form: folds, crossings, vanished volume, places that are no manifold.

    Only faces at marked clusters are looked at, against all others.
    """
    mesh, used = merged.mesh()
    near = marked[used][mesh.faces].any(axis=1)
    faulty = _singular(mesh, near) | _shrunk(merged, mesh, used)
    faulty[near] |= _folded(Mesh(mesh.vertices, mesh.faces[near]), merged.normals[used])
    edges, through = crossings(mesh, None if near.all() else near)
    faulty[through] = True
    return _cuttable(used[np.concatenate([mesh.faces[faulty].ravel(), edges.ravel()])], merged)


def _cuttable(clusters: Int[np.ndarray, "m"], merged: MergedMesh) -> Int[np.ndarray, "r"]:
    """Each once, without single vertices: what is wrong between those is wrong in the original."""
    return np.unique(clusters[clusters >= len(merged.vertices)])


def _two_clusters(clusters: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "t 2"]:
    """The two clusters of every face whose corners lie in just two."""
    low, high = clusters.min(axis=1), clusters.max(axis=1)
    just_two = (low != high) & ~is_face(clusters)
    return np.stack([low[just_two], high[just_two]], axis=1)


def _strips(edges: Int[np.ndarray, "e 2"], faces: Int[np.ndarray, "t 2"], count: int) -> Int[np.ndarray, "s 2"]:
    """Pairs of clusters between which the original's edges and faces do not make one strip."""
    keys = []
    for pairs in (edges, faces):
        keys.append(pairs.min(axis=1).astype(np.int64) * count + pairs.max(axis=1))
        keys[-1].sort()
    of_edges, counts = _runs(keys[0])
    # A strip of one edge has no faces, which is most of them; the faces are looked up among the edges.
    less, number = _runs(keys[1])
    counts[np.searchsorted(of_edges, less)] -= number
    bad = of_edges[counts != 1]
    return np.stack([bad // count, bad % count], axis=1)


def _runs(ordered: Int[np.ndarray, "k"]) -> tuple[Int[np.ndarray, "r"], Int[np.ndarray, "r"]]:
    """Values of an ordered array and how often each stands there."""
    first = np.flatnonzero(np.concatenate([ordered[:1] == ordered[:1], ordered[1:] != ordered[:-1]]))
    return ordered[first], np.diff(np.append(first, len(ordered)))


def _repeated(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "d 3"]:
    """Faces over the same three vertices as another one, whichever way round."""
    ordered = np.sort(faces, axis=1)
    order = np.lexsort(ordered.T)
    same = (ordered[order][1:] == ordered[order][:-1]).all(axis=1)
    return ordered[order][1:][same]


def _singular(mesh: Mesh, near: Bool[np.ndarray, "f"]) -> Bool[np.ndarray, "f"]:
    """Faces at vertices of the given faces where the mesh is no manifold."""
    asked = np.zeros(len(mesh.vertices), dtype=bool)
    asked[mesh.faces[near]] = True
    # A vertex is judged by all of its faces, hence those around the given ones as well.
    around = mesh.faces[asked[mesh.faces].any(axis=1)]
    singular = singular_vertices(Mesh(mesh.vertices, around)) & asked
    return singular[mesh.faces].any(axis=1)


def _folded(mesh: Mesh, normals: Float[np.ndarray, "v 3"]) -> Bool[np.ndarray, "f"]:
    """Faces that look against the original's surface around their corners, or have no direction."""
    corners = mesh.vertices[mesh.faces]
    sides = corners - np.roll(corners, -1, axis=1)
    cross = np.cross(sides[:, 0], sides[:, 1])
    directions = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    agreement = np.einsum("fi,fci->f", cross, directions[mesh.faces])
    flat = np.linalg.norm(cross, axis=1) <= FLATTEST * (sides**2).sum(axis=2).max(axis=1, initial=0.0)
    return flat | (agreement < 0)


def _shrunk(merged: MergedMesh, mesh: Mesh, used: Int[np.ndarray, "v"]) -> Bool[np.ndarray, "f"]:
    """Faces of components that lost most of their volume."""
    count, component = face_components(mesh)
    of_cluster = np.zeros(merged.tree.nodes, dtype=np.int64)
    of_cluster[used[mesh.faces[:, 0]]] = component
    corner = merged.faces[:, 0]
    pieces = np.einsum("fi,fi->f", merged.vertices[corner], merged.face_normals) / 3
    before = np.bincount(of_cluster[merged.tree.root[corner]], weights=pieces, minlength=count)
    after = np.bincount(component, weights=signed_volumes(mesh), minlength=count)
    return (np.sign(before) * after < LEAST_VOLUME * np.abs(before))[component]
