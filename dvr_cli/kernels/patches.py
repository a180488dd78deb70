"""Plane-induced patch NCC between a pixel's neighbourhood and other views, with its slope and curvature along the ray.

Notation: the pixel's ray is o + t w; n is the unit normal at its hit. The plane (hit, n) maps a reference pixel p
(homogeneous) to the source pixel H p with

    H = K_s R_s ((o - c_s) n^T + t (n.w) I) R_r^T K_r^-1,      dH/dt = (n.w) K_s R_s R_r^T K_r^-1.

With a and b the zero-mean reference and source patches over their lengths |a|, |b| (each length^2 is raised by
size * noise^2, so that a patch without texture has no say), the loss is 1 - a.b = |a - b|^2 / 2 + const. Its slope is
-a.(db/dt), its Gauss-Newton curvature |db/dt|^2. All of it follows from seven sums, so that no patch is stored. A CPU
forms them for eight pixels of a patch at once, in its vector registers: a patch is a square without the pixel in its
middle, whose (2 radius + 1)^2 - 1 = 4 radius (radius + 1) pixels are a multiple of eight.
A pixel keeps the best `keep` of its source views (the others may be occluded).
Sources: plane-induced patch warping as in Geo-NeuS (Fu et al., 2022) and PGSR (Chen et al., 2024).
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.grid import at, prefetch, prefetch_byte
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.views import OBJECT, UNKNOWN, ViewArrays

# Loops are left to the compiler, which makes better vector instructions of one that it has unrolled itself.
wp.set_module_options({"enable_backward": False, "max_unroll": 0})

WORST_LOSS = wp.constant(0.9)
LEAST_FACING = wp.constant(0.1)
_OBJECT, _UNKNOWN = wp.constant(wp.uint8(OBJECT)), wp.constant(wp.uint8(UNKNOWN))
LANES = 8
"""Pixels of a patch that are worked on side by side: the compiler makes vector instructions of loops over them."""
Sums = wp.types.vector(length=LANES, dtype=wp.float32)


@wp.func
def over_lanes(sums: Sums):
    """The sum over lanes."""
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))


@wp.func
def reference_patch(gray: wp.array(dtype=wp.float32), start: int, width: int, pixel: wp.vec2i, radius: int):
    """(mean, sum of squared differences from it) of a patch of the reference view.

    The middle has no difference from itself, so that it adds nothing to the sums.
    """
    middle = gray[start + pixel[1] * width + pixel[0]]
    total = float(0.0)
    squares = float(0.0)
    for dy in range(-radius, radius + 1):
        row = start + (pixel[1] + dy) * width + pixel[0]
        for dx in range(-radius, radius + 1):
            r = gray[row + dx] - middle
            total += r
            squares += r * r
    count = float(4 * radius * (radius + 1))
    return wp.vec2(middle + total / count, wp.max(squares - total * total / count, 0.0))


@wp.func
def prefetch_patch(gray: wp.array(dtype=wp.float32), start: int, width: int, height: int, x: int, y: int, radius: int):
    """Ask for all of a patch about (x, y) that lies in the image."""
    if x >= radius and x < width - radius - 1 and y >= radius and y < height - radius - 1:
        for dy in range(-radius, radius + 2):
            row = start + (y + dy) * width + x
            prefetch(gray, row - radius)
            prefetch(gray, row + radius + 1)


@wp.func
def compare_patch(
    gray: wp.array(dtype=wp.float32),
    reference_start: int,
    reference_width: int,
    pixel: wp.vec2i,
    count: float,
    taps: wp.array(dtype=wp.float32),
    reference_mean: float,
    reference_norm: float,
    noise: float,
    source_start: int,
    source_height: int,
    source_width: int,
    shift: wp.vec3,
    slope: wp.mat33,
    t: float,
    plane: wp.vec3,
    bend: wp.vec2,
):
    """(loss, d loss / dt, curvature) against one source view; loss 9 where the patch leaves the image.

    H = shift plane^T + t slope, with slope = dH/dt. The `count` taps are those of `taps_of`.
    """
    # Lanes that lie outside read the first four pixels instead.
    if source_width < 2 or source_height < 2:
        return wp.vec3(9.0, 0.0, 0.0)
    sums_s = Sums()
    sums_d = Sums()
    sums_ss = Sums()
    sums_dd = Sums()
    sums_sd = Sums()
    sums_rs = Sums()
    sums_rd = Sums()
    outside = Sums()
    middle_x = float(pixel[0]) + 0.5
    middle_y = float(pixel[1]) + 0.5
    middle = reference_start + pixel[1] * reference_width + pixel[0]
    row = float(reference_width)
    last_x = float(source_width - 1)
    last_y = float(source_height - 1)
    taps_count = taps.shape[0] // 2
    tap = int(0)
    while tap < taps_count:
        for lane in range(LANES):
            x = taps[tap + lane]
            y = taps[taps_count + tap + lane]
            rx = middle_x + x
            ry = middle_y + y
            facing = plane[0] * rx + plane[1] * ry + plane[2]
            dq0 = slope[0, 0] * rx + slope[0, 1] * ry + slope[0, 2]
            dq1 = slope[1, 0] * rx + slope[1, 1] * ry + slope[1, 2]
            dq2 = slope[2, 0] * rx + slope[2, 1] * ry + slope[2, 2]
            q2 = shift[2] * facing + dq2 * t
            iz = 1.0 / q2
            px = (shift[0] * facing + dq0 * t) * iz
            py = (shift[1] * facing + dq1 * t) * iz
            du = (dq0 - px * dq2) * iz
            dv = (dq1 - py * dq2) * iz
            # The surface lies behind the plane by a quadratic in the offset: slide along the tap's ray to it.
            behind = bend[0] * x * x + bend[1] * y * y
            sx = px + du * behind - 0.5
            sy = py + dv * behind - 0.5
            # One after the other, not `and`: lanes must not part ways.
            inside = wp.where(sx >= 0.0, 1.0, 0.0)
            inside = wp.where(sy >= 0.0, inside, 0.0)
            inside = wp.where(sx < last_x, inside, 0.0)
            inside = wp.where(sy < last_y, inside, 0.0)
            inside = wp.where(facing < 0.0, inside, 0.0)
            inside = wp.where(q2 < 0.0, inside, 0.0)
            sx = wp.where(inside > 0.0, sx, 0.0)
            sy = wp.where(inside > 0.0, sy, 0.0)
            ix = int(sx)
            iy = int(sy)
            fx = sx - float(ix)
            fy = sy - float(iy)
            b = source_start + iy * source_width + ix
            below = b + source_width
            g00 = at(gray, b)
            g01 = at(gray, below)
            across_top = at(gray, b + 1) - g00
            across_bottom = at(gray, below + 1) - g01
            top = g00 + across_top * fx
            down = g01 + across_bottom * fx - top
            s = wp.where(inside > 0.0, top + down * fy - reference_mean, 0.0)
            d = wp.where(inside > 0.0, (across_top + (across_bottom - across_top) * fy) * du + down * dv, 0.0)
            r = at(gray, middle + int(y * row + x)) - reference_mean
            sums_s[lane] = sums_s[lane] + s
            sums_d[lane] = sums_d[lane] + d
            sums_ss[lane] = sums_ss[lane] + s * s
            sums_dd[lane] = sums_dd[lane] + d * d
            sums_sd[lane] = sums_sd[lane] + s * d
            sums_rs[lane] = sums_rs[lane] + r * s
            sums_rd[lane] = sums_rd[lane] + r * d
            outside[lane] = outside[lane] + (1.0 - inside)
        tap += LANES
    if over_lanes(outside) > 0.0:
        return wp.vec3(9.0, 0.0, 0.0)
    sum_s = over_lanes(sums_s)
    sum_d = over_lanes(sums_d)
    ss = over_lanes(sums_ss) - sum_s * sum_s / count + count * noise * noise
    sd = over_lanes(sums_sd) - sum_s * sum_d / count
    dd = over_lanes(sums_dd) - sum_d * sum_d / count
    sum_rs = over_lanes(sums_rs)
    sum_rd = over_lanes(sums_rd)
    length = wp.sqrt(ss)
    # db/dt = d / |s| - s (s.d) / |s|^3
    k = sd / (ss * length)
    ncc = sum_rs / (length * reference_norm)
    gradient = -(sum_rd / length - sum_rs * k) / reference_norm
    curvature = dd / ss - 2.0 * k * sd / length + k * k * (ss - count * noise * noise)
    return wp.vec3(1.0 - ncc, gradient, wp.max(curvature, 0.0))


@wp.kernel
def patch_kernel(
    first: int,
    gray: wp.array(dtype=wp.float32),
    masks: wp.array(dtype=wp.uint8),
    starts: wp.array(dtype=wp.int32),
    heights: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    intrinsics: wp.array(dtype=wp.mat33),
    inverse_intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    ray_views: wp.array(dtype=wp.int32),
    ray_pixels: wp.array(dtype=wp.vec2i),
    directions: wp.array(dtype=wp.vec3),
    t: wp.array(dtype=wp.float32),
    normals: wp.array(dtype=wp.vec3),
    bends: wp.array(dtype=wp.vec2),
    sources: wp.array(dtype=wp.int32),
    sources_per_ray: int,
    keep: int,
    radius: int,
    taps: wp.array(dtype=wp.float32),
    noise: float,
    loss_out: wp.array(dtype=wp.float32),
    slope_out: wp.array(dtype=wp.float32),
    curvature_out: wp.array(dtype=wp.float32),
    discord_out: wp.array(dtype=wp.float32),
):
    ray = first + wp.tid()
    # Patches are rarely in a cache: those of the next ray come while this one's are compared.
    after = ray + 1
    if after < ray_views.shape[0]:
        after_view = ray_views[after]
        after_point = centres[after_view] + directions[after] * t[after]
        pixel = ray_pixels[after]
        prefetch_patch(gray, starts[after_view], widths[after_view], heights[after_view], pixel[0], pixel[1], radius)
        for j in range(sources_per_ray):
            source = sources[after * sources_per_ray + j]
            if source >= 0:
                in_source = intrinsics[source] * (rotations[source] * (after_point - centres[source]))
                if in_source[2] > 0.0:
                    cx = int(in_source[0] / in_source[2])
                    cy = int(in_source[1] / in_source[2])
                    prefetch_patch(gray, starts[source], widths[source], heights[source], cx, cy, radius)
                    prefetch_byte(masks, starts[source] + cy * widths[source] + cx)
    loss_out[ray] = 0.0
    slope_out[ray] = 0.0
    curvature_out[ray] = 0.0
    discord_out[ray] = 0.0
    view = ray_views[ray]
    direction = directions[ray]
    normal = normals[ray]
    facing = wp.dot(normal, direction)
    pixel = ray_pixels[ray]
    height = heights[view]
    width = widths[view]
    start = starts[view]
    fits = pixel[0] >= radius and pixel[1] >= radius and pixel[0] < width - radius and pixel[1] < height - radius
    if fits and facing < -LEAST_FACING:
        reference = reference_patch(gray, start, width, pixel, radius)
        count = float(4 * radius * (radius + 1))
        norm = wp.sqrt(reference[1] + count * noise * noise)
        origin = centres[view]
        point = origin + direction * t[ray]
        back = wp.transpose(rotations[view]) * inverse_intrinsics[view]
        plane = normal * back
        first_best = wp.vec3(9.0, 0.0, 0.0)
        second_best = wp.vec3(9.0, 0.0, 0.0)
        for j in range(sources_per_ray):
            source = sources[ray * sources_per_ray + j]
            if source >= 0:
                centre = centres[source]
                to_source = wp.normalize(centre - point)
                in_source = intrinsics[source] * (rotations[source] * (point - centre))
                if wp.dot(to_source, normal) > LEAST_FACING and in_source[2] > 0.0:
                    cx = int(in_source[0] / in_source[2])
                    cy = int(in_source[1] / in_source[2])
                    ws = widths[source]
                    hs = heights[source]
                    if cx >= 0 and cy >= 0 and cx < ws and cy < hs:
                        label = masks[starts[source] + cy * ws + cx]
                        if label == _OBJECT or label == _UNKNOWN:  # noqa: SIM109 (Warp knows no tuples)
                            forward = intrinsics[source] * rotations[source]
                            turn = forward * back
                            shift = forward * (origin - centre)
                            found = compare_patch(
                                gray, start, width, pixel, count, taps, reference[0], norm, noise,
                                starts[source], hs, ws, shift, turn * facing, t[ray], plane, bends[ray],
                            )  # fmt: skip
                            if found[0] < first_best[0]:
                                second_best = first_best
                                first_best = found
                            elif found[0] < second_best[0]:
                                second_best = found
        if keep == 1:
            second_best = first_best
        if second_best[0] < WORST_LOSS:
            loss_out[ray] = 0.5 * (first_best[0] + second_best[0])
            slope_out[ray] = 0.5 * (first_best[1] + second_best[1])
            curvature_out[ray] = 0.5 * (first_best[2] + second_best[2])
            if first_best[2] > 0.0 and second_best[2] > 0.0:
                discord_out[ray] = wp.abs(first_best[1] / first_best[2] - second_best[1] / second_best[2])


class Comparison(NamedTuple):
    """What comparing the patches of a batch of rays has found; no gradient."""

    loss: Float[Tensor, "r"]
    """1 - NCC, the mean over the sources that count."""
    slope: Float[Tensor, "r"]
    """Its derivative with respect to t."""
    curvature: Float[Tensor, "r"]
    """Gauss-Newton's second derivative; zero where nothing can be compared."""
    discord: Float[Tensor, "r"]
    """How far apart in t the two sources that count want the surface, each by its own Newton step."""


