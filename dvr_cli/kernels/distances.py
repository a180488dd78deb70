"""Exact signed distances to the boundary of a set of a grid's vertices, axis by axis.

The squared distance to the nearest vertex of the other kind is a sum over axes, so its minimum can be taken along one
axis after the other (Saito and Toriwaki, Pattern Recognition 1994). Along rows each vertex counts the steps to the next
one of the other kind; along the two other axes it looks outwards from itself for as long as a step alone is not too
far. In between the square is negative for vertices outside.
"""

import torch
import warp as wp
from jaxtyping import Bool, Float
from torch import Tensor

from dvr_cli.kernels.band import LANES, Lanes
from dvr_cli.kernels.grid import at
from dvr_cli.kernels.launch import launch

# Loops are left to the compiler, which makes better vector instructions of one that it has unrolled itself.
wp.set_module_options({"enable_backward": False, "max_unroll": 0})


@wp.kernel
def row_kernel(first: int, inside: wp.array(dtype=wp.uint8), n: int, far: float, out: wp.array(dtype=wp.float32)):
    base = (first + wp.tid()) * n
    # Steps since the last vertex outside and inside.
    since = wp.vec2(far, far)
    for k in range(n):
        since = wp.vec2(wp.min(since[0] + 1.0, far), wp.min(since[1] + 1.0, far))
        if inside[base + k] != wp.uint8(0):
            since[1] = 0.0
            out[base + k] = since[0]
        else:
            since[0] = 0.0
            out[base + k] = since[1]
    since = wp.vec2(far, far)
    for back in range(n):
        k = base + n - 1 - back
        since = wp.vec2(wp.min(since[0] + 1.0, far), wp.min(since[1] + 1.0, far))
        if inside[k] != wp.uint8(0):
            since[1] = 0.0
            steps = wp.min(out[k], since[0])
            out[k] = steps * steps
        else:
            since[0] = 0.0
            steps = wp.min(out[k], since[1])
            out[k] = -steps * steps


@wp.func
def other_kind(before: wp.array(dtype=wp.float32), own: float, here: int, back: int, ahead: int):
    """The lesser square of two vertices on the axis: one that is itself of the other kind is at no distance from it."""
    behind = at(before, here - back)
    beyond = at(before, here + ahead)
    behind = wp.where(own < 0.0, -behind, behind)
    beyond = wp.where(own < 0.0, -beyond, beyond)
    return wp.max(wp.min(behind, beyond), 0.0)


@wp.func
def nearest_along(before: wp.array(dtype=wp.float32), b: int, last: int, place: int, n: int, stride: int):
    """Of `LANES` vertices from `b` on, as many as there are: signed squares of the least distances so far.

    They are `place` along the axis; what lies beyond `last` is left out.
    """
    own = Lanes()
    best = Lanes()
    for lane in range(LANES):
        own[lane] = at(before, wp.min(b + lane, last))
        best[lane] = wp.abs(own[lane])
    step = int(1)
    square = float(1.0)
    while square < wp.max(best) and step < n:
        # Beyond the wall a vertex sees itself, which changes nothing.
        back = wp.where(place >= step, step * stride, 0)
        ahead = wp.where(place + step < n, step * stride, 0)
        if b + LANES <= last + 1:
            for lane in range(LANES):
                best[lane] = wp.min(best[lane], other_kind(before, own[lane], b + lane, back, ahead) + square)
        else:
            for lane in range(LANES):
                here = wp.min(b + lane, last)
                best[lane] = wp.min(best[lane], other_kind(before, own[lane], here, back, ahead) + square)
        step += 1
        square = float(step) * float(step)
    for lane in range(LANES):
        best[lane] = wp.where(own[lane] < 0.0, -best[lane], best[lane])
    return best


@wp.kernel
def axis_kernel(first: int, before: wp.array(dtype=wp.float32), n: int, stride: int, out: wp.array(dtype=wp.float32)):
    item = first + wp.tid()
    chunks = (n + LANES - 1) // LANES
    row = item // chunks
    b = row * n + (item - row * chunks) * LANES
    last = row * n + n - 1
    found = nearest_along(before, b, last, (b // stride) % n, n, stride)
    for lane in range(LANES):
        if b + lane <= last:
            out[b + lane] = found[lane]


def signed_distance(inside: Bool[Tensor, "n n n"]) -> Float[Tensor, "n n n"]:
    """Signed distance, in unit space, to the boundary between True and False vertices; half a voxel exact.

    1 everywhere when none is True; far below that everywhere when all are.
    """
    n, device = inside.shape[0], inside.device
    if not inside.any():
        return torch.ones(inside.shape, device=device)
    squares, other = (torch.empty(inside.shape, device=device) for _ in range(2))
    kinds, far = inside.contiguous().view(torch.uint8).reshape(-1), 4.0 * n
    launch(row_kernel, n * n, [kinds, n, far, squares.reshape(-1)], device)
    for stride in (n, n * n):
        inputs = [squares.reshape(-1), n, stride, other.reshape(-1)]
        launch(axis_kernel, n * n * -(-n // LANES), inputs, device, least=512)
        squares, other = other, squares
    # The boundary lies half-way between a vertex and the nearest of the other kind.
    return squares.sign() * (0.5 - squares.abs().sqrt()) * (2.0 / (n - 1))
