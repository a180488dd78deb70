"""Pictures of meshes on the CPU, without a window system: rays through Open3D's ray casting scene.

`shading` says what the colours are. A picture is drawn in strips of rows, by several threads, with several rays per
pixel; only the part of it that the mesh can cover is looked at.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.processors import available_threads
from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.viewing.shading import SurfaceImage, What, has_colours, paint, surface_colours
from dvr_cli.viewing.texture_levels import TextureLevels

__all__ = [
    "BACKGROUNDS", "Layer", "Painter", "SurfaceImage", "What", "averaged", "cast", "has_colours", "paint",
    "render_mesh", "render_values", "surface_colours",
]  # fmt: skip

BACKGROUNDS = {"light": (0.97, 0.97, 0.96), "dark": (0.12, 0.13, 0.14), "white": (1.0,) * 3, "black": (0.0,) * 3}
STRIP_RAYS = 1 << 17
"""Rays per strip: some 10 MB of numbers, so that the threads stay within the processor's caches and memory is small."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def cast(mesh: Mesh, camera: Camera, caster: RayCaster | None = None) -> SurfaceImage:
    """The first surface along the ray through every pixel centre; `caster` is one made of the mesh before."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    homogeneous = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    # Directions with z = 1 in the camera make the ray's parameter the depth.
    directions = homogeneous @ np.linalg.inv(camera.intrinsics).T @ camera.camera_from_world[:3, :3]
    found = (caster or RayCaster(mesh)).cast(np.broadcast_to(camera.centre, directions.shape), directions)
    return SurfaceImage(np.isfinite(found.t), found.t, found.face, found.weights)


@dataclass(frozen=True)
class Layer:
    """A picture of a mesh before there is anything behind it."""

    colour: Float[np.ndarray, "h w 3"]
    """RGB in [0, 1], the mean over a pixel's rays that hit the mesh; 0 where none does."""
    coverage: Float[np.ndarray, "h w"]
    """Share of a pixel's rays that hit the mesh."""
    depth_range: tuple[float, float] | None
    """Depth of the nearest and of the farthest hit; None without a hit."""

    def over(self, background: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "h w 3"]:
        """The picture in front of a colour, or of another picture."""
        return self.colour * self.coverage[..., None] + background * (1 - self.coverage[..., None])


@dataclass(frozen=True)
class _Hits:
    """The rays of a strip that meet the mesh, as a picture of one row, and which pixel of the strip each belongs to."""

    surface: SurfaceImage
    pixel: Int[np.ndarray, "n"]
    camera: Camera
    """Of the strip's rays."""


