"""One gain per photograph, so that all seem equally exposed.

Model: log I(p, v) = l(p) - log g(v) for what photograph v shows of surface point p; least squares over the points that
several photographs share, reweighted so that highlights and hidden pieces lose their say (Cauchy). Stored values stand
for light by a power law, so that another exposure is a factor in them, too. As in Brown & Lowe 2007 (section 6), but
in logarithms, so that no prior is needed to keep gains from shrinking.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dvr_cli.surfaces.baking.photographs import BLACK, WHITE

ROUNDS = 12
SPREAD = 0.1
"""Differences of logarithms that are usual between views of one point: shading, gloss, a surface a little off."""
LEAST_DIFFERENCE = 0.1
"""When no logarithm of a gain is larger than this, all are 1: what is left is a matter of `levels`."""
LEAST_TRUST = 0.3
LEAST_SHARED = 30
"""Points that two photographs must share for one to say anything about the other."""
MOST_POINTS = 30_000


def gains(
    colour: Float32[np.ndarray, "views v 3"], trust: Float32[np.ndarray, "views v"]
) -> Float[np.ndarray, "views"]:
    """What to multiply each photograph by; the geometric mean over photographs that overlap is 1, so their level stays.

    `colour` in [0, 1] and `trust` are what the photographs show of the same points. Black and saturated values have no
    say. A photograph that shares too little with the others keeps 1; all do when they differ by less than gloss does.
    """
    usable = (trust > LEAST_TRUST) & (colour.max(axis=2) < WHITE / 255) & (colour.mean(axis=2) > 2 * BLACK / 255)
    usable &= np.isfinite(colour).all(axis=2)
    found = -relative_levels(np.log(np.where(usable, colour.mean(axis=2, dtype=np.float64), 1)), usable)
    # Gloss alone makes such differences; evening them out by gains costs more than it brings (docs/export.md).
    return np.ones(len(found)) if (np.abs(found) < LEAST_DIFFERENCE).all() else np.exp(found)


def relative_levels(
    values: Float[np.ndarray, "views v"], usable: Bool[np.ndarray, "views v"]
) -> Float[np.ndarray, "views"]:
    """What each photograph adds to the points' own values, of mean 0 over photographs that share points; else 0."""
    every = -(-values.shape[1] // MOST_POINTS) if values.shape[1] else 1
    values, usable = values[:, ::every], usable[:, ::every]
    usable = usable & (usable.sum(axis=0) > 1)
    found = np.zeros(len(values))
    for members in _overlapping(usable):
        of_members = usable[members] & (usable[members].sum(axis=0) > 1)
        level = _levels(values[members], of_members)
        found[members] = level - level.mean()
    return found


def _overlapping(usable: Bool[np.ndarray, "views v"]) -> list[Int[np.ndarray, "m"]]:
    """Groups of photographs that are tied together by shared points."""
    from scipy.sparse.csgraph import connected_components

    shared = usable.astype(np.float32) @ usable.T.astype(np.float32)
    count, label = connected_components(shared >= LEAST_SHARED, directed=False)
    groups = [np.flatnonzero(label == index) for index in range(count)]
    return [group for group in groups if len(group) > 1]


def _levels(values: Float[np.ndarray, "m v"], usable: Bool[np.ndarray, "m v"]) -> Float[np.ndarray, "m"]:
    """Level of each photograph in the logarithm, of mean 0: the points' own levels are eliminated."""
    level = np.zeros(len(values))
    weight = usable.astype(np.float64)
    for _ in range(ROUNDS):
        total = np.maximum(weight.sum(axis=0), 1e-12)
        mean = (weight * values).sum(axis=0) / total
        matrix = np.diag(weight.sum(axis=1)) - (weight / total) @ weight.T
        right = (weight * (values - mean)).sum(axis=1)
        # All levels may move together; the shortest solution has mean 0.
        level = np.linalg.lstsq(matrix, right, rcond=1e-9)[0]
        level -= level.mean()
        surface = (weight * (values - level[:, None])).sum(axis=0) / total
        residual = values - level[:, None] - surface
        weight = usable / (1 + (residual / SPREAD) ** 2)
    return level
