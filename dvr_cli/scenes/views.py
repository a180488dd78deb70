"""The values that describe a scene: `Camera`, `View`, `SparseDepth`, `Scene`.

Notation: world axes are right-handed; the camera looks along +z with x right and y down; pixel (0, 0) names the corner
of the image and pixel centres lie at +0.5; matrices are `a_from_b` for column vectors, float64. `depth` is camera z,
`t` is distance along a unit direction.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

MaskMeaning = Literal["white", "black", "alpha"]
"""What marks the object in a mask: white pixels, black pixels, or the alpha channel."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion."""

    intrinsics: Float[np.ndarray, "3 3"]
    """Pixels from camera rays with z = 1; upper triangular, last row (0, 0, 1)."""
    camera_from_world: Float[np.ndarray, "4 4"]
    """Rigid motion, proper rotation."""
    height: int
    """Rows, pixels."""
    width: int
    """Columns, pixels."""

    @property
    def centre(self) -> Float[np.ndarray, "3"]:
        """Position of the camera in the world."""
        rotation, translation = self.camera_from_world[:3, :3], self.camera_from_world[:3, 3]
        return -rotation.T @ translation

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        """The inverse of `camera_from_world`."""
        inverse = np.eye(4)
        inverse[:3, :3] = self.camera_from_world[:3, :3].T
        inverse[:3, 3] = self.centre
        return inverse

    def project(self, points: Float[np.ndarray, "p 3"]) -> tuple[Float[np.ndarray, "p 2"], Float[np.ndarray, "p"]]:
        """Pixels (x, y) and depth of world points; pixels of points with depth <= 0 are NaN."""
        in_camera = points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]
        depth = in_camera[:, 2]
        homogeneous = in_camera @ self.intrinsics.T
        safe_depth = np.where(depth > 0, depth, np.nan)
        return homogeneous[:, :2] / safe_depth[:, None], depth

    def rays(self, pixels: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
        """World origins and unit directions of the rays through continuous pixel positions (x, y)."""
        homogeneous = np.concatenate([pixels, np.ones_like(pixels[:, :1])], axis=1)
        in_camera = homogeneous @ np.linalg.inv(self.intrinsics).T
        directions = in_camera @ self.camera_from_world[:3, :3]
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        return np.broadcast_to(self.centre, directions.shape).copy(), directions

    def resized(self, height: int, width: int) -> "Camera":
        """The same camera for an image of another size; corners map to corners."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return replace(self, intrinsics=scale @ self.intrinsics, height=height, width=width)


@dataclass(frozen=True)
class View:
    """One photograph with its camera; pixels are loaded when asked for (`scenes.images`)."""

    name: str
    """File name, unique within the scene."""
    camera: Camera
    """Camera of the full-size image, after undistortion where there is any."""
    image_path: Path
    mask_path: Path | None = None
    """May be of another size but not of another aspect ratio."""
    mask_meaning: MaskMeaning = "white"
    """How `mask_path` is to be read."""
    orientation: int = 1
    """EXIF orientation (1 to 8) that is applied when the photograph is decoded; 1: pixels as stored."""
    distorted: object | None = None
    """What `scenes.images` needs to undistort the photograph once (a `pycolmap.Camera`); None for a pinhole image."""


@dataclass(frozen=True)
class SparseDepth:
    """Points that lie on the surface, up to noise and outliers."""

    points: Float[np.ndarray, "p 3"]
    """World coordinates."""
    visibility: Int[np.ndarray, "m 2"] | None = None
    """Pairs (view index, point index): this view saw this point."""
    error: Float[np.ndarray, "p"] | None = None
    """Reprojection error of each point, pixels."""
    colors: Float[np.ndarray, "p 3"] | None = None
    """RGB in [0, 1]."""


@dataclass(frozen=True)
class DepthScale:
    """How the values v of a depth map become camera z in world units (`scenes.depth_scale` solves for it)."""

    factor: float = 1.0
    """Above 0."""
    shift: float = 0.0
    inverse: bool = False
    """False: z = factor * v + shift. True: 1 / z = factor * v + shift, for networks that give disparity."""

    def depth(self, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Camera z of values of the map; not positive or not finite where a value stands for no depth."""
        line = self.factor * values + self.shift
        if not self.inverse:
            return line
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1.0 / line


@dataclass(frozen=True)
class Scene:
    """Everything known before the first step."""

    name: str
    root: Path
    format: str
    """Name of the reader, e.g. "idr" or "colmap"."""
    views: tuple[View, ...]
    unit_from_world: Float[np.ndarray, "4 4"]
    """Similarity (scale, rotation, translation) that takes the region of interest into the cube [-1, 1]^3."""
    bounds_source: str
    """In words, where the region of interest comes from; printed to the user."""
    sparse_depth: SparseDepth | None = None
    depth_map_paths: tuple[Path | None, ...] | None = None
    """One depth map (camera z, world units, 0 or inf = unknown) per view, or None."""
    depth_scales: tuple[DepthScale | None, ...] | None = None
    """What turns the values of each view's depth map into camera z; None: they are camera z as the file says."""
    notes: tuple[str, ...] = ()
    """What the reader found that a user should know, one sentence each."""
    region_given: bool = False
    """Whether the format itself says where the object is; otherwise `unit_from_world` was found from the views."""

    @property
    def world_from_unit(self) -> Float[np.ndarray, "4 4"]:
        """The inverse of `unit_from_world`."""
        return np.linalg.inv(self.unit_from_world)


@dataclass(frozen=True)
class LoadedView:
    """A view in memory at working size."""

    name: str
    camera: Camera
    """Camera at working size."""
    image: Float[np.ndarray, "h w 3"]
    """RGB in [0, 1], float32."""
    mask: Bool[np.ndarray, "h w"] | None
    """True = object; None when the scene has no mask for this view."""
    depth: Float[np.ndarray, "h w"] | None = None
    """Camera z in world units, NaN = unknown."""
    disregarded: Bool[np.ndarray, "h w"] | None = None
    """Where a part of the object stands elsewhere than in other views (`scenes.mask_conflicts`): neither mask nor
    photograph counts there."""
