"""Trilinear look-ups that the other kernels share.

A grid of n^3 vertices spans the cube [-1, 1]^3; vertex (i, j, k) lies at -1 + 2 (i, j, k) / (n - 1) and is stored at
(i n + j) n + k. Points outside the cube are clamped to it.
"""

import warp as wp

_PREFETCH = """
#if !defined(__CUDA_ARCH__)
__builtin_prefetch(values.data + index);
#endif
"""


@wp.func_native(_PREFETCH)
def prefetch(values: wp.array(dtype=wp.float32), index: int):
    """Ask for the cache line of a value. A GPU has other threads to turn to while it waits."""


@wp.func_native(_PREFETCH)
def prefetch_byte(values: wp.array(dtype=wp.uint8), index: int):
    """The same for bytes."""


@wp.func_native(_PREFETCH)
def prefetch_int(values: wp.array(dtype=wp.int32), index: int):
    """The same for whole numbers."""


@wp.func_native("return values.data[index];")
def at(values: wp.array(dtype=wp.float32), index: int) -> float:
    """A value, without the test for an index that counts from the array's end."""
    return values[index]


@wp.func
def vertex_position(b: int, n: int):
    """Unit-space position of grid vertex b."""
    s = 2.0 / float(n - 1)
    return wp.vec3(float(b // (n * n)) * s - 1.0, float((b // n) % n) * s - 1.0, float(b % n) * s - 1.0)


@wp.func
def inside_grid(q: wp.vec3, n: int):
    """A position in units of voxels, clamped a little inside the last cell."""
    top = float(n - 1) - 0.001
    return wp.vec3(wp.clamp(q[0], 0.0, top), wp.clamp(q[1], 0.0, top), wp.clamp(q[2], 0.0, top))


@wp.func
def along_axis(coordinate: float, n: int):
    """One coordinate of a point in units of voxels, clamped likewise."""
    return wp.clamp((coordinate + 1.0) * (0.5 * float(n - 1)), 0.0, float(n - 1) - 0.001)


@wp.func
def grid_position(point: wp.vec3, n: int):
    """A point in units of voxels, clamped likewise."""
    return wp.vec3(along_axis(point[0], n), along_axis(point[1], n), along_axis(point[2], n))


@wp.func
def interpolated(grid: wp.array(dtype=wp.float32), position: wp.vec3, n: int):
    """Trilinear value at a position in units of voxels."""
    q = inside_grid(position, n)
    i = int(q[0])
    j = int(q[1])
    k = int(q[2])
    x = q[0] - float(i)
    y = q[1] - float(j)
    z = q[2] - float(k)
    b = (i * n + j) * n + k
    nn = n * n
    g000 = at(grid, b)
    g001 = at(grid, b + 1)
    g010 = at(grid, b + n)
    g011 = at(grid, b + n + 1)
    g100 = at(grid, b + nn)
    g101 = at(grid, b + nn + 1)
    g110 = at(grid, b + nn + n)
    g111 = at(grid, b + nn + n + 1)
    c00 = g000 + (g001 - g000) * z
    c01 = g010 + (g011 - g010) * z
    c10 = g100 + (g101 - g100) * z
    c11 = g110 + (g111 - g110) * z
    c0 = c00 + (c01 - c00) * y
    c1 = c10 + (c11 - c10) * y
    return c0 + (c1 - c0) * x


@wp.func
def in_voxels(point: wp.vec3, n: int):
    """A point in units of voxels, not clamped."""
    scale = 0.5 * float(n - 1)
    return wp.vec3((point[0] + 1.0) * scale, (point[1] + 1.0) * scale, (point[2] + 1.0) * scale)


@wp.func
def sample(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int):
    """Trilinear value at a point."""
    return interpolated(grid, in_voxels(point, n), n)


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
def within_cell(q: wp.vec3):
    """Where a position in units of voxels, clamped, is in its cell: 0 to 1 along each axis."""
    return wp.vec3(q[0] - float(int(q[0])), q[1] - float(int(q[1])), q[2] - float(int(q[2])))


@wp.func
def corner_vertex(q: wp.vec3, n: int, corner: int):
    """Number of the vertex that is corner 4 di + 2 dj + dk of that cell."""
    return ((int(q[0]) + corner // 4) * n + int(q[1]) + (corner // 2) % 2) * n + int(q[2]) + corner % 2


@wp.func
def corner_weight(within: wp.vec3, corner: int):
    """Trilinear weight of such a corner."""
    wx = 1.0 - within[0]
    wy = 1.0 - within[1]
    wz = 1.0 - within[2]
    if corner >= 4:
        wx = within[0]
    if (corner // 2) % 2 == 1:
        wy = within[1]
    if corner % 2 == 1:
        wz = within[2]
    return wx * wy * wz


_ENDLESS = wp.constant(1.0e9)
"""Farther than any ray goes within the cube."""


@wp.func
def cube_interval(origin: wp.vec3, direction: wp.vec3):
    """Interval of t in which a ray is inside the cube and in front of its origin; empty when first > second."""
    near = float(0.0)
    far = float(_ENDLESS)
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
    if not (far < _ENDLESS):
        # Without a direction, or not a number: it would never leave.
        far = -1.0
    return wp.vec2(near, far)


@wp.func
def prefetch_corners(grid: wp.array(dtype=wp.float32), position: wp.vec3, n: int, channels: int):
    """Ask for what a look-up at a position in units of voxels reads."""
    q = inside_grid(position, n)
    b = ((int(q[0]) * n + int(q[1])) * n + int(q[2])) * channels
    row = n * channels
    prefetch(grid, b)
    prefetch(grid, b + row)
    prefetch(grid, b + n * row)
    prefetch(grid, b + n * row + row)
    if channels > 1:
        last = b + 2 * channels - 1
        prefetch(grid, last)
        prefetch(grid, last + row)
        prefetch(grid, last + n * row)
        prefetch(grid, last + n * row + row)


@wp.func
def prefetch_cell(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int, channels: int):
    """The same for a point."""
    prefetch_corners(grid, in_voxels(point, n), n, channels)


@wp.func
def prefetch_around(grid: wp.array(dtype=wp.float32), point: wp.vec3, n: int):
    """Ask for what central differences at the point read; the cube's walls get another row of the grid."""
    q = grid_position(point, n)
    b = (int(q[0]) * n + int(q[1])) * n + int(q[2])
    for plane in range(-1, 3):
        for row in range(-1, 3):
            prefetch(grid, wp.clamp(b + (plane * n + row) * n, 0, n * n * n - 1))
