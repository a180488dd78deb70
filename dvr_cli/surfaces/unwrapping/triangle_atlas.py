"""An atlas that gives every triangle a place of its own: the one that cannot fail, whatever the mesh looks like.

Two triangles share a square cell, each one as a right isosceles triangle with its longest edge as the hypotenuse and
its legs as long as its area asks for, so that texels are about equally large everywhere on the surface. Corners lie on
the centres of texels (a hair outside them), which makes a look-up inside a triangle read the triangle's own texels and
one row beyond the hypotenuse that belongs to it as well. Cells are laid out in rows from the largest to the smallest.
Texel units here: x to the right and y upwards, as u and v.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh

HAIR = 0.01
"""Texels by which a triangle reaches beyond the centres of its outermost texels: rounding must not lose them."""
WORTH = 0.3
"""Padding shrinks until the triangles keep this share of the image, or is gone."""
ROUNDS = 24
"""Halvings of the interval of densities."""


@dataclass(frozen=True)
class _Run:
    """Consecutive cells of one size, in rows of equal length."""

    first: int
    """Number of the first face."""
    cells: int
    side: int
    """Texels; a cell of side 1 holds one face, any other holds two."""
    x: int
    y: int
    per_row: int


def triangle_corners(mesh: Mesh, size: int, padding: int = 4) -> Float[np.ndarray, "f 3 2"]:
    """Texture coordinates (texture.py) of every face's corners, counter-clockwise, in an image of `size` texels a side.

    No texel's centre lies in two triangles and every triangle holds at least one, also a triangle without area or with
    corners that are not numbers. `padding` texels lie between triangles, fewer where there are so many triangles that
    little would be left of them. ExportError when there are more faces than texels.
    """
    count = len(mesh.faces)
    if count > size * size:
        raise ExportError(
            f"{count} faces cannot each have a texel of a texture of {size} x {size}. "
            f"Take a texture of at least {math.isqrt(count - 1) + 1} texels a side, or fewer faces."
        )
    legs, right_angle = _legs_and_right_angles(mesh)
    order = np.argsort(-legs, kind="stable")
    texel_legs, gap = _texel_legs(legs[order], size, padding)
    return _placed(texel_legs, order, right_angle, size, gap)


def triangle_strip(
    mesh: Mesh, size: int, texels_per_unit: float, padding: int = 4
) -> tuple[Float[np.ndarray, "f 3 2"], int]:
    """As `triangle_corners`, at a density that is given, in a strip along the lower edge; and the strip's height.

    The height (texels) may exceed `size`: then the coordinates leave the image.
    """
    legs, right_angle = _legs_and_right_angles(mesh)
    order = np.argsort(-legs, kind="stable")
    longest = max(size // 2 - _cell(0, padding), 0)
    texel_legs = _rounded(np.clip(np.ceil(legs[order] * texels_per_unit), 1, max(longest, 1)))
    return _placed(texel_legs, order, right_angle, size, padding), _height(texel_legs, size, padding)


def _placed(
    texel_legs: Int[np.ndarray, "f"],
    order: Int[np.ndarray, "f"],
    right_angle: Int[np.ndarray, "f"],
    size: int,
    gap: int,
) -> Float[np.ndarray, "f 3 2"]:
    """Corners of faces whose legs are given in the order of the layout."""
    corners = np.empty((len(order), 3, 2))
    x, y, turned = _places(texel_legs, size, gap)
    sign = np.where(turned, -1.0, 1.0)
    near = np.full(len(order), -HAIR)
    far = texel_legs + 3 * HAIR
    for step, (across, up) in enumerate(((near, near), (far, near), (near, far))):
        place = np.stack([x + sign * across, y + sign * up], axis=1)
        corners[order, (right_angle[order] + step) % 3] = place / size
    return corners


def _legs_and_right_angles(mesh: Mesh) -> tuple[Float[np.ndarray, "f"], Int[np.ndarray, "f"]]:
    """Legs (units of the mesh) of the right isosceles triangle of each face's area, and the corner opposite to its
    longest edge; zero where a corner is not a number.

    A long thin face gets legs of at least a quarter of its length: its long edge is what one sees of it.
    """
    known = np.isfinite(mesh.vertices).all(axis=1)
    scale = max(float(np.abs(mesh.vertices[known]).max(initial=0)), 1e-300)
    vertices = np.where(known[:, None], mesh.vertices, 0) / scale
    edges = [vertices[mesh.faces[:, (k + 2) % 3]] - vertices[mesh.faces[:, (k + 1) % 3]] for k in range(3)]
    lengths = np.stack([np.linalg.norm(edge, axis=1) for edge in edges], axis=1)
    legs = np.sqrt(np.linalg.norm(np.cross(edges[0], edges[1]), axis=1))
    legs = np.maximum(legs, lengths.max(axis=1, initial=0) / 4) * scale
    return np.where(known[mesh.faces].all(axis=1), legs, 0), lengths.argmax(axis=1)


def _texel_legs(legs: Float[np.ndarray, "f"], size: int, padding: int) -> tuple[Int[np.ndarray, "f"], int]:
    """Whole legs in texels of faces in descending order, as long as fit, and the padding that they leave room for."""
    for gap in range(min(padding, size // 4), -1, -1):
        found = _densest(legs, size, gap)
        if gap == 0 or (found is not None and ((found + 1.0) ** 2 / 2).sum() >= WORTH * size * size):
            break
    assert found is not None, "one texel for each face always fits"
    return found, gap


def _densest(legs: Float[np.ndarray, "f"], size: int, gap: int) -> Int[np.ndarray, "f"] | None:
    """Legs in texels at the highest density at which all cells fit; None when not even single texels do."""
    longest = max(size - _cell(0, gap), 0)
    best = np.zeros(len(legs), dtype=np.int64)
    if _height(best, size, gap) > size:
        return None
    positive = legs[legs > 0]
    if not len(positive):
        return best
    low, high = math.log(0.5 / positive[0]), math.log(2 * max(longest, 1) / positive[-1])
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        tried = _rounded(np.minimum(legs * math.exp(min(middle, 700.0)), longest))
        if _height(tried, size, gap) <= size:
            best, low = tried, middle
        else:
            high = middle
    return best


def _rounded(legs: Float[np.ndarray, "f"]) -> Int[np.ndarray, "f"]:
    """Whole numbers at or below: every one up to 16, then three bits' worth of them, so that sizes are few."""
    whole = legs.astype(np.int64)
    step = 1 << np.maximum(np.frexp(np.maximum(whole, 1).astype(np.float64))[1] - 4, 0)
    return whole // step * step


