"""A signed distance grid with a colour grid: the fast field.

`sdf` holds signed distances in unit space at n^3 vertices, negative inside; colour is three numbers per vertex plus
nine view-dependent ones on a grid of half the resolution. Gradients go to dense `.grad` tensors that are made once and
never reallocated: a backward pass adds to the few vertices it touches, and the optimiser zeroes those again, so that a
step's cost does not depend on the size of the grid. `curvature` grids beside them collect the Gauss-Newton curvature of
the losses.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dvr_cli.fields.protocol import RayHits
from dvr_cli.kernels import lookup
from dvr_cli.kernels.march import march


class _Value(torch.autograd.Function):
    """Trilinear look-up; the backward pass scatters into `sdf.grad` by itself and leaves autograd nothing to add."""

    @staticmethod
    def forward(ctx: Any, sdf: Tensor, points: Tensor) -> Tensor:
        ctx.sdf, ctx.points = sdf, points
        return lookup.grid_value(sdf, points)

    @staticmethod
    def backward(ctx: Any, value_gradient: Tensor) -> tuple[None, None]:
        lookup.scatter(ctx.sdf.grad, ctx.points, value_gradient)
        return None, None


class _Colour(torch.autograd.Function):
    """Colour look-up, differentiable with respect to both grids (in place, as above) and the points."""

    @staticmethod
    def forward(ctx: Any, albedo: Tensor, sheen: Tensor, points: Tensor, directions: Tensor) -> Tensor:
        ctx.grids = albedo, sheen
        ctx.save_for_backward(points, directions)
        return lookup.grid_colour(albedo, sheen, points, directions)

    @staticmethod
    def backward(ctx: Any, colour_gradient: Tensor) -> tuple[None, None, Tensor, None]:
        (albedo, sheen), (points, directions) = ctx.grids, ctx.saved_tensors
        lookup.scatter(albedo.grad, points, colour_gradient)
        by_axis = directions[:, :, None] * colour_gradient[:, None, :]
        lookup.scatter(sheen.grad, points, by_axis.reshape(-1, 9))
        return None, None, lookup.grid_colour_slope(albedo, sheen, points, directions, colour_gradient), None


class GridField(nn.Module):
    """Signed distances and colours on regular grids over the cube [-1, 1]^3; implements `Field` and `MarchesRays`."""

    half_width = 1.0
    kind = "grid"

    def __init__(
        self,
        sdf: Float[Tensor, "n n n"],
        albedo: Float[Tensor, "n n n 3"] | None = None,
        sheen: Float[Tensor, "m m m 9"] | None = None,
    ) -> None:
        super().__init__()
        n, device = sdf.shape[0], sdf.device
        m = (n + 1) // 2
        self.sdf = nn.Parameter(sdf.contiguous())
        self.albedo = nn.Parameter(torch.full((n, n, n, 3), 0.5, device=device) if albedo is None else albedo)
        self.sheen = nn.Parameter(torch.zeros(m, m, m, 9, device=device) if sheen is None else sheen)
        for parameter in self.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.sdf_curvature = torch.zeros_like(sdf)
        self.albedo_curvature = torch.zeros(n, n, n, device=device)
        self.sheen_curvature = torch.zeros(m, m, m, device=device)

    @property
    def voxels(self) -> int:
        """Vertices per side."""
        return self.sdf.shape[0]

    @property
    def voxel(self) -> float:
        """Edge of a cell in unit space."""
        return 2.0 / (self.voxels - 1)

    def value(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
        """Signed distance; differentiable with respect to `sdf`, not the points (see `gradient`)."""
        return _Value.apply(self.sdf, points.detach())

    def gradient(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
        """Spatial gradient, detached."""
        return lookup.grid_gradient(self.sdf.detach(), points.detach())

    def colour(self, points: Float[Tensor, "p 3"], directions: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
        """RGB; differentiable with respect to the grids and the points."""
        return _Colour.apply(self.albedo, self.sheen, points, directions)

    def first_hit(self, ray_origins: Float[Tensor, "n 3"], ray_directions: Float[Tensor, "n 3"]) -> RayHits:
        """First crossing of each ray, without gradient."""
        return RayHits(*march(self.sdf.detach(), ray_origins, ray_directions))

    def add_curvature(self, points: Float[Tensor, "p 3"], curvature: Float[Tensor, "p"]) -> None:
        """Tell the optimiser how strongly the losses at these points curve with the field's value."""
        lookup.scatter(self.sdf_curvature, points, curvature)

    def add_colour_curvature(self, points: Float[Tensor, "p 3"], curvature: Float[Tensor, "p"]) -> None:
        """The same for the colour."""
        lookup.scatter(self.albedo_curvature, points, curvature)
        lookup.scatter(self.sheen_curvature, points, curvature)

    def resized(self, voxels: int) -> "GridField":
        """The same field on another number of vertices, by trilinear interpolation; gradients start from zero."""
        with torch.no_grad():
            sdf = _resize(self.sdf[..., None], voxels)[..., 0]
            return GridField(sdf, _resize(self.albedo, voxels), _resize(self.sheen, (voxels + 1) // 2))


def gradient_buffer(parameter: Tensor) -> Tensor:
    """The dense gradient of one of a field's parameters."""
    if parameter.grad is None:
        raise ValueError("This parameter does not belong to a GridField, which makes its gradients at the start.")
    return parameter.grad


def _resize(grid: Float[Tensor, "n n n c"], voxels: int) -> Float[Tensor, "m m m c"]:
    moved = grid.detach().permute(3, 0, 1, 2)[None]
    resized = nn.functional.interpolate(moved, (voxels,) * 3, mode="trilinear", align_corners=True)
    return resized[0].permute(1, 2, 3, 0).contiguous()
