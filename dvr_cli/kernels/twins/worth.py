"""The slow and obvious twin of `kernels.worth`, in any precision; it changes nothing in place."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.patches import Comparison
from dvr_cli.kernels.twins.draws import random_number, random_start


def bound_to_beat(loss: Float[Tensor, "r"], curvature: Float[Tensor, "r"]) -> Float[Tensor, "r"]:
    """See `kernels.worth.bound_to_beat`."""
    return (torch.where(curvature > 0, loss, 1.0) - 0.15).clamp(max=0.3)


def weigh(found: Comparison, agreement: float) -> tuple[Comparison, Float[Tensor, "r"]]:
    """(what is compared, weighted; the bound); see `kernels.worth.weigh`."""
    trust = ((1 - found.loss) / found.loss.clamp(min=1e-6)).clamp(max=2)
    weight = trust / (1 + (found.discord / agreement).square())
    found = found._replace(slope=weight * found.slope, curvature=weight * found.curvature)
    return found, bound_to_beat(found.loss, found.curvature)


def guess(
    seed: int, normals: Float[Tensor, "h 3"], directions: Float[Tensor, "h 3"], reach: float
) -> tuple[Float[Tensor, "h"], Float[Tensor, "h 3"]]:
    """See `kernels.worth.guess`."""
    state, offsets = random_number(random_start(seed, torch.arange(len(normals))))
    tilt = random_number(state)[1].to(normals.dtype)[:, None]
    tilted = torch.nn.functional.normalize(tilt * normals - (1 - tilt) * directions, dim=1)
    return (2 * offsets.to(normals.dtype) - 1) * reach, tilted


def prefer_better(
    found: Comparison,
    bound: Float[Tensor, "r"],
    tried: Int[Tensor, "i"],
    offsets: Float[Tensor, "r"],
    other: Comparison,
    agreement: float,
    longest_pull: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, slope, curvature) as `kernels.worth.prefer_better` leaves them."""
    loss, slope, curvature = found.loss.clone(), found.slope.clone(), found.curvature.clone()
    weighted = other.curvature / (1 + (other.discord / agreement).square())
    better = (weighted > 0) & (other.loss < bound[tried])
    rays = tried[better]
    pull = offsets[rays].clamp(-longest_pull, longest_pull)
    loss[rays], slope[rays], curvature[rays] = other.loss[better], -weighted[better] * pull, weighted[better]
    return loss, slope, curvature
