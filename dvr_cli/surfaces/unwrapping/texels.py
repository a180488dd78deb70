"""Texels of an atlas: which face each one shows, and values for the texels that no face shows.

An image of `size` x `size` texels; u, v, rows and columns as in texture.py. In texel units x = u size runs to the right
and y = (1 - v) size downwards, so the centre of the texel in column c and row r lies at (c + 0.5, r + 0.5). A texel
belongs to the triangle that holds its centre; of a centre on an edge the triangle to the right of it or below it has
the texel (the rule of graphics hardware), so triangles that share an edge share no texel and leave none out.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from dvr_cli.processors import available_threads

SPANS_PER_CHUNK = 1 << 17
"""Rows of triangles that are turned into texels at a time; a few megabytes each."""
NEIGHBOURS = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
FARTHEST_WEIGHT = 1.0
"""Beyond its corners a face is continued until a barycentric weight is minus this: slivers would go far otherwise."""


@dataclass(frozen=True)
class Texels:
    """Texels of an image, each with a point of the mesh's surface (or, around the faces, of a face's plane)."""

    row: Int32[np.ndarray, "n"]
    column: Int32[np.ndarray, "n"]
    face: Int32[np.ndarray, "n"]
    weights: Float32[np.ndarray, "n 3"]
    """Barycentric weights of the face's corners at the texel's centre; they sum to 1."""

    def __len__(self) -> int:
        return len(self.row)

    def taken(self, chosen: Int[np.ndarray, "m"] | Bool[np.ndarray, "n"] | slice) -> "Texels":
        """Some of the texels."""
        return Texels(self.row[chosen], self.column[chosen], self.face[chosen], self.weights[chosen])


def joined(parts: list[Texels]) -> Texels:
    """All texels of several sets, in their order."""
    return Texels(
        np.concatenate([part.row for part in parts], dtype=np.int32),
        np.concatenate([part.column for part in parts], dtype=np.int32),
        np.concatenate([part.face for part in parts], dtype=np.int32),
        np.concatenate([part.weights for part in parts], dtype=np.float32),
    )


def covered_texels(corners: Float[np.ndarray, "f 3 2"], size: int) -> Texels:
    """Every texel whose centre lies in a triangle, once; where triangles overlap the first of them has it.

    Sorted by face. Triangles may have any orientation, and no area; what lies outside the image is left out.
    """
    texels = claimed_texels(corners, size)
    flat = texels.row.astype(np.int64) * size + texels.column
    seen = np.zeros(size * size, dtype=bool)
    seen[flat] = True
    if np.count_nonzero(seen) == len(flat):
        return texels
    first = np.sort(np.unique(flat, return_index=True)[1])
    return texels.taken(first)


def claimed_texels(corners: Float[np.ndarray, "f 3 2"], size: int) -> Texels:
    """As `covered_texels`, but a texel in several triangles occurs once for each of them."""
    x, y = _texel_units(corners, size)
    top, bottom = (np.clip(np.ceil(extreme - 0.5), 0, size) for extreme in (y.min(axis=1), y.max(axis=1)))
    heights = (bottom - top).astype(np.int64)
    ends = np.cumsum(heights)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(SPANS_PER_CHUNK, total + SPANS_PER_CHUNK, SPANS_PER_CHUNK)) + 1
    bounds = np.unique(np.concatenate([[0], np.minimum(cuts, len(corners))]))
    chunks = [np.flatnonzero(heights[start:end]) + start for start, end in pairwise(bounds)]
    with ThreadPoolExecutor(available_threads()) as pool:
        parts = list(pool.map(lambda faces: _texels_of(faces, x, y, top, heights, size), chunks))
    return joined([*parts, _no_texels()])


def texels_around(texels: Texels, corners: Float[np.ndarray, "f 3 2"], size: int, rings: int = 1) -> Texels:
    """The texels in `rings` rings around `texels` (eight neighbours), each with a nearby face's plane continued to it.

    A look-up inside a triangle mixes the four nearest texels, some of which have their centres outside the chart. The
    surface continued beyond the seam gives them the value that makes the mixture right up to the seam: two charts that
    meet then show the same colour there. Faces too small to own a texel get the four around their middle first, and
    last come the four around each corner of a face, for tips that reach farther than the rings.
    """
    owner = np.full(size * size, -1, dtype=np.int32)
    owner[texels.row.astype(np.int64) * size + texels.column] = texels.face
    x, y = _texel_units(corners, size)
    unseen = np.ones(len(corners), dtype=bool)
    unseen[texels.face] = False
    unseen = np.flatnonzero(unseen)
    middles = np.stack([x[unseen].mean(axis=1), y[unseen].mean(axis=1)], axis=1)
    added = [_entered(owner, _around_points(owner, unseen, middles, size), x, y, size)]
    for _ in range(rings):
        places = np.flatnonzero(_frontier((owner >= 0).reshape(size, size)))
        nearest = _nearest_faces(owner, places, x, y, size)
        added.append(_entered(owner, (places, nearest), x, y, size))
    tips = np.stack([x.ravel(), y.ravel()], axis=1)
    last = _around_points(owner, np.repeat(np.arange(len(corners)), 3), tips, size)
    return joined([*added, _entered(owner, last, x, y, size)])


def _entered(
    owner: Int32[np.ndarray, "t"],
    found: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]],
    x: Float[np.ndarray, "f 3"],
    y: Float[np.ndarray, "f 3"],
    size: int,
) -> Texels:
    """The texels for places and their faces, which are written into `owner`."""
    places, faces = found
    owner[places] = faces
    return _continued(places, faces, x, y, size)


def fill_around(
    image: Float[np.ndarray, "h w c"], known: Bool[np.ndarray, "h w"], rings: int = 4
) -> Float32[np.ndarray, "h w c"]:
    """The image with a value for every texel: known ones as they are, the others from known ones near them.

    First `rings` rings of texels take the mean of their known neighbours; the rest is filled by the mean of the
    smallest aligned block of 2^k x 2^k texels that knows any (push-pull), so that averaging the image down by two any
    number of times mixes in nothing that is not there. All zero where nothing is known.
    """
    filled, known = np.array(image, dtype=np.float32), known.copy()
    filled[~known] = 0
    for _ in range(rings):
        places = np.flatnonzero(_frontier(known))
        if not len(places):
            break
        filled.reshape(-1, filled.shape[2])[places] = _mean_of_neighbours(filled, known, places)
        known.reshape(-1)[places] = True
    return _push_pull(filled, known)


def _texel_units(
    corners: Float[np.ndarray, "f 3 2"], size: int
) -> tuple[Float[np.ndarray, "f 3"], Float[np.ndarray, "f 3"]]:
    corners = np.asarray(corners, dtype=np.float64)
    return corners[..., 0] * size, (1 - corners[..., 1]) * size


def _no_texels() -> Texels:
    none = np.zeros(0, dtype=np.int32)
    return Texels(none, none, none, np.zeros((0, 3), dtype=np.float32))


def _texels_of(
    faces: Int[np.ndarray, "g"],
    x: Float[np.ndarray, "f 3"],
    y: Float[np.ndarray, "f 3"],
    top: Float[np.ndarray, "f"],
    heights: Int[np.ndarray, "f"],
    size: int,
) -> Texels:
    """Texels of some faces: the rows that each one crosses, and in every row the columns between two of its edges."""
    face, step = _expanded(faces, heights[faces])
    row = (top[face] + step).astype(np.int32)
    left, right = _row_crossings(x[face], y[face], row + 0.5)
    first = np.clip(np.ceil(left - 0.5), 0, size).astype(np.int32)
    widths = np.clip(np.ceil(right - 0.5), 0, size).astype(np.int64) - first
    span, across = _expanded(np.arange(len(face)), np.maximum(widths, 0))
    column, row, face = first[span] + across.astype(np.int32), row[span], face[span]
    weights = _weights(x[face], y[face], column + 0.5, row + 0.5)
    # Rounding may leave a centre on an edge some 1e-12 outside.
    np.clip(weights, 0, 1, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return Texels(row, column, face.astype(np.int32), weights.astype(np.float32))


def _expanded(
    items: Int[np.ndarray, "i"], counts: Int[np.ndarray, "i"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Every item as often as its count says, and the number of each copy: 0, 1, ... count - 1."""
    starts = np.cumsum(counts) - counts
    return np.repeat(items, counts), np.arange(int(counts.sum())) - np.repeat(starts, counts)


