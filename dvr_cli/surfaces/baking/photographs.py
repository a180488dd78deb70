"""Photographs made ready for baking: cut to the mesh, with a depth map and a map of how far each pixel is trusted.

Notation: `trust` is 0 where a pixel must have no say (off the mask, beside the mesh's silhouette or an occluding edge,
at the picture's border, back faces) and rises to 1 a little inside. Colours and trust lie together in one array of
bytes, so that one look-up of four neighbours gives both. Points are "local": world units around the mesh's middle, in
single precision, which keeps pixels exact to a hundredth however far from the origin the world puts the mesh.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from dvr_cli.scenes.views import Camera, LoadedView
from dvr_cli.surfaces.baking.settings import BakeSettings
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

BLACK, WHITE = 5, 251
"""Of 0 to 255: below and above, a stored value says little about the light that made it."""
DISTRUST = 0.02
"""What is left of the trust in such a value when the photograph's exposure differs from the others'."""
NEAR_ONE = 0.1
"""A gain this near to 1 is no other exposure."""
EDGE = 1.5
"""Jump of depth, in pixels' sizes on the surface, that makes an occluding edge."""
LEAST_LIT = 0.005
"""A photograph with a smaller share of usable pixels between black and white shows nothing."""
LEAST_TRUST = 2 / 255
"""Of any pixel inside the eroded region: better than none."""


@dataclass(frozen=True)
class Photograph:
    """One photograph, cut to the box around the mesh."""

    index: int
    """Of the view that it was made from."""
    matrix: Float32[np.ndarray, "3 4"]
    """Columns and rows of the arrays (whole numbers are pixel centres) and depth from local points."""
    centre: Float[np.ndarray, "3"]
    """Position of the camera, local."""
    focal: float
    """Pixels."""
    pixels: UInt8[np.ndarray, "h w 4"]
    """RGB and trust."""
    inverse_depth: Float32[np.ndarray, "hd wd"]
    """One over the mesh's depth for blocks of `step` pixels; 0 where there is none."""
    step: int
    gain: float = 1.0
    """What colours are multiplied by, so that all photographs seem equally exposed."""

    @property
    def lit(self) -> bool:
        """Whether anything that may be used is neither black nor white altogether."""
        used = self.pixels[self.pixels[..., 3] > 0][:, :3]
        if not len(used):
            return False
        usable = (used.max(axis=1) > BLACK) & (used.min(axis=1) < WHITE)
        return bool(usable.mean() > LEAST_LIT)

    def exposed(self, gain: float) -> "Photograph":
        """With a gain; clipped values lose their trust where it says that others were exposed otherwise."""
        pixels = self.pixels
        clipped = np.zeros(pixels.shape[:2], dtype=bool)
        if gain < 1 - NEAR_ONE:
            clipped |= pixels[..., :3].max(axis=-1) >= WHITE
        if gain > 1 + NEAR_ONE:
            clipped |= pixels[..., :3].max(axis=-1) <= BLACK
        if clipped.any():
            pixels = pixels.copy()
            trust = pixels[..., 3]
            trust[clipped] = np.ceil(DISTRUST * trust[clipped])
        return replace(self, pixels=pixels, gain=gain)


