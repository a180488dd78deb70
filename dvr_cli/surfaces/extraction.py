"""From a field to a triangle mesh: coarse to fine sampling, marching cubes, vertices on the level set.

The field is three functions of points in the unit cube; what they are made of does not matter here. `value` is negative
inside. The grid (`sampling.py`, `mise.py`) has one layer of vertices beyond the cube that counts as outside, so every
surface is closed; where the object leaves the cube the mesh ends in a flat cap on the wall.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.mise import sampled_by_sign
from dvr_cli.surfaces.sampling import BY_DISTANCE, PointFunction, SampledGrid, Sampling, in_chunks, sampled_by_distance

ColourFunction = Callable[[Float[np.ndarray, "p 3"], Float[np.ndarray, "p 3"]], Float[np.ndarray, "p 3"]]

MAX_RESOLUTION = 1024
EDGE_MARGIN = 4e-4
"""Mesh vertices keep this fraction of an edge away from its ends, so that no triangle collapses."""
ROOT_TOLERANCE = 1e-6
"""Of the difference of the field along one edge."""


def extract(
    value: PointFunction,
    gradient: PointFunction,
    colour: ColourFunction | None = None,
    *,
    resolution: int,
    lower: float = -1.0,
    upper: float = 1.0,
    sampling: Sampling = BY_DISTANCE,
) -> Mesh:
    """The zero level set of a field as a closed mesh in unit space, with normals and, given `colour`, vertex colours.

    `resolution` is the number of grid vertices per side of the cube [lower, upper]^3. Only blocks near the surface are
    sampled finely: those that the coarse samples place within reach (for a signed distance no sheet is lost, however
    thin) and those the surface continues into. `sampling=BY_SIGN` evaluates fewer points, for fields that are costly;
    it may lose features thinner than one of its coarse cells, (upper - lower) / 32. Vertices lie on the level set to
    1e-6 cells as a rule and 4e-4 at worst; with the one root step of BY_SIGN to 2e-4 as a rule and some hundredths at
    worst. Each stays on its grid edge, so no triangle flips. Colours are those seen along the inward normal, clipped to
    [0, 1]. Raises ExportError when there is no surface or the field is not finite.
    """
    if not 8 <= resolution <= MAX_RESOLUTION:
        raise ExportError(f"resolution {resolution} is out of range: expected 8 to {MAX_RESOLUTION} samples per side.")
    sampled = sampled_by_distance if sampling.method == "distance" else sampled_by_sign
    grid = sampled(value, resolution, sampling.coarse_resolution, lower, upper)
    middles, faces = _marching_cubes(grid)
    vertices, wall_normals = _on_level_set(grid, middles, sampling.root_steps)
    capped = wall_normals.any(axis=1, keepdims=True)
    normals = unit_rows(np.where(capped, wall_normals, in_chunks(gradient, vertices)))
    colors = None
    if colour is not None:
        colors = np.clip(np.nan_to_num(in_chunks(colour, vertices, -normals)), 0.0, 1.0)
    return Mesh(vertices, faces, normals, colors)


def to_world(mesh: Mesh, world_from_unit: Float[np.ndarray, "4 4"]) -> Mesh:
    """The mesh moved by a similarity without reflection."""
    linear = world_from_unit[:3, :3]
    scale = np.cbrt(np.linalg.det(linear))
    if not scale > 0:
        raise ValueError("world_from_unit mirrors or flattens: its determinant must be positive")
    vertices = mesh.vertices @ linear.T + world_from_unit[:3, 3]
    normals = None if mesh.normals is None else mesh.normals @ linear.T / scale
    return Mesh(vertices, mesh.faces, normals, mesh.colors, mesh.texture)


def _marching_cubes(grid: SampledGrid) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Marching cubes on the box that holds the surface: middles of the crossed edges (array index) and faces."""
    import mcubes

    inside = grid.values < 0
    if not inside.any():
        raise ExportError(
            "the field has no surface inside the region of interest: nothing is inside. Reconstruct for longer, or "
            "check masks and cameras with `dvr inspect`."
        )
    box = []
    for axis in range(3):
        occupied = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(occupied[0] - 1, occupied[-1] + 2))
    # PyMCubes' faces look towards smaller values: hence the sign. Only signs matter here, because the vertices are
    # moved to the root afterwards; +-1 puts each exactly at the middle of its edge, which tells the edge.
    signs = np.where(inside[tuple(box)], np.float32(1), np.float32(-1))
    index, faces = mcubes.marching_cubes(signs, 0.0)
    return index + np.array([part.start for part in box]), faces.astype(np.int64)


def _on_level_set(
    grid: SampledGrid, middles: Float[np.ndarray, "v 3"], root_steps: int
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3"]]:
    """Vertices in unit space, moved along their grid edge to the level set, and the wall's normal where a wall caps it.

    The second array is zero for vertices of the level set.
    """
    below, above = np.floor(middles).astype(np.int64), np.ceil(middles).astype(np.int64)
    wall_normals = (above > grid.resolution).astype(np.float64) - (below < 1)
    free = ~wall_normals.any(axis=1)
    start, end = grid.positions(below), grid.positions(above)
    fraction = np.full(len(middles), 0.5)
    fraction[free] = _roots_on_edges(
        grid.value,
        start[free],
        end[free],
        grid.values[tuple(below[free].T)],
        grid.values[tuple(above[free].T)],
        root_steps,
    )
    fraction = np.clip(fraction, EDGE_MARGIN, 1 - EDGE_MARGIN)
    return np.clip(start + fraction[:, None] * (end - start), grid.lower, grid.upper), wall_normals


def _roots_on_edges(
    value: PointFunction,
    start: Float[np.ndarray, "e 3"],
    end: Float[np.ndarray, "e 3"],
    start_value: Float[np.ndarray, "e"],
    end_value: Float[np.ndarray, "e"],
    root_steps: int,
) -> Float[np.ndarray, "e"]:
    """Fraction of each edge at which the field changes sign: bracketed regula falsi with Illinois' correction.

    At most `root_steps` evaluations per edge; without any it is linear interpolation.
    """
    low, high = np.zeros(len(start)), np.ones(len(start))
    low_value, high_value = start_value.astype(np.float64), end_value.astype(np.float64)
    fraction = low_value / (low_value - high_value)
    active = np.arange(len(start))
    tolerance = ROOT_TOLERANCE * np.abs(high_value - low_value)
    last = np.zeros(len(start))
    for _ in range(root_steps):
        middle = fraction[active]
        found = in_chunks(value, start[active] + middle[:, None] * (end - start)[active])
        moves_low = (found < 0) == (low_value < 0)
        # When the same end moves twice, halving the value kept at the other brings that end in as well.
        high_value = np.where(moves_low, np.where(last == -1, 0.5 * high_value, high_value), found)
        low_value = np.where(moves_low, found, np.where(last == 1, 0.5 * low_value, low_value))
        low, high = np.where(moves_low, middle, low), np.where(moves_low, high, middle)
        last = np.where(moves_low, -1, 1)
        rest = np.abs(found) > tolerance
        active, low, high, low_value, high_value, tolerance, last = (
            array[rest] for array in (active, low, high, low_value, high_value, tolerance, last)
        )
        if not len(active):
            break
        fraction[active] = low + (high - low) * low_value / (low_value - high_value)
    return fraction


def unit_rows(vectors: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """Rows scaled to length one; a vanishing row becomes +z, so that every vertex has a unit normal."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 1e-12)
    return np.where(usable, vectors / np.where(usable, lengths, 1.0), np.array([0.0, 0.0, 1.0]))