def _cell(leg: int, gap: int) -> int:
    """Side of the cell (texels) of two triangles; of one texel's cell when legs are 0 and there is no padding.

    The hypotenuses lie on x + y = a and b with b - a >= 3, so that the rows of texels beyond each do not meet, and
    sqrt(2) (padding + 1) or more for the padding.
    """
    if leg == 0 and gap == 0:
        return 1
    return leg + gap + 1 + math.ceil(max(3, math.sqrt(2) * (gap + 1)) / 2)


def _layout(legs: Int[np.ndarray, "f"], size: int, gap: int) -> tuple[list[_Run], int]:
    """Runs of cells for faces in descending order, two faces to a cell (the larger decides), and the height in use."""
    largest = legs[::2]
    firsts = np.flatnonzero(np.diff(largest, prepend=-1))
    bounds = [*(2 * firsts).tolist(), len(legs)]
    runs: list[_Run] = []
    x, y, row_height = 0, 0, 0
    for index, value in enumerate(largest[firsts].tolist()):
        side = _cell(value, gap)
        faces_in_cell = 1 if side == 1 else 2
        first, left = bounds[index], math.ceil((bounds[index + 1] - bounds[index]) / faces_in_cell)
        # A row that a larger size has begun is filled up first.
        in_row = min((size - x) // side, left) if row_height else 0
        if in_row:
            runs.append(_Run(first, in_row, side, x, y, in_row))
            x, first, left = x + in_row * side, first + in_row * faces_in_cell, left - in_row
        if left:
            y, per_row = y + row_height, max(size // side, 1)
            runs.append(_Run(first, left, side, 0, y, per_row))
            full_rows = (left - 1) // per_row
            x, y, row_height = (left - full_rows * per_row) * side, y + full_rows * side, side
    return runs, y + row_height


def _height(legs: Int[np.ndarray, "f"], size: int, gap: int) -> int:
    return _layout(legs, size, gap)[1]


def _places(
    legs: Int[np.ndarray, "f"], size: int, gap: int
) -> tuple[Float[np.ndarray, "f"], Float[np.ndarray, "f"], Bool[np.ndarray, "f"]]:
    """Where the right angle of each face lies, and whether the face is turned by half a turn (the second of a pair)."""
    x, y, turned = np.empty(len(legs)), np.empty(len(legs)), np.zeros(len(legs), dtype=bool)
    for run in _layout(legs, size, gap)[0]:
        row, column = np.divmod(np.arange(run.cells), run.per_row)
        left, below = run.x + column * run.side, run.y + row * run.side
        alone = run.side == 1
        near, far = (0.5, 0.5) if alone else (0.5 + gap // 2, run.side - 0.5 - (gap - gap // 2))
        last = min(run.first + run.cells * (1 if alone else 2), len(legs))
        for second in (False,) if alone else (False, True):
            faces = slice(run.first + second, last, 1 if alone else 2)
            count = len(range(*faces.indices(len(legs))))
            offset = far if second else near
            x[faces], y[faces], turned[faces] = left[:count] + offset, below[:count] + offset, second
    return x, y, turned
