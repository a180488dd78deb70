"""Comparing a pixel's patch with other views through a plane, for depth maps in which every pixel has its own plane.

Notation: along a plane inverse depth is affine in the pixel. A plane is three numbers of one pixel, (w, wx, wy):
inverse camera depth at the pixel's centre and its change per pixel to the right and down. A reference pixel p
(homogeneous) at inverse depth w is seen by source view s at

    q = A p + w b,      A = K_s R_s R_r^T K_r^-1,      b = K_s R_s (c_r - c_s),

so dq/dw = b, and the patch's derivatives with respect to (w, wx, wy) are those with respect to w times (1, dx, dy).
A loss is 1 - NCC over the taps that lie on the reference's object, with size * noise^2 added to the squared length of
both patches, so that a patch without texture matches nothing. A plane's cost is the mean of its `keep` best losses: the
other sources may be occluded.
Sources: slanted support windows as in PatchMatch stereo (Bleyer et al. 2011); best sources as in Gipuma (Galliani et
al. 2015); Gauss-Newton on 1 - NCC as in `kernels.patches`.
"""

import warp as wp

from dvr_cli.kernels.matching import Matching

wp.set_module_options({"enable_backward": False})

UNSEEN = wp.constant(1.2)
"""Loss of a source that does not show the patch: worse than no resemblance (1), better than a contradiction (2)."""
NO_PLANE = wp.constant(9.0)
"""Cost of a pixel that has no plane, and of a plane that cannot be."""
LEAST_FACING = wp.constant(0.15)
"""Least cosine between a plane's normal and the ray to it: a plane seen more obliquely is not compared."""
FULL_TURN = wp.constant(12.0)
"""Most by which a patch may grow or shrink in area on its way to a source."""
MOST_CONTRADICTION = wp.constant(2.0)
"""Pixels by which a source can contradict a plane: one that is occluded, or wrong itself, must not decide."""

Steps = wp.types.vector(length=10, dtype=wp.float32)
"""Loss, its three derivatives, and the six entries of Gauss-Newton's symmetric matrix (00 01 02 11 12 22)."""


@wp.func
def own_patch(m: Matching, start: int, width: int, height: int, pixel: wp.vec2i):
    """(mean, length, taps) of the object's taps around a pixel; no taps where more than half of them are missing."""
    total = float(0.0)
    squares = float(0.0)
    count = float(0.0)
    wanted = float(0.0)
    middle = m.gray[start + pixel[1] * width + pixel[0]]
    for dy in range(-m.radius, m.radius + 1, m.stride):
        y = pixel[1] + dy
        for dx in range(-m.radius, m.radius + 1, m.stride):
            x = pixel[0] + dx
            wanted += 1.0
            if x >= 0 and y >= 0 and x < width and y < height:
                r = m.own[start + y * width + x]
                if r >= 0.0:
                    r -= middle
                    total += r
                    squares += r * r
                    count += 1.0
    if count < 0.5 * wanted:
        return wp.vec3(0.0, 1.0, 0.0)
    square = wp.max(squares - total * total / count, 0.0) + count * m.noise * m.noise
    return wp.vec3(middle + total / count, wp.sqrt(square), count)


@wp.func
def shows_patch(q: wp.vec3, along_x: wp.vec3, along_y: wp.vec3, reach: float, width: int, height: int):
    """Whether the four corners of a patch lie in the source's image, in front of it and seen from the same side.

    A plane's image keeps lines straight, so that with the corners all taps are inside.
    """
    good = int(1)
    for corner in range(4):
        x = reach
        y = reach
        if corner % 2 == 0:
            x = -reach
        if corner // 2 == 0:
            y = -reach
        c = q + along_x * x + along_y * y
        if c[2] > 1.0e-6:
            sx = c[0] / c[2] - 0.5
            sy = c[1] / c[2] - 0.5
            if sx < 0.0 or sy < 0.0 or sx >= float(width - 1) or sy >= float(height - 1):
                good = 0
        else:
            good = 0
    if good == 1:
        px = q[0] / q[2]
        py = q[1] / q[2]
        area = (along_x[0] - px * along_x[2]) * (along_y[1] - py * along_y[2])
        area -= (along_y[0] - px * along_y[2]) * (along_x[1] - py * along_x[2])
        area = area / (q[2] * q[2])
        if area < 1.0 / FULL_TURN or area > FULL_TURN:
            good = 0
    return good


