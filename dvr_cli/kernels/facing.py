"""How squarely any camera looks at the surface near a grid's vertices: the cosine of normal and direction to it."""

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.grid import vertex_position
from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})


@wp.kernel
def facing_kernel(
    first: int,
    vertices: wp.array(dtype=wp.int32),
    sdf: wp.array(dtype=wp.float32),
    n: int,
    centres: wp.array(dtype=wp.vec3),
    views: int,
    facing_out: wp.array(dtype=wp.float32),
):
    e = first + wp.tid()
    b = vertices[e]
    point = vertex_position(b, n)
    normal = wp.normalize(wp.vec3(sdf[b + n * n] - sdf[b - n * n], sdf[b + n] - sdf[b - n], sdf[b + 1] - sdf[b - 1]))
    best = float(-1.0)
    for v in range(views):
        best = wp.max(best, wp.dot(normal, wp.normalize(centres[v] - point)))
    facing_out[e] = best


def best_facing(
    sdf: Float[Tensor, "n n n"], vertices: Int[Tensor, "b"], centres: Float[Tensor, "v 3"]
) -> Float[Tensor, "b"]:
    """Largest cosine between the field's gradient at inner vertices and the direction to a camera's centre, -1 to 1.

    What lies between is not asked, so what is hidden may pass for seen. No gradient.
    """
    out = torch.empty(len(vertices), device=sdf.device)
    inputs = [vertices, sdf.detach().reshape(-1), sdf.shape[0], centres, len(centres), out]
    launch(facing_kernel, len(vertices), inputs, sdf.device)
    return out
