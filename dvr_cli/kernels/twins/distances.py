"""The slow and obvious twin of `kernels.distances`: all distances that there are."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def signed_distance(inside: Bool[Tensor, "n n n"]) -> Float[Tensor, "n n n"]:
    """See `kernels.distances.signed_distance`; some vertices have to be inside, and some outside."""
    found = torch.zeros(inside.shape, dtype=torch.float64)
    within, without = inside.nonzero().double(), (~inside).nonzero().double()
    apart = torch.cdist(within, without)
    found[inside] = 0.5 - apart.min(dim=1).values
    found[~inside] = apart.min(dim=0).values - 0.5
    return found * (2 / (inside.shape[0] - 1))
