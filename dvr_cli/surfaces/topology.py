"""Checks of a mesh as a whole: closed, manifold, which way it faces, how many parts and holes it has.

An *edge* is an unordered pair of vertices of a face. A mesh is a manifold (with boundary) when every edge belongs to
one or two faces and the faces around every vertex form one fan, open or closed: a sheet of rubber could take its form.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.surfaces.mesh import Mesh


def signed_volume(mesh: Mesh) -> float:
    """Volume (cubed units of the vertices); positive when faces look outwards, meaningful for closed meshes."""
    return float(signed_volumes(mesh).sum())


def signed_volumes(mesh: Mesh) -> Float[np.ndarray, "f"]:
    """Signed volume between every face and the mesh's centre (near it, so that large coordinates cost no digits)."""
    if not len(mesh.faces):
        return np.zeros(0)
    corners = mesh.vertices[mesh.faces] - mesh.vertices.mean(axis=0)
    return np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


def is_watertight(mesh: Mesh) -> bool:
    """True when every edge belongs to two faces that pass it in opposite directions, and there is a face at all."""
    if not len(mesh.faces):
        return False
    start, end = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    count = len(mesh.vertices)
    forward, backward = np.sort(start * count + end), np.sort(end * count + start)
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def faces_outward(mesh: Mesh) -> bool:
    """True for a watertight mesh of positive volume."""
    return is_watertight(mesh) and signed_volume(mesh) > 0


def is_manifold(mesh: Mesh) -> bool:
    """True when every edge has one or two faces and every vertex one fan of faces; a mesh without faces is none."""
    return bool(len(mesh.faces)) and not singular_vertices(mesh).any()


def singular_vertices(mesh: Mesh) -> Bool[np.ndarray, "v"]:
    """Vertices at which the mesh is no manifold: with several fans of faces, or on an edge of three faces or more.

    A face that names a vertex twice makes that vertex singular.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, corners = len(mesh.vertices), mesh.faces.size
    singular = np.zeros(count, dtype=bool)
    if not corners:
        return singular
    corner = np.arange(corners).reshape(-1, 3)
    first, second = (np.concatenate([array, np.roll(array, -1, axis=1)], axis=1) for array in (mesh.faces, corner))
    start, end = first[:, :3].ravel(), first[:, 3:].ravel()
    start_corner, end_corner = second[:, :3].ravel(), second[:, 3:].ravel()
    swapped = start > end
    keys = np.where(swapped, end * count + start, start * count + end)
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    crowded = order[2:][same[1:] & same[:-1]]
    for vertices in (start[crowded], end[crowded], start[start == end]):
        singular[vertices] = True
    # Corners of neighbouring faces at the same vertex are joined; a vertex with one fan has one group of corners.
    before, after = order[:-1][same], order[1:][same]
    low, high = np.where(swapped, end_corner, start_corner), np.where(swapped, start_corner, end_corner)
    joined = (np.concatenate([low[before], high[before]]), np.concatenate([low[after], high[after]]))
    graph = coo_array((np.ones(len(joined[0]), dtype=np.int8), joined), shape=(corners, corners))
    groups, of_corner = connected_components(graph, directed=False)
    vertex_of_group = np.zeros(groups, dtype=np.int64)
    vertex_of_group[of_corner] = mesh.faces.ravel()
    return singular | (np.bincount(vertex_of_group, minlength=count) > 1)


def euler_characteristic(mesh: Mesh) -> int:
    """Vertices - edges + faces, over the vertices in use: 2 for a sphere, 0 for a torus, summed over components."""
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique_edges = np.unique(edges[:, 0] * len(mesh.vertices) + edges[:, 1])
    return len(np.unique(mesh.faces)) - len(unique_edges) + len(mesh.faces)


def face_components(mesh: Mesh) -> tuple[int, Int[np.ndarray, "f"]]:
    """Number of connected components and the component of every face."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = mesh.faces[:, [0, 1]].ravel(), mesh.faces[:, [1, 2]].ravel()
    count = len(mesh.vertices)
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(count, count))
    of_vertex = connected_components(graph, directed=False)[1]
    used, of_face = np.unique(of_vertex[mesh.faces[:, 0]], return_inverse=True)
    return len(used), of_face.astype(np.int64)