@lru_cache
def taps_of(radius: int, device: torch.device) -> Float[Tensor, "t"]:
    """Offsets of a patch's pixels from its middle, which is none of them: all x, then all y."""
    side = torch.arange(-radius, radius + 1, device=device)
    y, x = (axis.reshape(-1) for axis in torch.meshgrid(side, side, indexing="ij"))
    around = (x != 0) | (y != 0)
    return torch.cat([x[around], y[around]]).float()


def patch_ncc(
    stack: ViewArrays,
    ray_views: Int[Tensor, "r"],
    ray_pixels: Int[Tensor, "r 2"],
    directions: Float[Tensor, "r 3"],
    t: Float[Tensor, "r"],
    normals: Float[Tensor, "r 3"],
    bends: Float[Tensor, "r 2"],
    sources: Int[Tensor, "r s"],
    *,
    keep: int,
    radius: int,
    noise: float,
) -> Comparison:
    """Compare a patch around each ray's pixel with other views; zeros where nothing can be compared.

    `ray_pixels` are whole (x, y); `normals` unit; `bends` how far (in t) the surface lies behind the tangent plane per
    squared pixel along x and y; `sources` view indices, -1 for none; the best `keep` (1 or 2) sources count; `noise` is
    the standard deviation of grey values that is not texture. No gradient (`rendering.photometric` has it).
    """
    rays = len(ray_views)
    loss, slope, curvature, discord = (torch.empty(rays, device=t.device) for _ in range(4))
    cameras = [stack.starts, stack.heights, stack.widths, stack.intrinsics, stack.inverse_intrinsics]
    inputs = [stack.gray, stack.masks, *cameras, stack.rotations, stack.centres]
    inputs += [ray_views, ray_pixels, directions, t, normals, bends]
    inputs += [sources.reshape(-1), sources.shape[1], keep, radius, taps_of(radius, t.device), noise]
    launch(patch_kernel, rays, [*inputs, loss, slope, curvature, discord], t.device, least=64)
    return Comparison(loss, slope, curvature, discord)
