"""What the twins share about views: projection, and the same views in double precision."""

from dataclasses import fields, replace

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from dvr_cli.kernels.views import ViewArrays


def in_double(stack: ViewArrays) -> ViewArrays:
    """The same views with every floating-point array in float64 (intrinsics inverted anew)."""
    arrays = {field.name: getattr(stack, field.name) for field in fields(stack)}
    doubled = {name: array.double() for name, array in arrays.items() if array.is_floating_point()}
    doubled["inverse_intrinsics"] = torch.linalg.inv(doubled["intrinsics"])
    return replace(stack, **doubled)


def project(
    stack: ViewArrays, views: Int[Tensor, "*r"], points: Float[Tensor, "*r 3"]
) -> tuple[Float[Tensor, "*r 2"], Float[Tensor, "*r"]]:
    """Pixel positions (x, y) and camera depth of points, each in its own view; only depth means anything behind it."""
    index = views.long()
    in_camera = torch.einsum("...ij,...j->...i", stack.rotations[index], points - stack.centres[index])
    homogeneous = torch.einsum("...ij,...j->...i", stack.intrinsics[index], in_camera)
    depth = homogeneous[..., 2]
    return homogeneous[..., :2] / torch.where(depth > 0, depth, 1)[..., None], depth


def pixel_under(
    stack: ViewArrays, views: Int[Tensor, "*r"], points: Float[Tensor, "*r 3"]
) -> tuple[Int[Tensor, "*r 2"], Bool[Tensor, "*r"]]:
    """Whole (x, y) of the pixel that sees each point, and whether there is one; (0, 0) where there is none."""
    position, depth = project(stack, views, points)
    pixel = position.floor().long()
    size = torch.stack([stack.widths, stack.heights], dim=1)[views.long()]
    seen = (depth > 0) & (pixel >= 0).all(dim=-1) & (pixel < size).all(dim=-1)
    return torch.where(seen[..., None], pixel, 0), seen


def directions_of(stack: ViewArrays, views: Int[Tensor, "*r"], pixels: Real[Tensor, "*r 2"]) -> Float[Tensor, "*r 3"]:
    """Directions, in unit space, of the rays through pixel centres; their camera z is 1."""
    index = views.long()
    centre = pixels.to(stack.gray.dtype) + 0.5
    in_camera = torch.einsum(
        "...ij,...j->...i",
        stack.inverse_intrinsics[index],
        torch.cat([centre, torch.ones_like(centre[..., :1])], dim=-1),
    )
    return torch.einsum("...ji,...j->...i", stack.rotations[index], in_camera)
