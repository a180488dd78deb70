"""Meshes small enough to stand in a page: decimated, quantised, reordered and deflated; what viewer.js reads.

Positions are 16 bits per axis within each mesh's own box, given in the viewer's space, (world - centre) / radius;
normals and colours 8 bits per channel; errors 8 bits from 0 to the limit of the colour scale. Arrays are stored channel
by channel as differences of neighbours (modulo their width), which deflate well once neighbours in space are neighbours
in the file: vertices are in Morton order and faces start with their lowest vertex.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt16

from dvr_cli.reporting.distances import Distance
from dvr_cli.reporting.encoding import packed
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.normals import vertex_normals

_TOLERATED = 1.1
"""Times the number of faces that was asked for."""


@dataclass(frozen=True)
class Ball:
    """What the viewer shows at first."""

    centre: Float[np.ndarray, "3"]
    """World."""
    radius: float
    """World units, above 0."""


def ball_around(meshes: Sequence[Mesh]) -> Ball:
    """The middle 96 % of the vertices, along each axis, of the typical mesh: flung-off parts do not count."""
    boxes = [np.percentile(mesh.vertices[np.unique(mesh.faces)], (2, 98), axis=0) for mesh in meshes if len(mesh.faces)]
    if not boxes:
        return Ball(np.zeros(3), 1.0)
    low, high = np.median(boxes, axis=0)
    radius = 0.5 * float(np.linalg.norm(high - low))
    return Ball((low + high) / 2, radius if radius > 0 else 1.0)


def pack_mesh(
    mesh: Mesh, ball: Ball, target_faces: int, distance: Distance | None = None, error_limit: float = 1.0
) -> dict[str, Any]:
    """A mesh as JSON-ready values for the viewer; errors are those of the nearest vertices before decimation."""
    small, nearest = _decimated(mesh, target_faces)
    normals = (mesh.normals if mesh.normals is not None else vertex_normals(mesh))[nearest]
    low, size = _box_of((small.vertices - ball.centre) / ball.radius)
    quantised = np.round(((small.vertices - ball.centre) / ball.radius - low) / size * 65535).astype(np.uint16)
    order, faces = _reordered(quantised, small.faces)
    wide = len(order) > 65536
    errors = None if distance is None else _bytes(distance(mesh.vertices[nearest[order]])[:, None] / error_limit)
    return {
        "vertices": len(order),
        "faces": len(faces),
        "all_faces": len(mesh.faces),
        "low": low.tolist(),
        "size": size.tolist(),
        "index_bits": 32 if wide else 16,
        "indices": packed(_face_differences(faces).astype(np.uint32 if wide else np.uint16)),
        "positions": packed(_differences(quantised[order])),
        "normals": packed(_differences(np.round(127 * normals[order]).astype(np.int8).view(np.uint8))),
        "colours": None if mesh.colors is None else packed(_differences(_bytes(mesh.colors[nearest[order]]))),
        "errors": None if errors is None else packed(_differences(errors)),
    }


def _decimated(mesh: Mesh, target_faces: int) -> tuple[Mesh, Int[np.ndarray, "s"]]:
    """A mesh of about `target_faces` faces without unused vertices, and the nearest vertex of the original to each."""
    from scipy.spatial import cKDTree

    used = np.unique(mesh.faces)
    whole = Mesh(mesh.vertices[used], np.searchsorted(used, mesh.faces).astype(np.int64))
    if len(whole.faces) <= target_faces:
        return whole, used
    centre, size = whole.vertices.mean(axis=0), float(np.ptp(whole.vertices, axis=0).max()) or 1.0
    vertices, faces = _simplified((whole.vertices - centre) / size, whole.faces, target_faces)
    kept = np.unique(faces)
    small = Mesh(vertices[kept] * size + centre, np.searchsorted(kept, faces).astype(np.int64))
    return small, used[cKDTree(whole.vertices).query(small.vertices)[1]]


def _simplified(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], target_faces: int
) -> tuple[Float[np.ndarray, "s 3"], Int[np.ndarray, "g 3"]]:
    """Quadric decimation by fast-simplification where it is installed (several times as fast), else by Open3D.

    The first gives up early on large rough meshes; Open3D then does the rest.
    """
    import open3d

    try:
        simplify = importlib.import_module("fast_simplification").simplify
        share = 1 - target_faces / len(faces)
        points, triangles = simplify(vertices.astype(np.float32), faces.astype(np.int32), target_reduction=share)
        vertices, faces = points.astype(np.float64), triangles.astype(np.int64)
    except ImportError:
        pass
    if len(faces) <= _TOLERATED * target_faces:
        return vertices, faces
    utility = open3d.utility
    shape = open3d.geometry.TriangleMesh(
        utility.Vector3dVector(vertices), utility.Vector3iVector(faces.astype(np.int32))
    ).simplify_quadric_decimation(target_faces)
    return np.asarray(shape.vertices), np.asarray(shape.triangles).astype(np.int64)


def _box_of(points: Float[np.ndarray, "p 3"]) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    low = points.min(axis=0)
    return low, np.maximum(np.ptp(points, axis=0), 1e-9)


def _reordered(
    quantised: UInt16[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Int[np.ndarray, "v"], Int[np.ndarray, "f 3"]]:
    """Vertices along a Morton curve; faces turned so that the lowest vertex comes first, then sorted."""
    order = np.argsort(_morton(quantised), kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    renamed = place[faces]
    first = np.argmin(renamed, axis=1)
    turned = np.take_along_axis(renamed, (first[:, None] + np.arange(3)) % 3, axis=1)
    return order, turned[np.lexsort(turned.T[::-1])]


def _morton(quantised: UInt16[np.ndarray, "v 3"]) -> Int[np.ndarray, "v"]:
    """The bits of x, y and z interleaved, of 16 bits each."""
    code = np.zeros(len(quantised), dtype=np.int64)
    for bit in range(16):
        for axis in range(3):
            code |= ((quantised[:, axis].astype(np.int64) >> bit) & 1) << (3 * bit + axis)
    return code


def _face_differences(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "3 f"]:
    """First corners as differences of neighbours, the others as differences to the first."""
    first = np.diff(faces[:, 0], prepend=0)
    return np.stack([first, faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]])


def _differences(channels: np.ndarray) -> np.ndarray:
    """Channel by channel, the differences of neighbours modulo the width of the type; (n, c) -> (c, n)."""
    return np.diff(channels.T, axis=1, prepend=np.zeros((channels.shape[1], 1), dtype=channels.dtype))


def _bytes(values: Float[np.ndarray, "v c"]) -> np.ndarray:
    return np.round(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)
