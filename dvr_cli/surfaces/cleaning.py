"""Which parts of a mesh stay: connected components, and the masks that support them.

A component is a set of faces connected through shared vertices. Reconstruction leaves specks in the air, bubbles inside
the object and, where no silhouette forbids it, blobs that no photograph shows; what the masks confirm is the object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import face_components, signed_volumes

Keep = Literal["largest", "supported", "all"]

SPECK_AREA = 1e-3
"""Components with less area than this fraction of the largest are specks. A part of a real object that is 3 % of its
size across has as much; a speck of a few voxels at 192^3 has a tenth of it."""
SUPPORT_SHARE = 0.9
"""Share of a component's samples that must lie inside the mask in a view for the view to support it."""
SUPPORTING_VIEWS = 0.8
"""Share of the views that see a component that must support it: one wrong mask must not remove a part."""
SEEN_SHARE = 0.5
"""Share of a component's samples that must lie in the picture for a view to have a say."""
FEWEST_VOICES = 3
"""Views that must support a component, if there are as many."""
MASK_MARGIN_PIXELS = 3
SAMPLES_PER_COMPONENT = 2000


@dataclass(frozen=True)
class Cleaned:
    """A mesh without what was removed, and how much that was."""

    mesh: Mesh
    components: int
    """Before cleaning."""
    specks: int
    """Components removed for their size."""
    cavities: int
    """Components removed because they are inside out: walls of holes in the object's interior."""
    unsupported: int
    """Components removed because masks contradict them."""


def clean(mesh: Mesh, views: Sequence[LoadedView] = (), keep: Keep = "supported") -> Cleaned:
    """Remove specks, cavities and, where views with masks are given, components that masks contradict.

    `mesh` is in world units, as are the cameras. "largest" keeps one component, "all" removes nothing. The component of
    largest area always stays, even if masks contradict it: an empty result would help nobody.
    """
    count, of_face = face_components(mesh)
    if keep == "all" or count == 0:
        return Cleaned(mesh, count, 0, 0, 0)
    areas = np.bincount(of_face, weights=face_areas(mesh), minlength=count)
    volumes = np.bincount(of_face, weights=signed_volumes(mesh), minlength=count)
    largest = int(np.argmax(np.where(volumes > 0, areas, -1.0)))
    speck = areas < SPECK_AREA * areas[largest]
    cavity = ~speck & (volumes <= 0)
    unsupported = np.zeros(count, dtype=bool)
    if keep == "largest":
        unsupported = ~speck & ~cavity
    elif any(view.mask is not None for view in views):
        candidates = np.flatnonzero(~speck & ~cavity)
        unsupported[candidates] = ~_supported(mesh, of_face, candidates, views)
    for removed in (speck, cavity, unsupported):
        removed[largest] = False
    kept = keep_faces(mesh, ~(speck | cavity | unsupported)[of_face])
    return Cleaned(kept, count, int(speck.sum()), int(cavity.sum()), int(unsupported.sum()))


def keep_faces(mesh: Mesh, kept: Bool[np.ndarray, "f"]) -> Mesh:
    """The mesh of some faces, without vertices that no longer belong to one."""
    faces = mesh.faces[kept]
    used, renumbered = np.unique(faces, return_inverse=True)
    return Mesh(
        mesh.vertices[used],
        renumbered.reshape(faces.shape).astype(np.int64),
        None if mesh.normals is None else mesh.normals[used],
        None if mesh.colors is None else mesh.colors[used],
        None if mesh.texture is None else replace(mesh.texture, corners=mesh.texture.corners[kept]),
    )


def face_areas(mesh: Mesh) -> Float[np.ndarray, "f"]:
    """Area of every face, squared units of the vertices."""
    corners = mesh.vertices[mesh.faces]
    return 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)


def _supported(
    mesh: Mesh, of_face: Int[np.ndarray, "f"], candidates: Int[np.ndarray, "c"], views: Sequence[LoadedView]
) -> Bool[np.ndarray, "c"]:
    """Whether enough of the views that have most of a component in the picture show it inside their mask.

    Where photographs leave off the object, hulls keep blobs that hardly any view sees: those have too few voices.

    Masks see through occluders: a part of the object projects into the mask whether or not something hides it, so
    occlusion needs no test.
    """
    samples = []
    for component in candidates:
        vertices = np.unique(mesh.faces[of_face == component])
        samples.append(mesh.vertices[vertices[:: max(1, len(vertices) // SAMPLES_PER_COMPONENT)]])
    for_votes, against = np.zeros(len(candidates)), np.zeros(len(candidates))
    for view in views:
        if view.mask is None:
            continue
        mask = _dilated(view.mask, MASK_MARGIN_PIXELS)
        for index, points in enumerate(samples):
            share_in_picture, share_in_mask = _shares(points, view, mask)
            if share_in_picture < SEEN_SHARE:
                continue
            for_votes[index] += share_in_mask >= SUPPORT_SHARE
            against[index] += share_in_mask < SUPPORT_SHARE
    masks = sum(view.mask is not None for view in views)
    return (for_votes >= SUPPORTING_VIEWS * (for_votes + against)) & (for_votes >= min(FEWEST_VOICES, masks))


def _shares(points: Float[np.ndarray, "p 3"], view: LoadedView, mask: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Share of the points that project into the picture, and of those the share inside the mask."""
    pixels, depth = view.camera.project(points)
    height, width = mask.shape
    with np.errstate(invalid="ignore"):
        in_picture = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    if not in_picture.any():
        return 0.0, 0.0
    columns, rows = pixels[in_picture].astype(np.int64).T
    return float(in_picture.mean()), float(mask[rows, columns].mean())


def _dilated(mask: Bool[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    from scipy.ndimage import binary_dilation

    return binary_dilation(mask, iterations=radius)
