"""Smoothing of bumps many voxels wide, where the data says hardly anything.

What `kernels.band.smooth` does to a wave falls with the fourth power of its length: over ten voxels nothing happens
within a level. A wall without texture then keeps the bumps of the first field. Here a vertex is compared with
neighbours several voxels away, which sees long waves as the other sees short ones.

The thin plate that smoothing stands for bends by the fourth power of length too: over s voxels, data has to be s^4
times as weak to be overruled as over one.
"""

import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.band import AHEAD, LANES, Lanes, in_a_row, prefetch_around, replace_values
from dvr_cli.kernels.grid import at, prefetch

# Loops are left to the compiler, which makes better vector instructions of one that it has unrolled itself.
wp.set_module_options({"enable_backward": False, "max_unroll": 0})


@wp.func
def bend(before: float, here: float, after: float, largest: float):
    """The second difference; less of it the larger it is, nothing beyond `largest` (Tukey's biweight)."""
    difference = before + after - 2.0 * here
    share = difference / largest
    weight = wp.max(1.0 - share * share, 0.0)
    return weight * weight * difference


@wp.func
def smoothed(
    sdf: wp.array(dtype=wp.float32),
    b: int,
    away: int,
    n: int,
    information: wp.array(dtype=wp.float32),
    half_at: float,
    smoothing: float,
    largest_bend: float,
):
    """A vertex's value after a step of smoothing by neighbours `away` from it."""
    c = at(sdf, b)
    bends = bend(at(sdf, b - away * n * n), c, at(sdf, b + away * n * n), largest_bend)
    bends += bend(at(sdf, b - away * n), c, at(sdf, b + away * n), largest_bend)
    bends += bend(at(sdf, b - away), c, at(sdf, b + away), largest_bend)
    return c + smoothing / wp.sqrt(1.0 + at(information, b) / half_at) * bends / 6.0


@wp.func
def walls_away(b: int, n: int):
    """Voxels between a vertex and the nearest wall of the cube."""
    i = b // (n * n)
    j = b // n - i * n
    k = b % n
    return wp.min(wp.min(wp.min(i, n - 1 - i), wp.min(j, n - 1 - j)), wp.min(k, n - 1 - k))


@wp.kernel
def smooth_kernel(
    first: int,
    band: wp.array(dtype=wp.int32),
    sdf: wp.array(dtype=wp.float32),
    n: int,
    stride: int,
    information: wp.array(dtype=wp.float32),
    half_at: float,
    smoothing: float,
    largest_bend: float,
    sdf_out: wp.array(dtype=wp.float32),
):
    begin = (first + wp.tid()) * LANES
    last = band.shape[0] - 1
    if begin + AHEAD < band.shape[0]:
        after = band[begin + AHEAD]
        prefetch_around(sdf, after, n, stride)
        prefetch(information, after)
    values = Lanes()
    b = band[begin]
    if in_a_row(band, begin) and wp.min(walls_away(b, n), walls_away(b + LANES - 1, n)) >= stride:
        for lane in range(LANES):
            values[lane] = smoothed(sdf, b + lane, stride, n, information, half_at, smoothing, largest_bend)
    else:
        for lane in range(LANES):
            b = band[wp.min(begin + lane, last)]
            # Too near to a wall of the cube a vertex is compared with itself.
            away = wp.where(walls_away(b, n) >= stride, stride, 0)
            values[lane] = smoothed(sdf, b, away, n, information, half_at, smoothing, largest_bend)
    for lane in range(LANES):
        if begin + lane <= last:
            sdf_out[begin + lane] = values[lane]


def smooth_long_waves(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    stride: int,
    smoothing: float,
    information: Float[Tensor, "n n n"],
    half_at: float,
    largest_bend: float,
) -> None:
    """Smooth there and back (Taubin, 1995), in place, by neighbours `stride` voxels away.

    `smoothing` is the share of the way to the neighbours' mean, smoothing / sqrt(1 + information / half_at) where there
    is information (per voxel squared); `half_at` is what halves the effect over *one* voxel. Bends of more than
    `largest_bend` (unit-space length, second difference over the stride) are taken for the object's own and left alone.
    """
    known, weakest = information.reshape(-1), half_at / stride**4
    for share in (smoothing, -smoothing):
        replace_values(smooth_kernel, band, sdf, [stride, known, weakest, share, largest_bend])
