"""The slow and obvious twin of `kernels.cut`, in any precision."""

import torch
from jaxtyping import Float
from torch import Tensor


def pull(
    ahead: Float[Tensor, "n n n"], inside: Float[Tensor, "n n n"], step: float, dual: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, ...]:
    """What `kernels.cut.pull` leaves in the dual variable."""
    pulled = []
    for axis, part in enumerate(dual):
        joined = inside.roll(-1, axis) * inside
        joined.select(axis, -1).fill_(0)
        pulled.append(part + step * (ahead.roll(-1, axis) - ahead) * joined)
    length = torch.stack(pulled).norm(dim=0).clamp(min=1)
    return tuple(part / length for part in pulled)


def follow(
    dual: tuple[Tensor, Tensor, Tensor], evidence: Float[Tensor, "n n n"], step: float, u: Float[Tensor, "n n n"]
) -> tuple[Tensor, Tensor]:
    """(u, ahead) as `kernels.cut.follow` leaves them; the dual variable is zero on the last plane of each axis."""
    divergence = sum(part - part.roll(1, axis) for axis, part in enumerate(dual))
    moved = (u + step * (divergence - evidence)).clamp(0, 1)
    return moved, 2 * moved - u
