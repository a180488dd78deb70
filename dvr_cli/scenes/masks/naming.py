"""Which mask belongs to which photograph: by names, numbers or position; in folders of masks, or beside photographs.

Names are relative to the folder of photographs, with forward slashes. The suffix of a mask never matters, nor whether
it is written in capitals. Nothing here looks into pixels, except to tell whether an alpha channel says anything.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dvr_cli.errors import SceneError
from dvr_cli.scenes.file_contents import unread_text
from dvr_cli.scenes.image_files import IMAGE_SUFFIXES, open_image
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import MaskMeaning, View

if TYPE_CHECKING:
    from PIL.Image import Image

MASK_FOLDERS = ("mask", "masks")
"""Where a scene's masks are looked for."""
AFFIX = re.compile(r"(?P<before>.+)[_\-. ]masks?|masks?[_\-. ](?P<after>.+)", re.IGNORECASE)
"""A stem that says that the file is a mask: name_mask, name-mask, mask_name."""
ALPHA_SAMPLES = 3
"""Photographs whose alpha channels are looked at to tell whether they are masks."""


@dataclass(frozen=True)
class MaskFile:
    """A mask, and what in it marks the object."""

    path: Path
    meaning: MaskMeaning = "white"


def masks_of_scene(
    root: Path, masks: Path | bool, views: Sequence[View], ordered_names: Sequence[str] = ()
) -> dict[str, MaskFile]:
    """The masks of a scene by the name of their view: those of the first place that has any.

    The places, unless `masks` names a folder: mask/ and masks/ in the scene, files beside the photographs
    (name_mask.png), the alpha channels of the photographs. SceneError when a folder does not exist, or none of the
    places does; an empty dictionary when no file in them belongs to a view.
    """
    names = tuple(view.name for view in views)
    folders = _mask_folders(root, masks)
    for folder in folders:
        if folder.is_dir():
            _require_readable(folder)
            found = match_masks(folder, names, tuple(ordered_names))
            if found:
                return {name: MaskFile(path) for name, path in found.items()}
    if not isinstance(masks, Path):
        beside = masks_beside(views) or alpha_masks(views)
        if beside:
            return beside
    if any(folder.is_dir() for folder in folders):
        return {}
    find_mask_folder(root, masks)
    return {}


def no_masks_error(root: Path, masks: Path | bool, views: Sequence[View]) -> SceneError:
    """The error for folders of masks (or photographs) none of which belongs to a view: where was looked, for what."""
    folders = [folder for folder in _mask_folders(root, masks) if folder.is_dir()]
    held = []
    for folder in folders:
        files = [path.relative_to(folder).as_posix() for path in _image_files(folder)]
        what = f"{count_of(len(files), 'image')} such as {listed(files[:1])}" if files else "no png, jpg or tif"
        held.append(f"{folder} holds {what}")
    beside = [] if isinstance(masks, Path) else ["there are none beside the photographs or in their alpha channels"]
    names = dict.fromkeys((views[0].name, f"{_stem(views[0].name)}.png", f"{_stem(views[0].name)}_mask.png"))
    unread = f" {text[:1].upper()}{text[1:]}." if (text := unread_text(folders)) else ""
    return SceneError(
        f"There is no mask for any of {count_of(len(views), 'image')}: {'; '.join([*held, *beside])}. Looked for names "
        f"such as {', '.join(names)}.\nPut masks there, white = object, named like the images (docs/masks.md); or run "
        f"with --masks FOLDER, --masks auto or --no-masks.{unread}"
    )


def _mask_folders(root: Path, masks: Path | bool) -> list[Path]:
    return [masks] if isinstance(masks, Path) else [root / name for name in MASK_FOLDERS]


def _require_readable(folder: Path) -> None:
    """SceneError for a folder whose files cannot be listed: searched for masks it would seem to be empty."""
    try:
        with os.scandir(folder):
            return
    except OSError as cause:
        raise SceneError(
            f"The folder of masks {folder} cannot be read: {cause.strerror or cause}.\nAllow it (chmod), name another "
            "one with --masks FOLDER, or run with --no-masks."
        ) from None


def _image_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def has_masks(root: Path, views: Sequence[View]) -> bool:
    """Whether a scene has masks of its own: a folder of them, files beside its photographs, or alpha channels."""
    return any((root / name).is_dir() for name in MASK_FOLDERS) or bool(masks_beside(views) or alpha_masks(views))


def find_mask_folder(root: Path, masks: Path | bool) -> Path:
    """The folder of masks: the given one, or mask/ or masks/ in the scene; SceneError when there is none."""
    folders = _mask_folders(root, masks)
    for folder in folders:
        if folder.is_dir():
            return folder
    raise SceneError(
        f"Masks were asked for, but {' and '.join(str(folder) for folder in folders)} "
        f"{'does' if len(folders) == 1 else 'do'} not exist.\n"
        "Put one mask per image there (white = object), name a folder with --masks FOLDER, let dvr make them with "
        "--masks auto, or run with --no-masks."
    )


