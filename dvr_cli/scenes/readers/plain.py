"""Our plain format: cameras.json or cameras.csv, made to be written by hand or by a few lines of any script.

docs/formats/plain.md describes it. What stands at the top of the JSON file holds for every view that says nothing else.
"""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.cameras import ball_similarity, similarity_from_scale_mat
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.lenses import posed_view
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers.files import FEWEST_VIEWS, FoundScene, MaskFile, path_inside, selected_indices
from dvr_cli.scenes.readers.json_files import (
    MAX_JSON_BYTES,
    listed_objects,
    number,
    number_array,
    read_json_object,
    text,
)
from dvr_cli.scenes.readers.missing import missing_note, named_missing
from dvr_cli.scenes.readers.plain_cameras import CAMERA_KEYS, VIEW_KEYS, check_keys, view_lens, view_pose
from dvr_cli.scenes.readers.text_files import finite_numbers, read_text
from dvr_cli.scenes.sparse_depth import read_sparse_depth, write_sparse_depth
from dvr_cli.scenes.views import SparseDepth
from dvr_cli.scenes.writing import WritableView, require_no_skew

CAMERA_FILES = ("cameras.json", "cameras.csv")
POINTS_FILE = "sparse.npz"
IMAGE_FOLDERS = ("images", "image", ".")
TOP_KEYS = ("views", "points", "object_centre", "object_radius", "world_from_unit", "comment", *CAMERA_KEYS, "up")
TEXT_COLUMNS = ("name", "mask", "model", "comment")
VECTOR_COLUMNS = {
    **{key: tuple(f"{key}_{axis}" for axis in "xyz") for key in ("position", "look_at", "up")},
    "quaternion": tuple(f"quaternion_{axis}" for axis in "wxyz"),
}
"""A vector's columns in the CSV file."""
NUMBER_COLUMNS = ("width", "height", "fx", "fy", "cx", "cy")
HEADER_BYTES = 65536


def find(root: Path) -> Path | None:
    """cameras.json or cameras.csv of this format; None if there is none."""
    return next((root / name for name in CAMERA_FILES if accepts(root / name)), None)


