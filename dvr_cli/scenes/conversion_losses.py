"""What a format could not hold: a scene as it was beside what its reader finds in the files that were written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.converted_views import ConvertedView
from dvr_cli.scenes.images import load_mask
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.views import Camera, Scene, View

EDGE_SHARE = 0.002
"""A mask with this share of its outermost pixels set reaches the edge of its photograph."""
PIXELS_THAT_AGREE = 1e-3
"""Cameras that are read back may see a point this far from where they saw it, without a word."""

Pair = tuple[ConvertedView, View]
"""A view that was written, and the one that is read back."""


def paired(views: Sequence[ConvertedView], found: Scene) -> list[Pair]:
    """Each view with the one that is read back: of the same name, or in the same place where names were changed."""
    by_name = {view.name: view for view in found.views}
    if all(view.name in by_name for view in views):
        return [(view, by_name[view.name]) for view in views]
    return list(zip(views, found.views, strict=True))


def deviation(camera: Camera, other: Camera, world_from_unit: Float[np.ndarray, "4 4"]) -> float:
    """The largest distance in pixels between the two images of points on the rays of one, where the object is.

    `inf` where the other camera sees such a point behind itself.
    """
    size = np.array([camera.width, camera.height])
    pixels = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5]]) * size
    origins, directions = camera.rays(pixels)
    distance = np.linalg.norm(world_from_unit[:3, 3] - camera.centre)
    seen, _ = other.project(origins + max(distance, 1e-12) * directions)
    return float(np.nan_to_num(np.linalg.norm(seen - pixels, axis=1), nan=np.inf).max())


def losses_of(scene: Scene, pairs: Sequence[Pair], found: Scene, folder: Path, pixels: float) -> list[str]:
    """What is not in the scene that is read back, one sentence each."""
    losses = []
    if pixels > PIXELS_THAT_AGREE:
        losses.append(f"the cameras are rounded: points are seen up to {pixels:.2g} pixels from where they were")
    if scene.region_given and not _same_region(scene, found):
        losses.append("the region of interest is lost: it will be found anew")
    losses += _lost_points(scene, found, folder)
    if scene.depth_map_paths is not None:
        losses.append("depth maps are not converted")
    masks = sum(view.has_mask for view, _ in pairs)
    kept = sum(other.mask_path is not None for _, other in pairs)
    if kept < masks:
        losses.append(f"{masks - kept} of {masks} masks are lost")
    renamed = sum(view.view.name != other.name for view, other in pairs)
    if renamed:
        first = next((view, other) for view, other in pairs if view.view.name != other.name)
        have = count_of(renamed, "photograph has another name", "photographs have other names")
        losses.append(f"{have}: {first[0].view.name} is now {first[1].name}")
    padded = [view for view, _ in pairs if view.camera is not view.view.camera and view.has_mask]
    cut = sum(_reaches_edge(view.view) for view in padded)
    if cut:
        losses.append(
            f"in {count_of(cut, 'view')} the object reaches the edge of its photograph, and beyond it the enlarged "
            "image says that there is none; a format that holds the camera as it is does better"
        )
    return losses


def _same_region(scene: Scene, found: Scene) -> bool:
    """Whether both have the same ball, however it is turned."""
    if not found.region_given:
        return False
    a, b = scene.world_from_unit, found.world_from_unit
    radii = [np.cbrt(np.linalg.det(matrix[:3, :3])) for matrix in (a, b)]
    return bool(np.abs(a[:3, 3] - b[:3, 3]).max() < 1e-4 * radii[0] and abs(radii[0] - radii[1]) < 1e-4 * radii[0])


def _lost_points(scene: Scene, found: Scene, folder: Path) -> list[str]:
    before, after = scene.sparse_depth, found.sparse_depth
    if before is None:
        return []
    if after is None:
        if (folder / "sparse.npz").is_file():
            return ["the format has no points: they are in sparse.npz, for --depth sparse.npz"]
        return [f"all points are lost ({len(before.points)})"]
    lost = []
    if len(after.points) < len(before.points):
        lost.append(f"{len(before.points) - len(after.points)} of {len(before.points)} points are lost")
    if before.visibility is not None and after.visibility is None:
        lost.append("which photograph saw which point is lost")
    if before.error is not None and after.error is None:
        lost.append("the errors of the points are lost")
    if before.colors is not None and after.colors is None:
        lost.append("the colours of the points are lost")
    return lost


def _reaches_edge(view: View) -> bool:
    mask = load_mask(view, view.camera.height, view.camera.width)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(edge.mean() > EDGE_SHARE)
