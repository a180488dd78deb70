"""Trilinear look-ups that the other kernels share.

A grid of n^3 vertices spans the cube [-1, 1]^3; vertex (i, j, k) lies at -1 + 2 (i, j, k) / (n - 1) and is stored at
(i n + j) n + k. Points outside the cube are clamped to it.
"""

import warp as wp


@wp.func
def grid_position(point: wp.vec3, n: int):
    """Position in units of voxels, clamped a little inside the last cell."""
    scale = 0.5 * float(n - 1)
    top = float(n - 1) - 0.001
    return wp.vec3(
        wp.clamp((point[0] + 1.0) * scale, 0.0, top),
        wp.clamp((point[1] + 1.0) * scale, 0.0, top),
        wp.clamp((point[2] + 1.0) * scale, 0.0, top),
    )


@wp.func
def sample(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int):
    """Trilinear value at a point."""
    q = grid_position(point, n)
    i = int(q[0])
    j = int(q[1])
    k = int(q[2])
    x = q[0] - float(i)
    y = q[1] - float(j)
    z = q[2] - float(k)
    b = (i * n + j) * n + k
    nn = n * n
    c00 = grid[b] + (grid[b + 1] - grid[b]) * z
    c01 = grid[b + n] + (grid[b + n + 1] - grid[b + n]) * z
    c10 = grid[b + nn] + (grid[b + nn + 1] - grid[b + nn]) * z
    c11 = grid[b + nn + n] + (grid[b + nn + n + 1] - grid[b + nn + n]) * z
    c0 = c00 + (c01 - c00) * y
    c1 = c10 + (c11 - c10) * y
    return c0 + (c1 - c0) * x


@wp.func
def sample_gradient(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int):
    """Central differences of the trilinear value over one voxel to either side; smoother than the cell's own slope."""
    h = 2.0 / float(n - 1)
    return wp.vec3(
        sample(grid, point + wp.vec3(h, 0.0, 0.0), n) - sample(grid, point - wp.vec3(h, 0.0, 0.0), n),
        sample(grid, point + wp.vec3(0.0, h, 0.0), n) - sample(grid, point - wp.vec3(0.0, h, 0.0), n),
        sample(grid, point + wp.vec3(0.0, 0.0, h), n) - sample(grid, point - wp.vec3(0.0, 0.0, h), n),
    ) * (0.5 / h)


@wp.func
def corner_weight(x: float, y: float, z: float, corner: int):
    """Trilinear weight of corner 4 di + 2 dj + dk."""
    wx = 1.0 - x
    wy = 1.0 - y
    wz = 1.0 - z
    if corner >= 4:
        wx = x
    if (corner // 2) % 2 == 1:
        wy = y
    if corner % 2 == 1:
        wz = z
    return wx * wy * wz


@wp.func
def cube_interval(origin: wp.vec3, direction: wp.vec3):
    """Interval of t in which a ray is inside the cube and in front of its origin; empty when first > second."""
    near = float(0.0)
    far = float(1.0e9)
    for axis in range(3):
        d = direction[axis]
        if wp.abs(d) < 1.0e-9:
            if wp.abs(origin[axis]) > 1.0:
                far = -1.0
        else:
            a = (-1.0 - origin[axis]) / d
            b = (1.0 - origin[axis]) / d
            near = wp.max(near, wp.min(a, b))
            far = wp.min(far, wp.max(a, b))
    return wp.vec2(near, far)
