"""Cutting a mesh where a value at its vertices falls below a threshold, as Kazhdan's SurfaceTrimmer does.

Three steps: the values are smoothed over the mesh, every face that the threshold crosses is split along it, and islands
that are too small are given to the side that surrounds them. (Pieces of one side, connected through shared vertices.)
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.surfaces.cleaning import face_areas, keep_faces
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import face_components

SMOOTHINGS = 5
"""Rounds of averaging with the neighbours, SurfaceTrimmer's default."""
ISLAND_SHARE = 0.001
"""Pieces smaller than this share of the whole area change sides, SurfaceTrimmer's default."""


def trim_by_density(mesh: Mesh, density: Float[np.ndarray, "v"], threshold: float) -> Mesh:
    """The part of a mesh where the smoothed value is at least the threshold; may be empty.

    Normals are dropped, colours interpolated along the cut.
    """
    values = smoothed(mesh.faces, density)
    split, kept = split_at(mesh, values, threshold)
    if not len(split.faces):
        return split
    areas = face_areas(split)
    specks, holes = _islands(split, kept, areas), _islands(split, ~kept, areas)
    # A small piece of its own that is too sparse is no hole in anything: it goes, where SurfaceTrimmer would keep it.
    beside_kept = np.zeros(len(split.vertices), dtype=bool)
    beside_kept[split.faces[kept & ~specks]] = True
    pieces = face_components(Mesh(split.vertices, split.faces[holes]))[1]
    touching = np.bincount(pieces, weights=beside_kept[split.faces[holes]].any(axis=1)) > 0
    holes[holes] = touching[pieces]
    return keep_faces(split, (kept & ~specks) | holes)


def smoothed(faces: Int[np.ndarray, "f 3"], values: Float[np.ndarray, "v"]) -> Float[np.ndarray, "v"]:
    """Values averaged over each vertex and its neighbours, a neighbour once per face that they share, five times."""
    from scipy.sparse import csr_array

    first, second = faces[:, [0, 1, 2, 1, 2, 0]].ravel(), faces[:, [1, 2, 0, 0, 1, 2]].ravel()
    count = len(values)
    neighbours = csr_array((np.ones(len(first)), (first, second)), shape=(count, count))
    weight = 1 + neighbours.sum(axis=1)
    for _ in range(SMOOTHINGS):
        values = (values + neighbours @ values) / weight
    return values


def split_at(mesh: Mesh, values: Float[np.ndarray, "v"], threshold: float) -> tuple[Mesh, Bool[np.ndarray, "f"]]:
    """The same surface with every face on one side of the threshold, and which faces are at or above it."""
    above = values >= threshold
    corners_above = above[mesh.faces]
    count = corners_above.sum(axis=1)
    whole = (count == 0) | (count == 3)
    # The corner that is alone on its side comes first; the winding stays.
    mixed = mesh.faces[~whole]
    alone = np.argmax(corners_above[~whole] == (count[~whole] == 1)[:, None], axis=1)
    mixed = np.take_along_axis(mixed, (alone[:, None] + np.arange(3)) % 3, axis=1)
    lone_above = count[~whole] == 1
    mesh, cut = _with_cuts(mesh, values, threshold, mixed)
    apex, left, right = mixed.T
    cut_left, cut_right = cut
    tips = np.stack([apex, cut_left, cut_right], axis=1)
    bases = [np.stack([cut_left, left, right], axis=1), np.stack([cut_left, right, cut_right], axis=1)]
    faces = np.concatenate([mesh.faces[whole], tips, *bases])
    kept = np.concatenate([count[whole] == 3, lone_above, ~lone_above, ~lone_above])
    return Mesh(mesh.vertices, faces, None, mesh.colors), kept


def _with_cuts(
    mesh: Mesh, values: Float[np.ndarray, "v"], threshold: float, mixed: Int[np.ndarray, "m 3"]
) -> tuple[Mesh, Int[np.ndarray, "2 m"]]:
    """The mesh with one more vertex on each edge that is cut; their indices on the edges 0-1 and 0-2 of `mixed`."""
    edges = np.concatenate([mixed[:, [0, 1]], mixed[:, [0, 2]]])
    unique, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    start, end = unique.T
    # The ends lie on different sides, so the difference is not zero; equality at one end puts the cut there.
    fraction = ((threshold - values[start]) / (values[end] - values[start]))[:, None]

    def with_cuts(of_vertices: Float[np.ndarray, "v c"]) -> Float[np.ndarray, "w c"]:
        return np.concatenate([of_vertices, of_vertices[start] * (1 - fraction) + of_vertices[end] * fraction])

    colors = None if mesh.colors is None else with_cuts(mesh.colors)
    cut = (len(values) + index.reshape(2, -1)).astype(np.int64)
    return Mesh(with_cuts(mesh.vertices), mesh.faces, None, colors), cut


def _islands(split: Mesh, side: Bool[np.ndarray, "f"], areas: Float[np.ndarray, "f"]) -> Bool[np.ndarray, "f"]:
    """Faces of one side that belong to a piece of less than ISLAND_SHARE of the whole area."""
    found = np.zeros(len(areas), dtype=bool)
    if not side.any():
        return found
    count, of_face = face_components(Mesh(split.vertices, split.faces[side]))
    piece_areas = np.bincount(of_face, weights=areas[side], minlength=count)
    found[side] = (piece_areas < ISLAND_SHARE * areas.sum())[of_face]
    return found
