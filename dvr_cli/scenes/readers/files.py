"""What the readers share: listing images, choosing views by number, and finding the mask that belongs to an image.

Names are relative to the folder of images, with forward slashes; a name never leads out of its folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.file_contents import unread_text
from dvr_cli.scenes.image_files import IMAGE_SUFFIXES
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.masks.naming import MASK_FOLDERS, MaskFile, find_mask_folder, match_masks, without_masks
from dvr_cli.scenes.sparse_depth import with_views
from dvr_cli.scenes.views import SparseDepth, View

__all__ = [
    "IMAGE_SUFFIXES",
    "MASK_FOLDERS",
    "FoundScene",
    "MaskFile",
    "find_mask_folder",
    "held_out_indices",
    "list_images",
    "match_masks",
    "no_photographs",
    "path_inside",
    "selected_indices",
    "without_views",
]

LONGEST_NAME, LONGEST_SHOWN = 1000, 120
"""Characters of an image's name with its folders, and of the part of it that a message shows."""
FEWEST_VIEWS = 2
"""That must be left when views are held out: photographs can only be compared with others."""


@dataclass(frozen=True)
class FoundScene:
    """What one reader found; `read_scene` adds masks, depth and, where the reader knows none, the bounds."""

    views: tuple[View, ...]
    """The chosen views, without masks."""
    world_from_unit: Float[np.ndarray, "4 4"] | None = None
    """Similarity from the unit ball to the world; None when the format does not say where the object is."""
    bounds_source: str = ""
    """In words, where `world_from_unit` comes from."""
    sparse_depth: SparseDepth | None = None
    all_names: tuple[str, ...] = ()
    """Names of all images, chosen or not, in the order in which they are counted."""
    paired_by_order: bool = False
    """True when masks may belong to images by their position among all of them."""
    masks: Mapping[str, MaskFile] = field(default_factory=dict)
    """Masks that the format itself names, by the name of their view: alpha channels, or files beside the cameras."""
    depth_maps: Mapping[str, Path] = field(default_factory=dict)
    """Depth maps that the format itself names, by the name of their view."""
    depth_scale: float | None = None
    """What the values of these depth maps are multiplied with; None: they are world units as the file says."""
    notes: tuple[str, ...] = ()
    """What a user should know, one sentence each: photographs that are listed but missing, for example."""


def list_images(folder: Path) -> tuple[str, ...]:
    """Names of the photographs in a folder, sorted.

    Masks that lie beside them (name_mask.png) are none, nor are hidden files: macOS leaves a ._name.png beside each.
    """
    images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return without_masks(sorted(path.name for path in images if not path.name.startswith(".")))


def no_photographs(root: Path, cameras: str, places: Sequence[str], page: str) -> SceneError:
    """The error for a scene that has cameras (named in words) but none of the photographs, with the page on its format.

    `places`: folders within the scene where they were looked for; "." is the scene's own.
    """
    looked = listed(("the folder itself" if name == "." else f"{name}/" for name in places), len(places))
    unread = unread_text(path for name in places if (path := root / name).is_dir())
    advice = f"{unread[:1].upper()}{unread[1:]}" if unread else "Put the photographs there"
    return SceneError(
        f"{root} has {cameras} but no photographs: looked for png, jpg and tif in {looked}.\n{advice} ({page})."
    )


def path_inside(folder: Path, name: str, where: str) -> Path:
    """`folder / name`; SceneError if the name is absolute, climbs out of the folder, or is longer than names can be."""
    pure = PurePosixPath(name.replace("\\", "/"))
    shown = name if len(name) <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + "..."
    if len(name) > LONGEST_NAME:
        raise SceneError(
            f"{where} names the image {shown!r}, a name of {len(name)} characters: expected at most {LONGEST_NAME}.\n"
            "The file is damaged; write it again."
        )
    if not name or pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise SceneError(
            f"{where} names the image {shown!r}, which lies outside {folder}.\n"
            "Expected names relative to the folder of images; correct the model or move the image."
        )
    return folder / pure


def selected_indices(view_range: str | None, count: int) -> tuple[int, ...]:
    """Indices out of a text such as "0-11,20" (both ends included); all of them for None."""
    if view_range is None:
        return tuple(range(count))
    chosen: set[int] = set()
    for part in view_range.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < count:
            raise SceneError(
                f"--views {view_range!r} cannot be used: {part.strip()!r} is not a range within 0-{count - 1}.\n"
                "Write numbers and ranges of image numbers, counted from 0 in sorted order, for example --views "
                "0-11,20."
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def held_out_indices(count: int, hold_out: int | None) -> tuple[int, ...]:
    """Every `hold_out`-th of `count` views, from the first: 0, N, 2N, ...; none for None.

    SceneError if `hold_out` is below 2, or fewer than two views would be left.
    """
    if hold_out is None:
        return ()
    if hold_out < 2:
        raise SceneError(
            f"--hold-out {hold_out} cannot be used: expected a whole number of at least 2; 8 leaves out every eighth "
            "view."
        )
    held_out = tuple(range(0, count, hold_out))
    if count - len(held_out) < FEWEST_VIEWS:
        raise SceneError(
            f"--hold-out {hold_out} leaves {count - len(held_out)} of {count} views for the reconstruction: it needs "
            f"at least {FEWEST_VIEWS}.\nUse a larger number, choose more views with --views, or hold none out."
        )
    return held_out


def without_views(found: FoundScene, left_out: tuple[int, ...]) -> FoundScene:
    """The same scene without some of its views; what saw which point is counted anew."""
    if not left_out:
        return found
    kept = tuple(index for index in range(len(found.views)) if index not in left_out)
    sparse = None if found.sparse_depth is None else with_views(found.sparse_depth, kept)
    return replace(found, views=tuple(found.views[index] for index in kept), sparse_depth=sparse)
