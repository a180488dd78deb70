"""First hit of rays with the zero level of a signed distance grid: sphere tracing with a least step, then secant.

A step of max(voxel / 2, 0.8 f) cannot skip a surface of a distance field that is thicker than half a voxel. The first
sample decides whether a ray starts inside; such rays have no crossing from outside to inside and count as misses until
they leave the solid.
"""

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.grid import cube_interval, sample
from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})

SECANT_STEPS = wp.constant(6)
MISSED = wp.constant(float("inf"))


@wp.kernel
def march_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t_out: wp.array(dtype=wp.float32),
    hit_out: wp.array(dtype=wp.uint8),
    nearest_t_out: wp.array(dtype=wp.float32),
    nearest_value_out: wp.array(dtype=wp.float32),
    starts_inside_out: wp.array(dtype=wp.uint8),
):
    ray = first + wp.tid()
    origin = origins[ray]
    direction = directions[ray]
    interval = cube_interval(origin, direction)
    voxel = 2.0 / float(n - 1)
    t = float(interval[0] + 1.0e-4)
    hit_t = float(0.0)
    hit = int(0)
    nearest_t = float(interval[0])
    nearest_value = float(MISSED)
    outside_t = float(0.0)
    outside_value = float(-1.0)
    starts_inside = int(0)
    first_sample = int(1)
    while t < interval[1] and hit == 0:
        value = sample(sdf, origin + direction * t, n)
        if value < nearest_value:
            nearest_value = value
            nearest_t = t
        if first_sample == 1 and value < 0.0:
            starts_inside = 1
        first_sample = 0
        if value < 0.0:  # noqa: SIM102 (no short circuit in kernels)
            if outside_value >= 0.0:
                hit = 1
                a = float(outside_t)
                b = float(t)
                fa = float(outside_value)
                fb = float(value)
                for _step in range(SECANT_STEPS):
                    middle = a + (b - a) * fa / (fa - fb)
                    fm = sample(sdf, origin + direction * middle, n)
                    if fm >= 0.0:
                        a = middle
                        fa = fm
                    else:
                        b = middle
                        fb = fm
                hit_t = a + (b - a) * fa / (fa - fb)
        outside_t = t
        outside_value = value
        t += wp.max(0.5 * voxel, 0.8 * wp.abs(value))
    t_out[ray] = hit_t
    hit_out[ray] = wp.uint8(hit)
    nearest_t_out[ray] = nearest_t
    nearest_value_out[ray] = nearest_value
    starts_inside_out[ray] = wp.uint8(starts_inside)


def march(
    sdf: Float[Tensor, "n n n"], origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(t, hit, nearest_t, nearest_value, starts_inside) of each ray; see `fields.protocol.RayHits`. No gradient."""
    rays = len(origins)
    t, nearest_t, nearest_value = (torch.empty(rays, device=sdf.device) for _ in range(3))
    hit, starts_inside = (torch.empty(rays, dtype=torch.uint8, device=sdf.device) for _ in range(2))
    inputs = [sdf.reshape(-1), sdf.shape[0], origins, directions, t, hit, nearest_t, nearest_value, starts_inside]
    launch(march_kernel, rays, inputs, sdf.device)
    return t, hit.bool(), nearest_t, nearest_value, starts_inside.bool()
