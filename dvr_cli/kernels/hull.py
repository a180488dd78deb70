"""Visual hull, coarse multi-view depth and the votes that carve the hull.

A voxel is inside the hull if at least one view sees it, none says background, and it lies in the unit ball. A coarse
depth map per view comes from a sweep of fronto-parallel planes inside the hull, by patch NCC; a depth counts only when
other views' depths confirm it. Voxels between a camera and its confirmed depths get votes for free space.
"""

import torch
import warp as wp
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.kernels.grid import cube_interval, sample, vertex_position
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.patches import compare_patch, reference_patch, taps_of
from dvr_cli.kernels.views import ViewArrays

wp.set_module_options({"enable_backward": False})


@wp.func
def place_in_map(
    point: wp.vec3, intrinsics: wp.mat33, rotation: wp.mat33, centre: wp.vec3, height: int, width: int,
    start: int, step: int,
):  # fmt: skip
    """Where a view's map, of every `step`-th pixel, holds the pixel that sees a point; -1 where none does."""
    q = intrinsics * (rotation * (point - centre))
    place = int(-1)
    if q[2] > 0.0:
        x = int(wp.floor(q[0] / q[2]))
        y = int(wp.floor(q[1] / q[2]))
        if x >= 0 and y >= 0 and x < width and y < height:
            place = start + (y // step) * ((width + step - 1) // step) + x // step
    return place


@wp.kernel
def hull_kernel(
    first: int,
    masks: wp.array(dtype=wp.uint8),
    starts: wp.array(dtype=wp.int32),
    heights: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    views: int,
    n: int,
    radius: float,
    inside_out: wp.array(dtype=wp.uint8),
):
    b = first + wp.tid()
    point = vertex_position(b, n)
    seen = int(0)
    inside = int(1)
    if wp.length(point) > radius:
        inside = 0
    for v in range(views):
        if inside == 1:
            q = intrinsics[v] * (rotations[v] * (point - centres[v]))
            if q[2] > 0.0:
                x = int(wp.floor(q[0] / q[2]))
                y = int(wp.floor(q[1] / q[2]))
                if x >= 0 and y >= 0 and x < widths[v] and y < heights[v]:
                    seen = 1
                    if masks[starts[v] + y * widths[v] + x] == wp.uint8(0):
                        inside = 0
    inside_out[b] = wp.uint8(inside * seen)


@wp.kernel
def sweep_kernel(
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
    neighbours: wp.array(dtype=wp.int32),
    neighbours_per_view: int,
    sources_used: int,
    hull: wp.array(dtype=wp.float32),
    n: int,
    planes: int,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    radius: int,
    taps: wp.array(dtype=wp.float32),
    noise: float,
    t_out: wp.array(dtype=wp.float32),
    score_out: wp.array(dtype=wp.float32),
):
    e = first + wp.tid()
    t_out[e] = 0.0
    score_out[e] = 0.0
    v = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    width = widths[v]
    height = heights[v]
    start = starts[v]
    fits = pixel[0] >= radius and pixel[1] >= radius and pixel[0] < width - radius and pixel[1] < height - radius
    if fits:
        reference = reference_patch(gray, start, width, pixel, radius)
        count = float(4 * radius * (radius + 1))
        norm = wp.sqrt(reference[1] + count * noise * noise)
        origin = centres[v]
        back = wp.transpose(rotations[v]) * inverse_intrinsics[v]
        direction = wp.normalize(back * wp.vec3(float(pixel[0]) + 0.5, float(pixel[1]) + 0.5, 1.0))
        normal = wp.vec3(-rotations[v][2, 0], -rotations[v][2, 1], -rotations[v][2, 2])
        facing = wp.dot(normal, direction)
        plane = normal * back
        interval = cube_interval(origin, direction)
        dt = 3.4641016 / float(planes)
        best = float(9.0)
        best_t = float(0.0)
        before_best = float(9.0)
        after_best = float(9.0)
        runner_up = float(9.0)
        last = float(9.0)
        t = float(interval[0] + 0.5 * dt)
        fresh = int(0)
        while t < interval[1]:
            loss = float(9.0)
            point = origin + direction * t
            if sample(hull, point, n) < dt:
                one = float(9.0)
                two = float(9.0)
                for j in range(sources_used):
                    source = neighbours[v * neighbours_per_view + j]
                    if source >= 0:
                        forward = intrinsics[source] * rotations[source]
                        turn = forward * back
                        shift = forward * (origin - centres[source])
                        found = compare_patch(
                            gray, start, width, pixel, count, taps, reference[0], norm, noise,
                            starts[source], heights[source], widths[source], shift, turn * facing, t, plane,
                            wp.vec2(0.0, 0.0),
                        )  # fmt: skip
                        if found[0] < one:
                            two = one
                            one = found[0]
                        elif found[0] < two:
                            two = found[0]
                loss = 0.5 * (one + two)
                if fresh == 1:
                    after_best = loss
                    fresh = 0
                if loss < best:
                    if t - best_t > 2.5 * dt:
                        runner_up = best
                    before_best = last
                    best = loss
                    best_t = t
                    fresh = 1
                    after_best = 9.0
                elif loss < runner_up and t - best_t > 2.5 * dt:
                    runner_up = loss
            last = loss
            t += dt
        if best < 0.5:
            bend = before_best + after_best - 2.0 * best
            if before_best < 5.0 and after_best < 5.0 and bend > 1.0e-4:
                best_t += wp.clamp(0.5 * (before_best - after_best) / bend, -0.5, 0.5) * dt
            t_out[e] = best_t
            score_out[e] = wp.min(1.0 - best, 1.0) * wp.clamp((runner_up - best) * 5.0, 0.0, 1.0)


@wp.kernel
def confirm_kernel(
    first: int,
    intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    inverse_intrinsics: wp.array(dtype=wp.mat33),
    heights: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    neighbours: wp.array(dtype=wp.int32),
    neighbours_per_view: int,
    map_starts: wp.array(dtype=wp.int32),
    step: int,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    depth_t: wp.array(dtype=wp.float32),
    t_map: wp.array(dtype=wp.float32),
    tolerance: float,
    confirmed_out: wp.array(dtype=wp.int32),
):
    e = first + wp.tid()
    count = int(0)
    if depth_t[e] > 0.0:
        v = pixel_views[e]
        ray = inverse_intrinsics[v] * wp.vec3(float(pixel_x[e]) + 0.5, float(pixel_y[e]) + 0.5, 1.0)
        point = centres[v] + wp.normalize(wp.transpose(rotations[v]) * ray) * depth_t[e]
        for j in range(neighbours_per_view):
            s = neighbours[v * neighbours_per_view + j]
            if s >= 0:
                q = intrinsics[s] * (rotations[s] * (point - centres[s]))
                if q[2] > 0.0:
                    x = q[0] / q[2]
                    y = q[1] / q[2]
                    if x >= 0.0 and y >= 0.0 and x < float(widths[s]) and y < float(heights[s]):
                        # The four depths around: where the surface is slanted, the nearest alone may be far off.
                        map_width = (widths[s] + step - 1) // step
                        map_height = (heights[s] + step - 1) // step
                        left = int(wp.floor((x - 0.5 - float(step // 2)) / float(step)))
                        above = int(wp.floor((y - 0.5 - float(step // 2)) / float(step)))
                        distance = wp.length(point - centres[s])
                        agrees = int(0)
                        for corner in range(4):
                            column = wp.clamp(left + corner % 2, 0, map_width - 1)
                            row = wp.clamp(above + corner // 2, 0, map_height - 1)
                            d = t_map[map_starts[s] + row * map_width + column]
                            if d > 0.0 and wp.abs(d - distance) < tolerance:
                                agrees = 1
                        count += agrees
    confirmed_out[e] = count


@wp.kernel
def vote_kernel(
    first: int,
    hull: wp.array(dtype=wp.float32),
    n: int,
    intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    heights: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    views: int,
    map_starts: wp.array(dtype=wp.int32),
    step: int,
    t_map: wp.array(dtype=wp.float32),
    margin: float,
    free_out: wp.array(dtype=wp.float32),
    support_out: wp.array(dtype=wp.float32),
):
    b = first + wp.tid()
    free = float(0.0)
    support = float(0.0)
    if hull[b] < 0.0:
        point = vertex_position(b, n)
        for v in range(views):
            place = place_in_map(
                point, intrinsics[v], rotations[v], centres[v], heights[v], widths[v], map_starts[v], step
            )
            if place >= 0 and t_map[place] > 0.0:
                behind = wp.length(point - centres[v]) - t_map[place]
                if behind < -margin:
                    free += 1.0
                elif behind < 3.0 * margin:
                    support += 1.0
    free_out[b] = free
    support_out[b] = support


@wp.kernel
def veto_kernel(
    first: int,
    hull: wp.array(dtype=wp.float32),
    kept: wp.array(dtype=wp.uint8),
    votes: wp.array(dtype=wp.float32),
    n: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    restore_out: wp.array(dtype=wp.int32),
):
    r = first + wp.tid()
    interval = cube_interval(origins[r], directions[r])
    voxel = 2.0 / float(n - 1)
    t = float(interval[0])
    found = int(0)
    place = int(-1)
    least = float(1.0e9)
    while t < interval[1] and found == 0:
        point = origins[r] + directions[r] * t
        i = wp.clamp(int((point[0] + 1.0) / voxel + 0.5), 0, n - 1)
        j = wp.clamp(int((point[1] + 1.0) / voxel + 0.5), 0, n - 1)
        k = wp.clamp(int((point[2] + 1.0) / voxel + 0.5), 0, n - 1)
        b = (i * n + j) * n + k
        if kept[b] != wp.uint8(0):
            found = 1
        elif hull[b] < 0.0 and votes[b] < least:
            least = votes[b]
            place = b
        t += 0.7 * voxel
    restore_out[r] = place
    if found == 1:
        restore_out[r] = -1


def visual_hull(stack: ViewArrays, n: int, radius: float = 1.0) -> Bool[Tensor, "n n n"]:
    """True where no view that sees the vertex says background, within a ball around the origin."""
    inside = torch.empty(n, n, n, dtype=torch.uint8, device=stack.gray.device)
    cameras = [stack.starts, stack.heights, stack.widths, stack.intrinsics, stack.rotations, stack.centres]
    inputs = [stack.masks, *cameras, stack.count, n, radius, inside.reshape(-1)]
    launch(hull_kernel, n**3, inputs, stack.gray.device, least=4096)
    return inside.bool()


def sweep(
    stack: ViewArrays,
    neighbours: Int[Tensor, "v m"],
    hull: Float[Tensor, "n n n"],
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    *,
    planes: int,
    sources: int,
    radius: int,
    noise: float,
) -> tuple[Float[Tensor, "p"], Float[Tensor, "p"]]:
    """(t, score) of the best plane for each pixel, inside the hull's signed distances; t = 0 where none is good.

    `planes` planes would span the cube's diagonal; score in [0, 1] is the NCC times its lead over the next best depth.
    """
    t, score = (torch.empty(len(pixels), device=hull.device) for _ in range(2))
    x, y = pixels[:, 0].contiguous(), pixels[:, 1].contiguous()
    cameras = [stack.starts, stack.heights, stack.widths, stack.intrinsics, stack.inverse_intrinsics]
    inputs = [stack.gray, stack.masks, *cameras, stack.rotations, stack.centres, neighbours.reshape(-1)]
    inputs += [neighbours.shape[1], min(sources, neighbours.shape[1]), hull.reshape(-1), hull.shape[0], planes]
    inputs += [pixel_views, x, y, radius, taps_of(radius, hull.device), noise]
    launch(sweep_kernel, len(pixels), [*inputs, t, score], hull.device, least=64)
    return t, score


def confirm(
    stack: ViewArrays,
    neighbours: Int[Tensor, "v m"],
    map_starts: Int[Tensor, "v"],
    step: int,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    t: Float[Tensor, "p"],
    t_map: Float[Tensor, "map_pixels"],
    tolerance: float,
) -> Int[Tensor, "p"]:
    """How many neighbouring views' maps agree with each depth within a distance, in one of four places around it."""
    count = torch.empty(len(pixels), dtype=torch.int32, device=t.device)
    x, y = pixels[:, 0].contiguous(), pixels[:, 1].contiguous()
    inputs = [stack.intrinsics, stack.rotations, stack.centres, stack.inverse_intrinsics, stack.heights, stack.widths]
    inputs += [neighbours.reshape(-1), neighbours.shape[1], map_starts, step, pixel_views, x, y, t, t_map, tolerance]
    launch(confirm_kernel, len(pixels), [*inputs, count], t.device)
    return count


def vote(
    stack: ViewArrays,
    hull: Float[Tensor, "n n n"],
    map_starts: Int[Tensor, "v"],
    step: int,
    t_map: Float[Tensor, "map_pixels"],
    margin: float,
) -> tuple[Float[Tensor, "n n n"], Float[Tensor, "n n n"]]:
    """(free, support): views whose depth lies behind each hull vertex by more than `margin`; those with it there."""
    free, support = torch.empty_like(hull), torch.empty_like(hull)
    inputs = [hull.reshape(-1), hull.shape[0], stack.intrinsics, stack.rotations, stack.centres, stack.heights]
    inputs += [stack.widths, stack.count, map_starts, step, t_map, margin, free.reshape(-1), support.reshape(-1)]
    launch(vote_kernel, hull.numel(), inputs, hull.device, least=4096)
    return free, support


def veto(
    hull: Float[Tensor, "n n n"],
    kept: UInt8[Tensor, "n n n"],
    votes: Float[Tensor, "n n n"],
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
) -> Int[Tensor, "r"]:
    """For rays that meet no kept vertex: the hull vertex on them with the fewest votes for free space; else -1."""
    restore = torch.empty(len(origins), dtype=torch.int32, device=hull.device)
    inputs = [hull.reshape(-1), kept.reshape(-1), votes.reshape(-1), hull.shape[0], origins, directions, restore]
    launch(veto_kernel, len(origins), inputs, hull.device)
    return restore
