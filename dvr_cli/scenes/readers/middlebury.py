"""The layout of the Middlebury multi-view data: photographs and one text file NAME_par.txt.

Its first line is the number of images; each further line is `name k11 .. k33 r11 .. r33 t1 t2 t3`, the image being
K [R | t] of the world with x to the right and y down. Whole numbers are pixel centres (measured, see
docs/formats/middlebury.md): the reader adds 0.5 to the principal point. README.txt, where there is one, gives the box
around the object.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.cameras import axes_meeting_point, camera_from_projection, checked_projection
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.lenses import rigid_motion
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers.files import FoundScene, path_inside, selected_indices
from dvr_cli.scenes.readers.missing import missing_note
from dvr_cli.scenes.readers.text_files import finite_numbers, is_there, read_text, whole_number
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import SparseDepth, View
from dvr_cli.scenes.writing import WritableView

NUMBERS = 21
"""On each line, after the name: K, R and t."""
MAX_IMAGES = 1_000_000
IMAGE_FOLDERS = (".", "images", "image")
HALF_PIXEL = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
"""From pixel centres at whole numbers to pixel centres at +0.5."""
MAX_README_BYTES = 100_000
_NUMBER = r"([-+]?[0-9.]{1,30}(?:[eE][-+]?[0-9]{1,3})?)"
_POINT = rf"\(\s*{_NUMBER}[\s,]+{_NUMBER}[\s,]+{_NUMBER}\s*\)"
BOX = re.compile(rf"{_POINT}[\s,]*{_POINT}")


@dataclass(frozen=True)
class Line:
    """One image of the camera file."""

    name: str
    projection: Float[np.ndarray, "3 4"]
    """World to pixels, (0, 0) the corner of the image."""
    where: str
    """File and line, for messages."""


def find(root: Path) -> Path | None:
    """The camera file of this layout, the first by name; None if there is none."""
    return next(iter(_camera_files(root)), None)


def accepts(path: Path) -> bool:
    """True for a text file that starts with a number and then has a name and 21 words on a line."""
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    with path.open("rb") as stream:
        lines = [line for line in stream.read(4096).splitlines() if line.strip()]
    return len(lines) > 1 and lines[0].strip().isdigit() and len(lines[1].split()) > NUMBERS


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views, cameras and, from README.txt, the region of interest; SceneError for anything that cannot be used.

    Photographs that are listed but missing are left out, and said.
    """
    lines = _lines(camera_path)
    folders = [folder / name for folder in dict.fromkeys((root, camera_path.parent)) for name in IMAGE_FOLDERS]
    paths = {line.name: _photograph(folders, line) for line in lines}
    present = [line for line in lines if is_there(paths[line.name])]
    if not present:
        raise SceneError(
            f"{root} has {camera_path.name} but none of the photographs that it lists ({len(lines)}), such as "
            f"{lines[0].name}.\nPut them beside it, or into images/ (docs/formats/middlebury.md)."
        )
    chosen = [present[index] for index in selected_indices(view_range, len(present))]
    object_point = axes_meeting_point(np.stack([line.projection for line in chosen]))
    views = []
    for line in chosen:
        path = paths[line.name]
        camera = camera_from_projection(line.projection, *image_shape(path), object_point, line.where)
        views.append(View(line.name, camera, path))
    notes = missing_note([line.name for line in lines if line not in present], len(lines), camera_path, folders)
    others = [path.name for path in _camera_files(root) if path != camera_path]
    if others:
        notes += (f"cameras are read from {camera_path.name}; --cameras {others[0]} would read other ones",)
    world_from_unit, source = _box(camera_path.parent, views)
    names = tuple(line.name for line in present)
    return FoundScene(tuple(views), world_from_unit, source, all_names=names, notes=notes)


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: photographs, NAME_par.txt, README.txt with the box, mask/, sparse.npz.

    The box is the one around the ball that `world_from_unit` makes of the unit ball, read again as the ball around the
    box: larger by a factor of sqrt(3) unless it is written so much smaller, which is what is done. The inverse of
    `read` but for the rotation of `world_from_unit`.
    """
    name = folder.name or "scene"
    rows = [str(len(views))]
    for view in views:
        view.save_image(folder / view.name)
        if view.has_mask:
            view.save_mask(folder / "mask" / f"{view.name}.png")
        intrinsics = np.linalg.inv(HALF_PIXEL) @ view.camera.intrinsics
        motion = view.camera.camera_from_world
        values = [*intrinsics.ravel(), *motion[:3, :3].ravel(), *motion[:3, 3]]
        rows.append(" ".join([view.name, *(f"{value:.17g}" for value in values)]))
    if world_from_unit is not None:
        centre = world_from_unit[:3, 3]
        half_side = np.cbrt(np.linalg.det(world_from_unit[:3, :3])) / np.sqrt(3)
        corners = ["({:.17g} {:.17g} {:.17g})".format(*(centre + sign * half_side)) for sign in (-1, 1)]
        write_text(folder / "README.txt", "\n".join([f"The bounding box for the {name} model is", *corners, ""]))
    if sparse is not None:
        write_sparse_depth(folder / "sparse.npz", sparse)
    # Last, because this file is what makes the folder a scene.
    write_text(folder / f"{name}_par.txt", "\n".join([*rows, ""]))


def _camera_files(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.name.endswith("_par.txt") and path.is_file())
    except OSError:
        return []


def _lines(camera_path: Path) -> list[Line]:
    """The images of the file, sorted by name; SceneError for another number of them than its first line says."""
    rows = [(number, row) for number, row in enumerate(read_text(camera_path).splitlines(), 1) if row.strip()]
    if not rows:
        raise SceneError(
            f"{camera_path} is empty.\nExpected the number of images, then one line for each; copy it again."
        )
    count = whole_number(rows[0][1].strip(), MAX_IMAGES, "the number of images", f"{camera_path}, line {rows[0][0]}")
    if not 0 < count == len(rows) - 1:
        raise SceneError(
            f"{camera_path} announces {count_of(count, 'image')} and lists {len(rows) - 1}.\n"
            "The file is cut off or was edited: expected one line per image; correct its first line."
        )
    lines = sorted(
        (_line(row, f"{camera_path}, line {number}") for number, row in rows[1:]), key=lambda line: line.name
    )
    twice = next((a.name for a, b in pairwise(lines) if a.name == b.name), None)
    if twice is not None:
        raise SceneError(f"{camera_path} lists {twice} twice.\nExpected each photograph once; correct the file.")
    return lines


def _line(row: str, where: str) -> Line:
    # From the right, because a name may hold spaces.
    words = row.strip().rsplit(maxsplit=NUMBERS)
    if len(words) != NUMBERS + 1:
        raise SceneError(
            f"{where} holds {len(words)} words: expected a name and {NUMBERS} numbers.\n"
            "Each line is: name k11 .. k33 r11 .. r33 t1 t2 t3 (docs/formats/middlebury.md)."
        )
    values = np.array(finite_numbers(words[1:], f"{where} ({words[0][:80]})"))
    intrinsics, rotation, translation = values[:9].reshape(3, 3), values[9:18].reshape(3, 3), values[18:]
    if not (np.abs(np.tril(intrinsics, -1)) <= 1e-9).all() or not (np.diag(intrinsics) > 0).all():
        raise SceneError(
            f"{where}: K is {intrinsics.tolist()}: expected zeros below the diagonal and a positive focal length.\n"
            "Write x to the right and y down (docs/conventions.md)."
        )
    motion = rigid_motion(np.column_stack([rotation, translation]), where)
    with np.errstate(over="ignore", invalid="ignore"):
        projection = HALF_PIXEL @ (intrinsics / intrinsics[2, 2]) @ motion[:3]
    return Line(words[0], checked_projection(projection, where), where)


def _photograph(folders: list[Path], line: Line) -> Path:
    """Where the photograph is, or where it was expected."""
    paths = [path_inside(folder, line.name, line.where) for folder in folders]
    return next((path for path in paths if is_there(path)), paths[0])


def _box(folder: Path, views: list[View]) -> tuple[Float[np.ndarray, "4 4"] | None, str]:
    """The ball around the box that a README.txt names, if the cameras look at it; nothing of it can fail."""
    path = next((path for path in sorted(folder.iterdir()) if path.name.lower() == "readme.txt"), None)
    try:
        text = "" if path is None else read_text(path, MAX_README_BYTES)
    except SceneError:
        text = ""
    start = text.lower().find("bounding box")
    match = BOX.search(text[start : start + 1000]) if start >= 0 else None
    if path is None or match is None:
        return None, ""
    try:
        low, high = np.array(finite_numbers(match.groups(), str(path))).reshape(2, 3)
    except SceneError:
        return None, ""
    if not (low < high).all() or max(np.abs(low).max(), np.abs(high).max()) > 1e100:
        return None, ""
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    if np.median([view.camera.project(centre[None])[1][0] for view in views]) <= 0:
        return None, ""
    world_from_unit = np.diag([radius, radius, radius, 1.0])
    world_from_unit[:3, 3] = centre
    return world_from_unit, f"the bounding box in {path.name}"
