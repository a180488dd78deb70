"""The twin of `kernels.long_waves`. Nothing is changed in place.

The band lists vertices by their flat index; x, y, z are the grid's first, second and third index.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def smooth_long_waves(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    stride: int,
    smoothing: float,
    information: Float[Tensor, "n n n"],
    half_at: float,
    largest_bend: float,
) -> Float[Tensor, "n n n"]:
    """The grid after a step towards the mean of the neighbours `stride` away, and as much of one back."""
    vertices = torch.stack(torch.unravel_index(band.long(), sdf.shape), dim=1)
    inside = ((vertices >= stride) & (vertices < sdf.shape[0] - stride)).all(dim=1)
    x, y, z = vertices[inside].T
    yielding = (1 + information[x, y, z] * stride**4 / half_at).rsqrt()
    for share in (smoothing, -smoothing):
        here = sdf[x, y, z]
        change = torch.zeros_like(here)
        for dx, dy, dz in torch.eye(3, dtype=torch.long) * stride:
            bend = sdf[x - dx, y - dy, z - dz] + sdf[x + dx, y + dy, z + dz] - 2 * here
            change += bend * (1 - (bend / largest_bend).square()).clamp(min=0).square()
        sdf = sdf.clone()
        sdf[x, y, z] = here + share * yielding * change / 6
    return sdf
