"""A ray, the surface that a neighbouring pixel sees, and which of the two surfaces its own pixel shows.

`fitting.inner_edges` says what for. The neighbour's surface is continued as a plane to the ray; where that matches
clearly better than what the ray meets itself, the nearer of the two has to come as far as the ray, or to end before it.
"""

import torch
import warp as wp
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.kernels.grid import sample_gradient
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.pixels import through_pixel
from dvr_cli.kernels.silhouettes import to_the_right_side
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.kernels.worth import bound_to_beat

wp.set_module_options({"enable_backward": False})

APART = wp.constant(3.0)
"""Voxels between two surfaces, at least."""
LONGEST_PLANE = wp.constant(6.0)
"""Voxels of depth over which the neighbour's surface may be continued."""
LEAST_FACING = wp.constant(0.15)
"""Cosine to the ray of a plane that can be compared."""
FARTHEST = wp.constant(2.5)
"""Voxels from the ray beyond which the near surface is not asked."""


@wp.kernel
def beside_kernel(
    first: int,
    inverse_intrinsics: wp.array(dtype=wp.mat33),
    rotations: wp.array(dtype=wp.mat33),
    centres: wp.array(dtype=wp.vec3),
    ray_views: wp.array(dtype=wp.int32),
    ray_pixels: wp.array(dtype=wp.vec2i),
    asked: wp.array(dtype=wp.int64),
    seed: int,
    farthest: int,
    origins_out: wp.array(dtype=wp.vec3),
    directions_out: wp.array(dtype=wp.vec3),
):
    item = first + wp.tid()
    ray = int(asked[item])
    view = ray_views[ray]
    state = wp.rand_init(seed, item)
    shift_x = wp.randi(state, -farthest, farthest + 1)
    shift_y = wp.randi(state, -farthest, farthest + 1)
    pixel = ray_pixels[ray] + wp.vec2i(shift_x, shift_y)
    origins_out[item] = centres[view]
    directions_out[item] = through_pixel(inverse_intrinsics[view], rotations[view], pixel[0], pixel[1])


@wp.kernel
def plane_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    asked: wp.array(dtype=wp.int64),
    ray_origins: wp.array(dtype=wp.vec3),
    ray_directions: wp.array(dtype=wp.vec3),
    ray_t: wp.array(dtype=wp.float32),
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t: wp.array(dtype=wp.float32),
    hit: wp.array(dtype=wp.uint8),
    plane_t_out: wp.array(dtype=wp.float32),
    normals_out: wp.array(dtype=wp.vec3),
    usable_out: wp.array(dtype=wp.uint8),
):
    item = first + wp.tid()
    ray = int(asked[item])
    voxel = 2.0 / float(n - 1)
    own_t = ray_t[ray]
    usable_out[item] = wp.uint8(0)
    if hit[item] != wp.uint8(0) and wp.abs(t[item] - own_t) > APART * voxel:
        point = origins[item] + directions[item] * t[item]
        normal = wp.normalize(sample_gradient(sdf, point, n))
        facing = -wp.dot(normal, ray_directions[ray])
        plane_t = -wp.dot(normal, point - ray_origins[ray]) / wp.max(facing, LEAST_FACING)
        plane_t_out[item] = plane_t
        normals_out[item] = normal
        near = wp.abs(plane_t - t[item]) < LONGEST_PLANE * voxel and wp.abs(plane_t - own_t) > APART * voxel
        if near and facing > LEAST_FACING:
            usable_out[item] = wp.uint8(1)


