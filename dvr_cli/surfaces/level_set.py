"""Vertices of a mesh back onto the level set of the field that it came from, without breaking the mesh.

Simplification puts vertices near the surface, not on it. Newton steps along the field's gradient bring them back; a
vertex takes a step only if the field's value shrinks, it stays near its neighbours and no face turns over. Vertices on
the cube's walls (where flat caps close the surface) move within the wall.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.surfaces.extraction import PointFunction, in_chunks, unit_rows
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.simplifying.crossings import crossings

STEPS = 6
LONGEST_STEP = 0.25
"""Of the shortest edge at the vertex, per step and all in all."""
FARTHEST = 0.5
"""Of the mean length of the edges at the vertex: how far it may go in all."""
LEAST_AGREEMENT = 0.3
"""Cosine between a face before and after: less counts as turning over."""
NEAR_WALL = 0.05
"""Distance from a wall, in mean edges at the vertex, within which a corner of a face along the wall belongs to it."""
ALONG_WALL = 0.99
"""Cosine between a face's normal and the wall's from which the face lies along the wall."""
TOLERANCE = 1e-7
"""Of the cube's side: vertices nearer to the level set than this stay."""


def onto_level_set(
    mesh: Mesh, value: PointFunction, gradient: PointFunction, *, lower: float = -1.0, upper: float = 1.0
) -> Mesh:
    """The mesh with vertices moved to where `value` is zero as far as that is safe, and normals along `gradient`.

    `mesh` is in unit space. Faces, colours and texture stay. No vertex ends with a larger |value| than it began with or
    goes farther than half a mean edge, no face turns by more than 72 degrees, and the surface does not pass through
    itself unless it did before. Vertices of caps on the walls of the cube [lower, upper]^3 go exactly onto them and
    stay; inside a cap, where the level set does not pass, they do nothing else.
    """
    if not len(mesh.faces):
        return mesh
    reach = _edge_lengths(mesh)
    walls = _walls(mesh, reach[:, 1], lower, upper)
    start_normals = _face_normals(mesh.vertices, mesh.faces)
    home = _on_walls(mesh.vertices, walls, lower, upper)
    _take_back(mesh.faces, mesh.vertices, home, start_normals)
    vertices, values = home.copy(), in_chunks(value, home)
    movable = np.isfinite(values) & _on_surface(mesh, walls)
    for _ in range(STEPS):
        moving = np.flatnonzero(movable & (np.abs(values) > TOLERANCE * (upper - lower)))
        if not len(moving):
            break
        step = _newton(vertices[moving], values[moving], gradient, walls[moving])
        goal = np.clip(_bounded(home[moving], vertices[moving], step, reach[moving]), lower, upper)
        trial, trial_values = vertices.copy(), values.copy()
        trial[moving] = np.where(walls[moving] != 0, vertices[moving], goal)
        trial_values[moving] = in_chunks(value, trial[moving])
        worse = ~(np.abs(trial_values) <= np.abs(values))
        trial[worse], trial_values[worse] = vertices[worse], values[worse]
        kept_back = _take_back(mesh.faces, vertices, trial, start_normals)
        trial_values[kept_back] = values[kept_back]
        movable &= ~(worse | kept_back)
        vertices, values = trial, trial_values
    _uncross(mesh, vertices)
    return replace(mesh, vertices=vertices, normals=normals_of_field(vertices, gradient, walls))


