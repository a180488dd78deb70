"""What a mesh is, in numbers: size, area, whether it is closed, how many parts it has."""

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.reporting.schema import MeshReport
from dvr_cli.surfaces.mesh import Mesh


def mesh_statistics(mesh: Mesh) -> MeshReport:
    """Statistics of a mesh as the faces use it: vertices that no face names are not counted."""
    used = np.unique(mesh.faces)
    points = mesh.vertices[used]
    corners = mesh.vertices[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    watertight = _is_watertight(mesh.faces)
    # From the box's middle, so that a distant origin costs no digits.
    middle = points.mean(axis=0) if len(points) else np.zeros(3)
    volume = float(np.einsum("fi,fi->", corners[:, 0] - middle, cross) / 6) if watertight else None
    return MeshReport(
        vertices=len(used),
        faces=len(mesh.faces),
        area=float(0.5 * np.linalg.norm(cross, axis=1).sum()),
        volume=volume,
        watertight=watertight,
        components=_count_components(mesh.faces, used),
        has_colors=mesh.colors is not None,
        lower_corner=points.min(axis=0).tolist() if len(points) else [],
        upper_corner=points.max(axis=0).tolist() if len(points) else [],
    )


def diagonal_of(points: Float[np.ndarray, "p 3"]) -> float:
    """Length of the diagonal of the points' bounding box; 0 for no points."""
    return float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0


def _is_watertight(faces: Int[np.ndarray, "f 3"]) -> bool:
    if not len(faces):
        return False
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
    _, uses = np.unique(edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1], return_counts=True)
    return bool((uses == 2).all())


def _count_components(faces: Int[np.ndarray, "f 3"], used: Int[np.ndarray, "u"]) -> int:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(faces):
        return 0
    local = np.searchsorted(used, faces)
    rows, columns = local[:, [0, 1]].ravel(), local[:, [1, 2]].ravel()
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(used), len(used)))
    return int(connected_components(graph, directed=False)[0])
