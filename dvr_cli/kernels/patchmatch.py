"""Depth maps in which every pixel has its own plane: a sweep to begin with, PatchMatch, and Gauss-Newton at the end.

Planes, costs and what a `Matching` holds are explained in `kernels.planes`. Maps of all views lie flat behind each
other, like the photographs. Launches go over lists of pixels. In `improve` the pixels of a launch are the black or the
red squares of a checkerboard and read planes of the other colour only, and each pixel draws its numbers from a hash of
the seed and its place: the result does not depend on the order in which pixels are worked on.
Sources: PatchMatch stereo (Bleyer et al. 2011); red-black propagation (Galliani et al. 2015, Gipuma); from each
direction the pixel with the least cost (Xu and Tao 2019, ACMH).
"""

from typing import Any

import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.grid import cube_interval, sample
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.matching import Matching
from dvr_cli.kernels.planes import (
    LEAST_FACING,
    MOST_CONTRADICTION,
    NO_PLANE,
    UNSEEN,
    mean_of_best,
    normal_of,
    own_patch,
    ray_of,
    source_loss,
    source_steps,
    with_loss,
)

wp.set_module_options({"enable_backward": False})

MOST_STEPS = wp.constant(256)
"""Planes that a sweep compares at most along a ray."""


@wp.func
def contradiction(m: Matching, view: int, pixel: wp.vec2i, point: wp.vec3, source: int):
    """Pixels by which a point misses its pixel on the way to the surface that the source knows and back; at most 2."""
    q = m.intrinsics[source] * (m.rotations[source] * (point - m.centres[source]))
    if q[2] <= 0.0:
        return MOST_CONTRADICTION
    sx = q[0] / q[2]
    sy = q[1] / q[2]
    x = int(wp.floor(sx))
    y = int(wp.floor(sy))
    if x < 0 or y < 0 or x >= m.widths[source] or y >= m.heights[source]:
        return MOST_CONTRADICTION
    plane = m.known[m.starts[source] + y * m.widths[source] + x]
    w = plane[0] + plane[1] * (sx - float(x) - 0.5) + plane[2] * (sy - float(y) - 0.5)
    if w <= 0.0:
        return MOST_CONTRADICTION
    ray = wp.transpose(m.rotations[source]) * (m.inverse_intrinsics[source] * wp.vec3(sx, sy, 1.0))
    there = m.centres[source] + ray / w
    back = m.intrinsics[view] * (m.rotations[view] * (there - m.centres[view]))
    if back[2] <= 0.0:
        return MOST_CONTRADICTION
    ex = back[0] / back[2] - float(pixel[0]) - 0.5
    ey = back[1] / back[2] - float(pixel[1]) - 0.5
    return wp.min(wp.sqrt(ex * ex + ey * ey), MOST_CONTRADICTION)


@wp.func
def plane_cost(m: Matching, view: int, pixel: wp.vec2i, patch: wp.vec3, plane: wp.vec3):
    """The mean of the best sources' losses and contradictions.

    `NO_PLANE` outside of the hull and for planes seen along their surface.
    """
    if plane[0] <= 0.0 or patch[2] == 0.0:
        return NO_PLANE
    ray = ray_of(m, view, pixel)
    if wp.dot(normal_of(m, view, pixel, plane), ray) > -LEAST_FACING * wp.length(ray):
        return NO_PLANE
    point = m.centres[view] + ray / plane[0]
    if wp.max(wp.max(wp.abs(point[0]), wp.abs(point[1])), wp.abs(point[2])) > 1.0:
        return NO_PLANE
    if sample(m.hull, point, m.hull_size) > m.hull_margin:
        return NO_PLANE
    worst = UNSEEN + MOST_CONTRADICTION * m.geometric
    best = wp.vec4(worst, worst, worst, worst)
    for j in range(m.sources_per_view):
        pair = view * m.sources_per_view + j
        if m.sources[pair] >= 0:
            loss = source_loss(m, m.starts[view], m.widths[view], m.heights[view], pixel, patch, pair, plane)
            if m.geometric > 0.0:
                loss += m.geometric * contradiction(m, view, pixel, point, m.sources[pair])
            best = with_loss(best, loss)
    return mean_of_best(best, m.keep)


@wp.kernel
def cost_kernel(
    first: int,
    m: Matching,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    planes: wp.array(dtype=wp.vec3),
    costs: wp.array(dtype=wp.float32),
):
    e = first + wp.tid()
    view = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    place = m.starts[view] + pixel[1] * m.widths[view] + pixel[0]
    patch = own_patch(m, m.starts[view], m.widths[view], m.heights[view], pixel)
    costs[place] = plane_cost(m, view, pixel, patch, planes[place])


