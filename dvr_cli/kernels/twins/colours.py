"""The slow and obvious twin of `kernels.colours`, in any precision; derivatives are autograd's."""

from jaxtyping import Float
from torch import Tensor


def robust_norm(colours: Float[Tensor, "r 3"], expected: Float[Tensor, "r 3"]) -> Float[Tensor, "r"]:
    """What `kernels.colours.colour_errors` gives the derivatives and the reciprocal of."""
    return ((colours - expected).square().sum(dim=1) + 1e-3).sqrt()
