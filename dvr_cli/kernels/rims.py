"""Where the object touches the rays along the edges of its masks: points of the surface that silhouettes alone fix.

A ray through the last pixel of a mask grazes the object, somewhere on the part of it that no other mask calls
background. Where that part is short, there the surface is: it cannot be farther in, whatever photographs seem to show.
Points where contours of several views meet fix surfaces in Cipolla and Giblin (Visual Motion of Curves and Surfaces,
2000); here any short stretch does.
"""

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.grid import cube_interval
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.pixels import through_pixel
from dvr_cli.kernels.views import BACKGROUND, ViewArrays

wp.set_module_options({"enable_backward": False})

AROUND = wp.constant(3)
"""Pixels on each side of a pixel among which the direction out of the mask is looked for."""
_BACKGROUND = wp.constant(wp.uint8(BACKGROUND))


@wp.func
def object_at(masks: wp.array(dtype=wp.uint8), start: int, height: int, width: int, x: int, y: int):
    """0 for background, 1 for all else, also beyond the image."""
    if x >= 0 and y >= 0 and x < width and y < height and masks[start + y * width + x] == _BACKGROUND:
        return 0.0
    return 1.0


@wp.func
def object_share(masks: wp.array(dtype=wp.uint8), start: int, height: int, width: int, x: float, y: float):
    """`object_at` between pixel centres, linearly; 0.2 is 0.3 pixels outside a straight edge."""
    left = int(wp.floor(x - 0.5))
    above = int(wp.floor(y - 0.5))
    right_share = x - 0.5 - float(left)
    below_share = y - 0.5 - float(above)
    upper = (1.0 - right_share) * object_at(masks, start, height, width, left, above)
    upper += right_share * object_at(masks, start, height, width, left + 1, above)
    lower = (1.0 - right_share) * object_at(masks, start, height, width, left, above + 1)
    lower += right_share * object_at(masks, start, height, width, left + 1, above + 1)
    return (1.0 - below_share) * upper + below_share * lower


@wp.kernel
def graze_kernel(
    first: int,
    masks: wp.array(dtype=wp.uint8),
    starts: wp.array(dtype=wp.int32),
    heights: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    intrinsics: wp.array(dtype=wp.mat33),
    inverse_intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    views: int,
    pixel_views: wp.array(dtype=wp.int32),
    pixels: wp.array(dtype=wp.int32),
    step: float,
    least: float,
    lengths_out: wp.array(dtype=wp.float32),
    points_out: wp.array(dtype=wp.vec3),
):
    r = first + wp.tid()
    own = pixel_views[r]
    x = pixels[2 * r]
    y = pixels[2 * r + 1]
    origin = centres[own]
    direction = through_pixel(inverse_intrinsics[own], rotations[own], x, y)
    interval = cube_interval(origin, direction)
    nearest = interval[1]
    farthest = interval[0]
    t = interval[0] + 0.5 * step
    while t < interval[1]:
        point = origin + t * direction
        inside = float(1.0)
        v = int(0)
        while v < views and inside > 0.0:
            if v != own:
                q = intrinsics[v] * (rotations[v] * (point - centres[v]))
                if q[2] > 0.0:
                    share = object_share(masks, starts[v], heights[v], widths[v], q[0] / q[2], q[1] / q[2])
                    if share < least:
                        inside = float(0.0)
            v += 1
        if inside > 0.0:
            nearest = wp.min(nearest, t)
            farthest = t
        t += step
    length = wp.max(farthest - nearest + step, 0.0)
    if not (nearest < interval[1]):
        length = 0.0
    # The mask ends half a pixel farther out than its last pixel's centre, on average.
    outwards = wp.vec2(0.0, 0.0)
    for down in range(-AROUND, AROUND + 1):
        for right in range(-AROUND, AROUND + 1):
            share = object_at(masks, starts[own], heights[own], widths[own], x + right, y + down)
            outwards -= share * wp.vec2(float(right), float(down))
    outwards = 0.5 * wp.normalize(outwards)
    depth = (rotations[own] * direction)[2] * 0.5 * (nearest + farthest)
    edge = wp.vec3(float(x) + 0.5 + outwards[0], float(y) + 0.5 + outwards[1], 1.0)
    lengths_out[r] = length
    points_out[r] = origin + depth * (wp.transpose(rotations[own]) * (inverse_intrinsics[own] * edge))


def graze(
    stack: ViewArrays, views: Int[Tensor, "p"], pixels: Int[Tensor, "p 2"], step: float, least: float = 0.2
) -> tuple[Float[Tensor, "p"], Float[Tensor, "p 3"]]:
    """For rays through the last pixels of masks: from where to where each lies in all other masks, as (length, middle).

    Looked at every `step` within the cube. A place lies in a mask where the share of object among the four pixels
    around it is `least` or more; beyond its image, and where it is not known, a mask has no say. The point lies on the
    edge of the mask, half a pixel outside the ray; it means nothing where the length is 0.
    """
    device = stack.gray.device
    lengths = torch.empty(len(views), device=device)
    points = torch.empty(len(views), 3, device=device)
    cameras = [stack.starts, stack.heights, stack.widths, stack.intrinsics, stack.inverse_intrinsics]
    cameras += [stack.rotations, stack.centres, stack.count]
    inputs = [stack.masks, *cameras, views, pixels.reshape(-1), step, least, lengths, points]
    launch(graze_kernel, len(views), inputs, device, least=64)
    return lengths, points
