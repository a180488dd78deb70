"""How far a surface curves away from its tangent plane along a pixel's x and y: where to ask a field, and what follows.

A field is asked at five points per ray: `reach` to either side along each axis, in the tangent plane, and at the hit.
One pixel along an axis moves the plane's point by a step of some length; the second difference of the field over
`reach`, divided by (reach / length)^2 and by how obliquely the ray meets the surface, is in t per squared pixel.
"""

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.views import ViewArrays

wp.set_module_options({"enable_backward": False})

POINTS = wp.constant(5)
"""Per ray: to either side along x, along y, and the hit."""
LEAST_FACING = wp.constant(0.15)
"""Cosine below which a ray counts as no more oblique."""
MOST_LIFT = wp.constant(0.5)
"""Of the reach: what curves more is an edge, not a bend."""


@wp.kernel
def ask_kernel(
    first: int,
    inverse_intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    ray_views: wp.array(dtype=wp.int32),
    ray_pixels: wp.array(dtype=wp.vec2i),
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    reach: float,
    asked_out: wp.array(dtype=wp.vec3),
    lengths_out: wp.array(dtype=wp.vec2),
):
    ray = first + wp.tid()
    view = ray_views[ray]
    point = points[ray]
    normal = normals[ray]
    centre = centres[view]
    back = wp.transpose(rotations[view]) * inverse_intrinsics[view]
    through = back * wp.vec3(float(ray_pixels[ray][0]) + 0.5, float(ray_pixels[ray][1]) + 0.5, 1.0)
    depth_over_plane = wp.dot(point - centre, normal)
    lengths = wp.vec2(0.0, 0.0)
    for axis in range(2):
        beside = through + wp.vec3(back[0, axis], back[1, axis], back[2, axis])
        step = centre + beside * (depth_over_plane / wp.dot(beside, normal)) - point
        lengths[axis] = wp.max(wp.length(step), 1.0e-9)
        offset = step * (reach / lengths[axis])
        # Side by side, since they lie in the same few cells.
        asked_out[POINTS * ray + 2 * axis] = point + offset
        asked_out[POINTS * ray + 2 * axis + 1] = point - offset
    asked_out[POINTS * ray + 4] = point
    lengths_out[ray] = lengths


@wp.kernel
def bend_kernel(
    first: int,
    values: wp.array(dtype=wp.float32),
    lengths: wp.array(dtype=wp.vec2),
    normals: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    reach: float,
    bends_out: wp.array(dtype=wp.vec2),
):
    ray = first + wp.tid()
    facing = wp.max(-wp.dot(normals[ray], directions[ray]), LEAST_FACING)
    bends = wp.vec2(0.0, 0.0)
    for axis in range(2):
        beside = 0.5 * (values[POINTS * ray + 2 * axis] + values[POINTS * ray + 2 * axis + 1])
        lift = wp.clamp(beside - values[POINTS * ray + 4], -MOST_LIFT * reach, MOST_LIFT * reach)
        pixels = reach / lengths[ray][axis]
        bends[axis] = lift / (pixels * pixels * facing)
    bends_out[ray] = bends


def points_around(
    stack: ViewArrays,
    ray_views: Int[Tensor, "h"],
    ray_pixels: Int[Tensor, "h 2"],
    points: Float[Tensor, "h 3"],
    normals: Float[Tensor, "h 3"],
    reach: float,
) -> tuple[Float[Tensor, "h five 3"], Float[Tensor, "h 2"]]:
    """Where to ask: at +x, -x, +y, -y and the hit itself; and by how much a pixel along x and y moves the point.

    `ray_pixels` are whole (x, y), `points` hits, `normals` unit, `reach` a length in unit space. No gradient.
    """
    asked = torch.empty(len(points), POINTS, 3, device=points.device)
    lengths = torch.empty(len(points), 2, device=points.device)
    cameras = [stack.inverse_intrinsics, stack.rotations, stack.centres]
    inputs = [*cameras, ray_views, ray_pixels, points, normals, reach, asked.reshape(-1, 3), lengths]
    launch(ask_kernel, len(points), inputs, points.device)
    return asked, lengths


def bends_of(
    values: Float[Tensor, "h five"],
    lengths: Float[Tensor, "h 2"],
    normals: Float[Tensor, "h 3"],
    directions: Float[Tensor, "h 3"],
    reach: float,
) -> Float[Tensor, "h 2"]:
    """Bends in t per squared pixel, positive where the surface lies behind its tangent plane; no gradient.

    `values` of the field at what `points_around` gave, `lengths` from there; `directions` unit.
    """
    bends = torch.empty_like(lengths)
    launch(bend_kernel, len(lengths), [values, lengths, normals, directions, reach, bends], lengths.device)
    return bends
