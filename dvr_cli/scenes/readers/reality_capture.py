"""Cameras that RealityCapture (RealityScan) exports: "Internal/External camera parameters" as CSV.

Sidecars (XMP) are read by `reality_capture_xmp`; lenses are the same in both.

heading, pitch and roll, in degrees, make the rotation Rz(-heading) Rx(pitch) Ry(roll) from a camera that looks along -z
with y up to a world with z up; at 0, 0, 0 the camera looks down and the top of its image is north. x, y, alt is the
camera's centre. f is the focal length of a film 36 mm wide; px and py move the principal point from the image's middle.
All three count in the longer side of the image. t1 is OpenCV's p2, and t2 its p1: the program's own template for
exports in OpenCV's order writes k1, k2, t2, t1, k3.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.image_files import stored_shape
from dvr_cli.scenes.lenses import posed_view
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.polynomial_lens import polynomial_lens
from dvr_cli.scenes.readers import reality_capture_xmp
from dvr_cli.scenes.readers.files import FoundScene, path_inside, selected_indices
from dvr_cli.scenes.readers.missing import missing_note
from dvr_cli.scenes.readers.photographs import Photographs, photographs_of
from dvr_cli.scenes.readers.reality_capture_xmp import FILM_WIDTH, Exported
from dvr_cli.scenes.readers.text_files import finite_numbers, read_text
from dvr_cli.scenes.views import SparseDepth, View
from dvr_cli.scenes.writing import WritableView, require_no_skew

ALIASES = {"yaw": "heading", "f_35mm": "f", "px_norm": "px", "py_norm": "py"}
"""How RealityScan names columns that RealityCapture named otherwise."""
POSE = ("x", "y", "alt", "heading", "pitch", "roll", "f")
LENS = ("px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
WRITTEN = "registration.csv"
MADE_LATER = ("cameras.json", "cameras.xml", "transforms.json", "transforms_train.json")
"""Sidecars stay beside the photographs when cameras are made of them for other programs; those go first."""
HEAD_BYTES = 2000
MAX_CANDIDATES = 20
# From a camera that looks along -z with y up to one that looks along +z with y down.
FLIP = np.diag([1.0, -1.0, -1.0])


def find(root: Path) -> Path | None:
    """A CSV file with RealityCapture's columns; else, without other camera files, its sidecars' folder; or None."""
    try:
        tables = sorted(root.glob("*.csv"))[:MAX_CANDIDATES]
        table = next((path for path in tables if _is_table(path)), None)
        if table is not None or any((root / name).is_file() for name in MADE_LATER):
            return table
        return reality_capture_xmp.find(root)
    except OSError:
        return None


def accepts(path: Path) -> bool:
    """True for a CSV file with RealityCapture's columns, for one of its sidecars, and for a folder of them."""
    return _is_table(path) or reality_capture_xmp.accepts(path)


