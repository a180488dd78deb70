"""What comparing patches is worth, and whether a patch elsewhere matches clearly better.

Slope and curvature are weighted as in iteratively reweighted least squares. Two patches of one signal with noise
correlate by signal over signal plus noise, so NCC / (1 - NCC) is the signal in units of the noise. And a ray counts
half where its two source views want surfaces `agreement` apart.

NCC sees a pixel or two far, so a ray may try a patch elsewhere (random guesses as in PatchMatch: Barnes et al., 2009;
Bleyer et al., 2011). Where that matches clearly better, the ray is pulled there with the curvature found there.
"""

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.patches import Comparison

wp.set_module_options({"enable_backward": False})

LEAD = wp.constant(0.15)
"""By how much another depth must match better than the surface's own."""
GOOD = wp.constant(0.3)
"""1 - NCC below which another depth counts at all."""
MOST_TRUST = wp.constant(2.0)
"""No match counts more than this: a highlight that moves with the camera matches as well as texture does."""


@wp.func
def bound_to_beat(loss: float, curvature: float):
    """1 - NCC below which a patch elsewhere matches clearly better; curvature 0 where nothing could be compared."""
    return wp.min(wp.where(curvature > 0.0, loss, 1.0) - LEAD, GOOD)


@wp.func
def agreeing(discord: float, agreement: float):
    """One where the sources agree, a half where they want surfaces `agreement` apart."""
    return 1.0 / (1.0 + (discord / agreement) * (discord / agreement))


@wp.kernel
def weigh_kernel(
    first: int,
    loss: wp.array(dtype=wp.float32),
    discord: wp.array(dtype=wp.float32),
    agreement: float,
    slope_out: wp.array(dtype=wp.float32),
    curvature_out: wp.array(dtype=wp.float32),
    bound_out: wp.array(dtype=wp.float32),
):
    ray = first + wp.tid()
    trust = wp.min((1.0 - loss[ray]) / wp.max(loss[ray], 1.0e-6), MOST_TRUST)
    weight = trust * agreeing(discord[ray], agreement)
    curvature = weight * curvature_out[ray]
    slope_out[ray] = weight * slope_out[ray]
    curvature_out[ray] = curvature
    bound_out[ray] = bound_to_beat(loss[ray], curvature)


@wp.kernel
def guess_kernel(
    first: int,
    seed: int,
    normals: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    reach: float,
    offsets_out: wp.array(dtype=wp.float32),
    normals_out: wp.array(dtype=wp.vec3),
):
    ray = first + wp.tid()
    state = wp.rand_init(seed, ray)
    offsets_out[ray] = (2.0 * wp.randf(state) - 1.0) * reach
    tilt = wp.randf(state)
    normals_out[ray] = wp.normalize(normals[ray] * tilt - directions[ray] * (1.0 - tilt))


@wp.kernel
def prefer_kernel(
    first: int,
    tried: wp.array(dtype=wp.int64),
    offsets: wp.array(dtype=wp.float32),
    other_loss: wp.array(dtype=wp.float32),
    other_curvature: wp.array(dtype=wp.float32),
    discord: wp.array(dtype=wp.float32),
    bound: wp.array(dtype=wp.float32),
    agreement: float,
    longest_pull: float,
    loss_out: wp.array(dtype=wp.float32),
    slope_out: wp.array(dtype=wp.float32),
    curvature_out: wp.array(dtype=wp.float32),
):
    item = first + wp.tid()
    ray = int(tried[item])
    curvature = agreeing(discord[item], agreement) * other_curvature[item]
    if curvature > 0.0 and other_loss[item] < bound[ray]:
        loss_out[ray] = other_loss[item]
        slope_out[ray] = -curvature * wp.clamp(offsets[ray], -longest_pull, longest_pull)
        curvature_out[ray] = curvature


def weigh(found: Comparison, agreement: float) -> Float[Tensor, "r"]:
    """Weight slopes and curvatures in place; returns the 1 - NCC that a patch elsewhere has to beat."""
    bound = torch.empty_like(found.loss)
    inputs = [found.loss, found.discord, agreement, found.slope, found.curvature, bound]
    launch(weigh_kernel, len(bound), inputs, bound.device)
    return bound


def guess(
    seed: int, normals: Float[Tensor, "h 3"], directions: Float[Tensor, "h 3"], reach: float
) -> tuple[Float[Tensor, "h"], Float[Tensor, "h 3"]]:
    """(offsets along the rays, normals) of patches up to `reach` away, facing between the normal and the camera.

    Both are random: where between -reach and reach, and how far from the direction to the camera.
    """
    offsets, tilted = torch.empty(len(normals), device=normals.device), torch.empty_like(normals)
    launch(guess_kernel, len(normals), [seed, normals, directions, reach, offsets, tilted], normals.device)
    return offsets, tilted


def prefer_better(
    found: Comparison,
    bound: Float[Tensor, "r"],
    tried: Int[Tensor, "i"],
    offsets: Float[Tensor, "r"],
    other: Comparison,
    agreement: float,
    longest_pull: float,
) -> None:
    """Put in place, for tried rays whose `other` patch beats the bound, its loss, a pull to it and its curvature."""
    inputs = [tried, offsets, other.loss, other.curvature, other.discord, bound, agreement, longest_pull]
    launch(prefer_kernel, len(tried), [*inputs, found.loss, found.slope, found.curvature], bound.device)
