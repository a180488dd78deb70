"""Scattering gradients to the vertices of a grid: the adjoint of gathering values at points.

Scatters are cut into slabs of the grid (`launch.launch_slabs`), so that threads never write to the same vertex.
"""

import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.grid import along_axis, corner_vertex, corner_weight, grid_position, prefetch_cell, within_cell
from dvr_cli.kernels.launch import launch_slabs
from dvr_cli.kernels.lookup import AHEAD

wp.set_module_options({"enable_backward": False})


@wp.func
def in_slab(x: float, n: int, first_plane: int, last_plane: int):
    """Whether vertices about a point with this first coordinate lie on planes [first_plane, last_plane)."""
    plane = int(along_axis(x, n))
    return plane + 1 >= first_plane and plane < last_plane


@wp.kernel
def scatter_kernel(
    first_plane: int,
    last_plane: int,
    grid_out: wp.array(dtype=wp.float32),
    n: int,
    channels: int,
    points: wp.array(dtype=wp.vec3),
    values: wp.array(dtype=wp.float32),
):
    p = wp.tid()
    later = p + AHEAD
    # Where all rays are asked and few of them want something there are zeros.
    wanted = later < points.shape[0] and (channels > 1 or values[later] != 0.0)
    if wanted and in_slab(points[later][0], n, first_plane, last_plane):
        prefetch_cell(grid_out, points[later], n, channels)
    if channels == 1 and values[p] == 0.0:
        return
    if in_slab(points[p][0], n, first_plane, last_plane):
        q = grid_position(points[p], n)
        for corner in range(8):
            plane = int(q[0]) + corner // 4
            if plane >= first_plane and plane < last_plane:
                vertex = corner_vertex(q, n, corner)
                w = corner_weight(within_cell(q), corner)
                for c in range(channels):
                    wp.atomic_add(grid_out, vertex * channels + c, w * values[p * channels + c])


@wp.kernel
def scatter_by_axis_kernel(
    first_plane: int,
    last_plane: int,
    grid_out: wp.array(dtype=wp.float32),
    n: int,
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    values: wp.array(dtype=wp.vec3),
):
    p = wp.tid()
    later = p + AHEAD
    if later < points.shape[0] and in_slab(points[later][0], n, first_plane, last_plane):
        prefetch_cell(grid_out, points[later], n, 9)
    if in_slab(points[p][0], n, first_plane, last_plane):
        q = grid_position(points[p], n)
        for corner in range(8):
            plane = int(q[0]) + corner // 4
            if plane >= first_plane and plane < last_plane:
                vertex = corner_vertex(q, n, corner)
                w = corner_weight(within_cell(q), corner)
                for axis in range(3):
                    for c in range(3):
                        wp.atomic_add(grid_out, 9 * vertex + 3 * axis + c, w * directions[p][axis] * values[p][c])


def scatter(grid: Float[Tensor, "..."], points: Float[Tensor, "p 3"], values: Float[Tensor, "p *c"]) -> None:
    """Add trilinear weight times value to the eight vertices around each point, in place; the adjoint of a look-up."""
    n = grid.shape[0]
    channels = grid.numel() // n**3
    inputs = [grid.reshape(-1), n, channels, points, values.contiguous().reshape(-1)]
    launch_slabs(scatter_kernel, n, inputs, grid.device, len(points))


def scatter_by_axis(
    grid: Float[Tensor, "m m m 9"],
    points: Float[Tensor, "p 3"],
    directions: Float[Tensor, "p 3"],
    values: Float[Tensor, "p 3"],
) -> None:
    """`scatter` of the products of all coordinates of a direction with the three values, as `grid_colour` has sheen."""
    n = grid.shape[0]
    inputs = [grid.reshape(-1), n, points, directions, values]
    launch_slabs(scatter_by_axis_kernel, n, inputs, grid.device, len(points))
