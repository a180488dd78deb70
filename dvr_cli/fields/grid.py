"""A signed distance grid with a colour grid: the fast field.

`sdf` holds signed distances in unit space at n^3 vertices, negative inside; colour is three numbers per vertex plus
nine view-dependent ones on a grid of half the resolution. Gradients go to dense `.grad` tensors that are made once and
never reallocated: a backward pass adds to the few vertices it touches, and the optimiser zeroes those again, so that a
step's cost does not depend on the size of the grid. `curvature` grids beside them collect the Gauss-Newton curvature of
the losses.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dvr_cli.fields.protocol import RayHits
from dvr_cli.kernels import lookup, scatter
from dvr_cli.kernels.march import march
from dvr_cli.kernels.resize import resize


class _Value(torch.autograd.Function):
    """Trilinear look-up; the backward pass scatters into `sdf.grad` by itself and leaves autograd nothing to add."""

    @staticmethod
    def forward(ctx: Any, sdf: Tensor, points: Tensor) -> Tensor:
        ctx.sdf, ctx.points = sdf, points
        return lookup.grid_value(sdf, points)

    @staticmethod
    def backward(ctx: Any, value_gradient: Tensor) -> tuple[None, None]:
        scatter.scatter(ctx.sdf.grad, ctx.points, value_gradient)
        return None, None


class _Surface(torch.autograd.Function):
    """The surface on rays; t gets the implicit gradient -(d value / d sdf) / slope, scattered in place as above."""

    @staticmethod
    def forward(
        ctx: Any, sdf: Tensor, origins: Tensor, directions: Tensor, t: Tensor, least_slope: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        points, normals, slope = lookup.grid_surface(sdf, origins, directions, t, least_slope)
        ctx.sdf = sdf
        ctx.save_for_backward(points, directions, slope)
        ctx.mark_non_differentiable(normals, slope)
        ctx.set_materialize_grads(False)
        return t.clone(), points, normals, slope

    @staticmethod
    def backward(ctx: Any, t_gradient: Tensor | None, points_gradient: Tensor | None, *_: Any) -> tuple[None, ...]:
        points, directions, slope = ctx.saved_tensors
        if t_gradient is not None or points_gradient is not None:
            asked = lookup.implicit_gradient(t_gradient, points_gradient, directions, slope)
            scatter.scatter(ctx.sdf.grad, points, asked)
        return (None,) * 5


class _Colour(torch.autograd.Function):
    """Colour look-up, differentiable with respect to both grids (in place, as above) and the points."""

    @staticmethod
    def forward(
        ctx: Any, albedo: Tensor, sheen: Tensor, points: Tensor, directions: Tensor, passed_on: float
    ) -> Tensor:
        ctx.grids, ctx.passed_on = (albedo, sheen), passed_on
        ctx.save_for_backward(points, directions)
        return lookup.grid_colour(albedo, sheen, points, directions)

    @staticmethod
    def backward(ctx: Any, colour_gradient: Tensor) -> tuple[None, None, Tensor, None, None]:
        (albedo, sheen), (points, directions) = ctx.grids, ctx.saved_tensors
        scatter.scatter(albedo.grad, points, colour_gradient)
        scatter.scatter_by_axis(sheen.grad, points, directions, colour_gradient)
        slope = lookup.grid_colour_slope(albedo, sheen, points, directions, colour_gradient, ctx.passed_on)
        return None, None, slope, None, None


class GridField(nn.Module):
    """Signed distances and colours on regular grids over the cube [-1, 1]^3.

    Implements `Field`, `MarchesRays` and `FindsSurface`.
    """

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
        self.sheen = nn.Parameter(_zeros((m, m, m, 9), device) if sheen is None else sheen)
        for parameter in self.parameters():
            parameter.grad = _zeros(parameter.shape, device)
        self.sdf_curvature = _zeros((n, n, n), device)
        self.albedo_curvature = _zeros((n, n, n), device)
        self.sheen_curvature = _zeros((m, m, m), device)

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

    def surface(
        self, origins: Float[Tensor, "h 3"], directions: Float[Tensor, "h 3"], t: Float[Tensor, "h"], least_slope: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(t, points, normals, slope) where rays hit; no value is looked up, since it is known to be zero."""
        return _Surface.apply(self.sdf, origins, directions, t.detach(), least_slope)

    def colour(
        self, points: Float[Tensor, "p 3"], directions: Float[Tensor, "p 3"], passed_on: float = 1.0
    ) -> Float[Tensor, "p 3"]:
        """RGB; differentiable with respect to the grids, and to the points with `passed_on` of the gradient."""
        return _Colour.apply(self.albedo, self.sheen, points, directions, passed_on)

    def first_hit(self, ray_origins: Float[Tensor, "n 3"], ray_directions: Float[Tensor, "n 3"]) -> RayHits:
        """First crossing of each ray, without gradient."""
        return RayHits(*march(self.sdf.detach(), ray_origins, ray_directions))

    def add_gradient(self, points: Float[Tensor, "p 3"], gradient: Float[Tensor, "p"]) -> None:
        """Add a loss's gradient with respect to the values at these points; what `value` does in a backward pass."""
        scatter.scatter(gradient_buffer(self.sdf), points, gradient)

    def add_curvature(self, points: Float[Tensor, "p 3"], curvature: Float[Tensor, "p"]) -> None:
        """Tell the optimiser how strongly the losses at these points curve with the field's value."""
        scatter.scatter(self.sdf_curvature, points, curvature)

    def add_colour_curvature(self, points: Float[Tensor, "p 3"], curvature: Float[Tensor, "p"]) -> None:
        """The same for the colour."""
        scatter.scatter(self.albedo_curvature, points, curvature)
        scatter.scatter(self.sheen_curvature, points, curvature)

    def resized(self, voxels: int) -> "GridField":
        """The same field on another number of vertices, by trilinear interpolation; gradients start from zero."""
        with torch.no_grad():
            coarse = resize(self.sheen.detach(), (voxels + 1) // 2)
            return GridField(resize(self.sdf.detach(), voxels), resize(self.albedo.detach(), voxels), coarse)


def gradient_buffer(parameter: Tensor) -> Tensor:
    """The dense gradient of one of a field's parameters."""
    if parameter.grad is None:
        raise ValueError("This parameter does not belong to a GridField, which makes its gradients at the start.")
    return parameter.grad


def _zeros(shape: Sequence[int], device: torch.device) -> Tensor:
    """Zeros; on a CPU from the system, which gives memory to pages only when something is written to them.

    Most of a grid is far from the surface, and its gradients and curvatures stay what they are.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.zeros(shape, np.float32))
    return torch.zeros(*shape, device=device)
