"""From one plane per pixel of every view to one point per place of the surface.

A depth is believed when enough other views have planes that agree: the point lies on their surface at the pixel that
sees it (relative depth), their surface's point comes back to the pixel it came from, and the normals are alike. Of the
views that agree, the one that sees the place with the most pixels per area emits the point, moved along its normal to
the mean of all. No pixel's decision depends on another's, so the order does not matter.
Sources: forward-backward check and averaging as in Gipuma (Galliani et al. 2015) and COLMAP (Schoenberger et al. 2016).
"""

from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.matching import Matching
from dvr_cli.kernels.planes import normal_of, ray_of

wp.set_module_options({"enable_backward": False})


class _Witness:
    """What another view says of a point."""

    agrees: int
    place: int
    """Of its pixel in the maps."""
    point: wp.vec3
    """On its surface, on the ray from it through the point that was asked about."""
    normal: wp.vec3
    sharpness: float
    """Pixels per length on its surface."""


Witness = wp.struct(_Witness)


@wp.func
def sharpness_of(m: Matching, view: int, ray: wp.vec3, w: float, normal: wp.vec3):
    """Pixels per length on the surface, along the direction in which it is seen most obliquely."""
    return -wp.dot(normal, ray) / wp.length(ray) * w * m.intrinsics[view][0, 0]


@wp.func
def ask(
    m: Matching,
    planes: wp.array(dtype=wp.vec3),
    believed: wp.array(dtype=wp.uint8),
    view: int,
    pixel: wp.vec2i,
    point: wp.vec3,
    normal: wp.vec3,
    other: int,
    depth_tolerance: float,
    pixel_tolerance: float,
    least_cosine: float,
):
    """Whether another view has a believed surface at a point."""
    found = Witness()
    found.agrees = int(0)
    q = m.intrinsics[other] * (m.rotations[other] * (point - m.centres[other]))
    if q[2] > 0.0:
        sx = q[0] / q[2]
        sy = q[1] / q[2]
        x = int(wp.floor(sx))
        y = int(wp.floor(sy))
        if x >= 0 and y >= 0 and x < m.widths[other] and y < m.heights[other]:
            place = m.starts[other] + y * m.widths[other] + x
            if believed[place] != wp.uint8(0):
                plane = planes[place]
                dx = sx - float(x) - 0.5
                dy = sy - float(y) - 0.5
                w = plane[0] + plane[1] * dx + plane[2] * dy
                if w > 0.0 and wp.abs(w * q[2] - 1.0) < depth_tolerance:
                    p = wp.vec3(sx, sy, 1.0)
                    ray = wp.transpose(m.rotations[other]) * (m.inverse_intrinsics[other] * p)
                    there = m.centres[other] + ray / w
                    back = m.intrinsics[view] * (m.rotations[view] * (there - m.centres[view]))
                    if back[2] > 0.0:
                        ex = back[0] / back[2] - float(pixel[0]) - 0.5
                        ey = back[1] / back[2] - float(pixel[1]) - 0.5
                        its = normal_of(m, other, wp.vec2i(x, y), plane)
                        near = ex * ex + ey * ey < pixel_tolerance * pixel_tolerance
                        if near and wp.dot(its, normal) > least_cosine:
                            found.agrees = 1
                            found.place = place
                            found.point = there
                            found.normal = its
                            found.sharpness = sharpness_of(m, other, ray, w, its)
    return found


@wp.kernel
def count_kernel(
    first: int,
    m: Matching,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    planes: wp.array(dtype=wp.vec3),
    believed: wp.array(dtype=wp.uint8),
    witnesses: wp.array(dtype=wp.int32),
    witnesses_per_view: int,
    depth_tolerance: float,
    pixel_tolerance: float,
    least_cosine: float,
    count_out: wp.array(dtype=wp.int32),
):
    e = first + wp.tid()
    view = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    place = m.starts[view] + pixel[1] * m.widths[view] + pixel[0]
    count = int(0)
    if believed[place] != wp.uint8(0):
        plane = planes[place]
        point = m.centres[view] + ray_of(m, view, pixel) / plane[0]
        normal = normal_of(m, view, pixel, plane)
        for j in range(witnesses_per_view):
            other = witnesses[view * witnesses_per_view + j]
            if other >= 0:
                found = ask(
                    m, planes, believed, view, pixel, point, normal, other,
                    depth_tolerance, pixel_tolerance, least_cosine,
                )  # fmt: skip
                count += found.agrees
    count_out[e] = count


