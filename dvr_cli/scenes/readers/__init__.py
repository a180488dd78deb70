"""From a folder to a `Scene`: what is the same for every format.

A reader says whether a folder is of its format and finds views, cameras and perhaps bounds and points; masks, depth and
missing bounds are added here. A new format is one file and one entry in `table.READERS` (docs/adding_a_reader.md).
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.scenes.bounds import GUESS, find_bounds
from dvr_cli.scenes.cameras import ball_similarity
from dvr_cli.scenes.depth_maps import find_depth_maps
from dvr_cli.scenes.depth_scale import with_scaled_depth, with_solved_depth
from dvr_cli.scenes.image_files import image_shape, same_aspect, stored_shape, turned_shape
from dvr_cli.scenes.images import SMALL_MASK, small_masks
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.masks.meaning import with_meanings
from dvr_cli.scenes.masks.naming import has_masks, masks_of_scene, no_masks_error
from dvr_cli.scenes.readers.colmap import is_model
from dvr_cli.scenes.readers.files import (
    FoundScene,
    held_out_indices,
    without_views,
)
from dvr_cli.scenes.readers.table import READERS, Reader
from dvr_cli.scenes.rig import guessed_ball
from dvr_cli.scenes.sparse_depth import read_sparse_depth
from dvr_cli.scenes.views import DepthScale, Scene, SparseDepth, View


def read_scene(
    root: Path,
    *,
    masks: Path | bool | Literal["any"] | None = None,
    cameras: Path | None = None,
    format_name: str | None = None,
    depth: Path | None = None,
    points: Path | None = None,
    depth_scale: float | Literal["solve"] | None = None,
    view_range: str | None = None,
    hold_out: int | None = None,
    guess_bounds: bool = False,
) -> Scene:
    """Read a scene in any known format; no photograph is decoded.

    `root`: the scene's folder, or a camera file in it. `masks`: a folder, True for those that the scene holds, "any"
    for the same if it holds any, None or False for none. `cameras`: the camera file or model folder, instead of the one
    that the folder itself shows; `format_name`: the name of a reader, instead of the first that fits. `depth`:
    sparse.npz, a PLY cloud, a COLMAP model or a folder of depth maps; `points`: the first three, besides depth maps.
    `depth_scale`: what the values of depth maps are multiplied with, or "solve" (`scenes.depth_scale`). `view_range`:
    for example "0-11,20". `hold_out`: leave out every such view of those, from the first; neither their masks nor what
    they saw of the points is used. `guess_bounds`: where nothing says where the object is, because masks and cameras
    contradict each other or there is one view only, guess instead of raising. SceneError or DepthError for anything
    that cannot be used.
    """
    if root.is_file():
        root, cameras = root.parent, cameras or root
    reader, camera_file, others = _find(root, cameras, format_name)
    found = reader.read(root, camera_file, view_range)
    found = without_views(found, held_out_indices(len(found.views), hold_out))
    views, notes = found.views, list(found.notes)
    if others and cameras is None and format_name is None:
        notes.append(f"the folder is read as {reader.name}; --format {' or '.join(others)} would read it otherwise")
    if masks == "any":
        masks = bool(found.masks) or has_masks(root, found.views)
    if masks is not None and masks is not False:
        views = _with_masks(root, found, masks)
        try:
            views, inverted = with_meanings(views, found.world_from_unit, found.sparse_depth)
        except SceneError:
            # A damaged mask; a diagnosis names all of them.
            if not guess_bounds:
                raise
            inverted = ()
        notes += [*_without_masks(views), *inverted]
    names = tuple(view.name for view in views)
    sparse, (depth_maps, depth_scales) = found.sparse_depth, _depth_maps(found, views)
    if depth is not None and _is_depth_map_folder(depth):
        depth_maps, depth_scales = find_depth_maps(depth, views), None
    elif depth is not None:
        sparse = read_sparse_depth(depth, names, found.all_names)
    if points is not None:
        sparse = read_sparse_depth(points, names, found.all_names)
    unit_from_world, source = _bounds(found, views, sparse, guess_bounds)
    scene = Scene(
        root.resolve().name,
        root,
        reader.name,
        views,
        unit_from_world,
        source,
        sparse,
        depth_maps,
        depth_scales,
        notes=tuple(notes),
        region_given=found.world_from_unit is not None,
    )
    return scene if depth_scale is None else _with_depth_scale(scene, depth_scale)


def _depth_maps(
    found: FoundScene, views: tuple[View, ...]
) -> tuple[tuple[Path | None, ...] | None, tuple[DepthScale | None, ...] | None]:
    """The depth maps that the format itself names, in the order of the views, and what turns them into camera z."""
    paths = tuple(found.depth_maps.get(view.name) for view in views)
    if not any(paths):
        return None, None
    scale = None if found.depth_scale is None else (DepthScale(found.depth_scale),) * len(views)
    return paths, scale


def _with_depth_scale(scene: Scene, depth_scale: float | Literal["solve"]) -> Scene:
    if depth_scale != "solve":
        return with_scaled_depth(scene, depth_scale)
    solved, notes = with_solved_depth(scene)
    return replace(solved, notes=(*solved.notes, *notes))


def _find(root: Path, cameras: Path | None, format_name: str | None) -> tuple[Reader, Path, tuple[str, ...]]:
    """The reader, the camera file, and the names of other readers that would fit as well."""
    if not root.is_dir():
        raise SceneError(f"{root} is not a folder.\nExpected the folder of a scene (docs/formats.md).")
    readers = [reader for reader in READERS if format_name in (None, reader.name)]
    if not readers:
        known = ", ".join(reader.name for reader in READERS)
        raise SceneError(f"There is no format {format_name!r}.\nExpected one of: {known} (dvr formats describes them).")
    if cameras is not None:
        fitting = [(reader, cameras) for reader in readers if cameras.exists() and reader.accepts(cameras)]
    else:
        fitting = [(reader, found) for reader in readers if (found := reader.find(root)) is not None]
    if not fitting:
        raise SceneError(_no_format(root, cameras, readers))
    reader, camera_file = fitting[0]
    return reader, camera_file, tuple(other.name for other, _ in fitting[1:])


def _no_format(root: Path, cameras: Path | None, readers: list[Reader]) -> str:
    """Why no reader fits, as the text of an error."""
    layouts = "".join(f"\n  {reader.name}: {reader.layout}" for reader in readers)
    if cameras is not None:
        missing = "" if cameras.exists() else ": it does not exist"
        return (
            f"{cameras} holds no cameras in a format that can be read{missing}.\n"
            f"Expected the camera file or model folder of one of these (docs/formats.md):{layouts}"
        )
    entries = sorted(path.name for path in root.iterdir())
    return (
        f"{root} is in no format that can be read: it holds {', '.join(entries[:8]) or 'nothing'}.\n"
        "Photographs without cameras: dvr prepare finds these. Cameras elsewhere: --cameras FILE. Otherwise expected "
        f"(docs/formats.md):{layouts}"
    )


def _with_masks(root: Path, found: FoundScene, masks: Path | bool) -> tuple[View, ...]:
    """The views with their masks, those that the format names first; SceneError if there is not a single one."""
    files = dict(found.masks) if masks is True else {}
    if not files:
        files = masks_of_scene(root, masks, found.views, found.all_names if found.paired_by_order else ())
    if not files:
        raise no_masks_error(root, masks, found.views)
    for view in found.views:
        if view.name in files:
            _require_same_aspect(view, files[view.name].path)
    return tuple(
        replace(view, mask_path=files[view.name].path, mask_meaning=files[view.name].meaning)
        if view.name in files
        else view
        for view in found.views
    )


def _without_masks(views: tuple[View, ...]) -> list[str]:
    """A note that names views without a mask, if there are any."""
    names = [view.name for view in views if view.mask_path is None]
    return [f"{len(names)} of {len(views)} views have no mask: {listed(names)}"] if names else []


def _require_same_aspect(view: View, mask_path: Path) -> None:
    """SceneError for a mask of another shape; of a photograph that is turned it may be as stored or as seen."""
    height, width, orientation = stored_shape(view.image_path)
    mask_height, mask_width = image_shape(mask_path)
    seen = turned_shape(height, width, view.orientation)
    if any(same_aspect(*shape, mask_height, mask_width) for shape in ((height, width), seen)):
        return
    turned = same_aspect(*turned_shape(height, width, orientation), mask_height, mask_width)
    why = f" (it asks to be turned, EXIF orientation {orientation}, but its camera is as stored)" if turned else ""
    raise SceneError(
        f"{mask_path} is {mask_width}x{mask_height} pixels, its image {view.name} {width}x{height}{why}: the aspect "
        "ratio differs.\nExpected a mask of the whole image, of any size; make it again without cropping"
        f"{', from the pixels as stored' if turned else ''}."
    )


def _is_depth_map_folder(depth: Path) -> bool:
    return depth.is_dir() and not is_model(depth)


def _bounds(
    found: FoundScene, views: tuple[View, ...], sparse: SparseDepth | None, guess: bool
) -> tuple[np.ndarray, str]:
    if found.world_from_unit is not None:
        return np.linalg.inv(found.world_from_unit), found.bounds_source
    try:
        return find_bounds(small_masks(views, SMALL_MASK), sparse)
    except SceneError:
        if not guess:
            raise
        return ball_similarity(*guessed_ball([view.camera for view in views])), GUESS
