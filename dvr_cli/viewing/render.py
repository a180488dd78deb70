"""Pictures of meshes on the CPU, without a window system: rays through Open3D's ray casting scene.

Shading is neutral: a headlight at the camera, a soft key light from the upper left, a little light from everywhere.
Colours are written as they are stored; no gamma is applied, as the photographs have none removed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

What = Literal["shaded", "colour", "normals", "depth"]

BACKGROUNDS = {"light": (0.97, 0.97, 0.96), "dark": (0.12, 0.13, 0.14)}
_CLAY = np.array([0.80, 0.78, 0.75])


@dataclass(frozen=True)
class SurfaceImage:
    """What each pixel's ray meets first."""

    hit: Bool[np.ndarray, "h w"]
    depth: Float[np.ndarray, "h w"]
    """Camera z, units of the vertices; inf where nothing is hit."""
    face: Int[np.ndarray, "h w"]
    """-1 where nothing is hit."""
    weights: Float[np.ndarray, "h w 3"]
    """Barycentric weights of the face's corners."""

    def interpolated(self, mesh: Mesh, values: Float[np.ndarray, "v c"]) -> Float[np.ndarray, "h w c"]:
        """Values at the vertices, interpolated over the picture; 0 where nothing is hit."""
        corners = mesh.faces[np.maximum(self.face, 0)]
        return np.einsum("hwk,hwkc->hwc", self.weights * self.hit[..., None], values[corners])


def cast(mesh: Mesh, camera: Camera, caster: RayCaster | None = None) -> SurfaceImage:
    """The first surface along the ray through every pixel centre; `caster` is one made of the mesh before."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    homogeneous = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    # Directions with z = 1 in the camera make the ray's parameter the depth.
    directions = homogeneous @ np.linalg.inv(camera.intrinsics).T @ camera.camera_from_world[:3, :3]
    found = (caster or RayCaster(mesh)).cast(np.broadcast_to(camera.centre, directions.shape), directions)
    return SurfaceImage(np.isfinite(found.t), found.t, found.face, found.weights)


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    what: What = "shaded",
    supersample: int = 2,
    background: Literal["light", "dark"] = "light",
) -> Float[np.ndarray, "h w 3"]:
    """A picture of the mesh, RGB in [0, 1], with `supersample`^2 rays per pixel.

    "shaded" is plain clay; "colour" the vertex colours as they are; "normals" (n + 1) / 2 in world axes; "depth" is
    bright where near. A mesh without normals is shaded flat; one without colours is shown as clay under "colour".
    """
    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    surface = cast(mesh, fine)
    painted = paint(mesh, surface, fine, what)
    picture = np.where(surface.hit[..., None], painted, np.array(BACKGROUNDS[background]))
    blocks = picture.reshape(camera.height, supersample, camera.width, supersample, 3)
    return blocks.mean(axis=(1, 3))


def paint(mesh: Mesh, surface: SurfaceImage, camera: Camera, what: What) -> Float[np.ndarray, "h w 3"]:
    """Colours in [0, 1] of what `cast` found with this camera, as in `render_mesh`; meaningless without a hit."""
    if what == "colour" and mesh.colors is not None:
        return np.clip(surface.interpolated(mesh, mesh.colors), 0, 1)
    if what == "depth":
        return np.repeat(_brightness_of_depth(surface)[..., None], 3, axis=-1)
    normals = _normals(mesh, surface)
    return 0.5 + 0.5 * normals if what == "normals" else _clay(normals, camera)


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


def _normals(mesh: Mesh, surface: SurfaceImage) -> Float[np.ndarray, "h w 3"]:
    if mesh.normals is not None:
        normals = surface.interpolated(mesh, mesh.normals)
    else:
        corners = mesh.vertices[mesh.faces]
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.where(surface.hit[..., None], flat[np.maximum(surface.face, 0)], 0.0)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def _clay(normals: Float[np.ndarray, "h w 3"], camera: Camera) -> Float[np.ndarray, "h w 3"]:
    """Headlight plus a soft key light from the upper left of the camera; x is right and y down there."""
    in_camera = normals @ camera.camera_from_world[:3, :3].T
    head = np.clip(-in_camera[..., 2:3], 0, 1)
    key = np.array([-0.45, -0.70, -0.55])
    soft = np.clip(0.3 + 0.7 * (in_camera @ (key / np.linalg.norm(key)))[..., None], 0, 1)
    return np.clip(_CLAY * (0.12 + 0.38 * head + 0.62 * soft), 0, 1)


def _brightness_of_depth(surface: SurfaceImage) -> Float[np.ndarray, "h w"]:
    if not surface.hit.any():
        return np.zeros(surface.hit.shape)
    near, far = surface.depth[surface.hit].min(), surface.depth[surface.hit].max()
    depth = np.where(surface.hit, surface.depth, far)
    return 1 - 0.85 * (depth - near) / max(far - near, 1e-12)
