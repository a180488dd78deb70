"""Cut away what the masks say is no object, by the rule that published comparisons share.

A vertex stays if it projects into the dilated mask of every view, where a view that does not show it (the point lies
outside the picture or behind the camera) has no say; a face stays if all its vertices do. Sheets of background that a
method without masks has made go; so does, with too small a radius, what wrong masks cut off. Radius and size of the
masks belong beside every number that is measured afterwards. Source: the evaluation scripts of 2D Gaussian Splatting
(Huang et al. 2024) for DTU, which use 24 pixels at 1600x1200; SparseNeuS (Long et al. 2022) uses about 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import CompareError
from dvr_cli.scenes.views import Camera, LoadedView
from dvr_cli.surfaces.cleaning import face_areas, keep_faces
from dvr_cli.surfaces.mesh import Mesh

_CHUNK = 500_000
"""Vertices at a time; one takes about 150 bytes on the way."""


@dataclass(frozen=True)
class Culled:
    """What the masks left of a mesh."""

    mesh: Mesh
    removed_faces: int
    removed_share: float
    """Of the mesh's area, 0 to 1."""

    def __str__(self) -> str:
        return f"{self.removed_share:.1%} of the area ({self.removed_faces} faces) was cut away by the masks"


class MaskCuller:
    """The dilated masks of a scene, ready to cut any number of meshes."""

    def __init__(self, views: Sequence[LoadedView], radius: float) -> None:
        """`radius` in pixels of the views' masks, 0 or more. CompareError when no view has a mask."""
        self.radius = radius
        self._masks = [(view.camera, dilated(view.mask, radius)) for view in views if view.mask is not None]
        if not self._masks:
            raise CompareError(
                "No view has a mask, so meshes cannot be cut by masks: name a folder of them with --masks FOLDER."
            )

    def cull(self, mesh: Mesh) -> Culled:
        """The mesh without the faces that a mask contradicts; CompareError when nothing remains."""
        kept_vertices = np.zeros(len(mesh.vertices), dtype=bool)
        for start in range(0, len(mesh.vertices), _CHUNK):
            part = slice(start, start + _CHUNK)
            kept_vertices[part] = self.keeps(mesh.vertices[part])
        kept = kept_vertices[mesh.faces].all(axis=1)
        if not kept.any():
            raise CompareError(
                f"Nothing remains of the mesh ({len(mesh.faces)} faces) inside the {len(self._masks)} masks dilated by "
                f"{self.radius:g} pixels.\nExpected a mesh in the world units of the cameras and masks that are white "
                "on the object; look at both with dvr inspect."
            )
        areas = face_areas(mesh)
        share = float(areas[~kept].sum() / areas.sum()) if areas.sum() > 0 else 0.0
        return Culled(mesh if kept.all() else keep_faces(mesh, kept), int((~kept).sum()), share)

    def keeps(self, points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "p"]:
        """Whether each world point lies inside every dilated mask that can see it."""
        left = np.arange(len(points))
        for camera, mask in self._masks:
            # What one mask has removed need not be projected again.
            left = left[_allowed(camera, mask, points[left])]
        kept = np.zeros(len(points), dtype=bool)
        kept[left] = True
        return kept


def cull_by_masks(mesh: Mesh, views: Sequence[LoadedView], radius: float) -> Mesh:
    """The part of a mesh inside the masks dilated by a disk of `radius` pixels, in every view that has a mask.

    CompareError when no view has one or nothing remains. `MaskCuller` also says how much was cut, and serves many
    meshes.
    """
    return MaskCuller(views, radius).cull(mesh).mesh


def dilated(mask: Bool[np.ndarray, "h w"], radius: float) -> Bool[np.ndarray, "h w"]:
    """Pixels whose centre is at most `radius` pixels from the centre of a pixel of the mask."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any() or radius < 1:
        return mask.copy()
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    reach = int(radius) + 1
    box = tuple(slice(max(int(found[0]) - reach, 0), int(found[-1]) + reach + 1) for found in (rows, columns))
    grown = np.zeros_like(mask)
    grown[box] = distance_transform_edt(~mask[box]) <= radius
    return grown


def _allowed(camera: Camera, mask: Bool[np.ndarray, "h w"], points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "p"]:
    """Whether each point projects into the mask, or the picture does not show it."""
    pixels, depth = camera.project(points)
    size = np.array([camera.width, camera.height])
    shown = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1)
    allowed = ~shown
    columns, rows = pixels[shown].astype(np.int64).T
    allowed[shown] = mask[rows, columns]
    return allowed
