"""Scenes whose surface is known exactly: analytic textured shapes, photographed by a small ray caster.

The demo, the examples and the tests stand on these. At the intended image size (320 pixels) the shortest wave of the
texture is about five pixels long, so no photograph is aliased. Cameras live in a world that is an arbitrary similarity
away from unit space, with the principal point off the centre, so that a mistake in either shows. Shapes are in
`synthetic_shapes`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.processors import available_threads
from dvr_cli.scenes.synthetic_shapes import Shape, demo_shape, sphere
from dvr_cli.scenes.views import Camera, LoadedView, Scene, View

__all__ = [
    "Shape",
    "cameras_around",
    "demo_shape",
    "first_hit",
    "make_views",
    "random_similarity",
    "sphere",
    "synthetic_scene",
    "write_scene",
]

HIT_TOLERANCE = 5e-5
"""A ray has hit when the distance falls below this (unit space, 1 % of a pixel); Newton steps then add the digits."""
MAX_MARCH_STEPS = 80
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


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

    with ThreadPoolExecutor(available_threads()) as pool:
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
        if view.mask is None:
            raise ValueError(f"{view.name} has no mask, and this layout needs one for every view")
        imageio.imwrite(folder / "image" / view.name, np.round(np.clip(view.image, 0, 1) * 255).astype(np.uint8))
        imageio.imwrite(folder / "mask" / view.name, view.mask.astype(np.uint8) * 255)
        intrinsics = view.camera.intrinsics.copy()
        intrinsics[:2, 2] -= 0.5
        world_mat = np.eye(4)
        world_mat[:3] = intrinsics @ view.camera.camera_from_world[:3]
        matrices[f"world_mat_{index}"] = world_mat
        matrices[f"scale_mat_{index}"] = world_from_unit
    np.savez(folder / "cameras.npz", **matrices)  # type: ignore[arg-type]
