"""From evidence for each pixel to a mask with a short border that follows the edges of the photograph.

The mask u in [0, 1] minimises

    sum_x  g(x) |grad u(x)|  -  log_odds(x) u(x),

the length of the border, cheap where the photograph has an edge, against the evidence for object. The problem is
convex, and any level set of its solution is a solution with values 0 and 1 (Chan, Esedoglu and Nikolova, Algorithms for
Finding Global Minimizers of Image Segmentation and Denoising Models, 2006): a graph cut without the grid's preference
for its own directions. Solved by the primal-dual method of Chambolle and Pock (2011), from coarse to fine.
"""

import numpy as np
from jaxtyping import Float

BORDER_COST = 1.2
"""Of a pixel's length of border without an edge, in log odds of one pixel."""
LEAST_COST = 0.04
"""Share of `BORDER_COST` along the strongest edges."""
COARSEST = 64
"""Pixels; images are halved until their longest side is below twice this."""
ITERATIONS = (300, 60)
"""On the coarsest level, and on each finer one, which starts from the coarser solution."""
STEP = 0.35
"""Of both variables; below 1 / sqrt(8) the method converges."""


def cut(log_odds: Float[np.ndarray, "h w"], border_cost: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The minimiser u in [0, 1], nearly everywhere 0 or 1; object is where it is above one half.

    `log_odds`: of object against background, positive for object. `border_cost`: see `edge_costs`.

    >>> cut(np.float32([[-1, -1], [-1, -1]]), np.full((2, 2), 0.1, np.float32)).max()
    np.float32(0.0)
    """
    pyramid = [(log_odds.astype(np.float32), border_cost.astype(np.float32))]
    while max(pyramid[-1][0].shape) >= 2 * COARSEST and min(pyramid[-1][0].shape) >= 2:
        evidence, cost = pyramid[-1]
        # A coarse pixel has the evidence of four, and four times the area has twice the border.
        pyramid.append((4 * _halved(evidence), 2 * _halved(cost)))
    u: np.ndarray | None = None
    for level, (evidence, cost) in enumerate(reversed(pyramid)):
        start = np.clip(evidence, 0, 1) if u is None else _doubled(u, *evidence.shape)
        u = _minimised(start, evidence, cost, ITERATIONS[min(level, 1)])
    assert u is not None
    return u


def edge_costs(image: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """What a border costs at each pixel: little across edges that are strong for this photograph."""
    squared = np.zeros(image.shape[:2], np.float32)
    for axis in (0, 1):
        difference = np.diff(image, axis=axis, append=image.take([-1], axis=axis))
        squared += (difference.astype(np.float32) ** 2).sum(axis=2)
    # Contrast-sensitive terms of graph cuts are scaled by the mean difference (Boykov and Jolly 2001).
    usual = max(2 * float(squared.mean()), 1e-6)
    return np.float32(BORDER_COST) * np.maximum(np.exp(-squared / np.float32(usual)), np.float32(LEAST_COST))


def _minimised(u: np.ndarray, evidence: np.ndarray, cost: np.ndarray, iterations: int) -> np.ndarray:
    height, width = u.shape
    # Differences to the next row and column; those beyond the image stay 0.
    down, right = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    ahead = u.copy()
    step = np.float32(STEP)
    for _ in range(iterations):
        down[:-1] += step * (ahead[1:] - ahead[:-1])
        right[:, :-1] += step * (ahead[:, 1:] - ahead[:, :-1])
        shrink = np.minimum(1, cost / np.maximum(np.sqrt(down * down + right * right), 1e-12))
        down *= shrink
        right *= shrink
        divergence = down + right
        divergence[1:] -= down[:-1]
        divergence[:, 1:] -= right[:, :-1]
        moved = np.clip(u + step * (divergence + evidence), 0, 1)
        ahead = 2 * moved - u
        u = moved
    return u


def _halved(values: np.ndarray) -> np.ndarray:
    """Averages of two by two, the last row or column alone where their number is odd."""
    height, width = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2)), mode="edge")
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))


def _doubled(values: np.ndarray, height: int, width: int) -> np.ndarray:
    return values.repeat(2, axis=0).repeat(2, axis=1)[:height, :width].copy()
