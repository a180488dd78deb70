"""What a step needs to know of the pixels that it has drawn, in one pass: their rays, their masks, their colours.

Drawn pixels lie all over the photographs, so that hardly anything of them is in a cache. While it works on one pixel, a
CPU asks for the entry of a later one in the table of pixels, and for the mask and the colour of one not quite as late.
"""

from typing import NamedTuple

import torch
import warp as wp
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.kernels.grid import prefetch, prefetch_byte, prefetch_int
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.views import ViewArrays

wp.set_module_options({"enable_backward": False})

TABLE_AHEAD = wp.constant(16)
"""Pixels between one that is worked on and one whose entry in the table is fetched ..."""
IMAGE_AHEAD = wp.constant(8)
"""... and one whose mask and colour are."""


@wp.func
def through_pixel(inverse_intrinsics: wp.mat33, rotation: wp.mat33, x: int, y: int):
    """Unit direction, in unit space, of the ray through a pixel's centre."""
    in_camera = inverse_intrinsics * wp.vec3(float(x) + 0.5, float(y) + 0.5, 1.0)
    return wp.normalize(wp.transpose(rotation) * in_camera)


@wp.kernel
def look_kernel(
    first: int,
    rgb: wp.array(dtype=wp.float32),
    masks: wp.array(dtype=wp.uint8),
    starts: wp.array(dtype=wp.int32),
    widths: wp.array(dtype=wp.int32),
    inverse_intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    views: wp.array(dtype=wp.int32),
    pixels: wp.array(dtype=wp.int32),
    at_edge: wp.array(dtype=wp.uint8),
    drawn: wp.array(dtype=wp.int32),
    views_out: wp.array(dtype=wp.int32),
    pixels_out: wp.array(dtype=wp.int32),
    at_edge_out: wp.array(dtype=wp.uint8),
    origins_out: wp.array(dtype=wp.vec3),
    directions_out: wp.array(dtype=wp.vec3),
    masks_out: wp.array(dtype=wp.uint8),
    rgb_out: wp.array(dtype=wp.vec3),
):
    r = first + wp.tid()
    if r + TABLE_AHEAD < drawn.shape[0]:
        later = drawn[r + TABLE_AHEAD]
        prefetch_int(views, later)
        prefetch_int(pixels, 2 * later)
        prefetch_byte(at_edge, later)
        later = drawn[r + IMAGE_AHEAD]
        place = starts[views[later]] + pixels[2 * later + 1] * widths[views[later]] + pixels[2 * later]
        prefetch_byte(masks, place)
        prefetch(rgb, 3 * place)
    entry = drawn[r]
    view = views[entry]
    x = pixels[2 * entry]
    y = pixels[2 * entry + 1]
    place = starts[view] + y * widths[view] + x
    views_out[r] = view
    pixels_out[2 * r] = x
    pixels_out[2 * r + 1] = y
    at_edge_out[r] = at_edge[entry]
    origins_out[r] = centres[view]
    directions_out[r] = through_pixel(inverse_intrinsics[view], rotations[view], x, y)
    masks_out[r] = masks[place]
    rgb_out[r] = wp.vec3(rgb[3 * place], rgb[3 * place + 1], rgb[3 * place + 2])


class Looks(NamedTuple):
    """Pixels and what is known of them."""

    views: Int[Tensor, "r"]
    pixels: Int[Tensor, "r 2"]
    """Whole (x, y)."""
    at_edge: Bool[Tensor, "r"]
    origins: Float[Tensor, "r 3"]
    directions: Float[Tensor, "r 3"]
    """Unit, in unit space, through the pixels' centres."""
    masks: UInt8[Tensor, "r"]
    rgb: Float[Tensor, "r 3"]


def look(
    stack: ViewArrays,
    views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    at_edge: Bool[Tensor, "p"],
    drawn: Int[Tensor, "r"],
) -> Looks:
    """Rays, masks and colours of the drawn ones, by their indices, among p pixels (view, whole (x, y), at_edge)."""
    rays, device = len(drawn), drawn.device
    found = Looks(
        views=torch.empty(rays, dtype=torch.int32, device=device),
        pixels=torch.empty(rays, 2, dtype=torch.int32, device=device),
        at_edge=torch.empty(rays, dtype=torch.bool, device=device),
        origins=torch.empty(rays, 3, device=device),
        directions=torch.empty(rays, 3, device=device),
        masks=torch.empty(rays, dtype=torch.uint8, device=device),
        rgb=torch.empty(rays, 3, device=device),
    )
    cameras = [stack.starts, stack.widths, stack.inverse_intrinsics, stack.rotations, stack.centres]
    inputs = [stack.rgb.reshape(-1), stack.masks, *cameras]
    inputs += [views, pixels.reshape(-1), at_edge.view(torch.uint8), drawn]
    outputs = [found.views, found.pixels.reshape(-1), found.at_edge.view(torch.uint8), *found[3:]]
    launch(look_kernel, rays, [*inputs, *outputs], device)
    return found
