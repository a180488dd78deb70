"""Slow differences between photographs evened out over the surface, so that no seam shows where one takes over.

Each photograph is brought to a common level: the mean of all that see a point. Its difference to that mean is smoothed
over the mesh, so that gloss, shading and what is left of exposure, which change slowly over the surface, are evened
out, while fine detail stays the photograph's own. This is multi-band blending (Burt & Adelson 1983; for textures Allene
et al. 2008) with two bands, where the coarse band lives on the surface and not in the image: nothing bleeds over
occluding edges. It takes the place of the seam levelling of Waechter et al. 2014, whose corrections are steps at seams.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dvr_cli.surfaces.baking.settings import BakeSettings
from dvr_cli.surfaces.baking.weights import VertexSamples

LARGE = 40_000_000
"""Numbers of corrections above which they are stored in half precision (a thousandth of a grey level's error)."""
FILL_ROUNDS = 2_000


@dataclass(frozen=True)
class Levels:
    """The common level, and each photograph's way to it."""

    mean: Float32[np.ndarray, "v 3"]
    """Mean colour of the photographs that see a vertex."""
    seen: Bool[np.ndarray, "v"]
    """Whether any does."""
    correction: Float[np.ndarray, "views v 3"]
    """What to add to a photograph's colours; single or half precision."""


def edge_average(faces: Int[np.ndarray, "f 3"], vertices: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that replaces values at vertices by the mean over each vertex and its neighbours."""
    from scipy import sparse

    ends = faces[:, [0, 1, 1, 2, 2, 0, 1, 0, 2, 1, 0, 2]].reshape(-1, 2)
    ones = np.ones(len(ends), dtype=np.float32)
    matrix: Any = sparse.csr_matrix((ones, (ends[:, 0], ends[:, 1])), shape=(vertices, vertices))
    matrix.data[:] = 1
    matrix = matrix + sparse.identity(vertices, dtype=np.float32, format="csr")
    count = np.asarray(matrix.sum(axis=1)).ravel()
    matrix = sparse.diags((1 / count).astype(np.float32)) @ matrix
    return lambda values: matrix @ values


def common_level(
    samples: VertexSamples,
    gain: Float[np.ndarray, "views"],
    average: Callable[[np.ndarray], np.ndarray],
    settings: BakeSettings,
    pool: Executor,
) -> Levels:
    """The common level of the photographs at every vertex, and the smoothed correction of each photograph."""
    views, vertices = samples.trust.shape
    largest = max(float(samples.quality.max(initial=0)), 1e-30)

    def weight(index: int) -> Float32[np.ndarray, "v"]:
        return (samples.quality[index] / largest) ** np.float32(settings.flatness) * samples.trust[index]

    total, weights = np.zeros((vertices, 3), dtype=np.float32), np.zeros(vertices, dtype=np.float32)
    for index in range(views):
        share = weight(index)
        total += share[:, None] * samples.colour[index] * np.float32(gain[index])
        weights += share
    mean = total / np.maximum(weights, 1e-12)[:, None]
    kind = np.float16 if views * vertices * 3 > LARGE else np.float32
    correction = np.zeros((views, vertices, 3), dtype=kind)

    def smooth(index: int) -> None:
        share = weight(index)[:, None]
        values = np.concatenate([(mean - samples.colour[index] * np.float32(gain[index])) * share, share], axis=1)
        for _ in range(settings.smoothing):
            values = average(values)
        correction[index] = values[:, :3] / np.maximum(values[:, 3:], 1e-7)

    list(pool.map(smooth, range(views)))
    return Levels(mean, weights > 0, correction)


def spread(
    values: Float32[np.ndarray, "v 3"], known: Bool[np.ndarray, "v"], average: Callable[[np.ndarray], np.ndarray]
) -> Float32[np.ndarray, "v 3"]:
    """Values at all vertices: known ones as they are, the others by diffusion over the surface.

    Parts of the surface without any known vertex get the mean of all known ones; 0 when there is none.
    """
    if known.all() or not known.any():
        return np.where(known[:, None], values, 0).astype(np.float32)
    filled, reached = np.where(known[:, None], values, 0).astype(np.float32), known.copy()
    for _ in range(FILL_ROUNDS):
        mixed = average(np.concatenate([filled, reached[:, None].astype(np.float32)], axis=1))
        new = ~known & (mixed[:, 3] > 0)
        filled[new] = mixed[new, :3] / mixed[new, 3:]
        before, reached = reached, known | new
        if (before == reached).all():
            break
    filled[~reached] = values[known].mean(axis=0)
    return filled
