"""Points on a surface and their thinning: what the protocols that compare clouds need.

Notation: `spacing` and `radius` are lengths in the units of the vertices. Everything works in blocks, so that a mesh of
millions of triangles or a cloud of tens of millions of points takes memory for its points and little more.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import CompareError
from dvr_cli.surfaces.mesh import Mesh

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

MOST_POINTS = 100_000_000
"""More are refused before anything is allocated: they would take 2.4 GB, and several times that on the way."""
BLOCK = 2_000_000
"""Points or lattice nodes worked on at once."""
FIRST_BLOCK = 1_000
"""Points of the first block of a thinning; later ones are as large as all before them together, up to BLOCK."""


def lattice_points(mesh: Mesh, spacing: float) -> Float[np.ndarray, "p 3"]:
    """The vertices, and on every triangle a lattice whose nodes stand for spacing^2 of area each.

    With edges a, b of lengths |a|, |b| that leave a triangle's first corner, and A = |a x b|, the edges are divided
    into n_a = floor(|a| / t) and n_b = floor(|b| / t) parts, t = spacing sqrt(|a| |b| / A); nodes lie at the fractions
    ((i + 1/2) / n_a, (j + 1/2) / n_b) of them whose sum is below one. This is how the community's DTU evaluation
    (DTUeval-python, eval.py) samples; triangles smaller than the spacing bring their vertices only. CompareError when
    there would be more than MOST_POINTS points.
    """
    corners, edge_a, edge_b, parts_a, parts_b = _lattice_parts(mesh, spacing)
    expected = len(mesh.vertices) + 0.5 * float((parts_a * parts_b).sum())
    check_count(expected, f"a lattice of spacing {spacing:g} on the mesh")
    pieces = [np.asarray(mesh.vertices, dtype=np.float64)]
    for face, share_a, share_b in _lattice_nodes(parts_a, parts_b):
        on_a, on_b = share_a[:, None] * edge_a[face], share_b[:, None] * edge_b[face]
        pieces.append(corners[face] + on_a + on_b)
    return np.concatenate(pieces)


def _lattice_parts(mesh: Mesh, spacing: float) -> tuple[np.ndarray, ...]:
    """First corner, two edges and numbers of parts of every triangle that holds a node."""
    corners = mesh.vertices[mesh.faces[:, 0]]
    edge_a, edge_b = mesh.vertices[mesh.faces[:, 1]] - corners, mesh.vertices[mesh.faces[:, 2]] - corners
    length_a, length_b = np.linalg.norm(edge_a, axis=1), np.linalg.norm(edge_b, axis=1)
    area = np.linalg.norm(np.cross(edge_a, edge_b), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = spacing * np.sqrt(length_a * length_b / area)
        parts_a, parts_b = np.floor(length_a / step), np.floor(length_b / step)
    held = (area > 0) & (parts_a >= 1) & (parts_b >= 1)
    return corners[held], edge_a[held], edge_b[held], parts_a[held], parts_b[held]


def _lattice_nodes(
    parts_a: Float[np.ndarray, "f"], parts_b: Float[np.ndarray, "f"]
) -> Iterator[tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]]:
    """Triangle and fractions along its edges of every node, in blocks of about BLOCK candidates.

    Candidates are numbered through all triangles, n_a n_b each, so that a block may end within a large triangle.
    """
    # Whole numbers below 2^53 are exact in float64; check_count has seen to it.
    ends = np.cumsum((parts_a * parts_b).astype(np.int64))
    total = int(ends[-1]) if len(ends) else 0
    for first in range(0, total, BLOCK):
        number = np.arange(first, min(first + BLOCK, total))
        face = np.searchsorted(ends, number, side="right")
        within = number - (ends[face] - (parts_a[face] * parts_b[face]).astype(np.int64))
        columns = parts_b[face].astype(np.int64)
        share_a = (within // columns + 0.5) / parts_a[face]
        share_b = (within % columns + 0.5) / parts_b[face]
        inside = share_a + share_b < 1
        yield face[inside], share_a[inside], share_b[inside]


def check_count(expected: float, what: str) -> None:
    """Raise CompareError when `what` would have more than MOST_POINTS points."""
    if not expected <= MOST_POINTS:
        raise CompareError(
            f"{what} would have about {expected:.3g} points: expected at most {MOST_POINTS:.0e}.\n"
            "Check that the mesh is in the units of the protocol, cut away what does not belong to the object, "
            "or sample less densely."
        )


def thin(
    points: Float[np.ndarray, "p 3"], radius: float, generator: np.random.Generator, workers: int = -1
) -> Int[np.ndarray, "k"]:
    """Indices (ascending) of a subset in which no two points are within `radius`, and every other point is near one.

    The points are visited in random order; a point that is still there removes all others within `radius` (<=) of it.
    The result is that of visiting one by one, but is found in blocks: those of a block that an earlier one removed are
    looked up in a tree, the rest settle by rounds over the pairs among them. As each block is a random sample no
    larger than all earlier ones together, dense places are settled early and pairs stay few whatever the density.
    """
    order = generator.permutation(len(points))
    kept: Int[np.ndarray, "k"] = np.zeros(0, dtype=np.int64)
    start = 0
    while start < len(order):
        block = order[start : start + min(max(start, FIRST_BLOCK), BLOCK)]
        start += len(block)
        block = block[~_near(points[block], points[kept], radius, workers)]
        kept = np.concatenate([kept, block[_first_come(points[block], radius)]])
    return np.sort(kept)


def _near(
    points: Float[np.ndarray, "p 3"], kept: Float[np.ndarray, "k 3"], radius: float, workers: int
) -> Bool[np.ndarray, "p"]:
    """Whether each point is within the radius of a kept one."""
    if not len(kept):
        return np.zeros(len(points), dtype=bool)
    # The bound is exclusive and the tree rounds in its own way, so it is a little wide, and the sum decides.
    distance, index = search_tree(kept).query(points, distance_upper_bound=radius * (1 + 1e-9), workers=workers)
    found = np.flatnonzero(np.isfinite(distance))
    result = np.zeros(len(points), dtype=bool)
    result[found] = ((points[found] - kept[index[found]]) ** 2).sum(axis=1) <= radius**2
    return result


def _first_come(points: Float[np.ndarray, "p 3"], radius: float) -> Bool[np.ndarray, "p"]:
    """Which points stay when each, in order, removes the later ones within the radius.

    In every round the points without an undecided earlier neighbour stay, and their neighbours go: about log(p) rounds.
    """
    pairs = search_tree(points).query_pairs(radius * (1 + 1e-9), output_type="ndarray")
    near = ((points[pairs[:, 0]] - points[pairs[:, 1]]) ** 2).sum(axis=1) <= radius**2
    earlier, later = pairs[near].min(axis=1), pairs[near].max(axis=1)
    removed = np.zeros(len(points), dtype=bool)
    while len(later):
        waits = np.zeros(len(points), dtype=bool)
        waits[later] = True
        removed[later[~waits[earlier]]] = True
        undecided = waits[earlier] & ~removed[earlier] & ~removed[later]
        earlier, later = earlier[undecided], later[undecided]
    return ~removed


def search_tree(points: Float[np.ndarray, "p 3"]) -> "cKDTree":
    """A tree for nearest neighbours of points on surfaces.

    SciPy's default splits at medians, which on evenly spaced points makes slabs: measured on two thinned surfaces of
    2.5 million points each, a search for neighbours up to 20 mm away took 17 times as long.
    """
    from scipy.spatial import cKDTree

    return cKDTree(points, compact_nodes=False, balanced_tree=False)


def voxel_means(points: Float[np.ndarray, "p 3"], side: float) -> Float[np.ndarray, "k 3"]:
    """The mean of the points in every occupied voxel of a grid whose first voxel is centred on the smallest corner.

    As Open3D's `voxel_down_sample` lays its grid. CompareError when the grid would have more than 2^21 voxels along an
    axis: the voxels are then far too small for the cloud.
    """
    if not len(points):
        return points
    lower = points.min(axis=0) - 0.5 * side
    counts = np.floor((points.max(axis=0) - lower) / side) + 1
    if not (counts < 2**21).all():
        raise CompareError(
            f"the cloud is {counts.max():.3g} voxels of {side:g} long: expected at most {2**21}.\n"
            "Check that cloud and threshold are in the same units."
        )
    shape = counts.astype(np.int64)
    cells = np.floor((points - lower) / side).astype(np.int64)
    key = (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]
    _, voxel, members = np.unique(key, return_inverse=True, return_counts=True)
    sums = [np.bincount(voxel, weights=points[:, axis]) for axis in range(3)]
    return np.stack(sums, axis=1) / members[:, None]


def within_box(
    points: Float[np.ndarray, "p 3"], lower: Float[np.ndarray, "3"], upper: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "p"]:
    """Points of a box, its faces included."""
    return np.asarray(((points >= lower) & (points <= upper)).all(axis=1))


def faces_near_box(mesh: Mesh, lower: Float[np.ndarray, "3"], upper: Float[np.ndarray, "3"]) -> Mesh:
    """The mesh without the faces (and vertices) that lie wholly beyond one side of a box; shape only."""
    beyond = np.zeros(len(mesh.faces), dtype=bool)
    for axis in range(3):
        corners = mesh.vertices[mesh.faces, axis]
        beyond |= (corners.max(axis=1) < lower[axis]) | (corners.min(axis=1) > upper[axis])
    used, faces = np.unique(mesh.faces[~beyond], return_inverse=True)
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3).astype(np.int64))


def surface_area(mesh: Mesh) -> float:
    """Sum of the areas of all faces."""
    corners = mesh.vertices[mesh.faces]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return 0.5 * float(np.linalg.norm(crossed, axis=1).sum())
