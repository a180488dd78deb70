"""Gathering a grid's values and colours at points; `kernels.scatter` is the way back.

Colour at a point seen along unit direction w is albedo + sum_a sheen_a w_a: three numbers on the fine grid and nine
(degree-1 harmonics of the view direction) on a coarser one.
"""

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.grid import (
    corner_vertex,
    corner_weight,
    grid_position,
    prefetch_around,
    prefetch_cell,
    sample,
    sample_gradient,
    within_cell,
)
from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})

AHEAD = wp.constant(6)
"""Points between one that is worked on and one whose place in the grid is fetched, because it is rarely in a cache."""


@wp.kernel
def value_kernel(
    first: int,
    grid: wp.array(dtype=wp.float32),
    n: int,
    points: wp.array(dtype=wp.vec3),
    value_out: wp.array(dtype=wp.float32),
):
    p = first + wp.tid()
    if p + AHEAD < points.shape[0]:
        prefetch_cell(grid, points[p + AHEAD], n, 1)
    value_out[p] = sample(grid, points[p], n)


@wp.kernel
def gradient_kernel(
    first: int,
    grid: wp.array(dtype=wp.float32),
    n: int,
    points: wp.array(dtype=wp.vec3),
    gradient_out: wp.array(dtype=wp.vec3),
):
    p = first + wp.tid()
    if p + AHEAD < points.shape[0]:
        prefetch_around(grid, points[p + AHEAD], n)
    gradient_out[p] = sample_gradient(grid, points[p], n)


@wp.kernel
def surface_kernel(
    first: int,
    grid: wp.array(dtype=wp.float32),
    n: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t: wp.array(dtype=wp.float32),
    least_slope: float,
    points_out: wp.array(dtype=wp.vec3),
    normals_out: wp.array(dtype=wp.vec3),
    slope_out: wp.array(dtype=wp.float32),
):
    p = first + wp.tid()
    later = p + AHEAD
    if later < t.shape[0]:
        prefetch_around(grid, origins[later] + directions[later] * t[later], n)
    point = origins[p] + directions[p] * t[p]
    gradient = sample_gradient(grid, point, n)
    points_out[p] = point
    normals_out[p] = wp.normalize(gradient)
    slope = wp.dot(gradient, directions[p])
    slope_out[p] = wp.where(slope < 0.0, wp.min(slope, -least_slope), wp.max(slope, least_slope))


@wp.func
def sample_rgb(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int, channels: int, channel: int):
    """Trilinear value of three neighbouring channels."""
    q = grid_position(point, n)
    total = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        b = corner_vertex(q, n, corner) * channels + channel
        w = corner_weight(within_cell(q), corner)
        total += wp.vec3(grid[b], grid[b + 1], grid[b + 2]) * w
    return total


