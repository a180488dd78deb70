"""A surface between the tetrahedra of sparse points, chosen by what the cameras see: the idea of COLMAP's mesher.

Labatut, Pons and Keriven, "Robust and Efficient Surface Reconstruction from Range Data" (2009). Every line of sight
from a camera to a point says that the tetrahedra it crosses are free and that the one behind the point is full. A
minimum cut between free and full gives the surface that contradicts the fewest lines, weighted by the shape of its
triangles. COLMAP does the same with CGAL, which pycolmap's wheels are built without; here Qhull triangulates and SciPy
cuts.

Notation: a *cell* is a tetrahedron; its *facet* k is the one opposite its corner k.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import CompareError
from dvr_cli.surfaces.mesh import Mesh

VISIBILITY = 1.0
"""Weight of one line of sight (alpha)."""
SHAPE = 0.25
"""Weight of the shape of a facet (lambda). COLMAP's default is 1, which loses more of thin parts than it smooths."""
SOFTNESS = 0.5
"""Standard deviation of a point along its line of sight (sigma), in median distances to the nearest neighbour."""
BEHIND = 3.0
"""How far behind its point a line of sight says full, in standard deviations."""
UNIT = 1 << 12
"""The cut works in whole numbers: this is a weight of one."""
HUGE = 1 << 30
MOST_CROSSINGS = 20_000
"""Cells along one line of sight."""

FACETS = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
"""Corners of facet k; seen from corner k they run counter-clockwise where the cell's volume is positive."""


@dataclass(frozen=True)
class Cells:
    """A Delaunay triangulation of points within a box."""

    points: Float[np.ndarray, "q 3"]
    """The points, then the corners of the box around them and the cameras."""
    corners: Int[np.ndarray, "c 4"]
    """With positive volume."""
    neighbours: Int[np.ndarray, "c 4"]
    """Cell beyond facet k; -1 outside the box."""
    normals: Float[np.ndarray, "c 4 3"]
    """Unit normals of the facets, out of the cell."""
    offsets: Float[np.ndarray, "c 4"]
    """normal . x on the facet."""


def carve(
    points: Float[np.ndarray, "p 3"], camera_centres: Float[np.ndarray, "v 3"], visibility: Int[np.ndarray, "m 2"]
) -> tuple[Mesh, Int[np.ndarray, "q"]]:
    """The surface of the full cells, and which point each of its vertices is.

    `visibility` pairs (camera, point). Faces look outwards; every edge has an even number of them. Raises CompareError
    for points in a plane and when nothing is inside.
    """
    from scipy.spatial import Delaunay, QhullError

    centre = points.mean(axis=0)
    size = max(float(np.abs(points - centre).max()), 1e-300)
    local, cameras = (points - centre) / size, (camera_centres - centre) / size
    try:
        triangulation = Delaunay(np.concatenate([local, _box_around(local, cameras)]))
    except QhullError as cause:
        raise CompareError(f"the {len(points)} points span no volume: {str(cause).splitlines()[0]}") from cause
    cells = _cells(triangulation)
    view, point = visibility.T
    full = _minimum_cut(cells, _lines_of_sight(cells, triangulation, local[point], cameras[view]))
    faces = _surface(cells, full)
    if not len(faces):
        raise CompareError(
            f"the {len(points)} points enclose nothing that their {len(visibility)} lines of sight leave standing: "
            "they are too few or too noisy for a Delaunay mesh."
        )
    used, renumbered = np.unique(faces, return_inverse=True)
    return Mesh(points[used], renumbered.reshape(faces.shape).astype(np.int64)), used


@dataclass(frozen=True)
class _Votes:
    """What the lines of sight say, in weights."""

    crossed: Float[np.ndarray, "c 4"]
    """For leaving cell c through facet k on the way from a camera to a point."""
    free: Float[np.ndarray, "c"]
    full: Float[np.ndarray, "c"]


def _box_around(points: Float[np.ndarray, "p 3"], cameras: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "8 3"]:
    """Corners of a box that holds everything with room to spare."""
    everything = np.concatenate([points, cameras])
    low, high = everything.min(axis=0), everything.max(axis=0)
    margin = 0.5 * float((high - low).max())
    return np.stack([np.where(corner, high + margin, low - margin) for corner in np.ndindex(2, 2, 2)])


