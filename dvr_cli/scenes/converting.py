"""A scene in one format as a scene in another, and what got lost on the way.

What was written is read back with the target's reader and compared: that is how losses are found, whatever the format.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvr_cli.errors import DvrError, SceneError
from dvr_cli.files import disk_errors
from dvr_cli.scenes.conversion_losses import deviation, losses_of, paired
from dvr_cli.scenes.converted_views import ConvertedView, converted_views
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.table import READERS, Reader
from dvr_cli.scenes.views import Scene


@dataclass(frozen=True)
class Conversion:
    """What became of a scene."""

    folder: Path
    format: str
    views: int
    copied: int
    """Photographs that are the same files."""
    undistorted: int
    turned: int
    resampled: int
    """Photographs whose camera the format could not describe."""
    masks: int
    largest_deviation: float
    """Pixels between where a camera and the one that is read back see a point of the object."""
    losses: tuple[str, ...]
    """What the format could not hold, one sentence each."""


def target_format(name: str) -> Reader:
    """The format of this name; SceneError if there is none."""
    found = next((reader for reader in READERS if reader.name == name), None)
    if found is None:
        raise SceneError(
            f"--to {name!r}: there is no such format.\nExpected one of: {', '.join(r.name for r in READERS)} "
            "(dvr formats describes them)."
        )
    return found


def check_target(folder: Path, scene_root: Path, overwrite: bool) -> None:
    """SceneError if the folder lies in the scene or around it, is a file, or holds something already."""
    inside, root = folder.resolve(), scene_root.resolve()
    if inside.is_relative_to(root) or root.is_relative_to(inside):
        raise SceneError(
            f"{folder} lies inside the scene {scene_root}, or around it: photographs of both would be mixed.\n"
            "Name another folder with --out."
        )
    if folder.exists() and not folder.is_dir():
        raise SceneError(f"{folder} is a file.\nName a folder with --out.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise SceneError(
            f"{folder} is not empty.\nName another folder with --out, or pass --overwrite to replace files of the same "
            "names in it."
        )


def convert_scene(
    scene: Scene, target: Reader, folder: Path, report: Callable[[int, int], None] | None = None
) -> Conversion:
    """Write `scene` into `folder` in the target's format and read it back; see the head of this file.

    `report` is called with the number of photographs saved and in all. SceneError if something cannot be read, written,
    or does not come back as it should.
    """
    saved: list[bool] = []

    def note_saved(copied: bool) -> None:
        saved.append(copied)
        if report:
            report(len(saved), len(scene.views))

    views = converted_views(scene, target, note_saved)
    region = scene.world_from_unit if scene.region_given else None
    with disk_errors(folder, SceneError, "Free some space or name another folder, and convert again."):
        folder.mkdir(parents=True, exist_ok=True)
        target.write(folder, views, region, scene.sparse_depth)
    masked = any(view.has_mask for view in views)
    try:
        found = read_scene(folder, masks="any" if masked else None, format_name=target.name, guess_bounds=True)
    except DvrError as cause:
        raise SceneError(
            f"What was written to {folder} cannot be read as {target.name}: {cause}\n"
            "If the folder held files before, empty it and convert again."
        ) from cause
    return _conversion(scene, views, found, target, folder, sum(saved))


def _conversion(
    scene: Scene, views: Sequence[ConvertedView], found: Scene, target: Reader, folder: Path, copied: int
) -> Conversion:
    if len(found.views) != len(views):
        raise SceneError(
            f"{folder} holds {count_of(len(found.views), 'view')} where {len(views)} were written: it held others "
            "before.\nEmpty it and convert again."
        )
    pairs = paired(views, found)
    pixels = max(deviation(view.camera, other.camera, scene.world_from_unit) for view, other in pairs)
    return Conversion(
        folder=folder,
        format=target.name,
        views=len(views),
        copied=copied,
        undistorted=sum(view.view.distorted is not None for view in views),
        turned=sum(view.view.orientation != 1 for view in views),
        resampled=sum(view.camera is not view.view.camera for view in views),
        masks=sum(view.has_mask for view in views),
        largest_deviation=pixels,
        losses=tuple(losses_of(scene, pairs, found, folder, pixels)),
    )