@wp.kernel
def sweep_kernel(
    first: int,
    m: Matching,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    spacing: float,
    planes: wp.array(dtype=wp.vec3),
    costs: wp.array(dtype=wp.float32),
):
    e = first + wp.tid()
    view = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    place = m.starts[view] + pixel[1] * m.widths[view] + pixel[0]
    patch = own_patch(m, m.starts[view], m.widths[view], m.heights[view], pixel)
    ray = ray_of(m, view, pixel)
    length = wp.length(ray)
    interval = cube_interval(m.centres[view], ray / length)
    best = NO_PLANE
    best_w = float(0.0)
    if interval[1] > interval[0] and patch[2] > 0.0:
        far = length / interval[1]
        near = length / wp.max(interval[0], 0.01 * interval[1])
        # The way that the point makes in the sources' images decides how many planes there are.
        p = wp.vec3(float(pixel[0]) + 0.5, float(pixel[1]) + 0.5, 1.0)
        way = float(1.0)
        for j in range(m.sources_per_view):
            pair = view * m.sources_per_view + j
            if m.sources[pair] >= 0:
                turned = m.turns[pair] * p
                a = turned + m.shifts[pair] * far
                b = turned + m.shifts[pair] * near
                if a[2] > 0.0 and b[2] > 0.0:
                    dx = a[0] / a[2] - b[0] / b[2]
                    dy = a[1] / a[2] - b[1] / b[2]
                    way = wp.max(way, wp.sqrt(dx * dx + dy * dy))
        steps = wp.min(int(way / spacing) + 1, MOST_STEPS)
        step = (near - far) / float(steps)
        for i in range(steps):
            w = far + step * (float(i) + 0.5)
            cost = plane_cost(m, view, pixel, patch, wp.vec3(w, 0.0, 0.0))
            if cost < best:
                best = cost
                best_w = w
    planes[place] = wp.vec3(best_w, 0.0, 0.0)
    costs[place] = best


@wp.kernel
def improve_kernel(
    first: int,
    m: Matching,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    reach: int,
    draws: int,
    scale: float,
    seed: int,
    planes: wp.array(dtype=wp.vec3),
    costs: wp.array(dtype=wp.float32),
):
    e = first + wp.tid()
    view = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    width = m.widths[view]
    height = m.heights[view]
    start = m.starts[view]
    place = start + pixel[1] * width + pixel[0]
    patch = own_patch(m, start, width, height, pixel)
    best = planes[place]
    best_cost = costs[place]
    # Odd steps along an axis and steps like (2, 1), (3, 2) lead to the board's other colour.
    for direction in range(4):
        least = NO_PLANE
        least_x = int(0)
        least_y = int(0)
        for k in range(1, 2 * reach):
            for side in range(-1, 2):
                across = side * (k - 1)
                if (k % 2 == 1 and side == 0) or (side != 0 and k > 1 and k <= reach):
                    dx = k
                    dy = across
                    if direction >= 2:
                        dx = across
                        dy = k
                    if direction % 2 == 1:
                        dx = -dx
                        dy = -dy
                    x = pixel[0] + dx
                    y = pixel[1] + dy
                    if x >= 0 and y >= 0 and x < width and y < height:
                        cost = costs[start + y * width + x]
                        if cost < least:
                            least = cost
                            least_x = x
                            least_y = y
        if least < NO_PLANE:
            other = planes[start + least_y * width + least_x]
            w = other[0] + other[1] * float(pixel[0] - least_x) + other[2] * float(pixel[1] - least_y)
            plane = wp.vec3(w, other[1], other[2])
            cost = plane_cost(m, view, pixel, patch, plane)
            if cost < best_cost:
                best_cost = cost
                best = plane
    state = wp.rand_init(seed, place)
    tilt = scale / m.intrinsics[view][0, 0]
    for i in range(draws):
        w = best[0] * (1.0 + 0.1 * scale * (2.0 * wp.randf(state) - 1.0))
        wx = best[1] + best[0] * tilt * (2.0 * wp.randf(state) - 1.0)
        wy = best[2] + best[0] * tilt * (2.0 * wp.randf(state) - 1.0)
        if i % 3 == 1:
            w = best[0]
        if i % 3 == 2:
            wx = best[1]
            wy = best[2]
        plane = wp.vec3(w, wx, wy)
        cost = plane_cost(m, view, pixel, patch, plane)
        if cost < best_cost:
            best_cost = cost
            best = plane
    planes[place] = best
    costs[place] = best_cost


