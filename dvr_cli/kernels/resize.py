"""Bringing a grid to another number of vertices by trilinear interpolation; the cube's corners stay where they are.

Torch can do it, but not with the channels of a vertex side by side, and takes five times as long.
"""

import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})


@wp.func
def before(vertex: int, scale: float, n: int):
    """The last of n vertices along an axis that has another one after it and is not beyond this one of the new."""
    return wp.min(int(float(vertex) * scale), n - 2)


@wp.kernel
def resize_kernel(
    first: int,
    grid: wp.array(dtype=wp.float32),
    n: int,
    channels: int,
    m: int,
    resized_out: wp.array(dtype=wp.float32),
):
    row = first + wp.tid()
    scale = float(n - 1) / float(m - 1)
    i = before(row // m, scale, n)
    j = before(row % m, scale, n)
    x = float(row // m) * scale - float(i)
    y = float(row % m) * scale - float(j)
    b00 = (i * n + j) * n
    b01 = b00 + n
    b10 = b00 + n * n
    b11 = b10 + n
    for vertex in range(m):
        k = before(vertex, scale, n)
        z = float(vertex) * scale - float(k)
        for channel in range(channels):
            near = k * channels + channel
            far = near + channels
            c00 = grid[b00 * channels + near] * (1.0 - z) + grid[b00 * channels + far] * z
            c01 = grid[b01 * channels + near] * (1.0 - z) + grid[b01 * channels + far] * z
            c10 = grid[b10 * channels + near] * (1.0 - z) + grid[b10 * channels + far] * z
            c11 = grid[b11 * channels + near] * (1.0 - z) + grid[b11 * channels + far] * z
            value = (c00 * (1.0 - y) + c01 * y) * (1.0 - x) + (c10 * (1.0 - y) + c11 * y) * x
            resized_out[(row * m + vertex) * channels + channel] = value


def resize(grid: Float[Tensor, "n n n *c"], vertices: int) -> Float[Tensor, "m m m *c"]:
    """The grid with so many vertices per side, at least two as it has itself; without gradient."""
    resized = grid.new_empty(vertices, vertices, vertices, *grid.shape[3:])
    n, channels = grid.shape[0], grid.shape[3:].numel()
    inputs = [grid.contiguous().reshape(-1), n, channels, vertices, resized.reshape(-1)]
    launch(resize_kernel, vertices**2, inputs, grid.device, least=16)
    return resized
