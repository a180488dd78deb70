"""Analytic textured shapes, for scenes whose surface is known exactly.

A shape lives in unit space ([-1, 1]^3). Its signed distance is negative inside and 1-Lipschitz, so that sphere
tracing is safe, and has an exact gradient. The texture fills space: a sum of plane waves, therefore band-limited and
never repeating.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class Distance(Protocol):
    """A signed distance (or a bound of it) with its gradient."""

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]: ...

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]: ...


def row_lengths(vectors: Float[np.ndarray, "p d"]) -> Float[np.ndarray, "p"]:
    """Euclidean length of each row; faster than `np.linalg.norm` for three columns."""
    return np.sqrt(np.einsum("pi,pi->p", vectors, vectors))


@dataclass(frozen=True)
class Sphere:
    """Exact distance to a sphere."""

    radius: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        return row_lengths(points - np.array(self.centre)) - self.radius

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        offset = points - np.array(self.centre)
        return offset / np.maximum(row_lengths(offset), 1e-12)[:, None]


@dataclass(frozen=True)
class Torus:
    """Exact distance to a torus around the axis y."""

    major_radius: float
    minor_radius: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        offset = points - np.array(self.centre)
        from_ring = np.hypot(offset[:, 0], offset[:, 2]) - self.major_radius
        return np.hypot(from_ring, offset[:, 1]) - self.minor_radius

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        offset = points - np.array(self.centre)
        from_axis = np.maximum(np.hypot(offset[:, 0], offset[:, 2]), 1e-12)
        scale = (from_axis - self.major_radius) / from_axis
        direction = np.stack([offset[:, 0] * scale, offset[:, 1], offset[:, 2] * scale], axis=1)
        return direction / np.maximum(row_lengths(direction), 1e-12)[:, None]


@dataclass(frozen=True)
class RoundedBox:
    """Exact distance to a box whose edges are rounded."""

    half_size: tuple[float, float, float]
    """Of the box before `rounding` is added on all sides."""
    rounding: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        excess = np.abs(points - np.array(self.centre)) - np.array(self.half_size)
        outside = row_lengths(np.maximum(excess, 0.0))
        inside = np.minimum(np.maximum(np.maximum(excess[:, 0], excess[:, 1]), excess[:, 2]), 0.0)
        return outside + inside - self.rounding

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        excess = np.abs(points - np.array(self.centre)) - np.array(self.half_size)
        positive = np.maximum(excess, 0.0)
        outside = row_lengths(positive)
        nearest_face = np.eye(3)[excess.argmax(axis=1)]
        direction = np.where(outside[:, None] > 0, positive / np.maximum(outside, 1e-12)[:, None], nearest_face)
        return np.where(points < np.array(self.centre), -1.0, 1.0) * direction


@dataclass(frozen=True)
class Blend:
    """Union of two shapes, or the first without the second, with the crease rounded.

    The polynomial smooth minimum: its gradient is a convex combination of the parts' gradients, so 1-Lipschitz parts
    give a 1-Lipschitz blend. Near the crease the value is a bound of the distance; the surface itself is exact.
    """

    first: Distance
    second: Distance
    softness: float
    """Width of the band in which both parts count."""
    subtract: bool = False

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        sign = -1.0 if self.subtract else 1.0
        first, second = sign * self.first.value(points), self.second.value(points)
        weight = self._weight_of_first(first, second)
        blended = weight * first + (1 - weight) * second - self.softness * weight * (1 - weight)
        return sign * blended

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        sign = -1.0 if self.subtract else 1.0
        weight = self._weight_of_first(sign * self.first.value(points), self.second.value(points))[:, None]
        return weight * self.first.gradient(points) + sign * (1 - weight) * self.second.gradient(points)

    def _weight_of_first(self, first: Float[np.ndarray, "p"], second: Float[np.ndarray, "p"]) -> Float[np.ndarray, "p"]:
        return np.clip(0.5 + 0.5 * (second - first) / self.softness, 0.0, 1.0)


@dataclass(frozen=True)
class SolidTexture:
    """Colour at every point of space: a base colour plus plane waves of random direction; it never repeats."""

    base: Float[np.ndarray, "3"]
    wave_vectors: Float[np.ndarray, "k 3"]
    """Radians per unit length."""
    phases: Float[np.ndarray, "k"]
    amplitudes: Float[np.ndarray, "k 3"]

    def colour(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        """Albedo in [0.05, 0.95]."""
        # Single precision halves the time of the cosines; their error of 1e-5 is far below one grey level.
        angle = (points @ self.wave_vectors.T + self.phases).astype(np.float32)
        return np.clip(self.base + np.cos(angle) @ self.amplitudes.astype(np.float32), 0.05, 0.95)


@dataclass(frozen=True)
class Shape:
    """A closed surface with a matte texture, in unit space."""

    distance: Distance
    texture: SolidTexture
    radius: float
    """The surface lies inside the sphere of this radius around the origin."""

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        """Signed distance (unit length), negative inside."""
        return self.distance.value(points)

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        """Gradient of `value`; on the surface, away from creases, the outward unit normal."""
        return self.distance.gradient(points)

    def colour(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        """RGB in [0, 1] as photographed: Lambert shading, no dependence on the view."""
        normals = self.gradient(points)
        normals = normals / np.maximum(row_lengths(normals), 1e-12)[:, None]
        light = np.array([0.4, -0.5, 0.77])
        ambient = 0.57 + 0.08 * normals[:, 2]
        return self.texture.colour(points) * (ambient + 0.35 * np.maximum(normals @ light, 0.0))[:, None]


def solid_texture(generator: np.random.Generator, shortest_wave: float = 0.028, waves: int = 128) -> SolidTexture:
    """A grainy texture whose waves are between `shortest_wave` and twenty times that long (unit length)."""
    wavelengths = shortest_wave * 20.0 ** np.linspace(0, 1, waves)
    directions = generator.normal(size=(waves, 3))
    directions /= row_lengths(directions)[:, None]
    # Mostly grey contrast with some colour, as on stone or painted wood.
    grey, tint = generator.normal(size=(waves, 1)), generator.normal(size=(waves, 3))
    amplitudes = 0.24 * (grey + 0.35 * tint) / np.sqrt(waves)
    phases = generator.uniform(0, 2 * np.pi, waves)
    return SolidTexture(np.array([0.64, 0.56, 0.46]), 2 * np.pi * directions / wavelengths[:, None], phases, amplitudes)


def sphere(radius: float = 0.6, seed: int = 0, shortest_wave: float = 0.028) -> Shape:
    """A textured sphere around the origin."""
    return Shape(Sphere(radius), solid_texture(np.random.default_rng(seed), shortest_wave), radius)


def demo_shape(seed: int = 0, shortest_wave: float = 0.028) -> Shape:
    """A rounded block with a deep bowl, a dent in one side and a ring handle: concave and of genus one."""
    block = RoundedBox((0.30, 0.26, 0.24), 0.12, (-0.1, 0.0, 0.0))
    with_handle = Blend(block, Torus(0.21, 0.07, (0.38, 0.0, 0.0)), softness=0.06)
    with_bowl = Blend(with_handle, Sphere(0.27, (-0.16, 0.0, 0.40)), softness=0.05, subtract=True)
    with_dent = Blend(with_bowl, Sphere(0.17, (-0.18, -0.46, -0.08)), softness=0.04, subtract=True)
    with_knob = Blend(with_dent, Sphere(0.13, (-0.50, 0.12, -0.1)), softness=0.05)
    return Shape(with_knob, solid_texture(np.random.default_rng(seed), shortest_wave), 0.72)
