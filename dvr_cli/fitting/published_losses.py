"""The losses of the paper, each a sum over the pixels of a step (Niemeyer et al., CVPR 2020, section 3.3).

Lengths are in the paper's coordinates, in which the object fills a cube of side one.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dvr_cli.fields.mlp import PAPER_FROM_CUBE, NetworkField

PATCH = 4
"""Pixels of a 2x2 patch, in the order upper left, upper right, lower left, lower right."""
NEIGHBOUR_REACH = 1e-3
"""Side of the cube around a hit from which the neighbour is drawn whose normal is compared, in paper coordinates."""


def rgb_loss(error: Float[Tensor, "h 3"]) -> Tensor:
    """Absolute differences of rendered colours and photograph, summed over pixels and channels."""
    return error.abs().sum()


def image_gradient_loss(error: Float[Tensor, "r 3"], valid: Bool[Tensor, "r"]) -> Tensor:
    """Differences between the image gradients of rendering and photograph, in patches all of whose pixels are valid.

    Rays come patch by patch. A patch has one finite difference in x and one in y per channel; the loss is the length of
    this pair, summed over patches and channels. Differences of the error are those of the images.
    """
    whole = valid.reshape(-1, PATCH).all(dim=1)
    patches = error.reshape(-1, PATCH, 3)[whole]
    in_x, in_y = patches[:, 1] - patches[:, 0], patches[:, 2] - patches[:, 0]
    return torch.stack([in_x, in_y]).norm(dim=0).sum()


def depth_loss(points: Float[Tensor, "h 3"], known: Float[Tensor, "h 3"]) -> Tensor:
    """Distances between hits and the points where known depth puts them; both in the working cube."""
    return PAPER_FROM_CUBE * (points - known).norm(dim=1).sum()


def normal_loss(field: NetworkField, points: Float[Tensor, "h 3"], shares: Float[Tensor, "h 3"]) -> Tensor:
    """|n(p) - n(q)|, with q a neighbour of p; `shares` in [0, 1) places it in the cube around p.

    n is the outward unit normal. The published code takes it from central differences, twelve evaluations per hit; here
    it is the derivative itself.
    """
    side = NEIGHBOUR_REACH / PAPER_FROM_CUBE
    neighbours = points + (shares - 0.5) * side
    slopes = field.slope(torch.cat([points, neighbours]))
    normal, other = functional.normalize(slopes, dim=1).chunk(2)
    return (normal - other).norm(dim=1).sum()


def free_space_loss(logits: Float[Tensor, "p"]) -> Tensor:
    """Binary cross entropy with "empty"."""
    return functional.softplus(logits).sum()


def occupancy_loss(logits: Float[Tensor, "p"]) -> Tensor:
    """Binary cross entropy with "occupied"."""
    return functional.softplus(-logits).sum()