@wp.func
def source_loss(m: Matching, start: int, width: int, height: int, pixel: wp.vec2i, patch: wp.vec3, pair: int,
                plane: wp.vec3):  # fmt: skip
    """1 - NCC of a pixel's patch with one source through a plane."""
    source = m.sources[pair]
    turn = m.turns[pair]
    shift = m.shifts[pair]
    source_width = m.widths[source]
    q = turn * wp.vec3(float(pixel[0]) + 0.5, float(pixel[1]) + 0.5, 1.0) + shift * plane[0]
    along_x = wp.vec3(turn[0, 0], turn[1, 0], turn[2, 0]) + shift * plane[1]
    along_y = wp.vec3(turn[0, 1], turn[1, 1], turn[2, 1]) + shift * plane[2]
    if shows_patch(q, along_x, along_y, float(m.radius), source_width, m.heights[source]) == 0:
        return UNSEEN
    source_start = m.starts[source]
    if m.own[source_start + int(q[1] / q[2]) * source_width + int(q[0] / q[2])] < 0.0:
        return UNSEEN
    sum_s = float(0.0)
    sum_ss = float(0.0)
    sum_rs = float(0.0)
    for dy in range(-m.radius, m.radius + 1, m.stride):
        y = pixel[1] + dy
        if y >= 0 and y < height:
            row = start + y * width
            row_q = q + along_y * float(dy)
            for dx in range(-m.radius, m.radius + 1, m.stride):
                x = pixel[0] + dx
                if x >= 0 and x < width:
                    r = m.own[row + x]
                    if r >= 0.0:
                        at = row_q + along_x * float(dx)
                        iz = 1.0 / at[2]
                        sx = at[0] * iz - 0.5
                        sy = at[1] * iz - 0.5
                        ix = int(sx)
                        iy = int(sy)
                        fx = sx - float(ix)
                        b = source_start + iy * source_width + ix
                        top = m.gray[b] + (m.gray[b + 1] - m.gray[b]) * fx
                        b += source_width
                        bottom = m.gray[b] + (m.gray[b + 1] - m.gray[b]) * fx
                        s = top + (bottom - top) * (sy - float(iy)) - patch[0]
                        sum_s += s
                        sum_ss += s * s
                        sum_rs += (r - patch[0]) * s
    square = wp.max(sum_ss - sum_s * sum_s / patch[2], 0.0) + patch[2] * m.noise * m.noise
    return 1.0 - sum_rs / (wp.sqrt(square) * patch[1])


