"""One iteration of the primal-dual method that finds a cut of least area; `fitting.smooth_cut` says of what.

The vertices of a row that follow each other are worked on side by side: the compiler makes vector instructions of a
loop without branches.
"""

import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.band import LANES, Lanes
from dvr_cli.kernels.grid import at
from dvr_cli.kernels.launch import launch

# Loops are left to the compiler, which makes better vector instructions of one that it has unrolled itself.
wp.set_module_options({"enable_backward": False, "max_unroll": 0})

LEAST = 4096
"""Items of a slice: on small grids a thread has done the work before another one has woken."""


@wp.func
def pulled(
    p: wp.vec3, ahead: wp.array(dtype=wp.float32), inside: wp.array(dtype=wp.float32), b: int, to: wp.vec3i, step: float
):
    """The dual variable after a step along the differences, no longer than one."""
    here = at(ahead, b)
    share = step * at(inside, b)
    x = p[0] + share * at(inside, b + to[0]) * (at(ahead, b + to[0]) - here)
    y = p[1] + share * at(inside, b + to[1]) * (at(ahead, b + to[1]) - here)
    z = p[2] + share * at(inside, b + to[2]) * (at(ahead, b + to[2]) - here)
    shorter = 1.0 / wp.max(wp.sqrt(x * x + y * y + z * z), 1.0)
    return wp.vec3(x * shorter, y * shorter, z * shorter)


@wp.kernel
def dual_kernel(
    first: int,
    ahead: wp.array(dtype=wp.float32),
    inside: wp.array(dtype=wp.float32),
    n: int,
    step: float,
    x_out: wp.array(dtype=wp.float32),
    y_out: wp.array(dtype=wp.float32),
    z_out: wp.array(dtype=wp.float32),
):
    item = first + wp.tid()
    chunks = (n + LANES - 1) // LANES
    row = item // chunks
    begin = (item - row * chunks) * LANES
    i = row // n
    j = row - i * n
    b = row * n + begin
    # Beyond a wall there is no other vertex, and no difference to it.
    to = wp.vec3i(wp.where(i + 1 < n, n * n, 0), wp.where(j + 1 < n, n, 0), 1)
    xs = Lanes()
    ys = Lanes()
    zs = Lanes()
    if begin + LANES < n:
        for lane in range(LANES):
            p = wp.vec3(at(x_out, b + lane), at(y_out, b + lane), at(z_out, b + lane))
            p = pulled(p, ahead, inside, b + lane, to, step)
            xs[lane] = p[0]
            ys[lane] = p[1]
            zs[lane] = p[2]
    else:
        for lane in range(LANES):
            k = wp.min(begin + lane, n - 1)
            here = row * n + k
            to[2] = wp.where(k + 1 < n, 1, 0)
            p = wp.vec3(at(x_out, here), at(y_out, here), at(z_out, here))
            p = pulled(p, ahead, inside, here, to, step)
            xs[lane] = p[0]
            ys[lane] = p[1]
            zs[lane] = p[2]
    for lane in range(LANES):
        if begin + lane < n:
            x_out[b + lane] = xs[lane]
            y_out[b + lane] = ys[lane]
            z_out[b + lane] = zs[lane]


@wp.func
def flowing_in(
    x: wp.array(dtype=wp.float32),
    y: wp.array(dtype=wp.float32),
    z: wp.array(dtype=wp.float32),
    b: int,
    back: wp.vec3i,
    from_x: float,
    from_y: float,
):
    """The divergence of the dual variable; the last of a row has no difference along it and brings the next nothing."""
    divergence = at(x, b) - from_x * at(x, b - back[0]) + at(y, b) - from_y * at(y, b - back[1])
    return divergence + at(z, b) - at(z, b - back[2])


@wp.kernel
def primal_kernel(
    first: int,
    x: wp.array(dtype=wp.float32),
    y: wp.array(dtype=wp.float32),
    z: wp.array(dtype=wp.float32),
    evidence: wp.array(dtype=wp.float32),
    n: int,
    step: float,
    u_out: wp.array(dtype=wp.float32),
    ahead_out: wp.array(dtype=wp.float32),
):
    item = first + wp.tid()
    chunks = (n + LANES - 1) // LANES
    row = item // chunks
    begin = (item - row * chunks) * LANES
    i = row // n
    j = row - i * n
    b = row * n + begin
    # Before a wall there is no other vertex, and nothing comes from it.
    back = wp.vec3i(wp.where(i > 0, n * n, 0), wp.where(j > 0, n, 0), 1)
    from_x = wp.where(i > 0, 1.0, 0.0)
    from_y = wp.where(j > 0, 1.0, 0.0)
    now = Lanes()
    later = Lanes()
    if b > 0 and begin + LANES <= n:
        for lane in range(LANES):
            before = at(u_out, b + lane)
            change = flowing_in(x, y, z, b + lane, back, from_x, from_y) - at(evidence, b + lane)
            now[lane] = wp.clamp(before + step * change, 0.0, 1.0)
            later[lane] = 2.0 * now[lane] - before
    else:
        for lane in range(LANES):
            here = row * n + wp.min(begin + lane, n - 1)
            before = at(u_out, here)
            back[2] = wp.where(here > 0, 1, 0)
            change = flowing_in(x, y, z, here, back, from_x, from_y) - at(evidence, here)
            if here == 0:
                change = at(x, 0) + at(y, 0) + at(z, 0) - at(evidence, 0)
            now[lane] = wp.clamp(before + step * change, 0.0, 1.0)
            later[lane] = 2.0 * now[lane] - before
    for lane in range(LANES):
        if begin + lane < n:
            u_out[b + lane] = now[lane]
            ahead_out[b + lane] = later[lane]


def pull(
    ahead: Float[Tensor, "n n n"], inside: Float[Tensor, "n n n"], step: float, dual: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Move the dual variable, three grids n^3, along the differences of `ahead` and shorten it to one; in place.

    `inside` is 1 in the domain and 0 beyond it: differences across its border do not count.
    """
    n = len(ahead)
    grids = [grid.reshape(-1) for grid in dual]
    inputs = [ahead.reshape(-1), inside.reshape(-1), n, step, *grids]
    launch(dual_kernel, n * n * -(-n // LANES), inputs, ahead.device, least=LEAST)


def follow(
    dual: tuple[Tensor, Tensor, Tensor],
    evidence: Float[Tensor, "n n n"],
    step: float,
    u: Float[Tensor, "n n n"],
    ahead: Float[Tensor, "n n n"],
) -> None:
    """Move u, in [0, 1], by the divergence of the dual variable less the evidence, `ahead` twice as far; in place."""
    n = len(u)
    inputs = [*(grid.reshape(-1) for grid in dual), evidence.reshape(-1), n, step, u.reshape(-1), ahead.reshape(-1)]
    launch(primal_kernel, n * n * -(-n // LANES), inputs, u.device, least=LEAST)