def _cells(triangulation: object) -> Cells:
    points = np.asarray(triangulation.points)  # type: ignore[attr-defined]
    corners = np.asarray(triangulation.simplices).astype(np.int64)  # type: ignore[attr-defined]
    neighbours = np.asarray(triangulation.neighbors).astype(np.int64)  # type: ignore[attr-defined]
    edges = points[corners[:, 1:]] - points[corners[:, :1]]
    mirrored = np.linalg.det(edges) < 0
    swapped = np.array([0, 1, 3, 2])
    corners[mirrored], neighbours[mirrored] = corners[mirrored][:, swapped], neighbours[mirrored][:, swapped]
    at = points[corners[:, FACETS]]
    normals = np.cross(at[:, :, 1] - at[:, :, 0], at[:, :, 2] - at[:, :, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-300)
    return Cells(points, corners, neighbours, normals, np.einsum("cki,cki->ck", normals, at[:, :, 0]))


def _lines_of_sight(
    cells: Cells, triangulation: object, ends: Float[np.ndarray, "m 3"], cameras: Float[np.ndarray, "m 3"]
) -> _Votes:
    """Walk along every line from its point to its camera, and look behind the point."""
    from scipy.spatial import cKDTree

    inner = cells.points[:-8]
    spacing = float(np.median(cKDTree(inner).query(inner, 2)[0][:, 1])) if len(inner) > 1 else 1.0
    sigma = max(SOFTNESS * spacing, 1e-9)
    way = cameras - ends
    length = np.linalg.norm(way, axis=1)
    direction = way / np.maximum(length, 1e-300)[:, None]
    count = len(cells.corners)
    crossed = np.zeros((count, 4))
    # A little off the point: the cells around it meet there.
    t = np.minimum(1e-4 * spacing, 0.5 * length)
    current = triangulation.find_simplex(ends + t[:, None] * direction)  # type: ignore[attr-defined]
    active = np.flatnonzero(current >= 0)
    free = np.zeros(count)
    for _ in range(MOST_CROSSINGS):
        if not len(active):
            break
        cell, along = current[active], direction[active]
        speed = np.einsum("nki,ni->nk", cells.normals[cell], along)
        gap = cells.offsets[cell] - np.einsum("nki,ni->nk", cells.normals[cell], ends[active])
        reach = np.where(speed > 1e-12, gap / np.where(speed > 1e-12, speed, 1.0), np.inf)
        exit_facet = np.argmin(reach, axis=1)
        t[active] = np.maximum(t[active], reach[np.arange(len(active)), exit_facet])
        beyond = cells.neighbours[cell, exit_facet]
        arrived = (t[active] >= length[active]) | (beyond < 0)
        np.add.at(free, cell[arrived], VISIBILITY)
        active, beyond, exit_facet, cell = (array[~arrived] for array in (active, beyond, exit_facet, cell))
        # The line comes from the camera: it leaves the cell beyond and enters this one.
        back = np.argmax(cells.neighbours[beyond] == cell[:, None], axis=1)
        np.add.at(crossed, (beyond, back), VISIBILITY * (1 - np.exp(-((t[active] / sigma) ** 2) / 2)))
        current[active] = beyond
    behind = triangulation.find_simplex(ends - BEHIND * sigma * direction)  # type: ignore[attr-defined]
    full = np.bincount(behind[behind >= 0], minlength=count) * VISIBILITY
    return _Votes(crossed, free, full)


def _minimum_cut(cells: Cells, votes: _Votes) -> Bool[np.ndarray, "c"]:
    """Cells on the full side of the cheapest cut between free and full."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    count = len(cells.corners)
    source, sink = count, count + 1
    cell, facet = np.nonzero(cells.neighbours >= 0)
    between = (votes.crossed + SHAPE * _facet_quality(cells))[cell, facet]
    outside = (cells.corners >= len(cells.points) - 8).any(axis=1)
    start = np.concatenate([cell, np.full(count, source), np.arange(count)])
    end = np.concatenate([cells.neighbours[cell, facet], np.arange(count), np.full(count, sink)])
    weight = np.concatenate([between, votes.free, votes.full]) * UNIT
    whole = np.minimum(np.round(weight), HUGE).astype(np.int32)
    # What touches the box is outside whatever the lines say.
    whole[len(cell) : len(cell) + count][outside] = HUGE
    graph = coo_array((whole, (start, end)), shape=(count + 2, count + 2)).tocsr()
    graph.eliminate_zeros()
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.data[residual.data < 0] = 0
    residual.eliminate_zeros()
    full = np.ones(count + 2, dtype=bool)
    full[breadth_first_order(residual, source, return_predecessors=False)] = False
    return full[:count]


def _facet_quality(cells: Cells) -> Float[np.ndarray, "c 4"]:
    """1 - min(cos a, cos b) for the angles between a facet and the circumspheres of the cells on its two sides.

    Small where both spheres meet the facet flatly, as those on the two sides of a well sampled surface do.
    """
    centres, radii = _circumspheres(cells)
    height = cells.offsets - np.einsum("cki,ci->ck", cells.normals, centres)
    # The angle at which a sphere's tangent plane meets the facet has this cosine, signed by the side of the centre.
    cosine = np.clip(height / np.maximum(radii, 1e-300)[:, None], -1, 1)
    cell, facet = np.nonzero(cells.neighbours >= 0)
    beyond = cells.neighbours[cell, facet]
    back = np.argmax(cells.neighbours[beyond] == cell[:, None], axis=1)
    quality = np.zeros_like(cosine)
    quality[cell, facet] = 1 - np.minimum(cosine[cell, facet], cosine[beyond, back])
    return quality


def _circumspheres(cells: Cells) -> tuple[Float[np.ndarray, "c 3"], Float[np.ndarray, "c"]]:
    corners = cells.points[cells.corners]
    edges = corners[:, 1:] - corners[:, :1]
    determinant = np.linalg.det(edges)
    flat = np.abs(determinant) < 1e-18
    edges = np.where(flat[:, None, None], np.eye(3), edges)
    from_first = np.linalg.solve(edges, 0.5 * (edges**2).sum(axis=-1)[..., None])[..., 0]
    return corners[:, 0] + from_first, np.linalg.norm(from_first, axis=1)


def _surface(cells: Cells, full: Bool[np.ndarray, "c"]) -> Int[np.ndarray, "f 3"]:
    """Facets between full cells and free ones, counter-clockwise from the free side."""
    beyond_is_free = (cells.neighbours < 0) | ~full[cells.neighbours]
    cell, facet = np.nonzero(full[:, None] & beyond_is_free)
    return cells.corners[cell[:, None], FACETS[facet]]