@wp.kernel
def rim_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t: wp.array(dtype=wp.float32),
    other_t: wp.array(dtype=wp.float32),
    loss: wp.array(dtype=wp.float32),
    curvature: wp.array(dtype=wp.float32),
    other_loss: wp.array(dtype=wp.float32),
    other_curvature: wp.array(dtype=wp.float32),
    weight: float,
    margin: float,
    points_out: wp.array(dtype=wp.vec3),
    gradient_out: wp.array(dtype=wp.float32),
    curvature_out: wp.array(dtype=wp.float32),
):
    ray = first + wp.tid()
    point = origins[ray] + directions[ray] * wp.min(t[ray], other_t[ray])
    demand = wp.vec2(0.0, 0.0)
    if other_curvature[ray] > 0.0 and other_loss[ray] < bound_to_beat(loss[ray], curvature[ray]):
        # The near one of the two surfaces decides: it has to come as far as this ray, or to end before it.
        side = float(-1.0)
        if other_t[ray] < t[ray]:
            side = 1.0
        demand = to_the_right_side(sdf, n, point, side, weight, margin, FARTHEST)
    points_out[ray] = point
    gradient_out[ray] = demand[0]
    curvature_out[ray] = demand[1]


def rays_beside(
    stack: ViewArrays,
    ray_views: Int[Tensor, "r"],
    ray_pixels: Int[Tensor, "r 2"],
    asked: Int[Tensor, "i"],
    farthest: int,
    seed: int,
) -> tuple[Float[Tensor, "i 3"], Float[Tensor, "i 3"]]:
    """Origins and unit directions of rays through random pixels, up to `farthest` along x and y beside the asked."""
    origins, directions = (torch.empty(len(asked), 3, device=asked.device) for _ in range(2))
    inputs = [stack.inverse_intrinsics, stack.rotations, stack.centres, ray_views, ray_pixels, asked, seed, farthest]
    launch(beside_kernel, len(asked), [*inputs, origins, directions], asked.device)
    return origins, directions


def planes_met(
    sdf: Float[Tensor, "n n n"],
    rays: tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"], Float[Tensor, "r"]],
    asked: Int[Tensor, "i"],
    beside: tuple[Float[Tensor, "i 3"], Float[Tensor, "i 3"], Float[Tensor, "i"], Bool[Tensor, "i"]],
) -> tuple[Float[Tensor, "i"], Float[Tensor, "i 3"], Bool[Tensor, "i"]]:
    """Where asked rays meet the tangent planes of what rays beside them hit: t, the planes' normals, which to use.

    `rays` are (origins, directions, t), those beside them (origins, directions, t, hit). What is not to be used,
    because there is no inner edge or the plane leads too far, is anything.
    """
    count, device = len(asked), sdf.device
    t, normals = torch.empty(count, device=device), torch.empty(count, 3, device=device)
    usable = torch.empty(count, dtype=torch.bool, device=device)
    origins, directions, beside_t, hit = beside
    inputs = [sdf.reshape(-1), sdf.shape[0], asked, *rays, origins, directions, beside_t, hit.view(torch.uint8)]
    launch(plane_kernel, count, [*inputs, t, normals, usable.view(torch.uint8)], device)
    return t, normals, usable


def ask_rims(
    sdf: Float[Tensor, "n n n"],
    rays: tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"], Float[Tensor, "r"]],
    other_t: Float[Tensor, "r"],
    matches: tuple[Float[Tensor, "r"], Float[Tensor, "r"]],
    other_matches: tuple[Float[Tensor, "r"], Float[Tensor, "r"]],
    weight: float,
    margin: float,
) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r"], Float[Tensor, "r"]]:
    """Points of the near surface, gradient of the loss with respect to the value there, curvature; no autograd.

    The loss is half of `weight` times the squared distance, in voxels, by which the near surface is on the wrong side
    of a ray whose pixel shows the other one, which of the (1 - NCC, curvature) of both is clearly better; `margin` in
    voxels.
    """
    count, device = len(other_t), sdf.device
    points = torch.empty(count, 3, device=device)
    gradient, curvature = (torch.empty(count, device=device) for _ in range(2))
    inputs = [sdf.reshape(-1), sdf.shape[0], *rays, other_t, *matches, *other_matches, weight, margin]
    launch(rim_kernel, count, [*inputs, points, gradient, curvature], device)
    return points, gradient, curvature