def prepare(
    mesh: Mesh, caster: RayCaster, middle: Float[np.ndarray, "3"], view: LoadedView, index: int, settings: BakeSettings
) -> Photograph | None:
    """The view ready for baking, or None when it shows nothing of the mesh."""
    camera = view.camera
    box = _box(mesh, camera)
    if box is None:
        return None
    top, bottom, left, right = box
    cut = _cut(camera, top, bottom, left, right)
    step = max(1, -(-max(camera.height, camera.width) // settings.depth_side))
    depth, front = _depth_map(mesh, caster, cut, step)
    if not front.any():
        return None
    image = view.image[top:bottom, left:right]
    mask = None if view.mask is None else view.mask[top:bottom, left:right]
    usable = _enlarged(front & ~_edges(depth, step / camera.intrinsics[0, 0]), step, cut)
    if mask is not None:
        usable &= mask
    inside = np.zeros((cut.height + 2, cut.width + 2), dtype=bool)
    inside[1:-1, 1:-1] = usable
    longest = max(camera.height, camera.width)
    trust = _trust(inside, settings.erosion, max(settings.ramp * longest, 1.0))[1:-1, 1:-1]
    pixels = np.empty((cut.height, cut.width, 4), dtype=np.uint8)
    pixels[..., :3] = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255)
    pixels[..., 3] = np.round(trust * 255)
    matrix = cut.intrinsics @ cut.camera_from_world[:3]
    matrix[:, 3] += matrix[:, :3] @ middle
    matrix[:2] -= 0.5 * matrix[2]
    with np.errstate(divide="ignore"):
        inverse = np.where(front, 1 / depth, 0).astype(np.float32)
    return Photograph(
        index=index,
        matrix=matrix.astype(np.float32),
        centre=camera.centre - middle,
        focal=float(np.sqrt(camera.intrinsics[0, 0] * camera.intrinsics[1, 1])),
        pixels=pixels,
        inverse_depth=inverse,
        step=step,
    )


def _box(mesh: Mesh, camera: Camera) -> tuple[int, int, int, int] | None:
    """Rows and columns (top, bottom, left, right) around the mesh's vertices in the picture; None when outside."""
    pixels, depth = camera.project(mesh.vertices)
    before = depth > 0
    if not before.any():
        return None
    # A mesh that is partly behind the camera may be anywhere in the picture.
    if not before.all():
        return 0, camera.height, 0, camera.width
    lower = np.maximum(np.floor(pixels.min(axis=0)) - 2, 0)
    upper = np.minimum(np.ceil(pixels.max(axis=0)) + 2, [camera.width, camera.height])
    (left, top), (right, bottom) = lower.astype(int).tolist(), upper.astype(int).tolist()
    return (top, bottom, left, right) if right - left > 1 and bottom - top > 1 else None


def _cut(camera: Camera, top: int, bottom: int, left: int, right: int) -> Camera:
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] -= left, top
    return Camera(intrinsics, camera.camera_from_world, bottom - top, right - left)


def _depth_map(
    mesh: Mesh, caster: RayCaster, camera: Camera, step: int
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Depth at the middles of blocks of `step` pixels (inf: none), and where it is that of a face seen from outside."""
    rows = (np.arange(-(-camera.height // step)) + 0.5) * step
    columns = (np.arange(-(-camera.width // step)) + 0.5) * step
    y, x = np.meshgrid(rows, columns, indexing="ij")
    homogeneous = np.stack([x, y, np.ones_like(x)], axis=-1)
    directions = homogeneous @ np.linalg.inv(camera.intrinsics).T @ camera.camera_from_world[:3, :3]
    found = caster.cast(np.broadcast_to(camera.centre, directions.shape), directions)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    front = (found.face >= 0) & (np.einsum("hwi,hwi->hw", normals[np.maximum(found.face, 0)], directions) < 0)
    return found.t.astype(np.float32), front


def _edges(depth: Float32[np.ndarray, "h w"], size: float) -> Bool[np.ndarray, "h w"]:
    """Pixels on either side of a jump of depth that the slope of neither side explains; `size` of a pixel at depth 1.

    Along a row or column of a plane inverse depth is linear, so its differences tell slopes from jumps.
    """
    inverse = np.where(np.isfinite(depth), 1 / np.maximum(depth, 1e-30), 0)
    edges = np.zeros(depth.shape, dtype=bool)
    for flipped in (False, True):
        values, found = (inverse.T, edges.T) if flipped else (inverse, edges)
        if values.shape[1] < 4:
            continue
        difference = np.diff(values, axis=1)
        middle = difference[:, 1:-1]
        unexplained = np.minimum(np.abs(middle - difference[:, :-2]), np.abs(middle - difference[:, 2:]))
        # A jump of depth dz at depth z is dz / z^2 of inverse depth; a pixel's size there is z times `size`.
        jump = unexplained > EDGE * size * np.minimum(values[:, 1:-2], values[:, 2:-1])
        found[:, 1:-2] |= jump
        found[:, 2:-1] |= jump
    return edges


def _enlarged(blocks: Bool[np.ndarray, "h w"], step: int, camera: Camera) -> Bool[np.ndarray, "hp wp"]:
    if step == 1:
        return blocks.copy()
    return blocks.repeat(step, axis=0).repeat(step, axis=1)[: camera.height, : camera.width]


def _trust(usable: Bool[np.ndarray, "h w"], erosion: float, ramp: float) -> Float[np.ndarray, "h w"]:
    """0 within `erosion` of an unusable pixel, rising smoothly over `ramp` to 1."""
    from scipy.ndimage import distance_transform_edt

    # The distance is between centres: the border lies half a pixel nearer.
    distance = distance_transform_edt(usable).astype(np.float32) - 0.5
    share = np.clip((distance - erosion) / ramp, 0, 1)
    smooth = share * share * (3 - 2 * share)
    return np.where(distance > erosion, np.maximum(smooth, LEAST_TRUST), 0)
