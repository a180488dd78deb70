"""Multi-resolution isosurface extraction (MISE): samples for fields that are costly to evaluate.

Mescheder et al., Occupancy Networks, CVPR 2019, section 3.3 and figure 2: evaluate a coarse lattice, halve the cells
whose corners change sign, evaluate the new corners, and so on down to the fine grid. Used by DVR from 32 to 512 cells.
One thing is added: where a new corner contradicts the sign that a cell not halved was taken to have, the surface is
followed into it, so that it is not cut open or capped there.

Notation: at one level the lattice holds the grid's vertices at multiples of `step`; a *cell* is the cube between eight
neighbouring vertices of it, *mixed* when some of its corners are inside and some outside.
"""

import numpy as np
from jaxtyping import Bool, Int

from dvr_cli.surfaces.sampling import PointFunction, SampledGrid

CORNERS: Int[np.ndarray, "8 3"] = np.argwhere(np.ones((2, 2, 2), dtype=bool))


def sampled_by_sign(
    value: PointFunction, resolution: int, coarse_resolution: int, lower: float, upper: float
) -> SampledGrid:
    """A grid evaluated at the corners of every cell, of each level, that the surface is known to pass through.

    `coarse_resolution` is the least number of cells per side to start with; the first cells are a power of two of fine
    cells wide. On return every fine cell with corners of both signs has all its corners evaluated. The values need not
    be distances. Parts of the surface that lie within one first cell, or cross its edges twice, are lost unless what is
    found leads to them: features thinner than (upper - lower) / coarse_resolution may be.
    """
    grid = SampledGrid(value, resolution, first_cell(resolution, coarse_resolution), lower, upper)
    grid.evaluate_lattice()
    step = grid.block
    while step > 1:
        inside = grid.values[::step, ::step, ::step] < 0
        step //= 2
        _guess_signs(grid, inside, step)
        contradicted = grid.evaluate(_vertices_within(grid, np.argwhere(_mixed(inside)), step))
        while len(contradicted):
            contradicted = grid.evaluate(_corners_of_mixed_cells(grid, contradicted, step))
    return grid


def first_cell(resolution: int, coarse_resolution: int) -> int:
    """Fine cells along a cell of the first level: the largest power of two that leaves `coarse_resolution` or more."""
    # The layers beyond the two walls make a grid of `resolution` vertices resolution + 1 cells wide.
    return 1 << max(0, ((resolution + 1) // max(coarse_resolution, 1)).bit_length() - 1)


def _mixed(inside: Bool[np.ndarray, "c c c"]) -> Bool[np.ndarray, "b b b"]:
    """Cells of a lattice whose corners have both signs."""
    some, every = inside, inside
    for axis in range(3):
        lower = tuple(slice(None, -1) if axis == other else slice(None) for other in range(3))
        upper = tuple(slice(1, None) if axis == other else slice(None) for other in range(3))
        some, every = some[lower] | some[upper], every[lower] & every[upper]
    return some & ~every


def _guess_signs(grid: SampledGrid, inside: Bool[np.ndarray, "c c c"], step: int) -> None:
    """Give every vertex of the lattice of `step` that is not known the sign of the cell, twice as wide, that it is in.

    `inside` is the lattice of the wide cells. A vertex on a face between cells that are not mixed belongs to either:
    they share corners and so the sign.
    """
    for axis in range(3):
        inside = np.repeat(inside, 2, axis=axis)
    # Those of this lattice that are not in the wide one were never written and count as outside.
    grid.values[::step, ::step, ::step][inside[:-1, :-1, :-1] & ~grid.known[::step, ::step, ::step]] = -1.0


def _vertices_within(grid: SampledGrid, cells: Int[np.ndarray, "n 3"], step: int) -> Int[np.ndarray, "p 3"]:
    """The vertices of the lattice of `step` in cells twice as wide, borders included; each once, as array indices."""
    needed = np.zeros(((len(grid.values) - 1) // step + 1,) * 3, dtype=bool)
    for offset in np.ndindex(3, 3, 3):
        needed[tuple((2 * cells + np.array(offset)).T)] = True
    return step * np.argwhere(needed)


def _corners_of_mixed_cells(grid: SampledGrid, vertices: Int[np.ndarray, "p 3"], step: int) -> Int[np.ndarray, "q 3"]:
    """Corners, each once, of the mixed cells `step` wide around the given vertices; all are array indices."""
    count = (len(grid.values) - 1) // step
    cells = (vertices[:, None] // step - CORNERS).reshape(-1, 3)
    cells = _each_once(cells[((cells >= 0) & (cells < count)).all(axis=1)], count + 1)
    corners = step * (cells[:, None] + CORNERS)
    inside = grid.values[corners[..., 0], corners[..., 1], corners[..., 2]] < 0
    mixed = inside.any(axis=1) & ~inside.all(axis=1)
    return _each_once(corners[mixed].reshape(-1, 3), len(grid.values))


def _each_once(index: Int[np.ndarray, "p 3"], side: int) -> Int[np.ndarray, "q 3"]:
    """Distinct rows of indices below `side`."""
    distinct = np.unique(np.ravel_multi_index(tuple(index.T), (side,) * 3))
    return np.stack(np.unravel_index(distinct, (side,) * 3), axis=1)
