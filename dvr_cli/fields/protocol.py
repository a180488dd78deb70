"""What the renderer, the losses and the extraction may ask of a field, whatever it is made of.

Notation: points live in the unit cube [-1, 1]^3; `value` is negative inside and zero on the surface (a signed distance
for the grid, minus the occupancy logit for a network); directions are unit vectors from the camera to the surface.
Nothing here assumes a grid: a field that can march rays faster than by asking for single points says so by implementing
`MarchesRays`, one that finds the surface there faster by implementing `FindsSurface`, one that knows cheaply where
nothing can be by implementing `KnowsEmptySpace`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class RayHits:
    """Where rays first cross the surface from outside to inside; found without any gradient."""

    t: Float[Tensor, "n"]
    """Distance along the unit direction; 0 where nothing is hit."""
    hit: Bool[Tensor, "n"]
    """True where the ray crosses from outside to inside."""
    nearest_t: Float[Tensor, "n"]
    """Distance of the sample with the least value on the ray (up to the hit); where a ray missed by least."""
    nearest_value: Float[Tensor, "n"]
    """The field there; +inf for rays that miss the cube."""
    starts_inside: Bool[Tensor, "n"]
    """True where the field is negative already where the ray enters the cube, or begins within it."""


@runtime_checkable
class Field(Protocol):
    """A shape and its colour as differentiable functions of points."""

    half_width: float
    """Surfaces are looked for in the cube [-half_width, half_width]^3: 1, or more for a field with padding."""

    def value(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
        """Signed value, negative inside. Differentiable with respect to the field's parameters."""
        ...

    def gradient(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
        """Spatial gradient of `value`, detached."""
        ...

    def colour(self, points: Float[Tensor, "p 3"], directions: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
        """RGB. Differentiable with respect to the points and the field's parameters."""
        ...


@runtime_checkable
class MarchesRays(Protocol):
    """A field that finds first hits by itself."""

    def first_hit(
        self,
        ray_origins: Float[Tensor, "n 3"],
        ray_directions: Float[Tensor, "n 3"],
    ) -> RayHits:
        """First crossing of each ray inside the cube, without gradient."""
        ...


@runtime_checkable
class FindsSurface(Protocol):
    """A field that finds everything about the surface at known hits by itself, in one pass."""

    def surface(
        self,
        origins: Float[Tensor, "h 3"],
        directions: Float[Tensor, "h 3"],
        t: Float[Tensor, "h"],
        least_slope: float,
    ) -> tuple[Float[Tensor, "h"], Float[Tensor, "h 3"], Float[Tensor, "h 3"], Float[Tensor, "h"]]:
        """(t, points, normals, slope) as `rendering.surface.surface_at` has them, t with the implicit gradient."""
        ...


@runtime_checkable
class KnowsEmptySpace(Protocol):
    """A field that knows of points outside without being evaluated there."""

    def certainly_outside(self, points: Float[Tensor, "p 3"]) -> Bool[Tensor, "p"]:
        """True where `value` need not be asked for, because it is positive; at little cost, without gradient."""
        ...
