"""The part of a closed surface that photographs show: for scenes without masks, whose surface goes on to the border.

Without masks the object cannot be told from what it stands on or hangs at. The reconstruction is a solid that ends at
the border of the region of interest; that border is no surface, and neither is the back of what nobody photographed.
Both are cut off here, which leaves the mesh open. Labels are carried by vertices and smoothed along the mesh, so that
the cut is not ragged and pits that no camera looks into stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.cleaning import face_areas, keep_faces
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.surfaces.topology import face_components

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BORDER = 0.05
"""What lies this close to the border of the region of interest, or to the walls of the cube, is cut off; in radii of
the one and half sides of the other. The first field is rounded there over this distance."""
SEEING_VIEWS = 2
"""Views that must see a vertex: what only one has seen cannot have been compared."""
LEAST_FACING = 0.1
"""Least cosine between a vertex's normal and the way to a camera that sees it."""
PITS = 4
"""Rings of vertices by which gaps in what is seen are closed, and shreds of it taken away."""
GAPS = 8
"""Rings of vertices by which gaps in what is supported are closed: blank spots in between textures are surface."""
LEAST_PART = 0.02
"""Separate parts with less area than this share of the largest are left out, if nobody asks for another share."""
SLACK = 1e-4
"""Of the mesh's size; where the way to the camera starts."""


@dataclass(frozen=True)
class Opened:
    """What was left of a mesh."""

    mesh: Mesh
    removed_share: float
    """Of the mesh's area, 0 to 1."""
    parts: int
    """Separate parts left out for their size."""


def opened(
    mesh: Mesh,
    cameras: Sequence[Camera],
    unit_from_world: Float[np.ndarray, "4 4"],
    cube_from_world: Float[np.ndarray, "4 4"],
    least_part: float = LEAST_PART,
    supported: Bool[np.ndarray, "v"] | None = None,
) -> Opened:
    """The faces that at least two cameras see, away from the border of the unit ball and of the cube.

    `supported`: vertices at which photographs were found to agree; what is far from all of them goes as well.

    `mesh` in world units with outward normals. Separate parts with less than `least_part` of the largest one's area go;
    1 keeps that one alone. The mesh itself, when nothing would be left.
    """
    inner = np.linalg.norm(apply(unit_from_world, mesh.vertices), axis=1) < 1 - BORDER
    inner &= np.abs(apply(cube_from_world, mesh.vertices)).max(axis=1) < 1 - BORDER
    neighbours = _neighbours(mesh)
    seen = _without_gaps(_seen(mesh, cameras), neighbours)
    if supported is not None and supported.any():
        seen &= ~_grown(~_grown(supported, neighbours, GAPS), neighbours, GAPS)
    kept = (inner & seen)[mesh.faces].all(axis=1)
    if not kept.any():
        return Opened(mesh, 0.0, 0)
    areas = face_areas(mesh)
    part = keep_faces(mesh, kept)
    count, of_face = face_components(part)
    part_areas = np.bincount(of_face, weights=areas[kept], minlength=count)
    large = part_areas >= least_part * part_areas.max()
    left = keep_faces(part, large[of_face])
    return Opened(left, 1 - float(part_areas[large].sum() / areas.sum()), int((~large).sum()))


def _seen(mesh: Mesh, cameras: Sequence[Camera]) -> Bool[np.ndarray, "v"]:
    """Vertices in the pictures of enough cameras, turned towards them, with nothing of the mesh in between."""
    assert mesh.normals is not None
    caster, count = RayCaster(mesh), np.zeros(len(mesh.vertices), np.int64)
    slack = SLACK * float(np.ptp(mesh.vertices, axis=0).max())
    for camera in cameras:
        towards = camera.centre - mesh.vertices
        distance = np.linalg.norm(towards, axis=1)
        pixels, depth = camera.project(mesh.vertices)
        with np.errstate(invalid="ignore"):
            shown = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < [camera.width, camera.height]).all(axis=1)
        facing = np.einsum("vi,vi->v", towards, mesh.normals) > LEAST_FACING * distance
        index = np.flatnonzero(shown & facing & (count < SEEING_VIEWS))
        directions = towards[index] / distance[index, None]
        hits = caster.cast(mesh.vertices[index] + slack * (directions + mesh.normals[index]), directions)
        count[index] += hits.t > distance[index] - 2 * slack
    return count >= SEEING_VIEWS


def _neighbours(mesh: Mesh) -> "csr_array":
    """Which vertices share an edge, each with itself."""
    from scipy.sparse import coo_array

    first = np.concatenate([mesh.faces, np.roll(mesh.faces, -1, axis=1)]).ravel()
    second = np.concatenate([np.roll(mesh.faces, -1, axis=1), mesh.faces]).ravel()
    itself = np.arange(len(mesh.vertices))
    places = (np.concatenate([first, itself]), np.concatenate([second, itself]))
    ones = np.ones(len(places[0]), np.float32)
    return coo_array((ones, places), shape=(len(itself), len(itself))).tocsr()


def _without_gaps(label: Bool[np.ndarray, "v"], neighbours: "csr_array") -> Bool[np.ndarray, "v"]:
    """Closing, then opening along the mesh."""

    closed = ~_grown(~_grown(label, neighbours, PITS), neighbours, PITS)
    return _grown(~_grown(~closed, neighbours, PITS), neighbours, PITS)


def _grown(label: Bool[np.ndarray, "v"], neighbours: "csr_array", rings: int) -> Bool[np.ndarray, "v"]:
    """The label and so many rings of vertices around it."""
    for _ in range(rings):
        label = neighbours @ label.astype(np.float32) > 0
    return label
