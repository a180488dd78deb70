"""Scenes whose surface is known exactly: analytic textured shapes, photographed by a small ray caster.

The demo, the examples and the tests stand on these. A shape lives in unit space ([-1, 1]^3) as a signed distance that
is negative inside and 1-Lipschitz (so sphere tracing is safe) with its exact gradient; a solid texture gives it a
colour everywhere. The texture is a sum of plane waves and therefore band-limited: at the intended image size its shortest wave
is longer than four pixels, and no photograph is aliased. Cameras live in a world that is an arbitrary similarity away
from unit space, with the principal point off the centre, so that a mistake in either shows.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.views import Camera, LoadedView, Scene, View

HIT_TOLERANCE = 5e-5
"""A ray has hit when the distance falls below this (unit space, 1 % of a pixel); Newton steps then add the digits."""
MAX_MARCH_STEPS = 80
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@runtime_checkable
class Distance(Protocol):
    """A signed distance (or a bound of it) with its gradient."""

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]: ...

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]: ...


def _length(vectors: Float[np.ndarray, "p d"]) -> Float[np.ndarray, "p"]:
    return np.sqrt(np.einsum("pi,pi->p", vectors, vectors))


@dataclass(frozen=True)
class Sphere:
    """Exact distance to a sphere."""

    radius: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        return _length(points - np.array(self.centre)) - self.radius

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        offset = points - np.array(self.centre)
        return offset / np.maximum(_length(offset), 1e-12)[:, None]


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
        return direction / np.maximum(_length(direction), 1e-12)[:, None]


@dataclass(frozen=True)
class RoundedBox:
    """Exact distance to a box whose edges are rounded."""

    half_size: tuple[float, float, float]
    """Of the box before `rounding` is added on all sides."""
    rounding: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def value(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        excess = np.abs(points - np.array(self.centre)) - np.array(self.half_size)
        outside = _length(np.maximum(excess, 0.0))
        inside = np.minimum(np.maximum(np.maximum(excess[:, 0], excess[:, 1]), excess[:, 2]), 0.0)
        return outside + inside - self.rounding

    def gradient(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        excess = np.abs(points - np.array(self.centre)) - np.array(self.half_size)
        positive = np.maximum(excess, 0.0)
        outside = _length(positive)
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
        normals = normals / np.maximum(_length(normals), 1e-12)[:, None]
        light = np.array([0.4, -0.5, 0.77])
        ambient = 0.65 + 0.1 * normals[:, 2]
        return self.texture.colour(points) * (ambient + 0.4 * np.maximum(normals @ light, 0.0))[:, None]


def solid_texture(generator: np.random.Generator, shortest_wave: float = 0.028, waves: int = 128) -> SolidTexture:
    """A grainy texture whose waves are between `shortest_wave` and twenty times that long (unit length)."""
    wavelengths = shortest_wave * 20.0 ** np.linspace(0, 1, waves)
    directions = generator.normal(size=(waves, 3))
    directions /= _length(directions)[:, None]
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


def random_similarity(generator: np.random.Generator) -> Float[np.ndarray, "4 4"]:
    """An arbitrary `world_from_unit`: scale in [2, 5], any proper rotation, translation of up to 3."""
    rotation, upper = np.linalg.qr(generator.normal(size=(3, 3)))
    rotation = rotation * np.sign(np.diag(upper))
    rotation[:, 0] *= np.linalg.det(rotation)
    similarity = np.eye(4)
    similarity[:3, :3] = generator.uniform(2, 5) * rotation
    similarity[:3, 3] = generator.uniform(-3, 3, 3)
    return similarity


def cameras_around(
    views: int, image_size: int, generator: np.random.Generator, world_from_unit: Float[np.ndarray, "4 4"]
) -> list[Camera]:
    """Cameras spread over a sphere, looking at the unit cube's centre; 4:3, the longest side is `image_size` pixels."""
    width, height = image_size, round(image_size * 0.75)
    focal = 1.75 * width
    intrinsics = np.array([[focal, 0, 0.525 * width], [0, 1.01 * focal, 0.48 * height], [0, 0, 1.0]])
    scale = np.cbrt(np.linalg.det(world_from_unit[:3, :3]))
    rotation = world_from_unit[:3, :3] / scale
    cameras = []
    for index in range(views):
        height_on_sphere = 1 - (2 * index + 1) / views
        angle = index * np.pi * (3 - np.sqrt(5))
        ring = np.sqrt(1 - height_on_sphere**2)
        direction = np.array([ring * np.cos(angle), ring * np.sin(angle), height_on_sphere])
        centre = (direction + generator.normal(scale=0.03, size=3)) * generator.uniform(3.5, 3.9)
        target = generator.uniform(-0.03, 0.03, 3)
        camera_from_unit = _look_at(centre, target)
        camera_from_world = np.eye(4)
        camera_from_world[:3, :3] = camera_from_unit[:3, :3] @ rotation.T
        camera_from_world[:3, 3] = scale * camera_from_unit[:3, 3] - camera_from_world[:3, :3] @ world_from_unit[:3, 3]
        cameras.append(Camera(intrinsics, camera_from_world, height, width))
    return cameras


