"""Work on the voxels near the surface: Gauss-Newton updates, smoothing, redistancing.

The band is a sorted list of vertices whose distance is below some voxels and that do not lie on the cube's walls. Every
pass over it reads one array and writes another, so that slices of the list can run side by side.
"""

from collections.abc import Sequence
from typing import Any

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.grid import at, prefetch
from dvr_cli.kernels.launch import launch

# Loops are left to the compiler, which makes better vector instructions of one that it has unrolled itself.
wp.set_module_options({"enable_backward": False, "max_unroll": 0})

TOO_STEEP = wp.constant(1.25)
TOO_FLAT = wp.constant(0.8)
LANES = 8
"""Vertices that smoothing works on side by side: the compiler makes vector instructions of a loop without branches."""
AHEAD = wp.constant(64)
"""Vertices between one that is worked on and one that is fetched, because it is rarely in a cache."""
Lanes = wp.types.vector(length=LANES, dtype=wp.float32)


@wp.kernel
def count_kernel(
    first: int, sdf: wp.array(dtype=wp.float32), n: int, width: float, count_out: wp.array(dtype=wp.int32)
):
    row = first + wp.tid()
    counts = Lanes()
    k = int(1)
    while k < n - 1:
        for lane in range(LANES):
            near = wp.where(wp.abs(at(sdf, row * n + wp.min(k + lane, n - 1))) < width, 1.0, 0.0)
            counts[lane] = counts[lane] + wp.where(k + lane < n - 1, near, 0.0)
        k += LANES
    count = int(0)
    for lane in range(LANES):
        count += int(counts[lane])
    i = row // n
    j = row % n
    if i == 0 or j == 0 or i == n - 1 or j == n - 1:
        count = 0
    count_out[row] = count


@wp.kernel
def list_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    width: float,
    ends: wp.array(dtype=wp.int32),
    band_out: wp.array(dtype=wp.int32),
):
    row = first + wp.tid()
    place = int(0)
    if row > 0:
        place = ends[row - 1]
    if ends[row] > place:
        for k in range(1, n - 1):
            b = row * n + k
            if wp.abs(sdf[b]) < width:
                band_out[place] = b
                place += 1


@wp.kernel
def newton_kernel(
    first: int,
    band: wp.array(dtype=wp.int32),
    sdf: wp.array(dtype=wp.float32),
    gradient: wp.array(dtype=wp.float32),
    curvature: wp.array(dtype=wp.float32),
    mean_gradient: wp.array(dtype=wp.float32),
    mean_curvature: wp.array(dtype=wp.float32),
    voxel: float,
    memory: float,
    damping: float,
    rate: float,
    longest_step: float,
):
    e = first + wp.tid()
    if e % LANES == 0 and e + AHEAD < band.shape[0]:
        prefetch(gradient, band[e + AHEAD])
        prefetch(curvature, band[e + AHEAD])
    b = band[e]
    g = gradient[b] * voxel
    h = curvature[b] * voxel * voxel
    if h > 0.0 or g != 0.0:
        gradient[b] = 0.0
        curvature[b] = 0.0
        g = memory * mean_gradient[b] + g
        h = memory * mean_curvature[b] + h
        mean_gradient[b] = g
        mean_curvature[b] = h
        step = wp.clamp(rate * g / (h + damping), -longest_step, longest_step)
        sdf[b] = sdf[b] - step * voxel


@wp.kernel
def relax_kernel(
    first: int,
    listed: int,
    band: wp.array(dtype=wp.int32),
    values: wp.array(dtype=wp.float32),
    gradient: wp.array(dtype=wp.float32),
    curvature: wp.array(dtype=wp.float32),
    channels: int,
    damping: float,
    rate: float,
):
    b = first + wp.tid()
    if listed == 1:
        if b % LANES == 0 and b + AHEAD < band.shape[0]:
            prefetch(curvature, band[b + AHEAD])
        b = band[b]
    h = curvature[b]
    if h > 0.0:
        curvature[b] = 0.0
        scale = rate / (h + damping)
        for c in range(channels):
            a = b * channels + c
            values[a] = values[a] - scale * gradient[a]
            gradient[a] = 0.0


@wp.func
def prefetch_around(values: wp.array(dtype=wp.float32), vertex: int, n: int, stride: int):
    """Ask for a vertex and its neighbours `stride` away, but for those in the same row."""
    prefetch(values, vertex)
    prefetch(values, vertex - stride * n)
    prefetch(values, vertex + stride * n)
    prefetch(values, vertex - stride * n * n)
    prefetch(values, vertex + stride * n * n)