class Painter:
    """Draws one mesh again and again: what can be prepared is prepared once."""

    def __init__(self, mesh: Mesh, caster: RayCaster | None = None, threads: int | None = None) -> None:
        """Raises ExportError for a mesh without faces; `threads`: all cores by default."""
        self.mesh = mesh
        self._caster = caster or RayCaster(mesh)
        self._levels = TextureLevels(mesh) if mesh.texture is not None else None
        self._used = mesh.vertices[np.unique(mesh.faces)]
        self._threads = threads or available_threads()

    def draw(
        self, camera: Camera, what: What, samples: int = 2, depth_range: tuple[float, float] | None = None
    ) -> Layer:
        """The mesh with `samples`^2 rays per pixel; see `paint` for `what` and `depth_range`."""
        colour, coverage = np.zeros((camera.height, camera.width, 3)), np.zeros((camera.height, camera.width))
        box = _box(camera, self._used)
        if box is None:
            return Layer(colour, coverage, None)
        top, bottom, left, right = box
        rows = max(1, STRIP_RAYS // ((right - left) * samples**2))
        parts = [(slice(start, min(start + rows, bottom)), slice(left, right)) for start in range(top, bottom, rows)]
        strips = self._each(lambda part: self._hits(_part_of(camera, *part), samples), parts)
        seen = _range_of([strip.surface for strip in strips])
        painted = self._each(lambda strip: self._painted(strip, what, samples, depth_range or seen), strips)
        for part, (strip_colour, strip_coverage) in zip(parts, painted, strict=True):
            colour[part], coverage[part] = strip_colour, strip_coverage
        return Layer(colour, coverage, seen)

    def _each(self, function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
        if self._threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(min(self._threads, len(items))) as pool:
            return list(pool.map(function, items))

    def _hits(self, camera: Camera, samples: int) -> _Hits:
        fine = camera.resized(camera.height * samples, camera.width * samples)
        surface = cast(self.mesh, fine, self._caster)
        row, column = np.nonzero(surface.hit)
        pixel = row // samples * camera.width + column // samples
        only = [array[surface.hit][None] for array in (surface.hit, surface.depth, surface.face, surface.weights)]
        return _Hits(SurfaceImage(*only), pixel, fine)

    def _painted(
        self, strip: _Hits, what: What, samples: int, depth_range: tuple[float, float] | None
    ) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
        painted = paint(self.mesh, strip.surface, strip.camera, what, self._levels, depth_range)[0]
        height, width = strip.camera.height // samples, strip.camera.width // samples
        hits = np.bincount(strip.pixel, minlength=height * width)
        channels = [np.bincount(strip.pixel, painted[:, k], height * width) / np.maximum(hits, 1) for k in range(3)]
        return np.stack(channels, axis=-1).reshape(height, width, 3), (hits / samples**2).reshape(height, width)


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    what: What = "shaded",
    supersample: int = 2,
    background: Literal["light", "dark", "white", "black"] = "light",
) -> Float[np.ndarray, "h w 3"]:
    """A picture of the mesh, RGB in [0, 1], with `supersample`^2 rays per pixel.

    "shaded" is plain clay; "colour" the mesh's own colours as they are, those of its texture before those of its
    vertices; "normals" (n + 1) / 2 in world axes; "depth" is bright where near. A mesh without normals is shaded flat;
    one without colours is shown as clay under "colour".
    """
    return Painter(mesh).draw(camera, what, supersample).over(np.array(BACKGROUNDS[background]))


def render_values(
    mesh: Mesh,
    camera: Camera,
    values: Float[np.ndarray, "v"],
    limit: float,
    supersample: int = 2,
    background: Literal["light", "dark"] = "light",
) -> Float[np.ndarray, "h w 3"]:
    """A picture of one signed number per vertex: white at 0, red at `limit`, blue at -`limit`; beyond is saturated."""
    share = np.clip(values / limit, -1, 1)[:, None]
    red, blue, white = np.array([0.75, 0.07, 0.10]), np.array([0.09, 0.27, 0.70]), np.array([0.96, 0.96, 0.95])
    colors = np.where(share > 0, white + share * (red - white), white - share * (blue - white))
    painted = Mesh(mesh.vertices, mesh.faces, mesh.normals, colors)
    return render_mesh(painted, camera, "colour", supersample, background)


def averaged(
    painted: Float[np.ndarray, "h2 w2 3"], hit: Bool[np.ndarray, "h2 w2"], samples: int
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Means over the samples of each pixel that hit something, and the share of those that do."""
    height, width = hit.shape[0] // samples, hit.shape[1] // samples
    blocks = (height, samples, width, samples)
    hits = hit.reshape(blocks).sum(axis=(1, 3))
    summed = np.where(hit[..., None], painted, 0.0).reshape(*blocks, 3).sum(axis=(1, 3))
    return summed / np.maximum(hits, 1)[..., None], hits / samples**2


def _part_of(camera: Camera, rows: slice, columns: slice) -> Camera:
    """The camera that sees just these rows and columns."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] -= (columns.start, rows.start)
    return replace(camera, intrinsics=intrinsics, height=rows.stop - rows.start, width=columns.stop - columns.start)


def _box(camera: Camera, points: Float[np.ndarray, "p 3"]) -> tuple[int, int, int, int] | None:
    """Top, bottom, left, right of the pixels that may show the hull of the points; None when there are none."""
    pixels, depth = camera.project(points)
    if (depth <= 0).all():
        return None
    top, bottom, left, right = 0, camera.height, 0, camera.width
    # What passes beside the camera from front to back has no box; all pixels may show it.
    if (depth > 0).all():
        low, high = np.floor(pixels.min(axis=0)) - 1, np.ceil(pixels.max(axis=0)) + 1
        left, top = (int(max(0, value)) for value in np.minimum(low, (camera.width, camera.height)))
        right, bottom = (int(min(value, limit)) for value, limit in zip(high, (right, bottom), strict=True))
    return (top, bottom, left, right) if top < bottom and left < right else None


def _range_of(surfaces: Sequence[SurfaceImage]) -> tuple[float, float] | None:
    depths = [surface.depth for surface in surfaces if surface.depth.size]
    return (min(float(d.min()) for d in depths), max(float(d.max()) for d in depths)) if depths else None