def normals_of_field(
    vertices: Float[np.ndarray, "v 3"], gradient: PointFunction, walls: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals along the field's gradient; on a wall, the wall's. `walls` holds the outward directions or zeros."""
    return unit_rows(np.where(walls.any(axis=1, keepdims=True), walls, in_chunks(gradient, vertices)))


def _walls(mesh: Mesh, mean_edge: Float[np.ndarray, "v"], lower: float, upper: float) -> Float[np.ndarray, "v 3"]:
    """Per axis 1 for vertices of a cap on the upper wall, -1 on the lower one, else 0."""
    normals = unit_rows(_face_normals(mesh.vertices, mesh.faces))
    walls = np.zeros_like(mesh.vertices)
    for axis in range(3):
        for side, place in ((-1, lower), (1, upper)):
            near = side * (mesh.vertices[:, axis] - place) >= -NEAR_WALL * mean_edge
            cap = (side * normals[:, axis] > ALONG_WALL) & near[mesh.faces].all(axis=1)
            walls[mesh.faces[cap], axis] = side
    return walls


def _on_walls(
    vertices: Float[np.ndarray, "v 3"], walls: Float[np.ndarray, "v 3"], lower: float, upper: float
) -> Float[np.ndarray, "v 3"]:
    """Within the cube, and vertices of caps exactly on their walls."""
    return np.where(walls > 0, upper, np.where(walls < 0, lower, np.clip(vertices, lower, upper)))


def _on_surface(mesh: Mesh, walls: Float[np.ndarray, "v 3"]) -> Bool[np.ndarray, "v"]:
    """Vertices that belong to the level set: off the walls, or on the rim of a cap, where a face leaves the wall."""
    capped = np.asarray(walls.any(axis=1))
    leaves = np.zeros(len(mesh.vertices), dtype=bool)
    of_one_wall = np.stack([(walls[mesh.faces] == side).all(axis=1) for side in (-1, 1)]).any(axis=(0, 2))
    leaves[mesh.faces[~of_one_wall]] = True
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    return used & np.logical_or(leaves, np.logical_not(capped))


def _uncross(mesh: Mesh, vertices: Float[np.ndarray, "v 3"]) -> None:
    """Put back, in `vertices`, those at places where the surface now passes through itself."""
    while True:
        edges, through = crossings(replace(mesh, vertices=vertices))
        corners = np.unique(np.concatenate([edges.ravel(), mesh.faces[through].ravel()]))
        corners = corners[(vertices[corners] != mesh.vertices[corners]).any(axis=1)]
        if not len(corners):
            return
        vertices[corners] = mesh.vertices[corners]


def _edge_lengths(mesh: Mesh) -> Float[np.ndarray, "v 2"]:
    """Shortest and mean length of the edges at every vertex (0 where there is none)."""
    count = len(mesh.vertices)
    start, end = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    lengths = np.linalg.norm(mesh.vertices[start] - mesh.vertices[end], axis=1)
    shortest = np.full(count, np.inf)
    for vertices in (start, end):
        np.minimum.at(shortest, vertices, lengths)
    number = np.bincount(start, minlength=count) + np.bincount(end, minlength=count)
    total = np.bincount(start, lengths, minlength=count) + np.bincount(end, lengths, minlength=count)
    return np.stack([np.where(number > 0, shortest, 0.0), total / np.maximum(number, 1)], axis=1)


def _newton(
    points: Float[np.ndarray, "p 3"],
    values: Float[np.ndarray, "p"],
    gradient: PointFunction,
    walls: Float[np.ndarray, "p 3"],
) -> Float[np.ndarray, "p 3"]:
    """Steps to the root of the linearised field, within the wall for points on one."""
    slope = np.nan_to_num(in_chunks(gradient, points))
    slope[walls != 0] = 0.0
    square = (slope**2).sum(axis=1)
    return -np.where(square > 1e-12, values / np.maximum(square, 1e-12), 0.0)[:, None] * slope


def _bounded(
    home: Float[np.ndarray, "p 3"],
    points: Float[np.ndarray, "p 3"],
    step: Float[np.ndarray, "p 3"],
    reach: Float[np.ndarray, "p 2"],
) -> Float[np.ndarray, "p 3"]:
    """The points after their steps, shortened to the limits per step and from home."""

    def shortened(vectors: Float[np.ndarray, "p 3"], limit: Float[np.ndarray, "p"]) -> Float[np.ndarray, "p 3"]:
        length = np.linalg.norm(vectors, axis=1)
        return vectors * np.minimum(1.0, limit / np.maximum(length, 1e-300))[:, None]

    away = points + shortened(step, LONGEST_STEP * reach[:, 0]) - home
    return home + shortened(away, FARTHEST * reach[:, 1])


def _take_back(
    faces: Int[np.ndarray, "f 3"],
    before: Float[np.ndarray, "v 3"],
    after: Float[np.ndarray, "v 3"],
    start_normals: Float[np.ndarray, "f 3"],
) -> Bool[np.ndarray, "v"]:
    """Undo, in `after`, the steps of corners of faces that would turn over, until none does; marks the vertices."""
    undone = np.zeros(len(after), dtype=bool)
    was_turned = _turned(_face_normals(before, faces), start_normals)
    while True:
        turned = _turned(_face_normals(after, faces), start_normals) & ~was_turned
        corners = np.unique(faces[turned])
        corners = corners[~undone[corners]]
        if not len(corners):
            return undone
        after[corners] = before[corners]
        undone[corners] = True


def _turned(normals: Float[np.ndarray, "f 3"], start: Float[np.ndarray, "f 3"]) -> Bool[np.ndarray, "f"]:
    lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(start, axis=1)
    return np.einsum("fi,fi->f", normals, start) <= LEAST_AGREEMENT * lengths


def _face_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    corners = vertices[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