def _is_table(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return False
    return path.suffix.lower() == ".csv" and any(_columns(line) is not None for line in head.splitlines()[:3])


def _columns(line: str) -> dict[str, int] | None:
    """Positions of the columns by name, or None if this is not the line that names them."""
    words = [word.strip().strip('"').lstrip("#").lower() for word in line.split(",")]
    words = [ALIASES.get(word, word) for word in words]
    return {word: index for index, word in enumerate(words)} if {"name", *POSE} <= set(words) else None


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name; SceneError for anything that cannot be used."""
    is_table = camera_path.suffix.lower() == ".csv"
    notes: list[str] = []
    exported = _table(camera_path) if is_table else reality_capture_xmp.read_sidecars(camera_path, notes)
    photographs = photographs_of(root)
    named = _with_photographs(exported, photographs, camera_path, notes)
    chosen = [named[index] for index in selected_indices(view_range, len(named))]
    views = tuple(_view(name, camera, photographs, camera_path) for name, camera in chosen)
    return FoundScene(views, all_names=tuple(name for name, _ in named), notes=tuple(notes))


def _table(path: Path) -> list[Exported]:
    """The rows of a CSV file."""
    lines = read_text(path).splitlines()
    start = next((index for index, line in enumerate(lines[:3]) if _columns(line) is not None), None)
    columns = None if start is None else _columns(lines[start])
    if start is None or columns is None:
        raise SceneError(
            f"{path} has no line that names the columns {', '.join(('#name', *POSE))}.\n"
            "Export again: Alignment > Registration > Internal/External camera parameters."
        )
    rows = []
    try:
        for number, words in enumerate(csv.reader(lines[start + 1 :]), start=start + 2):
            if words and any(word.strip() for word in words):
                rows.append(_row(words, columns, f"{path.name}, line {number}"))
    except csv.Error as cause:
        raise SceneError(f"{path} is no CSV file that can be read: {cause}.\nExport it again.") from cause
    return rows


def _row(words: list[str], columns: dict[str, int], where: str) -> Exported:
    if len(words) <= max(columns[name] for name in ("name", *POSE)):
        raise SceneError(f"{where}: {len(words)} values where {len(columns)} were expected.\nExport the file again.")
    present = [name for name in LENS if name in columns and columns[name] < len(words)]
    numbers = finite_numbers([words[columns[name]] for name in (*POSE, *present)], where)
    values = dict.fromkeys(LENS, 0.0) | dict(zip((*POSE, *present), numbers, strict=True))
    rotation = camera_from_world_rotation(values["heading"], values["pitch"], values["roll"])
    return Exported(
        words[columns["name"]].strip(),
        rotation,
        np.array([values["x"], values["y"], values["alt"]]),
        values["f"],
        (values["px"], values["py"]),
        (values["k1"], values["k2"], values["k3"], values["k4"]),
        (values["t2"], values["t1"]),
        where,
    )


def camera_from_world_rotation(heading: float, pitch: float, roll: float) -> Float[np.ndarray, "3 3"]:
    """From the world to a camera that looks along +z with y down; angles in degrees.

    >>> camera_from_world_rotation(0.0, 0.0, 0.0)[2].tolist()
    [0.0, 0.0, -1.0]
    """
    a, p, r = np.deg2rad(np.fmod([-heading, pitch, roll], 360.0))
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    return (about_z @ about_x @ about_y @ FLIP).T


def angles(camera_from_world: Float[np.ndarray, "3 3"]) -> tuple[float, float, float]:
    """Heading, pitch and roll in degrees; the inverse of `camera_from_world_rotation`.

    At a pitch of 90 degrees only heading and roll together are determined: roll is then 0.
    """
    matrix = camera_from_world.T @ FLIP
    across = np.hypot(matrix[0, 1], matrix[1, 1])
    pitch = np.arctan2(matrix[2, 1], across)
    if across < 1e-9:
        return float(-np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))), float(np.rad2deg(pitch)), 0.0
    about_z, roll = np.arctan2(-matrix[0, 1], matrix[1, 1]), np.arctan2(-matrix[2, 0], matrix[2, 2])
    return float(-np.rad2deg(about_z)), float(np.rad2deg(pitch)), float(np.rad2deg(roll))


def _with_photographs(
    exported: list[Exported], photographs: Photographs, camera_path: Path, notes: list[str]
) -> list[tuple[str, Exported]]:
    """Cameras by the name of their photograph, sorted; SceneError if two share one, or none has one."""
    found: dict[str, Exported] = {}
    missing = []
    for camera in exported:
        name = photographs.find(camera.name, camera.where)
        if name is None:
            missing.append(camera.name)
        elif name in found:
            raise SceneError(f"{camera_path}: two cameras belong to the photograph {name}.\nExport the file again.")
        else:
            found[name] = camera
    if not found:
        raise SceneError(
            f"{camera_path} has {count_of(len(exported), 'camera')} and there is a photograph for none of them in "
            f"{photographs.folder}.\nPut the photographs into images/ beside the file."
        )
    notes.extend(missing_note(missing, len(exported), camera_path))
    return sorted(found.items())


def _view(name: str, camera: Exported, photographs: Photographs, camera_path: Path) -> View:
    path = path_inside(photographs.folder, name, f"{camera_path}")
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = camera.rotation
    with np.errstate(all="ignore"):
        camera_from_world[:3, 3] = -camera.rotation @ camera.centre
    return posed_view(name, path, _lens(camera, path), camera_from_world, camera.where)


def _lens(camera: Exported, path: Path) -> Any:
    """The lens for the photograph as it is stored: the file says nothing of its size."""
    height, width, _ = stored_shape(path)
    longer = max(height, width)
    focal = camera.focal * longer / FILM_WIDTH
    centre = (width / 2 + camera.offset[0] * longer, height / 2 + camera.offset[1] * longer)
    if not 0 < focal < 1e12:
        raise SceneError(f"{camera.where}: the focal length is {camera.focal:.4g} mm.\nExport the cameras again.")
    return polynomial_lens((width, height), (focal, focal), centre, camera.radial, camera.tangential, camera.where)


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: images/, masks/NAME.png, registration.csv.

    The cameras must have one focal length and no skew. The format has no place for points and the region of interest.
    """
    rows = ["#name,x,y,alt," + ",".join(POSE[3:]) + "," + ",".join(LENS)]
    for view in views:
        require_no_skew(view.camera, view.name)
        intrinsics, longer = view.camera.intrinsics, max(view.camera.width, view.camera.height)
        offset = intrinsics[:2, 2] - np.array([view.camera.width, view.camera.height]) / 2
        turned = angles(view.camera.camera_from_world[:3, :3])
        numbers = [*view.camera.centre, *turned, intrinsics[0, 0] * FILM_WIDTH / longer, *(offset / longer)]
        words = [_quoted(view.name), *(repr(float(value)) for value in numbers), *["0"] * 6]
        rows.append(",".join(words))
        view.save_image(folder / "images" / view.name)
        if view.has_mask:
            view.save_mask(folder / "masks" / f"{view.name}.png")
    write_text(folder / WRITTEN, "\n".join(rows) + "\n")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name