@wp.func
def rgb_slope(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int, channels: int, channel: int, along: wp.vec3):
    """Gradient with respect to the point of (three neighbouring channels) . along, inside the cell."""
    q = grid_position(point, n)
    x = within_cell(q)[0]
    y = within_cell(q)[1]
    z = within_cell(q)[2]
    slope = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        di = corner // 4
        dj = (corner // 2) % 2
        dk = corner % 2
        b = corner_vertex(q, n, corner) * channels + channel
        s = grid[b] * along[0] + grid[b + 1] * along[1] + grid[b + 2] * along[2]
        wx = 1.0 - x
        wy = 1.0 - y
        wz = 1.0 - z
        sx = float(-1.0)
        sy = float(-1.0)
        sz = float(-1.0)
        if di == 1:
            wx = x
            sx = 1.0
        if dj == 1:
            wy = y
            sy = 1.0
        if dk == 1:
            wz = z
            sz = 1.0
        slope += wp.vec3(sx * wy * wz, wx * sy * wz, wx * wy * sz) * s
    return slope * (0.5 * float(n - 1))


@wp.kernel
def colour_kernel(
    first: int,
    albedo: wp.array(dtype=wp.float32),
    n: int,
    sheen: wp.array(dtype=wp.float32),
    m: int,
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    colour_out: wp.array(dtype=wp.vec3),
):
    p = first + wp.tid()
    if p + AHEAD < points.shape[0]:
        prefetch_cell(albedo, points[p + AHEAD], n, 3)
        prefetch_cell(sheen, points[p + AHEAD], m, 9)
    point = points[p]
    colour = sample_rgb(albedo, point, n, 3, 0)
    for axis in range(3):
        colour += sample_rgb(sheen, point, m, 9, 3 * axis) * directions[p][axis]
    colour_out[p] = colour


@wp.kernel
def colour_slope_kernel(
    first: int,
    albedo: wp.array(dtype=wp.float32),
    n: int,
    sheen: wp.array(dtype=wp.float32),
    m: int,
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    colour_gradient: wp.array(dtype=wp.vec3),
    passed_on: float,
    point_gradient_out: wp.array(dtype=wp.vec3),
):
    p = first + wp.tid()
    if p + AHEAD < points.shape[0]:
        prefetch_cell(albedo, points[p + AHEAD], n, 3)
        prefetch_cell(sheen, points[p + AHEAD], m, 9)
    point = points[p]
    along = colour_gradient[p] * passed_on
    slope = rgb_slope(albedo, point, n, 3, 0, along)
    for axis in range(3):
        slope += rgb_slope(sheen, point, m, 9, 3 * axis, along) * directions[p][axis]
    point_gradient_out[p] = slope


@wp.kernel
def implicit_gradient_kernel(
    first: int,
    t_gradient: wp.array(dtype=wp.float32),
    points_gradient: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    slope: wp.array(dtype=wp.float32),
    value_gradient_out: wp.array(dtype=wp.float32),
):
    ray = first + wp.tid()
    total = float(0.0)
    if t_gradient.shape[0] > 0:
        total += t_gradient[ray]
    if points_gradient.shape[0] > 0:
        total += wp.dot(points_gradient[ray], directions[ray])
    value_gradient_out[ray] = -total / slope[ray]


def grid_value(grid: Float[Tensor, "n n n"], points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
    """Trilinear values, without gradient."""
    out = torch.empty(len(points), device=grid.device)
    launch(value_kernel, len(points), [grid.reshape(-1), grid.shape[0], points, out], grid.device)
    return out


def grid_gradient(grid: Float[Tensor, "n n n"], points: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
    """Central differences over one voxel to either side, without gradient."""
    out = torch.empty(len(points), 3, device=grid.device)
    launch(gradient_kernel, len(points), [grid.reshape(-1), grid.shape[0], points, out], grid.device)
    return out


def grid_surface(
    grid: Float[Tensor, "n n n"],
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    t: Float[Tensor, "r"],
    least_slope: float,
) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"], Float[Tensor, "r"]]:
    """(points, unit normals, slope along the ray, at least `least_slope` of its sign) at distances t along rays.

    Without gradient; normals and slopes are those of `grid_gradient`.
    """
    points, normals = (torch.empty(len(t), 3, device=grid.device) for _ in range(2))
    slope = torch.empty(len(t), device=grid.device)
    inputs = [grid.reshape(-1), grid.shape[0], origins, directions, t, least_slope, points, normals, slope]
    launch(surface_kernel, len(t), inputs, grid.device)
    return points, normals, slope


def implicit_gradient(
    t_gradient: Float[Tensor, "r"] | None,
    points_gradient: Float[Tensor, "r 3"] | None,
    directions: Float[Tensor, "r 3"],
    slope: Float[Tensor, "r"],
) -> Float[Tensor, "r"]:
    """Gradient with respect to the field's values where rays meet the surface, given that of t, of points o + t w.

    dt / d value = -1 / slope (Niemeyer et al., CVPR 2020, equation 5), with `slope` the field's along the ray.
    """
    found = torch.empty_like(slope)
    given = [slope.new_empty(0) if t_gradient is None else t_gradient.contiguous()]
    given += [slope.new_empty(0, 3) if points_gradient is None else points_gradient.contiguous()]
    launch(implicit_gradient_kernel, len(slope), [*given, directions, slope, found], slope.device)
    return found


def grid_colour(
    albedo: Float[Tensor, "n n n 3"],
    sheen: Float[Tensor, "m m m 9"],
    points: Float[Tensor, "p 3"],
    directions: Float[Tensor, "p 3"],
) -> Float[Tensor, "p 3"]:
    """RGB at points seen along directions, without gradient."""
    out = torch.empty(len(points), 3, device=albedo.device)
    inputs = [albedo.reshape(-1), albedo.shape[0], sheen.reshape(-1), sheen.shape[0], points, directions, out]
    launch(colour_kernel, len(points), inputs, albedo.device)
    return out


def grid_colour_slope(
    albedo: Float[Tensor, "n n n 3"],
    sheen: Float[Tensor, "m m m 9"],
    points: Float[Tensor, "p 3"],
    directions: Float[Tensor, "p 3"],
    colour_gradient: Float[Tensor, "p 3"],
    passed_on: float = 1.0,
) -> Float[Tensor, "p 3"]:
    """`passed_on` times the gradient with respect to the points, given the gradient with respect to the colours."""
    out = torch.empty(len(points), 3, device=albedo.device)
    inputs = [albedo.reshape(-1), albedo.shape[0], sheen.reshape(-1), sheen.shape[0], points, directions]
    inputs += [colour_gradient.contiguous(), passed_on, out]
    launch(colour_slope_kernel, len(points), inputs, albedo.device)
    return out
