"""Finding photographs in a folder, and their pixels as a viewer would show them.

Names are relative to the folder, with forward slashes. A photograph that carries an EXIF orientation is turned, so that
everything after this file sees it upright; sizes here are those of the upright image.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from dvr_cli.errors import SceneError
from dvr_cli.preparing.exif import lens_prior
from dvr_cli.preparing.libraries import quiet_decoders
from dvr_cli.preparing.stages import file_digest
from dvr_cli.scenes.image_files import open_image, stored_shape
from dvr_cli.scenes.readers.files import IMAGE_SUFFIXES, MASK_FOLDERS

if TYPE_CHECKING:
    from PIL.Image import Image

UNREAD_SUFFIXES = {
    ".heic": "HEIC", ".heif": "HEIC", ".avif": "AVIF", ".webp": "WebP", ".bmp": "BMP", ".dng": "raw", ".cr2": "raw",
    ".cr3": "raw", ".nef": "raw", ".arw": "raw", ".raf": "raw", ".orf": "raw", ".rw2": "raw",
}  # fmt: skip
"""Photographs that are not read, by what to call them."""
HOW_TO_CONVERT = {
    "HEIC": "heif-convert -q 95 IMG.heic IMG.jpg (libheif), or in the phone's camera settings: Most Compatible",
    "raw": "the camera maker's program, darktable or RawTherapee, all with the same settings and no lens correction",
}
LOSSLESS = ("PNG", "TIFF")
TURNED_ON_EDGE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Pillow's transposition by EXIF orientation."""
MOST_PHOTOGRAPHS = 20_000
SMALLEST_SIDE = 64
"""Pixels; nothing can be matched in less."""


@dataclass(frozen=True)
class Photograph:
    """One file to be used."""

    name: str
    path: Path
    digest: str
    """SHA-256 of the file."""
    height: int
    """Pixels, upright."""
    width: int
    orientation: int
    """EXIF orientation, 1 to 8; 1: upright as stored."""
    lossless: bool
    """PNG or TIFF: whatever is made of it is written without loss, too."""
    focal_length: float | None
    """Pixels of the upright image; None where the file does not say."""
    lens: str
    """Photographs of one size with the same words here share one camera."""


@dataclass(frozen=True)
class Listing:
    """The photographs of a folder, and what was passed over."""

    photographs: tuple[Photograph, ...]
    """Sorted by name, numbers within names by their value; no two with the same content."""
    unreadable: dict[str, str]
    """Reason by name."""
    copies: dict[str, str]
    """By the name of a photograph with the same content as another, the other's name."""
    notes: tuple[str, ...]
    """What else was passed over, one sentence each."""


def list_photographs(folder: Path, threads: int = 1, report: Callable[[int, int], None] | None = None) -> Listing:
    """All photographs in a folder and its subfolders; hidden files and folders of masks are passed over.

    Files that cannot be opened are listed with the reason. SceneError when there is no photograph at all.
    """
    names, notes = _names(folder)
    unreadable: dict[str, str] = {}
    copies: dict[str, str] = {}
    by_digest: dict[str, Photograph] = {}

    def read(name: str) -> Photograph | SceneError:
        try:
            return read_photograph(folder / name, name)
        except SceneError as error:
            return error

    with quiet_decoders(), ThreadPoolExecutor(threads) as pool:
        for index, found in enumerate(pool.map(read, names)):
            if isinstance(found, SceneError):
                unreadable[names[index]] = str(found).splitlines()[0]
            elif found.digest in by_digest:
                copies[found.name] = by_digest[found.digest].name
            else:
                by_digest[found.digest] = found
            if report:
                report(index + 1, len(names))
    return Listing(tuple(by_digest.values()), unreadable, copies, notes)