@wp.kernel
def fuse_kernel(
    first: int,
    m: Matching,
    pixel_views: wp.array(dtype=wp.int32),
    pixel_x: wp.array(dtype=wp.int32),
    pixel_y: wp.array(dtype=wp.int32),
    planes: wp.array(dtype=wp.vec3),
    believed: wp.array(dtype=wp.uint8),
    rgb: wp.array(dtype=wp.vec3),
    witnesses: wp.array(dtype=wp.int32),
    witnesses_per_view: int,
    depth_tolerance: float,
    pixel_tolerance: float,
    least_cosine: float,
    emitted_out: wp.array(dtype=wp.uint8),
    point_out: wp.array(dtype=wp.vec3),
    normal_out: wp.array(dtype=wp.vec3),
    colour_out: wp.array(dtype=wp.vec3),
):
    e = first + wp.tid()
    view = pixel_views[e]
    pixel = wp.vec2i(pixel_x[e], pixel_y[e])
    place = m.starts[view] + pixel[1] * m.widths[view] + pixel[0]
    beaten = int(0)
    if believed[place] != wp.uint8(0):
        plane = planes[place]
        ray = ray_of(m, view, pixel)
        point = m.centres[view] + ray / plane[0]
        normal = normal_of(m, view, pixel, plane)
        own_sharpness = sharpness_of(m, view, ray, plane[0], normal)
        total_weight = own_sharpness
        offset = float(0.0)
        normals = normal * own_sharpness
        colours = rgb[place] * own_sharpness
        for j in range(witnesses_per_view):
            other = witnesses[view * witnesses_per_view + j]
            if other >= 0:
                found = ask(
                    m, planes, believed, view, pixel, point, normal, other,
                    depth_tolerance, pixel_tolerance, least_cosine,
                )  # fmt: skip
                if found.agrees == 1:
                    total_weight += found.sharpness
                    offset += found.sharpness * wp.dot(found.point - point, normal)
                    normals += found.normal * found.sharpness
                    colours += rgb[found.place] * found.sharpness
                    if found.sharpness > own_sharpness:
                        beaten = int(1)
        point_out[e] = point + normal * (offset / total_weight)
        normal_out[e] = wp.normalize(normals)
        colour_out[e] = colours / total_weight
    emitted_out[e] = wp.uint8(0)
    if believed[place] != wp.uint8(0) and beaten == 0:
        emitted_out[e] = wp.uint8(1)


@dataclass(frozen=True)
class Agreement:
    """When two views agree on a point."""

    depth_tolerance: float
    """Relative difference of depth."""
    pixel_tolerance: float
    """Pixels by which the other's point may miss the pixel it came from."""
    least_cosine: float
    """Between the normals."""


def count_agreeing(
    matching: Any,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    believed: UInt8[Tensor, "pixels"],
    witnesses: Int[Tensor, "v m"],
    agreement: Agreement,
) -> Int[Tensor, "p"]:
    """How many of its view's witnesses agree with each listed pixel's plane; 0 where the pixel is not believed."""
    count = torch.empty(len(pixels), dtype=torch.int32, device=planes.device)
    inputs = _inputs(matching, pixel_views, pixels, planes)
    inputs += [believed, witnesses.reshape(-1), witnesses.shape[1], *_tolerances(agreement), count]
    launch(count_kernel, len(pixels), inputs, planes.device)
    return count


def fuse(
    matching: Any,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    believed: UInt8[Tensor, "pixels"],
    rgb: Float[Tensor, "pixels 3"],
    witnesses: Int[Tensor, "v m"],
    agreement: Agreement,
) -> tuple[Bool[Tensor, "p"], Float[Tensor, "p 3"], Float[Tensor, "p 3"], Float[Tensor, "p 3"]]:
    """(emitted, point, normal, colour) of each listed pixel; the last three mean something only where it emits."""
    emitted = torch.empty(len(pixels), dtype=torch.uint8, device=planes.device)
    point, normal, colour = (torch.zeros(len(pixels), 3, device=planes.device) for _ in range(3))
    inputs = _inputs(matching, pixel_views, pixels, planes)
    inputs += [believed, rgb, witnesses.reshape(-1), witnesses.shape[1], *_tolerances(agreement)]
    launch(fuse_kernel, len(pixels), [*inputs, emitted, point, normal, colour], planes.device)
    return emitted.bool(), point, normal, colour


def _inputs(matching: Any, pixel_views: Tensor, pixels: Tensor, planes: Tensor) -> list[object]:
    return [matching, pixel_views, pixels[:, 0].contiguous(), pixels[:, 1].contiguous(), planes]


def _tolerances(agreement: Agreement) -> list[float]:
    return [agreement.depth_tolerance, agreement.pixel_tolerance, agreement.least_cosine]