def _look_at(centre: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    """Camera at `centre` that sees `target` on its axis, with z up in the picture where that is defined."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.95 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    camera_from_unit = np.eye(4)
    camera_from_unit[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    camera_from_unit[:3, 3] = -camera_from_unit[:3, :3] @ centre
    return camera_from_unit


def first_hit(
    shape: Shape, ray_origins: Float[np.ndarray, "n 3"], ray_directions: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Distance along unit directions to the first hit (NaN where there is none) and which rays hit; unit space."""
    along = -np.einsum("ni,ni->n", ray_origins, ray_directions)
    half_chord_squared = shape.radius**2 - (np.einsum("ni,ni->n", ray_origins, ray_origins) - along**2)
    t = np.full(len(ray_origins), np.nan)
    active = np.flatnonzero((half_chord_squared > 0) & (along > 0))
    half_chord = np.sqrt(half_chord_squared[active])
    current, end = along[active] - half_chord, along[active] + half_chord
    for _ in range(MAX_MARCH_STEPS):
        if not len(active):
            break
        distance = shape.value(ray_origins[active] + current[:, None] * ray_directions[active])
        current = current + distance
        done = distance < HIT_TOLERANCE
        t[active[done]] = current[done]
        keep = ~done & (current < end)
        active, current, end = active[keep], current[keep], end[keep]
    hit = np.isfinite(t)
    t[hit] = _newton_along_ray(shape, ray_origins[hit], ray_directions[hit], t[hit])
    return t, hit


def _newton_along_ray(
    shape: Shape,
    origins: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    t: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    for _ in range(2):
        points = origins + t[:, None] * directions
        slope = np.einsum("ni,ni->n", shape.gradient(points), directions)
        # Grazing rays have no useful slope: the bound keeps them where the march left them.
        t = t + np.clip(-shape.value(points) / np.minimum(slope, -0.1), -10 * HIT_TOLERANCE, 10 * HIT_TOLERANCE)
    return t


def _photograph(
    shape: Shape, camera: Camera, unit_from_world: Float[np.ndarray, "4 4"], name: str, with_depth: bool
) -> LoadedView:
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    image, t = _cast(shape, camera, unit_from_world, centres)
    rough = _varies_within_a_pixel(t.reshape(camera.height, camera.width), camera.intrinsics[0, 0]).ravel()
    samples = [_cast(shape, camera, unit_from_world, centres[rough] + np.array(offset))[0] for offset in SUBPIXELS]
    image[rough] = np.mean(samples, axis=0)

    scale = np.cbrt(np.linalg.det(unit_from_world[:3, :3]))
    cosine = camera.rays(centres)[1] @ camera.camera_from_world[2, :3]
    shape_of_image = (camera.height, camera.width)
    depth = (t / scale * cosine).reshape(shape_of_image) if with_depth else None
    mask = np.isfinite(t).reshape(shape_of_image)
    return LoadedView(name, camera, image.reshape(*shape_of_image, 3).astype(np.float32), mask, depth)


def _cast(
    shape: Shape, camera: Camera, unit_from_world: Float[np.ndarray, "4 4"], pixels: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n"]]:
    """Colour and unit-space distance (NaN for a miss) at continuous pixel positions."""
    origins, directions = camera.rays(pixels)
    linear = unit_from_world[:3, :3]
    origins = origins @ linear.T + unit_from_world[:3, 3]
    directions = directions @ linear.T / np.cbrt(np.linalg.det(linear))
    t, hit = first_hit(shape, origins, directions)
    colour = (0.16 + 0.04 * directions[:, 2:3]) * np.array([0.9, 1.0, 1.1])  # a dim, smooth surrounding
    colour[hit] = shape.colour(origins[hit] + t[hit, None] * directions[hit])
    return colour, t


def _varies_within_a_pixel(t: Float[np.ndarray, "h w"], focal: float) -> Bool[np.ndarray, "h w"]:
    """Silhouettes, creases and slanted surface: where one sample per pixel of the band-limited texture would alias."""
    if not np.isfinite(t).any():
        return np.zeros(t.shape, dtype=bool)
    footprint = np.nanmedian(t) / focal
    filled = np.where(np.isfinite(t), t, 1e3)
    rough = np.zeros(t.shape, dtype=bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(filled, axis=axis)) > 1.5 * footprint
        pad_after, pad_before = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        pad_after[axis], pad_before[axis] = (0, 1), (1, 0)
        rough |= np.pad(jump, pad_after) | np.pad(jump, pad_before)
    return rough


def make_views(
    shape: Shape,
    views: int = 24,
    image_size: int = 320,
    seed: int = 0,
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    with_depth: bool = False,
) -> list[LoadedView]:
    """Photographs of the shape with exact masks (pixel centres that see it) and, when asked for, exact depth.

    `image_size` is the longest side in pixels. Without `world_from_unit` the seed decides it; `synthetic_scene` returns
    it within the scene.
    """
    generator = np.random.default_rng(seed)
    similarity = random_similarity(generator)
    world_from_unit = similarity if world_from_unit is None else world_from_unit
    cameras = cameras_around(views, image_size, generator, world_from_unit)
    unit_from_world = np.linalg.inv(world_from_unit)

    def photograph(index: int) -> LoadedView:
        return _photograph(shape, cameras[index], unit_from_world, f"{index:03d}.png", with_depth)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(photograph, range(views)))


def synthetic_scene(
    shape: Shape | None = None, views: int = 24, image_size: int = 320, seed: int = 0, with_depth: bool = False
) -> tuple[Scene, list[LoadedView], Shape]:
    """A scene in memory: the description, its photographs and the true shape (unit space). Nothing is on disk."""
    shape = demo_shape(seed) if shape is None else shape
    world_from_unit = random_similarity(np.random.default_rng(seed))
    loaded = make_views(shape, views, image_size, seed, world_from_unit, with_depth)
    root = Path("synthetic")
    described = tuple(
        View(view.name, view.camera, root / "image" / view.name, root / "mask" / view.name) for view in loaded
    )
    scene = Scene("synthetic", root, "synthetic", described, np.linalg.inv(world_from_unit), "the shape's own cube")
    return scene, loaded, shape


def write_scene(folder: Path, views: Sequence[LoadedView], world_from_unit: Float[np.ndarray, "4 4"]) -> None:
    """Write photographs, masks and cameras in the DTU/IDR layout (8-bit PNG, `cameras.npz`).

    That layout counts whole numbers as pixel centres, so the principal point is half a pixel less than ours. Views need
    masks. Source: the data format of IDR (Yariv et al. 2020).
    """
    import imageio.v3 as imageio

    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    matrices = {}
    for index, view in enumerate(views):
        assert view.mask is not None, f"{view.name} has no mask"
        imageio.imwrite(folder / "image" / view.name, np.round(np.clip(view.image, 0, 1) * 255).astype(np.uint8))
        imageio.imwrite(folder / "mask" / view.name, view.mask.astype(np.uint8) * 255)
        intrinsics = view.camera.intrinsics.copy()
        intrinsics[:2, 2] -= 0.5
        world_mat = np.eye(4)
        world_mat[:3] = intrinsics @ view.camera.camera_from_world[:3]
        matrices[f"world_mat_{index}"] = world_mat
        matrices[f"scale_mat_{index}"] = world_from_unit
    np.savez(folder / "cameras.npz", **matrices)
