"""Normals of clouds that come without any: planes through the neighbours, then a side for each.

Neighbours are the nearest points by count, so that the scale of the cloud does not matter.
"""

import numpy as np
from jaxtyping import Float, Int

NEIGHBOURS = 16


def outward_normals(
    points: Float[np.ndarray, "p 3"],
    towards: Float[np.ndarray, "p 3"] | None = None,
    neighbours: int = NEIGHBOURS,
) -> Float[np.ndarray, "p 3"]:
    """Unit normals turned consistently along the surface, and each connected piece as a whole to the outside.

    The sides spread over the minimum spanning tree of the neighbours' graph, flat neighbours first (Hoppe et al. 1992,
    section 3.3). Out is where most of the directions `towards` point; without them it is away from the middle of the
    cloud, a guess for shapes that are not roughly round. Where cameras are known for every point, `normals_towards`
    does not guess.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
    from scipy.spatial import cKDTree

    centred, normals = _planes(points, neighbours)
    count = len(points)
    near = cKDTree(centred).query(centred, min(neighbours, count))[1]
    start, end = np.repeat(np.arange(count), near.shape[1]), near.ravel()
    start, end = start[start != end], end[start != end]
    # Pairs that are neighbours both ways count once, and a weight of zero would be no edge.
    pair = np.unique(np.minimum(start, end) * count + np.maximum(start, end))
    start, end = pair // count, pair % count
    bend = 1 + 1e-6 - np.abs(np.einsum("ei,ei->e", normals[start], normals[end]))
    tree = minimum_spanning_tree(coo_array((bend, (start, end)), shape=(count, count)).tocsr())
    pieces, piece = connected_components(tree, directed=False)
    for index in range(pieces):
        root = int(np.argmax(piece == index))
        order, parent = breadth_first_order(tree, root, directed=False)
        normals[order] *= _signs_from_root(normals, order, parent)[:, None]
        out = centred if towards is None else towards
        if np.einsum("pi,pi->", normals[order], out[order]) < 0:
            normals[order] *= -1
    return normals


def normals_towards(
    points: Float[np.ndarray, "p 3"], towards: Float[np.ndarray, "p 3"], neighbours: int = NEIGHBOURS
) -> Float[np.ndarray, "p 3"]:
    """Unit normals on the side of the given directions, e.g. to the cameras that see each point."""
    _, normals = _planes(points, neighbours)
    facing = np.einsum("pi,pi->p", normals, towards)
    return np.where(facing[:, None] < 0, -normals, normals)


def directions_to_cameras(
    points: Float[np.ndarray, "p 3"], centres: Float[np.ndarray, "v 3"], visibility: Int[np.ndarray, "m 2"]
) -> Float[np.ndarray, "p 3"]:
    """Mean of the unit vectors from each point to the cameras that see it; `visibility` pairs (view, point)."""
    view, point = visibility.T
    to_camera = centres[view] - points[point]
    to_camera /= np.maximum(np.linalg.norm(to_camera, axis=1, keepdims=True), 1e-300)
    total = np.stack([np.bincount(point, weights=axis, minlength=len(points)) for axis in to_camera.T], axis=1)
    return total / np.maximum(np.bincount(point, minlength=len(points)), 1)[:, None]


def directions_to_nearest(
    points: Float[np.ndarray, "p 3"], centres: Float[np.ndarray, "v 3"], count: int = 3
) -> Float[np.ndarray, "p 3"]:
    """Mean of the unit vectors to the nearest cameras: about the side that a point is seen from, if nothing tells."""
    from scipy.spatial import cKDTree

    nearest = cKDTree(centres).query(points, list(range(1, min(count, len(centres)) + 1)))[1]
    way = centres[nearest] - points[:, None]
    return (way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-300)).mean(axis=1)


def _signs_from_root(
    normals: Float[np.ndarray, "p 3"], order: Int[np.ndarray, "o"], parent: Int[np.ndarray, "p"]
) -> Float[np.ndarray, "o"]:
    """+1 or -1 for each point of a tree, so that every normal agrees with its parent's; the root keeps its own."""
    sign = np.ones(len(normals))
    above = np.arange(len(normals))
    above[order[1:]] = parent[order[1:]]
    agree = np.einsum("oi,oi->o", normals[order[1:]], normals[above[order[1:]]])
    sign[order[1:]] = np.where(agree < 0, -1.0, 1.0)
    # Each round doubles the length of the paths that are multiplied up; the root points to itself.
    while (above[order] != order[0]).any():
        sign[order] *= sign[above[order]]
        above[order] = above[above[order]]
    return sign[order]


def _planes(
    points: Float[np.ndarray, "p 3"], neighbours: int
) -> tuple[Float[np.ndarray, "p 3"], Float[np.ndarray, "p 3"]]:
    """Points around their middle, and unit normals of least-squares planes, on either side."""
    import open3d

    centred = np.ascontiguousarray(points - points.mean(axis=0))
    centred /= max(float(np.abs(centred).max()), 1e-300)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(centred))
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(neighbours))
    return centred, np.asarray(cloud.normals).copy()
