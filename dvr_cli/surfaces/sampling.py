"""Samples of a field on a regular grid, evaluated only where the surface may be.

The field is a function of points in the unit cube, negative inside. A *vertex* of the grid is a sample position, a
*block* is the cube of fine cells between neighbouring vertices of a coarser lattice. The grid has one layer of vertices
beyond the cube [lower, upper]^3 that counts as outside. Here is the way for signed distances, which tell how far the
surface can be; `mise.py` has the one for fields that are costly to evaluate and whose values tell no distance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import ExportError

PointFunction = Callable[[Float[np.ndarray, "p 3"]], np.ndarray]

CHUNK = 1 << 18
"""Points per call of the field; a field whose activations are large splits them further (`from_field`)."""


@dataclass(frozen=True)
class Sampling:
    """How a field is sampled for extraction, and how much work goes into the position of a vertex."""

    method: Literal["distance", "mise"]
    """`distance`: two levels, for fields whose values bound the distance to the surface; no sheet is lost, however
    thin. `mise`: cells that change sign are halved, level by level; fewer evaluations, but what lies within one coarse
    cell and touches none of its corners is lost."""
    coarse_resolution: int
    """Where it starts: samples per side (distance), or the least number of cells per side (mise)."""
    root_steps: int
    """Evaluations per mesh vertex, at most, that correct linear interpolation along its edge; 0 is plain marching
    cubes."""


BY_DISTANCE = Sampling("distance", coarse_resolution=64, root_steps=11)
"""For fields that cost little."""
BY_SIGN = Sampling("mise", coarse_resolution=32, root_steps=1)
"""For networks. One root step brings a vertex of 256^3 forty times nearer (median) for a fifth more evaluations."""
AS_PUBLISHED = Sampling("mise", coarse_resolution=32, root_steps=0)
"""From 32 cells a side, vertices by linear interpolation (Mescheder et al. 2019, Niemeyer et al. 2020)."""


class SampledGrid:
    """Samples of a field, dense in memory. Array index i stands for the fine vertex i - 1: 0 is outside the lower wall.

    `block` is the number of fine cells along a block of the coarsest lattice. Values that are not known are guesses of
    which only the sign means anything.
    """

    def __init__(self, value: PointFunction, resolution: int, block: int, lower: float, upper: float):
        self.value = value
        self.resolution = resolution
        self.lower, self.upper = lower, upper
        self.spacing = (upper - lower) / (resolution - 1)
        self.block = block
        self.blocks = -(-(resolution + 1) // block)
        side = self.blocks * block + 1
        self.values: Float[np.ndarray, "s s s"] = np.ones((side, side, side), dtype=np.float32)
        self.known: Bool[np.ndarray, "s s s"] = np.ones((side, side, side), dtype=bool)
        within = slice(1, resolution + 1)
        self.known[within, within, within] = False

    def positions(self, index: Int[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        """Array indices to points in unit space."""
        return self.lower + (index - 1) * self.spacing

    def evaluate(self, index: Int[np.ndarray, "p 3"]) -> Int[np.ndarray, "q 3"]:
        """Ask the field for those of the given vertices, each named once, that are not known yet.

        Returns those of them whose sign is not the one that was guessed.
        """
        index = index[~self.known[tuple(index.T)]]
        guessed_inside = self.values[tuple(index.T)] < 0
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
        return index[(self.values[tuple(index.T)] < 0) != guessed_inside]

    def evaluate_lattice(self) -> None:
        """Evaluate the corners of all blocks."""
        self.evaluate(self.block * np.argwhere(np.ones((self.blocks + 1,) * 3, dtype=bool)))


def sampled_by_distance(
    value: PointFunction, resolution: int, coarse_resolution: int, lower: float, upper: float
) -> SampledGrid:
    """A grid evaluated at the coarse vertices, then in the blocks near the surface, then those it continues into.

    For a signed distance, or one times a constant, nothing is missed. `coarse_resolution` is in samples per side.
    """
    coarse_resolution = min(coarse_resolution, resolution)
    block = max(1, round((resolution - 1) / max(coarse_resolution - 1, 1)))
    grid = SampledGrid(value, resolution, block, lower, upper)
    grid.evaluate_lattice()
    coarse = grid.values[::block, ::block, ::block]
    pending = _near_surface(coarse)
    _fill_signs(grid, coarse)
    done = np.zeros_like(pending)
    while pending.any():
        blocks = np.argwhere(pending)
        grid.evaluate(_vertices_of(grid, blocks))
        done |= pending
        pending = _continuations(grid, blocks, done)
    return grid


def _near_surface(coarse: Float[np.ndarray, "c c c"]) -> Bool[np.ndarray, "b b b"]:
    """Blocks whose corners change sign, or whose nearest corner is no farther from zero than the block reaches."""
    count = len(coarse) - 1
    corners = np.stack([coarse[i : i + count, j : j + count, k : k + count] for i, j, k in np.ndindex(2, 2, 2)])
    changes = (corners < 0).any(axis=0) & (corners >= 0).any(axis=0)
    # A signed distance changes by at most one coarse spacing per coarse step; a field of another scale (a logit) by
    # more or less. The steep steps tell which, and half a block's diagonal is the farthest that a point can be from
    # its nearest corner.
    steps = np.abs(np.diff(coarse[1:-1, 1:-1, 1:-1], axis=0))
    unit = np.quantile(steps, 0.999) if steps.size else np.inf
    return changes | (np.abs(corners).min(axis=0) <= 0.5 * np.sqrt(3) * unit)


def _fill_signs(grid: SampledGrid, coarse: Float[np.ndarray, "c c c"]) -> None:
    """Give vertices that may never be evaluated the sign of their block."""
    inside = coarse[:-1, :-1, :-1] < 0
    for axis in range(3):
        inside = np.repeat(inside, grid.block, axis=axis)
    rest = grid.values[:-1, :-1, :-1]
    rest[inside & ~grid.known[:-1, :-1, :-1]] = -1.0


def _vertices_of(grid: SampledGrid, blocks: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, "p 3"]:
    needed = np.zeros_like(grid.known)
    first = blocks * grid.block
    for offset in np.ndindex(*(grid.block + 1,) * 3):
        needed[tuple((first + np.array(offset)).T)] = True
    return np.argwhere(needed & ~grid.known)


def _continuations(
    grid: SampledGrid, blocks: Int[np.ndarray, "n 3"], done: Bool[np.ndarray, "b b b"]
) -> Bool[np.ndarray, "b b b"]:
    """Blocks not done yet that share a face with mixed signs with one of `blocks`."""
    pending = np.zeros_like(done)
    face = np.argwhere(np.ones((grid.block + 1,) * 2, dtype=bool))
    for axis in range(3):
        for side, step in ((0, -1), (grid.block, 1)):
            neighbours = blocks + step * np.eye(3, dtype=int)[axis]
            valid = ((neighbours >= 0) & (neighbours < grid.blocks)).all(axis=1)
            valid[valid] &= ~done[tuple(neighbours[valid].T)]
            offsets = np.insert(face, axis, side, axis=1)
            index = blocks[valid][:, None] * grid.block + offsets
            inside = grid.values[index[..., 0], index[..., 1], index[..., 2]] < 0
            crossed = inside.any(axis=1) & ~inside.all(axis=1)
            pending[tuple(neighbours[valid][crossed].T)] = True
    return pending


def in_chunks(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """The function of the arrays' rows, at most CHUNK of them per call, as float64."""
    parts = [
        np.asarray(function(*(array[start : start + CHUNK] for array in arrays)), dtype=np.float64)
        for start in range(0, max(len(arrays[0]), 1), CHUNK)
    ]
    return np.concatenate(parts)
