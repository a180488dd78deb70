"""transforms.json as nerfstudio and instant-ngp have it: photographs with lens, pose and perhaps masks and depth.

The world is that of the file's matrices, which is also that of its points: `applied_transform`, by which nerfstudio
says how it has turned COLMAP's world, is in them already and is not undone. How far instant-ngp's grid reaches
(`aabb_scale`, `scale`, `offset`) says nothing of where the object is and is left alone.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.cameras import similarity_from_scale_mat
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.lenses import posed_view
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.ply_points import write_ply_points
from dvr_cli.scenes.readers.files import (
    FEWEST_VIEWS,
    IMAGE_SUFFIXES,
    FoundScene,
    MaskFile,
    path_inside,
    selected_indices,
)
from dvr_cli.scenes.readers.json_files import listed_objects, number, number_array, read_json_object, text
from dvr_cli.scenes.readers.missing import missing_note, named_missing
from dvr_cli.scenes.readers.transforms_cameras import frame_lens, frame_pose, transform_matrix
from dvr_cli.scenes.sparse_depth import read_sparse_depth
from dvr_cli.scenes.views import SparseDepth, View
from dvr_cli.scenes.writing import WritableView, require_no_skew

CAMERA_FILE = "transforms.json"
POINTS_FILE = "sparse_pc.ply"
REGION = "world_from_unit"
"""A key of ours, which other programs pass over: the region of interest, unit ball to world."""
MILLIMETRE = 0.001
"""World units of one step of a depth map that nerfstudio reads, where it is not told otherwise."""
LISTED = 8
"""So many missing photographs are named."""
LONGEST_SHOWN = 200
"""Characters of a stranger's file name in a message."""


@dataclass(frozen=True)
class Frame:
    """One entry of `frames` whose photograph is there."""

    name: str
    """Name of the view: the photograph's path without the folders that all of them share."""
    path: Path
    values: Mapping[str, Any]
    where: str
    """File and number of the frame, for messages."""


def find(root: Path) -> Path | None:
    """transforms.json, None if there is none."""
    path = root / CAMERA_FILE
    return path if path.is_file() else None


def accepts(path: Path) -> bool:
    """True for a JSON file."""
    return path.suffix.lower() == ".json" and path.is_file()


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name, masks, depth maps and points that the file names; SceneError for unusable input."""
    top = read_json_object(camera_path)
    folders = tuple(dict.fromkeys((camera_path.parent, root)))
    frames, notes = present_frames(top, folders, camera_path)
    chosen = [frames[index] for index in selected_indices(view_range, len(frames))]
    views = tuple(_view(frame, top) for frame in chosen)
    masks, mask_notes = _named_files(chosen, ("mask_path",), folders, "mask")
    depth_maps, depth_notes = _named_files(chosen, ("depth_file_path", "depth_path"), folders, "depth map")
    sparse, point_notes = _points(top, folders, tuple(frame.name for frame in chosen), camera_path)
    region = _region(top, camera_path)
    return FoundScene(
        views,
        region,
        "" if region is None else f"{REGION} in {camera_path.name}",
        sparse,
        all_names=tuple(frame.name for frame in frames),
        masks={name: MaskFile(path) for name, path in masks.items()},
        depth_maps=depth_maps,
        depth_scale=_depth_scale(top, str(camera_path)) if depth_maps else None,
        notes=(*notes, *mask_notes, *depth_notes, *point_notes),
    )


def present_frames(
    top: Mapping[str, Any], folders: tuple[Path, ...], camera_path: Path
) -> tuple[list[Frame], tuple[str, ...]]:
    """The frames whose photographs exist, sorted by name, and a note on those whose do not.

    SceneError if fewer than two of several are left, or two frames have the same photograph.
    """
    entries = listed_objects(top, "frames", str(camera_path))
    found: dict[PurePosixPath, tuple[Path, int]] = {}
    missing: list[tuple[str, str]] = []
    for index, entry in enumerate(entries):
        where = f"{camera_path}: frame {index}"
        given = text(entry, "file_path", where)
        if not given:
            raise SceneError(f"{where} has no file_path.\nExpected the photograph's path, relative to the file.")
        photograph = _photograph(given, folders, where)
        if photograph is None:
            missing.append((given, f"frame {index}"))
            continue
        key, path = photograph
        if key in found:
            raise SceneError(
                f"{where} has the photograph of frame {found[key][1]}, {given}: expected one pose for each.\n"
                "Remove one of the two frames."
            )
        found[key] = path, index
    names, places = [name for name, _ in missing], [place for _, place in missing]
    if missing and len(found) < FEWEST_VIEWS:
        raise SceneError(
            f"{camera_path} lists {count_of(len(entries), 'photograph')}, of which {len(found)} exist; missing: "
            f"{named_missing(names, folders, places)}.\nPut the photographs where the file says, relative to it."
        )
    shared = _shared_folder(list(found))
    frames = [
        Frame(key.relative_to(shared).as_posix(), path, entries[index], f"{camera_path}: frame {index}")
        for key, (path, index) in found.items()
    ]
    notes = missing_note(names, len(entries), camera_path, folders, places)
    return sorted(frames, key=lambda frame: frame.name), notes


def _photograph(given: str, folders: Sequence[Path], where: str) -> tuple[PurePosixPath, Path] | None:
    """Name and place of the existing file that a `file_path` means, with or without a suffix; None if there is none."""
    suffixes = ("", *IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES))
    for folder in folders:
        for suffix in suffixes:
            path = path_inside(folder, given + suffix, where)
            # Unlike Path.is_file, this has an answer for names that are too long.
            if os.path.isfile(path):
                return PurePosixPath(path.relative_to(folder).as_posix()), path
    return None


def _view(frame: Frame, top: Mapping[str, Any]) -> View:
    camera = frame_lens(frame.values, top, image_shape(frame.path), frame.where)
    return posed_view(frame.name, frame.path, camera, frame_pose(frame.values, frame.where), frame.where)


def _shared_folder(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    """The deepest folder that holds all photographs."""
    shared = paths[0].parent
    while not all(path.is_relative_to(shared) for path in paths):
        shared = shared.parent
    return shared


def _named_files(
    frames: Sequence[Frame], keys: tuple[str, ...], folders: tuple[Path, ...], what: str
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The files that the frames name under one of `keys`, by view, and a note on missing ones."""
    files: dict[str, Path] = {}
    missing = []
    for frame in frames:
        given = next((name for key in keys if (name := text(frame.values, key, frame.where))), None)
        if given is None:
            continue
        path = next((p for f in folders if os.path.isfile(p := path_inside(f, given, frame.where))), None)
        if path is None:
            missing.append(given[:LONGEST_SHOWN])
        else:
            files[frame.name] = path
    if not missing:
        return files, ()
    named = count_of(len(missing), f"{what} that a frame names is", f"{what}s that the frames name are")
    return files, (f"{named} missing: {listed(missing, LISTED)}",)


