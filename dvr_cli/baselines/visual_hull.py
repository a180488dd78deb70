"""The visual hull: the largest shape that all silhouettes allow, as a smooth closed mesh.

Each mask becomes a signed distance to its outline, in pixels, negative inside. Times depth over focal length that is
about the distance in space to the cone of the outline, and the largest over all views is a distance to the hull:
continuous, so that the surface is not made of blocks. It is sampled on a cube drawn tightly around the hull.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import CompareError, ExportError
from dvr_cli.kernels.views import divisor_for, shrink, shrink_camera
from dvr_cli.scenes.cameras import camera_in_frame
from dvr_cli.scenes.mask_repair import with_holes_filled
from dvr_cli.scenes.views import Camera, LoadedView
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh

SEEN_SHARE = 0.4
"""Share of the views that must have a point in their picture for it to be inside, and two of them at least.

Where hardly any camera looks nothing is carved, and stray parts would remain.
"""
COARSE = 64
"""Samples along the region of interest that find where the hull lies."""
PIXELS_PER_VOXEL = 2.0
"""Masks are shrunk to no less than this."""


def visual_hull(views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], resolution: int = 256) -> Mesh:
    """The hull of all masks within the region of interest, in world coordinates; watertight, faces outwards.

    `resolution` samples span the hull's longest side. A point is inside when it projects into the mask of every view
    in whose picture it lies, and these are 40 % of all views at least. Holes in a mask that nearly all others refute
    are filled first, as a reconstruction does (`scenes.mask_repair`, from 17 views on); views without a mask have no
    say. Raises CompareError without masks, and when nothing is inside all of them.
    """
    masked = [view for view in views if view.mask is not None]
    if not masked:
        raise CompareError(
            f"none of the {len(views)} views has a mask, and a visual hull is made of masks alone.\n"
            "Give the folder of masks with --masks, or leave this baseline out."
        )
    repaired, _ = with_holes_filled(masked, unit_from_world)
    hull = _Hull(_outlines(repaired, unit_from_world, resolution))
    centre, half = _cube_around(hull)
    world_from_cube = np.linalg.inv(unit_from_world) @ _similarity(centre, half)

    def value(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        return hull.distance(centre + half * points) / half

    def gradient(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
        step = 1.0 / resolution
        return np.stack([value(points + shift) - value(points - shift) for shift in step * np.eye(3)], axis=1)

    try:
        mesh = extract(value, gradient, resolution=resolution)
    except ExportError as cause:
        raise CompareError(_EMPTY) from cause
    return to_world(mesh, world_from_cube)


_EMPTY = (
    "the visual hull is empty: no point of the region of interest lies inside all masks.\n"
    "Expected masks that are white on the object; look at them with dvr inspect SCENE --masks."
)


@dataclass(frozen=True)
class _Outline:
    """One mask as a distance to its outline."""

    camera: Camera
    """In unit space."""
    distance: Float[np.ndarray, "h w"]
    """Pixels to the outline from the centre of each pixel, negative inside; float32."""


class _Hull:
    """A signed distance, up to the slant of the cones, to the intersection of all cones and the unit ball."""

    def __init__(self, outlines: Sequence[_Outline]) -> None:
        self.outlines = outlines
        self.fewest = min(len(outlines), max(2, round(SEEN_SHARE * len(outlines))))

    def distance(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        """Negative inside; points of unit space."""
        from scipy.ndimage import map_coordinates

        found = np.linalg.norm(points, axis=1) - 1
        unseen = np.full(len(points), self.fewest)
        for outline in self.outlines:
            pixels, depth = outline.camera.project(points)
            height, width = outline.distance.shape
            with np.errstate(invalid="ignore"):
                seen = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
            # Pixel centres lie at +0.5, samples of an array at whole numbers.
            place = pixels[seen, ::-1].T - 0.5
            in_pixels = map_coordinates(outline.distance, place, order=1, mode="nearest")
            found[seen] = np.maximum(found[seen], in_pixels * depth[seen] / outline.camera.intrinsics[0, 0])
            unseen[seen] -= 1
        return np.where(unseen > 0, np.maximum(found, 2.0 / COARSE), found)


def _outlines(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], resolution: int
) -> list[_Outline]:
    """The masks, shrunk where they are much finer than the voxels, as distances to their outlines."""
    from scipy.ndimage import distance_transform_edt

    divisor = divisor_for(views, round(2 * PIXELS_PER_VOXEL * resolution))
    outlines = []
    for view in views:
        assert view.mask is not None
        mask = shrink(view.mask.astype(np.float32), divisor) > 0.5
        # Between the centres of neighbouring pixels on either side the outline lies in the middle.
        outside = distance_transform_edt(~mask) - 0.5 if mask.any() else np.full(mask.shape, float(max(mask.shape)))
        inside = distance_transform_edt(mask) - 0.5 if not mask.all() else np.full(mask.shape, float(max(mask.shape)))
        distance = np.where(mask, -inside, outside).astype(np.float32)
        camera = camera_in_frame(shrink_camera(view.camera, divisor), unit_from_world)
        outlines.append(_Outline(camera, distance))
    return outlines


def _cube_around(hull: _Hull) -> tuple[Float[np.ndarray, "3"], float]:
    """Centre and half width of a cube around the hull, in unit space, with a margin of a coarse sample or more."""
    axis = np.linspace(-1, 1, COARSE)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    spacing = axis[1] - axis[0]
    distance = hull.distance(points)
    # A part thinner than the spacing may lie between samples, but then its surface is near to one.
    near = points[distance < 0.5 * np.sqrt(3) * spacing]
    if not len(near):
        raise CompareError(_EMPTY)
    low, high = near.min(axis=0) - spacing, near.max(axis=0) + spacing
    return (low + high) / 2, float((high - low).max()) / 2


def _similarity(centre: Float[np.ndarray, "3"], half: float) -> Float[np.ndarray, "4 4"]:
    matrix = np.diag([half, half, half, 1.0])
    matrix[:3, 3] = centre
    return matrix
