"""From a field to a triangle mesh: coarse to fine sampling, marching cubes, vertices on the level set.

The field is three functions of points in the unit cube; what they are made of does not matter here. `value` is negative
inside; a *vertex* of the grid is a sample position, a *block* is the cube of fine cells between neighbouring coarse
vertices. The grid has one layer of vertices beyond the cube that counts as outside, so every surface is closed; where
the object leaves the cube the mesh ends in a flat cap on the wall.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh

PointFunction = Callable[[Float[np.ndarray, "p 3"]], np.ndarray]
ColourFunction = Callable[[Float[np.ndarray, "p 3"], Float[np.ndarray, "p 3"]], Float[np.ndarray, "p 3"]]

MAX_RESOLUTION = 1024
CHUNK = 1 << 18
"""Points per call of the field."""
EDGE_MARGIN = 4e-4
"""Mesh vertices keep this fraction of an edge away from its ends, so that no triangle collapses."""
ROOT_STEPS = 12
ROOT_TOLERANCE = 1e-6
"""Of the difference of the field along one edge."""


def extract(
    value: PointFunction,
    gradient: PointFunction,
    colour: ColourFunction | None = None,
    *,
    resolution: int,
    coarse_resolution: int = 64,
    lower: float = -1.0,
    upper: float = 1.0,
) -> Mesh:
    """The zero level set of a field as a closed mesh in unit space, with normals and, given `colour`, vertex colours.

    `resolution` is the number of grid vertices per side of the cube [lower, upper]^3. Only blocks near the surface are
    sampled finely: those that the coarse samples place within reach (for a signed distance no sheet is lost, however
    thin) and those the surface continues into. Vertices lie on the level set to 1e-6 cells as a rule and 4e-4 at
    worst; each stays on its grid edge, so no triangle flips. Colours are those seen along the inward normal, clipped to
    [0, 1]. Raises ExportError when there is no surface or the field is not finite.
    """
    if not 8 <= resolution <= MAX_RESOLUTION:
        raise ExportError(f"resolution {resolution} is out of range: expected 8 to {MAX_RESOLUTION} samples per side.")
    grid = _Grid(value, resolution, min(coarse_resolution, resolution), lower, upper)
    grid.sample()
    middles, faces = _marching_cubes(grid)
    vertices, wall_normals = _on_level_set(grid, middles)
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


class _Grid:
    """Samples of a field, dense in memory but evaluated only where the surface may be.

    Array index i stands for the fine vertex i - 1: index 0 is the layer outside the lower wall.
    """

    def __init__(self, value: PointFunction, resolution: int, coarse_resolution: int, lower: float, upper: float):
        self.value = value
        self.resolution = resolution
        self.lower, self.upper = lower, upper
        self.spacing = (upper - lower) / (resolution - 1)
        self.block = max(1, round((resolution - 1) / max(coarse_resolution - 1, 1)))
        self.blocks = -(-(resolution + 1) // self.block)
        side = self.blocks * self.block + 1
        self.values: Float[np.ndarray, "s s s"] = np.ones((side, side, side), dtype=np.float32)
        self.known: Bool[np.ndarray, "s s s"] = np.zeros((side, side, side), dtype=bool)

    def sample(self) -> None:
        """Evaluate the coarse vertices, then the blocks near the surface, then those it continues into."""
        step = self.block
        within = slice(1, self.resolution + 1)
        self.known[:] = True
        self.known[within, within, within] = False
        self._evaluate(step * np.argwhere(np.ones((self.blocks + 1,) * 3, dtype=bool)))
        coarse = self.values[::step, ::step, ::step]
        pending = self._near_surface(coarse)
        self._fill_signs(coarse)
        done = np.zeros_like(pending)
        while pending.any():
            blocks = np.argwhere(pending)
            self._evaluate(self._vertices_of(blocks))
            done |= pending
            pending = self._continuations(blocks, done)

    def positions(self, index: Int[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        return self.lower + (index - 1) * self.spacing

    def _evaluate(self, index: Int[np.ndarray, "p 3"]) -> None:
        """Ask the field for those of the given vertices that are not known yet."""
        index = index[~self.known[tuple(index.T)]]
        for start in range(0, len(index), CHUNK):
            part = index[start : start + CHUNK]
            values = self.value(self.positions(part))
            if not np.isfinite(values).all():
                bad = self.positions(part)[~np.isfinite(values)][0]
                raise ExportError(
                    f"the field is not finite at {np.round(bad, 4).tolist()} (unit cube): the run diverged or its "
                    "checkpoint is damaged. Reconstruct again, or resume from an earlier checkpoint."
                )
            self.values[tuple(part.T)] = values
        self.known[tuple(index.T)] = True

    def _near_surface(self, coarse: Float[np.ndarray, "c c c"]) -> Bool[np.ndarray, "b b b"]:
        """Blocks whose corners change sign, or whose nearest corner is no farther from zero than the block reaches."""
        count = self.blocks
        corners = np.stack([coarse[i : i + count, j : j + count, k : k + count] for i, j, k in np.ndindex(2, 2, 2)])
        changes = (corners < 0).any(axis=0) & (corners >= 0).any(axis=0)
        # A signed distance changes by at most one coarse spacing per coarse step; a field of another scale (a logit) by
        # more or less. The steep steps tell which, and half a block's diagonal is the farthest that a point can be from
        # its nearest corner.
        steps = np.abs(np.diff(coarse[1:-1, 1:-1, 1:-1], axis=0))
        unit = np.quantile(steps, 0.999) if steps.size else np.inf
        return changes | (np.abs(corners).min(axis=0) <= 0.5 * np.sqrt(3) * unit)

    def _fill_signs(self, coarse: Float[np.ndarray, "c c c"]) -> None:
        """Give vertices that may never be evaluated the sign of their block."""
        inside = coarse[:-1, :-1, :-1] < 0
        for axis in range(3):
            inside = np.repeat(inside, self.block, axis=axis)
        rest = self.values[:-1, :-1, :-1]
        rest[inside & ~self.known[:-1, :-1, :-1]] = -1.0

    def _vertices_of(self, blocks: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, "p 3"]:
        needed = np.zeros_like(self.known)
        first = blocks * self.block
        for offset in np.ndindex(*(self.block + 1,) * 3):
            needed[tuple((first + np.array(offset)).T)] = True
        return np.argwhere(needed & ~self.known)

    def _continuations(
        self, blocks: Int[np.ndarray, "n 3"], done: Bool[np.ndarray, "b b b"]
    ) -> Bool[np.ndarray, "b b b"]:
        """Blocks not done yet that share a face with mixed signs with one of `blocks`."""
        pending = np.zeros_like(done)
        face = np.argwhere(np.ones((self.block + 1,) * 2, dtype=bool))
        for axis in range(3):
            for side, step in ((0, -1), (self.block, 1)):
                neighbours = blocks + step * np.eye(3, dtype=int)[axis]
                valid = ((neighbours >= 0) & (neighbours < self.blocks)).all(axis=1)
                valid[valid] &= ~done[tuple(neighbours[valid].T)]
                offsets = np.insert(face, axis, side, axis=1)
                index = blocks[valid][:, None] * self.block + offsets
                inside = self.values[index[..., 0], index[..., 1], index[..., 2]] < 0
                crossed = inside.any(axis=1) & ~inside.all(axis=1)
                pending[tuple(neighbours[valid][crossed].T)] = True
        return pending


def _marching_cubes(grid: _Grid) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
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
    grid: _Grid, middles: Float[np.ndarray, "v 3"]
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
        grid.value, start[free], end[free], grid.values[tuple(below[free].T)], grid.values[tuple(above[free].T)]
    )
    fraction = np.clip(fraction, EDGE_MARGIN, 1 - EDGE_MARGIN)
    return np.clip(start + fraction[:, None] * (end - start), grid.lower, grid.upper), wall_normals


def _roots_on_edges(
    value: PointFunction,
    start: Float[np.ndarray, "e 3"],
    end: Float[np.ndarray, "e 3"],
    start_value: Float[np.ndarray, "e"],
    end_value: Float[np.ndarray, "e"],
) -> Float[np.ndarray, "e"]:
    """Fraction of each edge at which the field changes sign: bracketed regula falsi with Illinois' correction."""
    fraction = np.full(len(start), 0.5)
    active = np.arange(len(start))
    low, high = np.zeros(len(start)), np.ones(len(start))
    low_value, high_value = start_value.astype(np.float64), end_value.astype(np.float64)
    tolerance = ROOT_TOLERANCE * np.abs(high_value - low_value)
    last = np.zeros(len(start))
    for _ in range(ROOT_STEPS):
        middle = low + (high - low) * low_value / (low_value - high_value)
        fraction[active] = middle
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
    return fraction


def in_chunks(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """The function of the arrays' rows, at most CHUNK of them per call, as float64."""
    parts = [
        np.asarray(function(*(array[start : start + CHUNK] for array in arrays)), dtype=np.float64)
        for start in range(0, max(len(arrays[0]), 1), CHUNK)
    ]
    return np.concatenate(parts)


def unit_rows(vectors: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """Rows scaled to length one; a vanishing row becomes +z, so that every vertex has a unit normal."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 1e-12)
    return np.where(usable, vectors / np.where(usable, lengths, 1.0), np.array([0.0, 0.0, 1.0]))