def _points(
    top: Mapping[str, Any], folders: tuple[Path, ...], names: tuple[str, ...], camera_path: Path
) -> tuple[SparseDepth | None, tuple[str, ...]]:
    """The cloud that nerfstudio writes beside the cameras, in the world of the matrices."""
    given = text(top, "ply_file_path", str(camera_path))
    if not given:
        return None, ()
    path = next((p for f in folders if os.path.isfile(p := path_inside(f, given, str(camera_path)))), None)
    if path is None:
        return None, (f"the points that {camera_path.name} names are missing: {given}",)
    return read_sparse_depth(path, names), ()


def _depth_scale(top: Mapping[str, Any], where: str) -> float:
    """World units of one step of the file's depth maps: instant-ngp says it, nerfstudio's are millimetres.

    Of whole numbers and of arrays alike; `applied_scale` is what nerfstudio has multiplied the world with.
    """
    given = number(top, "integer_depth_scale", where)
    if given is None:
        applied = number(top, "applied_scale", where)
        given = MILLIMETRE * (1.0 if applied is None else applied)
    if not 0 < given < 1e100:
        raise SceneError(
            f"{where}: applied_scale or integer_depth_scale makes depths {given:g} times what the maps hold.\n"
            "Expected a positive number; correct it."
        )
    return given


def _region(top: Mapping[str, Any], camera_path: Path) -> Float[np.ndarray, "4 4"] | None:
    if REGION not in top:
        return None
    where = f"{camera_path}: {REGION}"
    return similarity_from_scale_mat(number_array(top[REGION], (4, 4), REGION, str(camera_path)), where)


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write images/, masks/NAME.png, transforms.json with the intrinsics of each frame, and sparse_pc.ply.

    SceneError for a camera with skew. Which view saw which point is lost. The inverse of `read`.
    """
    frames = []
    for view in views:
        require_no_skew(view.camera, view.name)
        view.save_image(folder / "images" / view.name)
        frame = {"file_path": f"images/{view.name}", **_intrinsics(view)}
        if view.has_mask:
            view.save_mask(folder / "masks" / f"{view.name}.png")
            frame["mask_path"] = f"masks/{view.name}.png"
        frames.append({**frame, "transform_matrix": transform_matrix(view.camera)})
    top = {"camera_model": "PINHOLE", **extras(folder, world_from_unit, sparse)}
    write_text(folder / CAMERA_FILE, json.dumps({**top, "frames": frames}, indent=1))


def extras(
    folder: Path, world_from_unit: Float[np.ndarray, "4 4"] | None, sparse: SparseDepth | None
) -> dict[str, Any]:
    """What stands at the top of the file for region and points; the points are written."""
    top: dict[str, Any] = {}
    if world_from_unit is not None:
        top[REGION] = world_from_unit.tolist()
    if sparse is not None:
        write_ply_points(folder / POINTS_FILE, sparse)
        top["ply_file_path"] = POINTS_FILE
    return top


def _intrinsics(view: WritableView) -> dict[str, Any]:
    camera = view.camera
    return {
        "fl_x": float(camera.intrinsics[0, 0]),
        "fl_y": float(camera.intrinsics[1, 1]),
        "cx": float(camera.intrinsics[0, 2]),
        "cy": float(camera.intrinsics[1, 2]),
        "w": camera.width,
        "h": camera.height,
    }
