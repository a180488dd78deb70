"""The slow and obvious twin of `kernels.facing`, in any precision."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def best_facing(
    sdf: Float[Tensor, "n n n"], vertices: Int[Tensor, "b"], centres: Float[Tensor, "v 3"]
) -> Float[Tensor, "b"]:
    """See `kernels.facing.best_facing`."""
    n = sdf.shape[0]
    axis = torch.linspace(-1, 1, n, dtype=sdf.dtype, device=sdf.device)
    points = torch.cartesian_prod(axis, axis, axis)[vertices.long()]
    slopes = torch.stack(torch.gradient(sdf), dim=-1).reshape(-1, 3)[vertices.long()]
    normals = torch.nn.functional.normalize(slopes, dim=1)
    to_cameras = torch.nn.functional.normalize(centres[None] - points[:, None], dim=2)
    return (to_cameras * normals[:, None]).sum(dim=2).amax(dim=1)