def _row_crossings(
    x: Float[np.ndarray, "n 3"], y: Float[np.ndarray, "n 3"], at: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Where the line y = `at` enters and leaves each triangle.

    An edge is always walked from its upper end, so that both of its triangles compute the same number to the last bit.
    """
    left, right = np.full(len(at), np.inf), np.full(len(at), -np.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        swapped = y[:, start] > y[:, end]
        upper_x, lower_x = (np.where(swapped, x[:, a], x[:, b]) for a, b in ((end, start), (start, end)))
        upper_y, lower_y = (np.where(swapped, y[:, a], y[:, b]) for a, b in ((end, start), (start, end)))
        crossed = (upper_y <= at) & (at < lower_y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = upper_x + (at - upper_y) / (lower_y - upper_y) * (lower_x - upper_x)
        np.minimum(left, crossing, where=crossed, out=left)
        np.maximum(right, crossing, where=crossed, out=right)
    return left, right


def _weights(
    x: Float[np.ndarray, "n 3"], y: Float[np.ndarray, "n 3"], at_x: Float[np.ndarray, "n"], at_y: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n 3"]:
    """Barycentric weights of points in (or outside) triangles; a triangle without area counts as its middle."""
    second_x, second_y, third_x, third_y = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0], x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    offset_x, offset_y = at_x - x[:, 0], at_y - y[:, 0]
    doubled_area = second_x * third_y - second_y * third_x
    flat = doubled_area == 0
    doubled_area[flat] = 1
    second = (offset_x * third_y - offset_y * third_x) / doubled_area
    third = (second_x * offset_y - second_y * offset_x) / doubled_area
    weights = np.stack([1 - second - third, second, third], axis=1)
    weights[flat] = 1 / 3
    return weights


def _frontier(known: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Unknown texels that have a known one among their eight neighbours."""
    spread = known.copy()
    spread[1:] |= known[:-1]
    spread[:-1] |= known[1:]
    down = spread.copy()
    spread[:, 1:] |= down[:, :-1]
    spread[:, :-1] |= down[:, 1:]
    return spread & ~known


def _neighbour(
    places: Int[np.ndarray, "n"], offset: tuple[int, int], height: int, width: int
) -> tuple[Int[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Flat index of each place's neighbour (row, column offset), and whether it lies in the image (else any index)."""
    row, column = places // width + offset[0], places % width + offset[1]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, row * width + column, 0), inside


def _around_points(
    owner: Int32[np.ndarray, "t"], face: Int[np.ndarray, "p"], at: Float[np.ndarray, "p 2"], size: int
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """The free ones among the four texels around each point (texel units), and the face of the first such point."""
    corner = np.stack(np.meshgrid([0, 1], [0, 1]), axis=-1).reshape(4, 2)
    around = np.clip(np.floor(at - 0.5).astype(np.int64)[:, None] + corner, 0, size - 1)
    flat = (around[..., 1] * size + around[..., 0]).ravel()
    free = np.flatnonzero(owner[flat] < 0)
    place, first = np.unique(flat[free], return_index=True)
    return place, face[free[first] // 4]


def _nearest_faces(
    owner: Int32[np.ndarray, "t"],
    places: Int[np.ndarray, "n"],
    x: Float[np.ndarray, "f 3"],
    y: Float[np.ndarray, "f 3"],
    size: int,
) -> Int[np.ndarray, "n"]:
    """For free places the face, among those of the eight neighbours, that needs continuing least."""
    best = np.full(len(places), -1, dtype=np.int64)
    least = np.full(len(places), np.inf)
    for offset in NEIGHBOURS:
        neighbour, inside = _neighbour(places, offset, size, size)
        face = np.where(inside, owner[neighbour], -1)
        asked = np.flatnonzero((face >= 0) & (face != best))
        excess = _excess(places[asked], face[asked], x, y, size)
        better = excess < least[asked]
        best[asked[better]], least[asked[better]] = face[asked[better]], excess[better]
    return best


def _excess(
    places: Int[np.ndarray, "n"],
    face: Int[np.ndarray, "n"],
    x: Float[np.ndarray, "f 3"],
    y: Float[np.ndarray, "f 3"],
    size: int,
) -> Float[np.ndarray, "n"]:
    """How far (in weights) each place lies outside a face, or, for a middle of a face without area, more than any."""
    weights = _weights(x[face], y[face], places % size + 0.5, places // size + 0.5)
    # A place that is not in its face has a negative weight; only faces without area answer 1/3 three times.
    flat = weights.min(axis=1) == 1 / 3
    return np.where(flat, 1e300, -weights.min(axis=1))


def _continued(
    places: Int[np.ndarray, "n"],
    face: Int[np.ndarray, "n"],
    x: Float[np.ndarray, "f 3"],
    y: Float[np.ndarray, "f 3"],
    size: int,
) -> Texels:
    """Texels with weights of a face whose plane is continued to them, up to FARTHEST_WEIGHT."""
    row, column = places // size, places % size
    weights = _weights(x[face], y[face], column + 0.5, row + 0.5)
    nearest = np.clip(weights, 0, 1)
    nearest /= nearest.sum(axis=1, keepdims=True)
    # The share of the way from the nearest point that keeps all weights above the limit.
    beyond = np.maximum(nearest - weights, 1e-12)
    share = np.minimum(((nearest + FARTHEST_WEIGHT) / beyond).min(axis=1, keepdims=True), 1)
    weights = nearest + share * (weights - nearest)
    return Texels(row.astype(np.int32), column.astype(np.int32), face.astype(np.int32), weights.astype(np.float32))


def _mean_of_neighbours(
    image: Float32[np.ndarray, "h w c"], known: Bool[np.ndarray, "h w"], places: Int[np.ndarray, "n"]
) -> Float32[np.ndarray, "n c"]:
    """Mean of the known ones of each place's eight neighbours."""
    height, width, channels = image.shape
    values, is_known = image.reshape(-1, channels), known.reshape(-1)
    total, count = np.zeros((len(places), channels), dtype=np.float32), np.zeros(len(places), dtype=np.float32)
    for offset in NEIGHBOURS:
        neighbour, inside = _neighbour(places, offset, height, width)
        use = np.flatnonzero(inside & is_known[neighbour])
        total[use] += values[neighbour[use]]
        count[use] += 1
    return total / count[:, None]


def _push_pull(filled: Float32[np.ndarray, "h w c"], known: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w c"]:
    """Fill the unknown texels, which are zero, in place: by the mean of the known ones of their block of 2 x 2, that
    of the blocks of 2 x 2 blocks, and so on."""
    if known.all() or not known.any():
        return filled
    even = tuple(length + length % 2 for length in known.shape)
    padding = [(0, even[0] - known.shape[0]), (0, even[1] - known.shape[1])]
    image, weight = (
        (filled, known) if even == known.shape else (np.pad(filled, [*padding, (0, 0)]), np.pad(known, padding))
    )
    total = image[::2, ::2] + image[::2, 1::2]
    total += image[1::2, ::2]
    total += image[1::2, 1::2]
    count = np.add.reduce([weight[row::2, column::2] for row in (0, 1) for column in (0, 1)], dtype=np.float32)
    total /= np.maximum(count, 1)[:, :, None]
    total = _push_pull(total, count > 0)
    row, column = np.nonzero(~known)
    filled[row, column] = total[row // 2, column // 2]
    return filled