@wp.func
def in_a_row(band: wp.array(dtype=wp.int32), begin: int):
    """Whether `LANES` vertices from there on follow each other in memory, so that they are fetched as vectors."""
    end = begin + LANES - 1
    return end < band.shape[0] and band[wp.min(end, band.shape[0] - 1)] - band[begin] == LANES - 1


@wp.func
def smoothed(
    sdf: wp.array(dtype=wp.float32),
    b: int,
    n: int,
    informed: float,
    information: wp.array(dtype=wp.float32),
    half_at: float,
    smoothing: float,
    redistancing: float,
):
    """A vertex's value after a step of smoothing and redistancing."""
    nn = n * n
    voxel = 2.0 / float(n - 1)
    c = at(sdf, b)
    x0 = at(sdf, b - nn)
    x1 = at(sdf, b + nn)
    y0 = at(sdf, b - n)
    y1 = at(sdf, b + n)
    z0 = at(sdf, b - 1)
    z1 = at(sdf, b + 1)
    share = smoothing / wp.sqrt(1.0 + informed * at(information, b) / half_at)
    value = c + share * ((x0 + x1 + y0 + y1 + z0 + z1) / 6.0 - c)
    # Where a neighbour lies on the other side, an upwind step would move the zero level (Russo and Smereka, 2000);
    # so would mending small errors of the steepness, pass after pass. Only what is clearly too steep by central
    # differences, or too flat even by the steepest differences (central ones are blind to alternating errors), is
    # brought nearer to slope one.
    gx = 0.5 * wp.abs(x1 - x0)
    gy = 0.5 * wp.abs(y1 - y0)
    gz = 0.5 * wp.abs(z1 - z0)
    mx = wp.max(gx, wp.max(wp.abs(x1 - c), wp.abs(x0 - c)))
    my = wp.max(gy, wp.max(wp.abs(y1 - c), wp.abs(y0 - c)))
    mz = wp.max(gz, wp.max(wp.abs(z1 - c), wp.abs(z0 - c)))
    steepness = wp.sqrt(gx * gx + gy * gy + gz * gz) / voxel
    steepest = wp.sqrt(mx * mx + my * my + mz * mz) / voxel
    slope = wp.where(steepest < TOO_FLAT, wp.max(steepest, 0.5), 1.0)
    slope = wp.where(steepness > TOO_STEEP, wp.clamp(steepness, 1.0, 2.0), slope)
    across = c / slope - c
    # Elsewhere Godunov's upwind slopes: only neighbours nearer to the surface count.
    sign = wp.where(c < 0.0, -1.0, 1.0)
    ax = wp.max(sign * (c - wp.min(sign * x0, sign * x1) * sign), 0.0)
    ay = wp.max(sign * (c - wp.min(sign * y0, sign * y1) * sign), 0.0)
    az = wp.max(sign * (c - wp.min(sign * z0, sign * z1) * sign), 0.0)
    upwind = -voxel * sign * (wp.sqrt(ax * ax + ay * ay + az * az) / voxel - 1.0)
    least = wp.min(wp.min(wp.min(c * x0, c * x1), wp.min(c * y0, c * y1)), wp.min(c * z0, c * z1))
    return value + redistancing * wp.where(least < 0.0, across, upwind)


@wp.kernel
def smooth_kernel(
    first: int,
    band: wp.array(dtype=wp.int32),
    sdf: wp.array(dtype=wp.float32),
    n: int,
    informed: float,
    information: wp.array(dtype=wp.float32),
    half_at: float,
    smoothing: float,
    redistancing: float,
    sdf_out: wp.array(dtype=wp.float32),
):
    begin = (first + wp.tid()) * LANES
    last = band.shape[0] - 1
    if begin + AHEAD < band.shape[0]:
        after = band[begin + AHEAD]
        prefetch_around(sdf, after, n, 1)
        prefetch(information, after)
    values = Lanes()
    b = band[begin]
    if in_a_row(band, begin):
        for lane in range(LANES):
            values[lane] = smoothed(sdf, b + lane, n, informed, information, half_at, smoothing, redistancing)
    else:
        for lane in range(LANES):
            b = band[wp.min(begin + lane, last)]
            values[lane] = smoothed(sdf, b, n, informed, information, half_at, smoothing, redistancing)
    for lane in range(LANES):
        if begin + lane <= last:
            sdf_out[begin + lane] = values[lane]