@wp.kernel
def refine_kernel(
    first: int,
    m: Matching,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    steps: int,
    damping: float,
    planes: wp.array(dtype=wp.vec3),
    costs: wp.array(dtype=wp.float32),
    weights: wp.array(dtype=wp.float32),
):
    e = first + wp.tid()
    view = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    width = m.widths[view]
    height = m.heights[view]
    start = m.starts[view]
    place = start + pixel[1] * width + pixel[0]
    weights[place] = 0.0
    best = planes[place]
    best_cost = costs[place]
    if best[0] > 0.0 and best_cost < NO_PLANE:
        patch = own_patch(m, start, width, height, pixel)
        p = wp.vec3(float(pixel[0]) + 0.5, float(pixel[1]) + 0.5, 1.0)
        ray = ray_of(m, view, pixel)
        radius = float(m.radius)
        plane = best
        known = float(0.0)
        good = int(1)
        for i in range(steps + 1):
            if good == 1:
                limit = 1.5 * best_cost + 0.1
                losses = wp.vec4(1.2, 1.2, 1.2, 1.2)
                slope = wp.vec3(0.0, 0.0, 0.0)
                matrix = wp.mat33(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
                speed = float(0.0)
                for j in range(m.sources_per_view):
                    pair = view * m.sources_per_view + j
                    if m.sources[pair] >= 0:
                        found = source_steps(m, start, width, height, pixel, patch, pair, plane)
                        losses = with_loss(losses, found[0])
                        if found[0] < limit:
                            slope += wp.vec3(found[1], found[2], found[3])
                            matrix += wp.mat33(
                                found[4], found[5], found[6], found[5], found[7], found[8], found[6], found[8], found[9]
                            )
                            b = m.shifts[pair]
                            q = m.turns[pair] * p + b * plane[0]
                            vx = (b[0] - b[2] * q[0] / q[2]) / q[2]
                            vy = (b[1] - b[2] * q[1] / q[2]) / q[2]
                            speed += vx * vx + vy * vy
                cost = mean_of_best(losses, m.keep)
                facing = -wp.dot(normal_of(m, view, pixel, plane), ray) / wp.length(ray)
                if i > 0 and (cost > best_cost or plane[0] <= 0.0 or facing < LEAST_FACING):
                    good = 0
                else:
                    best = plane
                    best_cost = cost
                    known = matrix[0, 0]
                    if i < steps and speed > 0.0:
                        ridge = damping * speed
                        solid = matrix + wp.mat33(ridge, 0.0, 0.0, 0.0, ridge, 0.0, 0.0, 0.0, ridge)
                        move = wp.inverse(solid) * slope
                        longest = wp.max(wp.max(wp.abs(move[0]), wp.abs(move[1])), wp.abs(move[2]))
                        shrink = wp.min(1.0, 1.0 / (longest * wp.sqrt(speed) + 1.0e-9))
                        plane = best - wp.vec3(move[0], move[1] / radius, move[2] / radius) * shrink
        weights[place] = known
    planes[place] = best
    costs[place] = best_cost


def cost(
    matching: Any,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    costs: Float[Tensor, "pixels"],
) -> None:
    """Write the costs of the listed pixels' planes."""
    launch(cost_kernel, len(pixels), [matching, *_listed(pixel_views, pixels), planes, costs], costs.device, least=64)


def sweep(
    matching: Any,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    spacing: float,
    planes: Float[Tensor, "pixels 3"],
    costs: Float[Tensor, "pixels"],
) -> None:
    """Write the best plane parallel to the image inside the hull, of planes `spacing` pixels apart in the sources."""
    listed = [*_listed(pixel_views, pixels), spacing]
    launch(sweep_kernel, len(pixels), [matching, *listed, planes, costs], costs.device, least=64)


def improve(
    matching: Any,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    costs: Float[Tensor, "pixels"],
    *,
    reach: int,
    draws: int,
    scale: float,
    seed: int,
) -> None:
    """Take over planes from within 2 * reach - 1 pixels and try `draws` random changes, both where they cost less.

    `scale` 1 draws depths within 10 % and tilts within 45 degrees of those at hand. All listed pixels must be of one
    colour of the checkerboard.
    """
    listed = [*_listed(pixel_views, pixels), reach, draws, scale, seed]
    launch(improve_kernel, len(pixels), [matching, *listed, planes, costs], costs.device, least=64)


def refine(
    matching: Any,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    costs: Float[Tensor, "pixels"],
    weights: Float[Tensor, "pixels"],
    *,
    steps: int,
    damping: float,
) -> None:
    """Up to `steps` Gauss-Newton steps on each plane; stops where the cost rises.

    `damping` is the loss added per squared pixel of movement in the sources. `weights` become the curvature of the
    summed losses with respect to inverse depth: how sharply the photographs say where the surface is.
    """
    listed = [*_listed(pixel_views, pixels), steps, damping]
    launch(refine_kernel, len(pixels), [matching, *listed, planes, costs, weights], costs.device, least=64)


def _listed(pixel_views: Int[Tensor, "p"], pixels: Int[Tensor, "p 2"]) -> list[Tensor]:
    return [pixel_views, pixels[:, 0].contiguous(), pixels[:, 1].contiguous()]