def accepts(path: Path) -> bool:
    """True for a JSON object with "views", and for a CSV file with columns `name` and `fx`."""
    try:
        with path.open("rb") as stream:
            start = stream.read(HEADER_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return False
    if path.suffix.lower() == ".csv":
        header = start.split(b"\n")[0].replace(b";", b",").replace(b"\t", b",")
        return {b"name", b"fx"} <= {word.strip(b' \t\r"') for word in header.split(b",")}
    return path.suffix.lower() == ".json" and start.startswith(b"{") and b'"views"' in start


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name, with masks, points and region where the file names them; SceneError for unusable input."""
    top = _table(camera_path) if camera_path.suffix.lower() == ".csv" else read_json_object(camera_path)
    check_keys(top, TOP_KEYS, str(camera_path))
    folders = tuple(dict.fromkeys((camera_path.parent, root)))
    entries = listed_objects(top, "views", str(camera_path))
    present, notes = _present(entries, folders, camera_path)
    chosen = [present[index] for index in selected_indices(view_range, len(present))]
    views, masks = [], {}
    for name, path, index in chosen:
        where = f"{camera_path}: view {index} ({name})"
        check_keys(entries[index], VIEW_KEYS, where)
        values = {**{key: top[key] for key in (*CAMERA_KEYS, "up") if key in top}, **entries[index]}
        camera = view_lens(values, image_shape(path), where)
        views.append(posed_view(name, path, camera, view_pose(values, where), where))
        if mask := text(values, "mask", where):
            masks[name] = MaskFile(_existing(mask, folders, where))
    names, all_names = (tuple(name for name, _, _ in group) for group in (chosen, present))
    points = text(top, "points", str(camera_path))
    sparse = read_sparse_depth(_existing(points, folders, str(camera_path)), names, all_names) if points else None
    region = _region(top, str(camera_path))
    return FoundScene(
        tuple(views),
        region,
        "" if region is None else f"{camera_path.name}",
        sparse,
        all_names=all_names,
        masks=masks,
        notes=notes,
    )


def _present(
    entries: Sequence[Mapping[str, Any]], folders: Sequence[Path], camera_path: Path
) -> tuple[list[tuple[str, Path, int]], tuple[str, ...]]:
    """Name, photograph and number of the views whose photograph exists, sorted by name, and a note on the others."""
    found: dict[str, tuple[str, Path, int]] = {}
    image_folders = [folder / images for folder in folders for images in IMAGE_FOLDERS]
    missing: list[str] = []
    numbers: list[str] = []
    for index, entry in enumerate(entries):
        where = f"{camera_path}: view {index}"
        name = text(entry, "name", where)
        if not name:
            raise SceneError(f"{where} has no name.\nExpected the file name of its photograph.")
        places = [path_inside(folder, name, where) for folder in image_folders]
        path = next((place for place in places if os.path.isfile(place)), None)
        if name in found:
            raise SceneError(f"{where} has the name of view {found[name][2]}, {name}.\nRemove one of the two.")
        if path is None:
            missing.append(name)
            numbers.append(f"view {index}")
        else:
            found[name] = name, path, index
    if missing and len(found) < FEWEST_VIEWS:
        raise SceneError(
            f"{camera_path} lists {count_of(len(entries), 'photograph')}, of which {len(found)} exist; missing: "
            f"{named_missing(missing, image_folders, numbers)}.\n"
            "Put the photographs into images/ beside it, or beside the file itself."
        )
    return sorted(found.values()), missing_note(missing, len(entries), camera_path, image_folders, numbers)


def _existing(name: str, folders: Sequence[Path], where: str) -> Path:
    """A file that the camera file names, relative to it; SceneError if there is none."""
    path = next((p for folder in folders if os.path.isfile(p := path_inside(folder, name, where))), None)
    if path is None:
        raise SceneError(f"{where} names {name[:200]!r}, which does not exist.\nExpected a path relative to the file.")
    return path


def _region(top: Mapping[str, Any], where: str) -> Float[np.ndarray, "4 4"] | None:
    """`world_from_unit`, given as such or as centre and radius of the object; None if neither is there."""
    if "world_from_unit" in top:
        matrix = number_array(top["world_from_unit"], (4, 4), "world_from_unit", where)
        return similarity_from_scale_mat(matrix, f"{where}: world_from_unit")
    radius = number(top, "object_radius", where)
    if radius is None and "object_centre" not in top:
        return None
    if radius is None or not 1e-100 < radius < 1e100:
        raise SceneError(f"{where}: object_radius is {radius}: expected a length.\nWrite it beside object_centre.")
    centre = number_array(top.get("object_centre"), (3,), "object_centre", where)
    return np.linalg.inv(ball_similarity(centre, radius))


def _table(path: Path) -> dict[str, Any]:
    """The rows of a CSV file as the views of a JSON one; empty cells count as not there."""
    content = read_text(path, MAX_JSON_BYTES).lstrip()
    header = content.split("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = [
            [cell.strip() for cell in row]
            for row in csv.reader(io.StringIO(content), delimiter=delimiter, skipinitialspace=True)
            if any(cell.strip() for cell in row) and not row[0].startswith("#")
        ]
    except csv.Error as cause:
        raise SceneError(f"{path} cannot be read as a table: {cause}.\nWrite it again.") from cause
    columns = rows[0]
    known = (
        *TEXT_COLUMNS,
        *NUMBER_COLUMNS,
        "distortion",
        *(name for names in VECTOR_COLUMNS.values() for name in names),
    )
    check_keys(dict.fromkeys(columns), known, f"{path}, first line")
    if len(set(columns)) < len(columns):
        raise SceneError(f"{path}, first line: a column stands there twice.\nRemove one of them.")
    views = []
    for index, row in enumerate(rows[1:]):
        if len(row) != len(columns):
            raise SceneError(
                f"{path}: view {index} has {len(row)} cells, the first line names {len(columns)} columns.\n"
                "Write one cell for each, an empty one where there is nothing to say; numbers with a decimal point."
            )
        views.append(_entry({c: cell for c, cell in zip(columns, row, strict=True) if cell}, f"{path}: view {index}"))
    return {"views": views}


def _entry(cells: Mapping[str, str], where: str) -> dict[str, Any]:
    """One row as the keys and values of the JSON file."""
    entry: dict[str, Any] = {key: cells[key] for key in TEXT_COLUMNS if key in cells}
    entry |= {key: finite_numbers([cells[key]], f"{where}: {key}")[0] for key in NUMBER_COLUMNS if key in cells}
    if "distortion" in cells:
        entry["distortion"] = finite_numbers(cells["distortion"].split(), f"{where}: distortion")
    for key, names in VECTOR_COLUMNS.items():
        words = [cells[name] for name in names if name in cells]
        if words:
            entry[key] = finite_numbers(words, f"{where}: {key}")
    return entry


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write images/, masks/NAME.png, cameras.json and sparse.npz; SceneError for a camera with skew.

    The inverse of `read`.
    """
    lines = []
    for view in views:
        require_no_skew(view.camera, view.name)
        view.save_image(folder / "images" / view.name)
        values = _camera_values(view)
        if view.has_mask:
            view.save_mask(folder / "masks" / f"{view.name}.png")
            values["mask"] = f"masks/{view.name}.png"
        lines.append(json.dumps(values, ensure_ascii=False))
    top = []
    if world_from_unit is not None:
        top.append(f'"world_from_unit": {json.dumps(world_from_unit.tolist())}')
    if sparse is not None:
        write_sparse_depth(folder / POINTS_FILE, sparse, tuple(view.name for view in views))
        top.append(f'"points": "{POINTS_FILE}"')
    top.append('"views": [\n  ' + ",\n  ".join(lines) + "\n ]")
    write_text(folder / CAMERA_FILES[0], "{\n " + ",\n ".join(top) + "\n}\n")


def _camera_values(view: WritableView) -> dict[str, Any]:
    camera = view.camera
    return {
        "name": view.name,
        "width": camera.width,
        "height": camera.height,
        "fx": float(camera.intrinsics[0, 0]),
        "fy": float(camera.intrinsics[1, 1]),
        "cx": float(camera.intrinsics[0, 2]),
        "cy": float(camera.intrinsics[1, 2]),
        "camera_from_world": camera.camera_from_world.tolist(),
    }