@wp.func
def source_steps(m: Matching, start: int, width: int, height: int, pixel: wp.vec2i, patch: wp.vec3, pair: int,
                 plane: wp.vec3):  # fmt: skip
    """`source_loss` with its derivatives with respect to (w, wx * radius, wy * radius) and Gauss-Newton's matrix."""
    result = Steps()
    result[0] = UNSEEN
    source = m.sources[pair]
    turn = m.turns[pair]
    shift = m.shifts[pair]
    source_width = m.widths[source]
    q = turn * wp.vec3(float(pixel[0]) + 0.5, float(pixel[1]) + 0.5, 1.0) + shift * plane[0]
    along_x = wp.vec3(turn[0, 0], turn[1, 0], turn[2, 0]) + shift * plane[1]
    along_y = wp.vec3(turn[0, 1], turn[1, 1], turn[2, 1]) + shift * plane[2]
    if shows_patch(q, along_x, along_y, float(m.radius), source_width, m.heights[source]) == 0:
        return result
    source_start = m.starts[source]
    if m.own[source_start + int(q[1] / q[2]) * source_width + int(q[0] / q[2])] < 0.0:
        return result
    sum_s = float(0.0)
    sum_ss = float(0.0)
    sum_rs = float(0.0)
    sum_d = wp.vec3(0.0, 0.0, 0.0)
    sum_sd = wp.vec3(0.0, 0.0, 0.0)
    sum_rd = wp.vec3(0.0, 0.0, 0.0)
    sum_dx = wp.vec3(0.0, 0.0, 0.0)
    sum_dy = wp.vec3(0.0, 0.0, 0.0)
    for dy in range(-m.radius, m.radius + 1, m.stride):
        y = pixel[1] + dy
        if y >= 0 and y < height:
            row = start + y * width
            row_q = q + along_y * float(dy)
            v = float(dy) / float(m.radius)
            for dx in range(-m.radius, m.radius + 1, m.stride):
                x = pixel[0] + dx
                if x >= 0 and x < width:
                    r = m.own[row + x]
                    if r >= 0.0:
                        r -= patch[0]
                        at = row_q + along_x * float(dx)
                        iz = 1.0 / at[2]
                        px = at[0] * iz
                        py = at[1] * iz
                        sx = px - 0.5
                        sy = py - 0.5
                        ix = int(sx)
                        iy = int(sy)
                        fx = sx - float(ix)
                        fy = sy - float(iy)
                        b = source_start + iy * source_width + ix
                        across_top = m.gray[b + 1] - m.gray[b]
                        top = m.gray[b] + across_top * fx
                        b += source_width
                        across_bottom = m.gray[b + 1] - m.gray[b]
                        down = m.gray[b] + across_bottom * fx - top
                        s = top + down * fy - patch[0]
                        across = across_top + (across_bottom - across_top) * fy
                        g = (across * (shift[0] - px * shift[2]) + down * (shift[1] - py * shift[2])) * iz
                        d = wp.vec3(g, g * float(dx) / float(m.radius), g * v)
                        sum_s += s
                        sum_ss += s * s
                        sum_rs += r * s
                        sum_d += d
                        sum_sd += d * s
                        sum_rd += d * r
                        sum_dx += d * d[0]
                        sum_dy += wp.vec3(d[1] * d[1], d[1] * d[2], d[2] * d[2])
    count = patch[2]
    square = wp.max(sum_ss - sum_s * sum_s / count, 0.0) + count * m.noise * m.noise
    length = wp.sqrt(square)
    k = (sum_sd - sum_d * (sum_s / count)) / square
    lost = square - count * m.noise * m.noise
    ncc = sum_rs / (length * patch[1])
    slope = k * ncc - sum_rd / (length * patch[1])
    # d b/du_i . d b/du_j of the normalised patch b.
    shrink = (lost - 2.0 * square) / square
    result[0] = 1.0 - ncc
    result[1] = slope[0]
    result[2] = slope[1]
    result[3] = slope[2]
    result[4] = (sum_dx[0] - sum_d[0] * sum_d[0] / count) / square + k[0] * k[0] * shrink
    result[5] = (sum_dx[1] - sum_d[0] * sum_d[1] / count) / square + k[0] * k[1] * shrink
    result[6] = (sum_dx[2] - sum_d[0] * sum_d[2] / count) / square + k[0] * k[2] * shrink
    result[7] = (sum_dy[0] - sum_d[1] * sum_d[1] / count) / square + k[1] * k[1] * shrink
    result[8] = (sum_dy[1] - sum_d[1] * sum_d[2] / count) / square + k[1] * k[2] * shrink
    result[9] = (sum_dy[2] - sum_d[2] * sum_d[2] / count) / square + k[2] * k[2] * shrink
    return result


@wp.func
def with_loss(best: wp.vec4, loss: float):
    """The four least losses, in rising order, once one more is known."""
    if loss < best[0]:
        return wp.vec4(loss, best[0], best[1], best[2])
    if loss < best[1]:
        return wp.vec4(best[0], loss, best[1], best[2])
    if loss < best[2]:
        return wp.vec4(best[0], best[1], loss, best[2])
    if loss < best[3]:
        return wp.vec4(best[0], best[1], best[2], loss)
    return best


@wp.func
def mean_of_best(best: wp.vec4, keep: int):
    """The mean of the first `keep` of them."""
    total = best[0]
    if keep > 1:
        total += best[1]
    if keep > 2:
        total += best[2]
    if keep > 3:
        total += best[3]
    return total / float(keep)


@wp.func
def normal_of(m: Matching, view: int, pixel: wp.vec2i, plane: wp.vec3):
    """Unit normal of a plane, towards the camera. With 1/z = m.p in pixels it is along -R^T K^T m."""
    x = float(pixel[0]) + 0.5
    y = float(pixel[1]) + 0.5
    in_pixels = wp.vec3(plane[1], plane[2], plane[0] - plane[1] * x - plane[2] * y)
    in_camera = wp.transpose(m.intrinsics[view]) * in_pixels
    return -wp.normalize(wp.transpose(m.rotations[view]) * in_camera)


@wp.func
def ray_of(m: Matching, view: int, pixel: wp.vec2i):
    """Direction of a pixel's ray, with camera z = 1, in the cube."""
    p = wp.vec3(float(pixel[0]) + 0.5, float(pixel[1]) + 0.5, 1.0)
    return wp.transpose(m.rotations[view]) * (m.inverse_intrinsics[view] * p)
