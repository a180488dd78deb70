"""Inside or outside for every vertex of a grid, from uncertain evidence: the cut of least area that respects it.

Minimises, over u in [0, 1],

    sum |grad u| + sum c u,

with c the evidence that a vertex is outside (negative: inside). The first term is the area of the surface. The problem
is convex and its solution, cut at one half, is a best labelling (Chan, Esedoglu, Nikolova 2006), so that nothing
depends on where one begins. Where nothing is known, c = 0, the surface closes with the least area. Beyond the domain
there is nothing: a surface may end at its border at no cost. Source of the use on depth maps: Zach, Pock, Bischof 2007;
of the algorithm: Chambolle and Pock 2011.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dvr_cli.kernels import cut

STEP = 0.28
"""Of both variables: their product may not exceed 1 / 12, the bound for differences in three dimensions."""
COARSEST = 24
ITERATIONS = (300, 80)
"""On the coarsest grid, and on each finer one, which begins with what the coarser one has found."""


def smooth_cut(
    evidence: Float[Tensor, "n n n"], domain: Bool[Tensor, "n n n"], iterations: tuple[int, ...] = ITERATIONS
) -> Bool[Tensor, "n n n"]:
    """True inside. `evidence` in units of the area of a grid cell's face: positive says outside.

    `iterations`: on the coarsest grid, the next finer one and so on, the last of them on all that remain.
    """
    sizes = [evidence.shape[0]]
    while sizes[-1] >= 2 * COARSEST:
        sizes.append(sizes[-1] // 2)
    u: Tensor | None = None
    for index, n in enumerate(reversed(sizes)):
        # A coarse vertex stands for eight finer ones, its faces for four: evidence counts twice.
        weight = evidence.shape[0] / n
        c = weight * _resized(evidence, n)
        inside_domain = _resized(domain.to(evidence), n) > 0.5
        u = torch.full_like(c, 0.5) if u is None else _resized(u, n)
        u = _solve(c, inside_domain, u, iterations[min(index, len(iterations) - 1)])
    assert u is not None
    return (u > 0.5) & domain


def _solve(c: Tensor, domain: Tensor, u: Tensor, iterations: int) -> Tensor:
    """Iterations of the primal-dual method; differences across the domain's border do not count."""
    u, ahead, inside = u.clone(), u.clone(), domain.to(c)
    dual = (torch.zeros_like(u), torch.zeros_like(u), torch.zeros_like(u))
    c = torch.where(domain, c, 0)
    for _ in range(iterations):
        cut.pull(ahead, inside, STEP, dual)
        cut.follow(dual, c, STEP, u, ahead)
    return u


def _resized(grid: Tensor, n: int) -> Tensor:
    """Trilinear or, downwards, mean values on n^3 vertices over the same cube."""
    if grid.shape[0] == n:
        return grid
    if n < grid.shape[0]:
        return torch.nn.functional.interpolate(grid[None, None], size=(n, n, n), mode="area")[0, 0]
    return torch.nn.functional.interpolate(grid[None, None], size=(n, n, n), mode="trilinear", align_corners=True)[0, 0]
