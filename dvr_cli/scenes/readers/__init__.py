"""From a folder to a `Scene`: the table of readers, and what is the same for every format.

A reader says whether a folder is of its format and finds views, cameras and perhaps bounds and points; masks, depth and
missing bounds are added here. A new format is one file and one line in `READERS` (docs/adding_a_reader.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.scenes.bounds import find_bounds
from dvr_cli.scenes.depth_maps import find_depth_maps
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.images import small_masks
from dvr_cli.scenes.readers import colmap as colmap_reader
from dvr_cli.scenes.readers import idr as idr_reader
from dvr_cli.scenes.readers.files import (
    FoundScene,
    find_mask_folder,
    held_out_indices,
    match_masks,
    same_aspect,
    without_views,
)
from dvr_cli.scenes.sparse_depth import read_sparse_depth
from dvr_cli.scenes.views import Scene, SparseDepth, View

# Longest side of the masks from which bounds are found.
BOUNDS_MASK_SIZE = 200


@dataclass(frozen=True)
class Reader:
    """One input format."""

    name: str
    layout: str
    """What makes a folder of this format, in words; shown when nothing fits."""
    detect: Callable[[Path], bool]
    read: Callable[[Path, str | None], FoundScene]
    """From the folder and the choice of views."""


READERS = (
    Reader("idr", "cameras.npz or cameras_sphere.npz with image/", idr_reader.detect, idr_reader.read),
    Reader("colmap", "sparse/0 (or sparse) with images/", colmap_reader.detect, colmap_reader.read),
)


def read_scene(
    root: Path,
    *,
    masks: Path | bool | None = None,
    colmap: Path | None = None,
    depth: Path | None = None,
    view_range: str | None = None,
    require_masks: bool = True,
    hold_out: int | None = None,
) -> Scene:
    """Read a scene in any known format; no photograph is decoded.

    `masks`: a folder, True for mask/ or masks/ in the scene, None or False for none; with `require_masks` every view
    must have one. `colmap`: a model folder, read instead of what the scene folder itself holds. `depth`: sparse.npz, a
    PLY cloud, a COLMAP model or a folder of depth maps. `view_range`: for example "0-11,20". `hold_out`: leave out
    every such view of those, from the first; neither their masks nor what they saw of the points is used. SceneError or
    DepthError for anything that cannot be used.
    """
    name, found = _find(root, colmap, view_range)
    found = without_views(found, held_out_indices(len(found.views), hold_out))
    views = found.views
    if masks is not None and masks is not False:
        views = _with_masks(root, found, masks, require_masks)
    names = tuple(view.name for view in views)
    sparse, depth_maps = found.sparse_depth, None
    if depth is not None and _is_depth_map_folder(depth):
        depth_maps = find_depth_maps(depth, views)
    elif depth is not None:
        sparse = read_sparse_depth(depth, names, found.all_names)
    unit_from_world, source = _bounds(found, views, sparse)
    return Scene(root.resolve().name, root, name, views, unit_from_world, source, sparse, depth_maps)


def _find(root: Path, colmap: Path | None, view_range: str | None) -> tuple[str, FoundScene]:
    """The name of the reader and what it found."""
    if not root.is_dir():
        raise SceneError(f"{root} is not a folder.\nExpected the folder of a scene (docs/formats.md).")
    if colmap is not None:
        return "colmap", colmap_reader.read(root, view_range, colmap)
    for reader in READERS:
        if reader.detect(root):
            return reader.name, reader.read(root, view_range)
    layouts = "; ".join(f"{reader.layout} ({reader.name})" for reader in READERS)
    entries = sorted(path.name for path in root.iterdir())
    raise SceneError(
        f"{root} is in no format that can be read: it holds {', '.join(entries[:8]) or 'nothing'}.\n"
        f"Expected {layouts}; or pass --colmap MODEL (docs/formats.md)."
    )


def _with_masks(root: Path, found: FoundScene, masks: Path | bool, required: bool) -> tuple[View, ...]:
    """The views with their masks; SceneError if one is missing or has another aspect ratio than its image."""
    folder = find_mask_folder(root, masks)
    names = tuple(view.name for view in found.views)
    paths = match_masks(folder, names, found.all_names if found.paired_by_order else ())
    missing = [name for name in names if name not in paths]
    if missing and (required or len(missing) == len(names)):
        listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise SceneError(
            f"{folder} has no mask for {len(missing)} of {len(names)} images: {listed}.\n"
            f"Expected {missing[0]} or {Path(missing[0]).stem}.png there, white = object; add the masks, or leave the "
            "views out with --views."
        )
    for view in found.views:
        if view.name in paths:
            _require_same_aspect(view, paths[view.name])
    return tuple(replace(view, mask_path=paths.get(view.name)) for view in found.views)


def _require_same_aspect(view: View, mask_path: Path) -> None:
    height, width = image_shape(view.image_path)
    mask_height, mask_width = image_shape(mask_path)
    if not same_aspect(height, width, mask_height, mask_width):
        raise SceneError(
            f"{mask_path} is {mask_width}x{mask_height} pixels, its image {view.name} {width}x{height}: the aspect "
            "ratio differs.\nExpected a mask of the whole image, of any size; make it again without cropping."
        )


def _is_depth_map_folder(depth: Path) -> bool:
    return depth.is_dir() and not colmap_reader.is_model(depth)


def _bounds(found: FoundScene, views: tuple[View, ...], sparse: SparseDepth | None) -> tuple[np.ndarray, str]:
    if found.world_from_unit is not None:
        return np.linalg.inv(found.world_from_unit), found.bounds_source
    return find_bounds(small_masks(views, BOUNDS_MASK_SIZE), sparse)