@wp.kernel
def write_back_kernel(
    first: int, band: wp.array(dtype=wp.int32), values: wp.array(dtype=wp.float32), grid_out: wp.array(dtype=wp.float32)
):
    e = first + wp.tid()
    grid_out[band[e]] = values[e]


def find_band(sdf: Float[Tensor, "n n n"], width: float) -> Int[Tensor, "b"]:
    """Sorted indices of inner vertices with |sdf| < width (unit-space length)."""
    n, flat = sdf.shape[0], sdf.detach().reshape(-1)
    counts = torch.empty(n * n, dtype=torch.int32, device=sdf.device)
    launch(count_kernel, n * n, [flat, n, width, counts], sdf.device)
    ends = counts.cumsum(0, dtype=torch.int32)
    band = torch.empty(int(ends[-1]), dtype=torch.int32, device=sdf.device)
    launch(list_kernel, n * n, [flat, n, width, ends, band], sdf.device)
    return band


def newton_step(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    gradient: Float[Tensor, "n n n"],
    curvature: Float[Tensor, "n n n"],
    mean_gradient: Float[Tensor, "n n n"],
    mean_curvature: Float[Tensor, "n n n"],
    *,
    memory: float,
    damping: float,
    rate: float,
    longest_step: float,
) -> None:
    """Move band values by -rate g / (h + damping) voxels, at most `longest_step`, in place; zero what was used.

    g and h are the gradient and curvature per voxel of length, summed over steps with weight `memory`^age.
    """
    grids = [g.reshape(-1) for g in (sdf.detach(), gradient, curvature, mean_gradient, mean_curvature)]
    numbers = [2.0 / (sdf.shape[0] - 1), memory, damping, rate, longest_step]
    launch(newton_kernel, len(band), [band, *grids, *numbers], sdf.device, least=4096)


def relax(
    band: Int[Tensor, "b"] | None,
    values: Float[Tensor, "n n n c"],
    gradient: Float[Tensor, "n n n c"],
    curvature: Float[Tensor, "n n n"],
    *,
    damping: float,
    rate: float,
) -> None:
    """Move values by -rate g / (h + damping) where h > 0, in place; zero what was used. band None: every vertex."""
    listed = band is not None
    indices = band if band is not None else torch.zeros(1, dtype=torch.int32, device=values.device)
    grids = [g.reshape(-1) for g in (values.detach(), gradient, curvature)]
    count = len(indices) if listed else curvature.numel()
    launch(
        relax_kernel, count, [int(listed), indices, *grids, values.shape[-1], damping, rate], values.device, least=4096
    )


def replace_values(
    kernel: wp.Kernel, band: Int[Tensor, "b"], sdf: Float[Tensor, "n n n"], inputs: Sequence[Any]
) -> None:
    """Put in place, all at once, what a kernel finds for the band's vertices, `LANES` of them per item.

    Its parameters are first, band, sdf, n, the `inputs` and the values found.
    """
    out = torch.empty(len(band), device=sdf.device)
    flat = sdf.detach().reshape(-1)
    launch(kernel, -(-len(band) // LANES), [band, flat, sdf.shape[0], *inputs, out], sdf.device, least=512)
    launch(write_back_kernel, len(band), [band, out, flat], sdf.device, least=4096)


def smooth(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    smoothing: float,
    redistancing: float,
    information: Float[Tensor, "n n n"] | None = None,
    half_at: float = 1.0,
) -> None:
    """One step of smoothing (share of the way to the neighbours' mean; negative: away) and redistancing, in place.

    With `information` a vertex is smoothed by smoothing / sqrt(1 + information / half_at) only: there and back, that
    halves what the shortest waves lose where the information is `half_at`.
    """
    known = (sdf.detach() if information is None else information).reshape(-1)
    numbers = [half_at, smoothing, redistancing]
    replace_values(smooth_kernel, band, sdf, [float(information is not None), known, *numbers])


def smooth_and_redistance(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    smoothing: float,
    redistancing: float,
    information: Float[Tensor, "n n n"] | None = None,
    half_at: float = 1.0,
) -> None:
    """Smoothing that does not shrink (there and back: Taubin, 1995) and a step of redistancing, in place.

    Redistancing goes with the way back. After the way there it would go through the way back itself, which multiplies
    alternating errors by 1 + 2 `smoothing`: together more than one, so that they grow.
    """
    smooth(band, sdf, smoothing, 0.0, information, half_at)
    smooth(band, sdf, -smoothing, redistancing, information, half_at)
