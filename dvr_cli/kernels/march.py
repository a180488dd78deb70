"""First hit of rays with the zero level of a signed distance grid: sphere tracing with a least step, then secant.

A step of max(voxel / 2, 0.8 f) cannot skip a surface of a distance field that is thicker than half a voxel. The first
sample decides whether a ray starts inside; such rays have no crossing from outside to inside and count as misses until
they leave the solid.
"""

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.grid import cube_interval, interpolated, prefetch_corners
from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})

ABREAST = 8
"""Rays that a CPU's thread follows in turns: a sample is rarely in a cache, and comes while the others take theirs."""
TOGETHER = 64
"""Rays of an item on a CPU: one that has come to its end makes way for the next of them."""
Lanes = wp.types.vector(length=ABREAST, dtype=wp.float32)
Rays = wp.types.vector(length=ABREAST, dtype=wp.int32)
SECANT_STEPS = wp.constant(6)
CLOSE = wp.constant(1.0e-5)
"""Voxels from the surface at which the secant method stops; rounding moves a sample as far."""
MISSED = wp.constant(float("inf"))


@wp.func
def crossing(
    sdf: wp.array(dtype=wp.float32),
    n: int,
    origin: wp.vec3,
    direction: wp.vec3,
    outside_t: float,
    outside_value: float,
    inside_t: float,
    inside_value: float,
):
    """Where the value changes its sign between two samples; origin and direction in units of voxels."""
    a = float(outside_t)
    b = float(inside_t)
    fa = float(outside_value)
    fb = float(inside_value)
    close = CLOSE * 2.0 / float(n - 1)
    for _step in range(SECANT_STEPS):
        middle = a + (b - a) * fa / (fa - fb)
        fm = interpolated(sdf, origin + direction * middle, n)
        if fm >= 0.0:
            a = middle
            fa = fm
        else:
            b = middle
            fb = fm
        if wp.abs(fm) < close:
            break
    return a + (b - a) * fa / (fa - fb)


@wp.kernel
def march_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    together: int,
    abreast: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t_out: wp.array(dtype=wp.float32),
    hit_out: wp.array(dtype=wp.uint8),
    nearest_t_out: wp.array(dtype=wp.float32),
    nearest_value_out: wp.array(dtype=wp.float32),
    starts_inside_out: wp.array(dtype=wp.uint8),
):
    coming = (first + wp.tid()) * together
    end = wp.min(coming + together, origins.shape[0])
    voxel = 2.0 / float(n - 1)
    rays = Rays()
    t = Lanes()
    last_t = Lanes()
    nearest_t = Lanes()
    nearest_value = Lanes()
    outside_t = Lanes()
    outside_value = Lanes()
    # Positions and directions in units of voxels.
    origin_x = Lanes()
    origin_y = Lanes()
    origin_z = Lanes()
    along_x = Lanes()
    along_y = Lanes()
    along_z = Lanes()
    x = Lanes()
    y = Lanes()
    z = Lanes()
    for lane in range(abreast):
        rays[lane] = -1
    walking = int(1)
    while walking == 1:
        walking = int(0)
        for lane in range(abreast):
            ray = rays[lane]
            if ray >= 0:
                value = interpolated(sdf, wp.vec3(x[lane], y[lane], z[lane]), n)
                here = t[lane]
                if value < nearest_value[lane]:
                    if value < 0.0 and nearest_value[lane] == MISSED:
                        # The first sample.
                        starts_inside_out[ray] = wp.uint8(1)
                    nearest_value[lane] = value
                    nearest_t[lane] = here
                t[lane] = here + wp.max(0.5 * voxel, 0.8 * wp.abs(value))
                if value < 0.0 and outside_value[lane] >= 0.0:
                    origin = wp.vec3(origin_x[lane], origin_y[lane], origin_z[lane])
                    along = wp.vec3(along_x[lane], along_y[lane], along_z[lane])
                    t_out[ray] = crossing(sdf, n, origin, along, outside_t[lane], outside_value[lane], here, value)
                    hit_out[ray] = wp.uint8(1)
                    last_t[lane] = -1.0
                outside_t[lane] = here
                outside_value[lane] = value
                # Asked this way round a ray also ends where the field holds NaN.
                if not (t[lane] < last_t[lane]):
                    nearest_t_out[ray] = nearest_t[lane]
                    nearest_value_out[ray] = nearest_value[lane]
                    rays[lane] = -1
            if rays[lane] < 0 and coming < end:
                ray = coming
                coming += 1
                walking = 1
                interval = cube_interval(origins[ray], directions[ray])
                t_out[ray] = 0.0
                hit_out[ray] = wp.uint8(0)
                nearest_t_out[ray] = interval[0]
                nearest_value_out[ray] = MISSED
                starts_inside_out[ray] = wp.uint8(0)
                t[lane] = interval[0] + 1.0e-4
                last_t[lane] = interval[1]
                nearest_t[lane] = interval[0]
                nearest_value[lane] = MISSED
                outside_value[lane] = -1.0
                origin = (origins[ray] + wp.vec3(1.0, 1.0, 1.0)) / voxel
                along = directions[ray] / voxel
                origin_x[lane] = origin[0]
                origin_y[lane] = origin[1]
                origin_z[lane] = origin[2]
                along_x[lane] = along[0]
                along_y[lane] = along[1]
                along_z[lane] = along[2]
                if t[lane] < last_t[lane]:
                    rays[lane] = ray
            if rays[lane] >= 0:
                walking = 1
                x[lane] = origin_x[lane] + along_x[lane] * t[lane]
                y[lane] = origin_y[lane] + along_y[lane] * t[lane]
                z[lane] = origin_z[lane] + along_z[lane] * t[lane]
                prefetch_corners(sdf, wp.vec3(x[lane], y[lane], z[lane]), n, 1)


def march(
    sdf: Float[Tensor, "n n n"], origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(t, hit, nearest_t, nearest_value, starts_inside) of each ray; see `fields.protocol.RayHits`. No gradient."""
    rays = len(origins)
    t, nearest_t, nearest_value = (torch.empty(rays, device=sdf.device) for _ in range(3))
    hit, starts_inside = (torch.empty(rays, dtype=torch.uint8, device=sdf.device) for _ in range(2))
    abreast, together = (ABREAST, TOGETHER) if sdf.device.type == "cpu" else (1, 1)
    found = [t, hit, nearest_t, nearest_value, starts_inside]
    inputs = [sdf.reshape(-1), sdf.shape[0], together, abreast, origins, directions, *found]
    launch(march_kernel, -(-rays // together), inputs, sdf.device, least=256 // together)
    return t, hit.bool(), nearest_t, nearest_value, starts_inside.bool()
