"""Twins of `kernels.band`: Newton steps, relaxation, smoothing and redistancing. Nothing is changed in place.

The band lists vertices by their flat index; x, y, z are the grid's first, second and third index.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.band import TOO_FLAT, TOO_STEEP


def newton_step(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    gradient: Float[Tensor, "n n n"],
    curvature: Float[Tensor, "n n n"],
    mean_gradient: Float[Tensor, "n n n"],
    mean_curvature: Float[Tensor, "n n n"],
    *,
    memory: float,
    damping: float,
    rate: float,
    longest_step: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The five grids after the step, in the order of the arguments: -rate G / (H + damping) voxels, bounded.

    G and H are the sums of the gradients and curvatures per voxel of length, older ones weighted by powers of `memory`.
    Vertices that the losses did not touch stay as they are.
    """
    voxel = 2 / (sdf.shape[0] - 1)
    touched = _listed(band, sdf) & ((curvature > 0) | (gradient != 0))
    summed_gradient = torch.where(touched, memory * mean_gradient + gradient * voxel, mean_gradient)
    summed_curvature = torch.where(touched, memory * mean_curvature + curvature * voxel**2, mean_curvature)
    step = (rate * summed_gradient / (summed_curvature + damping)).clamp(-longest_step, longest_step)
    moved = torch.where(touched, sdf - voxel * step, sdf)
    return moved, gradient.where(~touched, 0), curvature.where(~touched, 0), summed_gradient, summed_curvature


def relax(
    band: Int[Tensor, "b"] | None,
    values: Float[Tensor, "n n n c"],
    gradient: Float[Tensor, "n n n c"],
    curvature: Float[Tensor, "n n n"],
    *,
    damping: float,
    rate: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(values, gradient, curvature) after a step of -rate g / (h + damping) wherever h > 0; band None: every vertex."""
    touched = curvature > 0
    if band is not None:
        touched = touched & _listed(band, curvature)
    step = rate * gradient / (curvature + damping)[..., None]
    moved = torch.where(touched[..., None], values - step, values)
    return moved, gradient.where(~touched[..., None], 0), curvature.where(~touched, 0)


def smooth(
    band: Int[Tensor, "b"],
    sdf: Float[Tensor, "n n n"],
    smoothing: float,
    redistancing: float,
    information: Float[Tensor, "n n n"] | None = None,
    half_at: float = 1.0,
) -> Float[Tensor, "n n n"]:
    """The grid after a step towards the six neighbours' mean plus one towards slope one, both from the old values."""
    x, y, z = torch.unravel_index(band.long(), sdf.shape)
    here = sdf[x, y, z]
    pairs = torch.stack(
        [
            torch.stack([sdf[x - 1, y, z], sdf[x + 1, y, z]]),
            torch.stack([sdf[x, y - 1, z], sdf[x, y + 1, z]]),
            torch.stack([sdf[x, y, z - 1], sdf[x, y, z + 1]]),
        ]
    )
    yielding = 1 if information is None else (1 + information[x, y, z] / half_at).rsqrt()
    change = smoothing * yielding * (pairs.mean(dim=(0, 1)) - here)
    change = change + redistancing * _towards_distance(here, pairs, 2 / (sdf.shape[0] - 1))
    moved = sdf.clone()
    moved[x, y, z] = here + change
    return moved


def _towards_distance(here: Float[Tensor, "b"], pairs: Float[Tensor, "3 2 b"], voxel: float) -> Float[Tensor, "b"]:
    """The change of a whole step of redistancing.

    Where a neighbour lies on the other side of the surface: to value / |gradient|, by central differences if they are
    above `TOO_STEEP`, else by the steepest of central and one-sided differences if that is below `TOO_FLAT`, else none.
    Elsewhere: an Euler step, one voxel long, of sign(value) (1 - |gradient|), where the gradient (Godunov's) is along
    each axis the steeper descent to a neighbour that is nearer to the surface.
    """
    crosses = (here * pairs < 0).any(dim=1).any(dim=0)
    central = (pairs[:, 1] - pairs[:, 0]).abs() / (2 * voxel)
    steepness = central.norm(dim=0)
    steepest = torch.maximum(central, (pairs - here).abs().amax(dim=1) / voxel).norm(dim=0)
    slope = torch.where(steepness > TOO_STEEP, steepness.clamp(max=2), torch.ones_like(here))
    slope = torch.where((steepness <= TOO_STEEP) & (steepest < TOO_FLAT), steepest.clamp(min=0.5), slope)
    sign = torch.where(here < 0, -1.0, 1.0).to(here.dtype)
    descent = ((sign * (here - pairs)).clamp(min=0) / voxel).amax(dim=1).norm(dim=0)
    return torch.where(crosses, here / slope - here, sign * (1 - descent) * voxel)


def _listed(band: Int[Tensor, "b"], grid: Tensor) -> Tensor:
    """True at the band's vertices."""
    mask = torch.zeros(grid.numel(), dtype=torch.bool, device=grid.device)
    mask[band.long()] = True
    return mask.reshape(grid.shape)
