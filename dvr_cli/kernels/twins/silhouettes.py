"""The slow and obvious twin of `kernels.silhouettes`, in any precision: the loss itself, for autograd."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.twins.grid import grid_value
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN


def ask_masks(
    sdf: Float[Tensor, "n n n"],
    looks: Looks,
    hits: tuple[Tensor, Tensor, Tensor, Tensor],
    edge_trust: Float[Tensor, ""],
    *,
    exact_masks: float,
    free_space: float,
    occupancy: float,
    margin: float,
) -> tuple[Float[Tensor, "r"], Float[Tensor, "r 3"], Float[Tensor, "r"]]:
    """(loss of each ray, differentiable with respect to `sdf`; points; curvature): see `kernels.silhouettes`."""
    t, hit, nearest_t, nearest_value = hits
    voxel, is_object = 2 / (sdf.shape[0] - 1), looks.masks == OBJECT
    wrong = torch.where(hit, looks.masks == BACKGROUND, is_object & nearest_value.isfinite())
    points = looks.origins + torch.where(hit, t, nearest_t)[:, None] * looks.directions
    value = grid_value(sdf, points)
    residual = torch.where(hit, -value, value) / voxel + margin
    weight = torch.where(looks.at_edge, edge_trust, 1) * (1 + exact_masks * edge_trust**4)
    worth = weight * torch.where(hit, free_space, occupancy) * (wrong & (residual > 0) & (residual < 2))
    near = hit | (nearest_value < 1.5 * voxel)
    held = looks.at_edge & (looks.masks != UNKNOWN) & (hit == is_object) & near
    loss = 0.5 * worth.detach() * residual.square()
    return loss, points, (worth + occupancy * weight * held).detach() / voxel**2


def shares(
    masks: Tensor, at_edge: Bool[Tensor, "r"], hit: Bool[Tensor, "r"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """The shares that `kernels.silhouettes.tally` counts: wrong ones, intersection over union, hits outside masks."""
    is_object, known = masks == OBJECT, (masks == OBJECT) | (masks == BACKGROUND)
    outside = at_edge & (masks == BACKGROUND)
    wrong = ((hit ^ is_object) & known).float().sum() / known.sum()
    iou = (hit & is_object).float().sum() / ((hit | is_object) & known).sum()
    return wrong, iou, (hit & outside).float().sum() / outside.sum()