def read_photograph(path: Path, name: str) -> Photograph:
    """Size, orientation and lens of one file; SceneError when it cannot be opened."""
    height, width, orientation = stored_shape(path)
    with open_image(path) as image:
        lossless = image.format in LOSSLESS
        prior = lens_prior(image)
    if orientation in TURNED_ON_EDGE:
        height, width = width, height
    if min(height, width) < SMALLEST_SIDE:
        raise SceneError(f"{path} is {width}x{height} pixels: at least {SMALLEST_SIDE} a side are needed.")
    try:
        digest = file_digest(path)
    except OSError as cause:
        raise SceneError(f"{path} cannot be read: {cause.strerror}.") from cause
    return Photograph(name, path, digest, height, width, orientation, lossless, prior.focal_length, prior.name)


def upright_pixels(photograph: Photograph, longest: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels, turned upright, with the longest side at most `longest`; SceneError when it cannot be decoded."""
    from PIL import Image

    with open_image(photograph.path) as image:
        if longest is not None and image.format == "JPEG" and max(image.size) > 2 * longest:
            # Decodes JPEG at half, quarter or eighth of its size, never below the size asked for.
            image.draft("RGB", (longest, longest))
        turn = TURNS.get(photograph.orientation)
        upright = _rgb(image) if turn is None else _rgb(image).transpose(Image.Transpose(turn))
        if longest is not None and max(upright.size) > longest:
            factor = longest / max(photograph.width, photograph.height)
            size = (max(1, round(photograph.width * factor)), max(1, round(photograph.height * factor)))
            upright = upright.resize(size, Image.Resampling.HAMMING, reducing_gap=3.0)
        return np.asarray(upright)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers within names by their value.

    >>> sorted(["b10.jpg", "b9.jpg", "a.jpg"], key=natural_key)
    ['a.jpg', 'b9.jpg', 'b10.jpg']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part]


def _rgb(image: "Image") -> "Image":
    """Eight bits per channel; 16-bit grey is scaled, which Pillow's own conversion would clip."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    values = np.nan_to_num(np.asarray(image).astype(np.float32))
    white = 1.0 if image.mode == "F" and values.max(initial=0) <= 1 else 65535.0
    return Image.fromarray(np.round(np.clip(values / white, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def _names(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names of the files that look like photographs, in natural order, and notes about others."""
    names: list[str] = []
    unread: dict[str, int] = {}
    mask_folders: list[str] = []
    for root, folders, files in os.walk(folder):
        inside = Path(root).relative_to(folder)
        mask_folders += [(inside / name).as_posix() for name in folders if name.lower() in MASK_FOLDERS]
        folders[:] = [name for name in folders if not name.startswith(".") and name.lower() not in MASK_FOLDERS]
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in IMAGE_SUFFIXES:
                names.append((inside / name).as_posix())
            elif suffix in UNREAD_SUFFIXES:
                kind = UNREAD_SUFFIXES[suffix]
                unread[kind] = unread.get(kind, 0) + 1
        if len(names) > MOST_PHOTOGRAPHS:
            raise SceneError(f"{folder} holds more than {MOST_PHOTOGRAPHS} photographs.\nName a smaller folder.")
    notes = [_conversion(kind, count) for kind, count in sorted(unread.items())]
    notes += [f"Passed over {name}/: masks are no photographs." for name in sorted(mask_folders)]
    if not names:
        found = " ".join(notes) or "Looked for png, jpg and tif, in subfolders as well."
        raise SceneError(f"{folder} holds no photographs.\n{found}")
    return sorted(names, key=natural_key), tuple(notes)


def _conversion(kind: str, count: int) -> str:
    how = HOW_TO_CONVERT.get(kind, "any picture viewer")
    files = "file is" if count == 1 else "files are"
    return f"{count} {kind} {files} not read; convert to jpg or png with {how}."


def lens_groups(photographs: Sequence[Photograph]) -> list[list[int]]:
    """Indices of the photographs that one camera took with one setting of its lens, in order of their first."""
    groups: dict[tuple[int, int, str, float | None], list[int]] = {}
    for index, photograph in enumerate(photographs):
        key = (photograph.width, photograph.height, photograph.lens, photograph.focal_length)
        groups.setdefault(key, []).append(index)
    return list(groups.values())
