"""What a ray has met becomes a colour: clay in neutral light, the mesh's own colours, its normals, its depth.

Shading is neutral: a headlight at the camera, a soft key light from the upper left, a little light from everywhere.
Colours are written as they are stored; no gamma is applied, as the photographs have none removed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.viewing.texture_levels import TextureLevels

What = Literal["shaded", "colour", "normals", "depth"]

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


def has_colours(mesh: Mesh) -> bool:
    """Whether a mesh has colours of its own, in a texture or at its vertices."""
    return mesh.texture is not None or mesh.colors is not None


def surface_colours(
    mesh: Mesh, surface: SurfaceImage, camera: Camera, levels: TextureLevels | None = None
) -> Float[np.ndarray, "h w 3"]:
    """The mesh's own colours in [0, 1] of what `camera` sees; 0 where nothing is hit.

    They are those of the texture where there is one, averaged over the texels of a pixel (`TextureLevels`), and those
    of the vertices otherwise. `levels` are those of the mesh made before. `has_colours(mesh)` must hold.
    """
    if mesh.texture is None:
        assert mesh.colors is not None
        return np.clip(surface.interpolated(mesh, mesh.colors), 0, 1)
    levels = levels or TextureLevels(mesh)
    colours = np.zeros((*surface.hit.shape, 3))
    lengths = surface.depth[surface.hit] / focal_length(camera)
    colours[surface.hit] = levels.colours(surface.face[surface.hit], surface.weights[surface.hit], lengths)
    return np.clip(colours, 0, 1)


def focal_length(camera: Camera) -> float:
    """Pixels per unit of length at depth 1, the mean of both directions."""
    return float(np.sqrt(abs(np.linalg.det(camera.intrinsics[:2, :2]))))


def paint(
    mesh: Mesh,
    surface: SurfaceImage,
    camera: Camera,
    what: What,
    levels: TextureLevels | None = None,
    depth_range: tuple[float, float] | None = None,
) -> Float[np.ndarray, "h w 3"]:
    """Colours in [0, 1] of what `cast` found with this camera, as in `render_mesh`; meaningless without a hit.

    "depth" is bright at the near end of `depth_range` and dark at the far one, which are those of the picture by
    default; `levels` are those of the mesh's texture, made before.
    """
    if what == "colour" and has_colours(mesh):
        return surface_colours(mesh, surface, camera, levels)
    if what == "depth":
        return np.repeat(_brightness_of_depth(surface, depth_range)[..., None], 3, axis=-1)
    normals = _normals(mesh, surface)
    return 0.5 + 0.5 * normals if what == "normals" else _clay(normals, camera)


def _normals(mesh: Mesh, surface: SurfaceImage) -> Float[np.ndarray, "h w 3"]:
    if mesh.normals is not None:
        normals = surface.interpolated(mesh, mesh.normals)
    else:
        corners = mesh.vertices[mesh.faces[np.maximum(surface.face, 0)]]
        flat = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
        normals = np.where(surface.hit[..., None], flat, 0.0)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-300)


def _clay(normals: Float[np.ndarray, "h w 3"], camera: Camera) -> Float[np.ndarray, "h w 3"]:
    """Headlight plus a soft key light from the upper left of the camera; x is right and y down there."""
    in_camera = normals @ camera.camera_from_world[:3, :3].T
    head = np.clip(-in_camera[..., 2:3], 0, 1)
    key = np.array([-0.45, -0.70, -0.55])
    soft = np.clip(0.3 + 0.7 * (in_camera @ (key / np.linalg.norm(key)))[..., None], 0, 1)
    return np.clip(_CLAY * (0.12 + 0.38 * head + 0.62 * soft), 0, 1)


def _brightness_of_depth(surface: SurfaceImage, depth_range: tuple[float, float] | None) -> Float[np.ndarray, "h w"]:
    if not surface.hit.any():
        return np.zeros(surface.hit.shape)
    near, far = depth_range or (surface.depth[surface.hit].min(), surface.depth[surface.hit].max())
    depth = np.where(surface.hit, surface.depth, far)
    return 1 - 0.85 * np.clip((depth - near) / max(far - near, 1e-300), 0, 1)