def match_masks(folder: Path, image_names: tuple[str, ...], ordered_names: tuple[str, ...]) -> dict[str, Path]:
    """The mask of each photograph that has one.

    In this order: NAME, NAME.png, the same stem (with or without "_mask", "-mask", "mask_"), the same number ("000.png"
    for "000000.jpg"), the same file name in another folder where that is unique, and, where the format pairs by order
    (`ordered_names`) and there are as many masks as photographs, the same position.
    """
    files = _image_files(folder)
    by_name = _index({p.relative_to(folder).as_posix(): p for p in files})
    by_order = dict(zip(ordered_names, files, strict=True)) if len(files) == len(ordered_names) else {}
    flat = _unique_file_names(ordered_names or image_names)
    found: dict[str, Path] = {}
    for name in image_names:
        places = [*_keys(name), *(_keys(flat[name]) if name in flat else ())]
        match = next((by_name[key] for key in places if key in by_name), by_order.get(name))
        if match is not None:
            found[name] = match
    return found


def masks_beside(views: Sequence[View]) -> dict[str, MaskFile]:
    """Masks in the folders of the photographs themselves: name_mask.png, mask_name.png, name.jpg_mask.png."""
    listings: dict[Path, dict[tuple[str, str | int], Path]] = {}
    found: dict[str, MaskFile] = {}
    photographs = {view.image_path for view in views}
    for view in views:
        folder = view.image_path.parent
        if folder not in listings:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            masks = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and AFFIX.fullmatch(p.stem)]
            listings[folder] = _index({p.name: p for p in masks if p not in photographs})
        name = view.image_path.name
        # Numbers do not count here: 7.png and 007_mask.png in one folder are hardly a pair.
        keys = [("name", name.casefold()), ("stem", _stem(name).casefold())]
        match = next((listings[folder][key] for key in keys if key in listings[folder]), None)
        if match is not None:
            found[view.name] = MaskFile(match)
    return found


def alpha_masks(views: Sequence[View]) -> dict[str, MaskFile]:
    """The photographs as their own masks, if all have an alpha channel and it says something in one of a few."""
    if not views or not all(_has_alpha(view.image_path) for view in views):
        return {}
    step = max(1, len(views) // ALPHA_SAMPLES)
    if not any(_alpha_varies(view.image_path) for view in views[::step]):
        return {}
    return {view.name: MaskFile(view.image_path, "alpha") for view in views}


def without_masks(names: Sequence[str]) -> tuple[str, ...]:
    """The names of files in one folder without those that are masks of others: "a_mask.png" beside "a.jpg".

    >>> without_masks(("a.jpg", "a_mask.png", "carnival_mask.jpg"))
    ('a.jpg', 'carnival_mask.jpg')
    """
    photographed = {key.casefold() for name in names for key in (name, _stem(name))}
    return tuple(name for name in names if (of := _named_by_mask(name)) is None or of.casefold() not in photographed)


def has_alpha(image: "Image") -> bool:
    """Whether an image carries transparency, in a channel or in its palette."""
    return image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info


def _has_alpha(path: Path) -> bool:
    # Formats without transparency need not be opened.
    if path.suffix.lower() not in (".png", ".tif", ".tiff"):
        return False
    with open_image(path) as image:
        return has_alpha(image)


def _alpha_varies(path: Path) -> bool:
    with open_image(path) as image:
        lowest, highest = image.convert("RGBA").getchannel("A").getextrema()
        return bool(lowest != highest)


def _index(files: Mapping[str, Path]) -> dict[tuple[str, str | int], Path]:
    """Files by everything that a photograph may call its mask by; an exact name wins over a looser one."""
    index: dict[tuple[str, str | int], Path] = {}
    for name, path in files.items():
        index.setdefault(("exact", name), path)
    for name, path in files.items():
        for key in (name, _stem(name)):
            index.setdefault(("name", key.casefold()), path)
        index.setdefault(("stem", _stem(name).casefold()), path)
    for name, path in files.items():
        of = _named_by_mask(name)
        for key in () if of is None else (of, _stem(of)):
            index.setdefault(("name", key.casefold()), path)
            index.setdefault(("stem", key.casefold()), path)
    for name, path in files.items():
        number = _number(_named_by_mask(name) or _stem(name))
        if number is not None:
            index.setdefault(number, path)
    return index


def _keys(name: str) -> list[tuple[str, str | int]]:
    """What a photograph calls its mask by, the surest first."""
    number = _number(_stem(name))
    keys: list[tuple[str, str | int]] = [
        ("exact", name),
        ("exact", name + ".png"),
        ("name", name.casefold()),
        ("stem", _stem(name).casefold()),
    ]
    return keys if number is None else [*keys, number]


def _unique_file_names(names: Sequence[str]) -> dict[str, str]:
    """The bare file name of each photograph in a folder of its own, where no other has the same stem."""
    stems = [_stem(PurePosixPath(name).name).casefold() for name in names]
    return {
        name: PurePosixPath(name).name
        for name, stem in zip(names, stems, strict=True)
        if "/" in name and stems.count(stem) == 1
    }


def _named_by_mask(name: str) -> str | None:
    """What a mask says that it is the mask of ("a_mask.png": "a"), folders kept; None if its name does not say."""
    path = PurePosixPath(name)
    match = AFFIX.fullmatch(path.stem)
    return None if match is None else path.with_name(match["before"] or match["after"]).as_posix()


def _stem(name: str) -> str:
    """The name without its last suffix, folders kept."""
    return PurePosixPath(name).with_suffix("").as_posix()


def _number(stem: str) -> tuple[str, int] | None:
    """Folder and value of a stem that is a number."""
    path = PurePosixPath(stem)
    return (path.parent.as_posix(), int(path.name)) if path.name.isdecimal() and len(path.name) < 20 else None
