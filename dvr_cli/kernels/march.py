"""First hit of rays with the zero level of a signed distance grid: sphere tracing with a least step, then secant.

A step of max(voxel / 2, 0.8 f) cannot skip a surface of a distance field that is thicker than half a voxel. The first
sample decides whether a ray starts inside; such rays have no crossing from outside to inside and count as misses until
they leave the solid.
"""

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.grid import cube_interval, prefetch_cell, sample
from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})

ABREAST = 8
"""Rays that a CPU's thread follows in turns: a sample is rarely in a cache, and comes while the others take theirs."""
Lanes = wp.types.vector(length=ABREAST, dtype=wp.float32)
SECANT_STEPS = wp.constant(6)
MISSED = wp.constant(float("inf"))


@wp.kernel
def march_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    abreast: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t_out: wp.array(dtype=wp.float32),
    hit_out: wp.array(dtype=wp.uint8),
    nearest_t_out: wp.array(dtype=wp.float32),
    nearest_value_out: wp.array(dtype=wp.float32),
    starts_inside_out: wp.array(dtype=wp.uint8),
):
    begin = (first + wp.tid()) * abreast
    end = wp.min(begin + abreast, origins.shape[0])
    voxel = 2.0 / float(n - 1)
    t = Lanes()
    last_t = Lanes()
    nearest_t = Lanes()
    nearest_value = Lanes()
    outside_t = Lanes()
    outside_value = Lanes()
    inside_value = Lanes()
    for ray in range(begin, end):
        lane = ray - begin
        interval = cube_interval(origins[ray], directions[ray])
        t[lane] = interval[0] + 1.0e-4
        last_t[lane] = interval[1]
        nearest_t[lane] = interval[0]
        nearest_value[lane] = MISSED
        outside_value[lane] = -1.0
        starts_inside_out[ray] = wp.uint8(0)
        prefetch_cell(sdf, origins[ray] + directions[ray] * t[lane], n, 1)
    walking = int(1)
    while walking == 1:
        walking = int(0)
        for ray in range(begin, end):
            lane = ray - begin
            if t[lane] < last_t[lane]:
                walking = 1
                value = sample(sdf, origins[ray] + directions[ray] * t[lane], n)
                if value < 0.0 and nearest_value[lane] == MISSED:
                    # The first sample.
                    starts_inside_out[ray] = wp.uint8(1)
                if value < nearest_value[lane]:
                    nearest_value[lane] = value
                    nearest_t[lane] = t[lane]
                if value < 0.0 and outside_value[lane] >= 0.0:
                    inside_value[lane] = value
                    last_t[lane] = -1.0
                else:
                    outside_t[lane] = t[lane]
                    outside_value[lane] = value
                    t[lane] = t[lane] + wp.max(0.5 * voxel, 0.8 * wp.abs(value))
                    prefetch_cell(sdf, origins[ray] + directions[ray] * t[lane], n, 1)
    for ray in range(begin, end):
        lane = ray - begin
        t_out[ray] = 0.0
        hit_out[ray] = wp.uint8(0)
        nearest_t_out[ray] = nearest_t[lane]
        nearest_value_out[ray] = nearest_value[lane]
        if inside_value[lane] < 0.0:
            a = float(outside_t[lane])
            b = float(t[lane])
            fa = float(outside_value[lane])
            fb = float(inside_value[lane])
            for _step in range(SECANT_STEPS):
                middle = a + (b - a) * fa / (fa - fb)
                fm = sample(sdf, origins[ray] + directions[ray] * middle, n)
                if fm >= 0.0:
                    a = middle
                    fa = fm
                else:
                    b = middle
                    fb = fm
            t_out[ray] = a + (b - a) * fa / (fa - fb)
            hit_out[ray] = wp.uint8(1)


def march(
    sdf: Float[Tensor, "n n n"], origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(t, hit, nearest_t, nearest_value, starts_inside) of each ray; see `fields.protocol.RayHits`. No gradient."""
    rays = len(origins)
    t, nearest_t, nearest_value = (torch.empty(rays, device=sdf.device) for _ in range(3))
    hit, starts_inside = (torch.empty(rays, dtype=torch.uint8, device=sdf.device) for _ in range(2))
    abreast = ABREAST if sdf.device.type == "cpu" else 1
    found = [t, hit, nearest_t, nearest_value, starts_inside]
    inputs = [sdf.reshape(-1), sdf.shape[0], abreast, origins, directions, *found]
    launch(march_kernel, -(-rays // abreast), inputs, sdf.device, least=256 // abreast)
    return t, hit.bool(), nearest_t, nearest_value, starts_inside.bool()
