"""The LLFF layout: images/ and poses_bounds.npy, one row of 17 numbers for each image in sorted order.

A row is a 3x5 matrix, row by row, and the nearest and farthest depth. The columns of the matrix are the directions
down, right and backward of the camera and its position, all in the world, and (height, width, focal length) of the
image in pixels. Principal point in the middle of the image, which is w / 2 when the corner counts as (0, 0); no lens
distortion. images_4 and the like hold the same images smaller.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import replacing
from dvr_cli.scenes.arrays import read_npy
from dvr_cli.scenes.cameras import axes_meeting_point, projection_of, similarity_scale
from dvr_cli.scenes.file_contents import unread_text
from dvr_cli.scenes.lenses import lens, posed_view
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers.files import FoundScene, list_images, no_photographs, selected_indices
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import Camera, SparseDepth, View
from dvr_cli.scenes.writing import WritableView, centred_focal

CAMERA_FILE = "poses_bounds.npy"
ROW = 17
MAX_BYTES = 100_000_000
AXES = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""Right, down, forward as columns times this are down, right, backward; its own inverse."""
WHOLE = 1e-3
"""How far the sizes in the file may be from whole numbers: they are stored as floats."""


def find(root: Path) -> Path | None:
    """The camera file of this layout, None if there is none."""
    return root / CAMERA_FILE if (root / CAMERA_FILE).is_file() else None


def accepts(path: Path) -> bool:
    """True for a NumPy array: its shape is looked at when it is read."""
    return path.suffix.lower() == ".npy" and path.is_file()


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views and cameras; SceneError for anything that cannot be used.

    The depths in the file are no region of interest: the far one includes the background.
    """
    rows = _rows(camera_path)
    folder = _image_folder(root)
    names = list_images(folder) if folder else ()
    if folder is None or not names:
        raise no_photographs(root, camera_path.name, ("images", "images_N", "image"), "docs/formats/llff.md")
    if len(names) != len(rows):
        unread = f"; {text}" if (text := unread_text([folder])) else ""
        raise SceneError(
            f"{camera_path} has {count_of(len(rows), 'camera')} for {count_of(len(names), 'photograph')} in "
            f"{folder.name}/: its rows have no names and belong to the photographs in sorted order.\n"
            "Move away those that have no camera (COLMAP may not have registered them), or read the COLMAP model with "
            f"--format colmap, which knows the names{unread}."
        )
    views = tuple(
        _view(rows[index], folder / names[index], f"{camera_path.name}: row {index} ({names[index]})")
        for index in selected_indices(view_range, len(names))
    )
    notes = () if folder.name == "images" else (f"photographs are read from {folder.name}/: there is no images/",)
    return FoundScene(views, all_names=names, paired_by_order=True, notes=notes)


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: images/, mask/, poses_bounds.npy, sparse.npz for points.

    Images are numbered in the order of the views, since this layout pairs by order. SceneError for a camera with two
    focal lengths or off the middle. The depths span the unit ball, the points, or all that is nearer than twice where
    the cameras look, whichever is known. The inverse of `read` but for `world_from_unit`.
    """
    rows = np.empty((len(views), ROW))
    for index, view in enumerate(views):
        camera = view.camera
        pose = np.empty((3, 5))
        pose[:, :3] = camera.world_from_camera[:3, :3] @ AXES
        pose[:, 3] = camera.centre
        pose[:, 4] = camera.height, camera.width, centred_focal(camera, view.name)
        rows[index, :15] = pose.ravel()
    rows[:, 15:] = _depths([view.camera for view in views], world_from_unit, sparse)
    for index, view in enumerate(views):
        view.save_image(folder / "images" / f"{index:06d}{view.suffix}")
        if view.has_mask:
            view.save_mask(folder / "mask" / f"{index:06d}.png")
    if sparse is not None:
        write_sparse_depth(folder / "sparse.npz", sparse)
    # Last, because this file is what makes the folder a scene.
    with replacing(folder / CAMERA_FILE) as temporary:
        np.save(temporary, rows)


def _rows(camera_path: Path) -> Float[np.ndarray, "n 17"]:
    """The numbers of the file; SceneError unless there are 17 for each image."""
    rows = read_npy(camera_path, SceneError, MAX_BYTES)
    if rows.ndim != 2 or rows.shape[1] != ROW or len(rows) == 0 or rows.dtype.kind not in "fiu":
        raise SceneError(
            f"{camera_path} holds an array of shape {rows.shape} and type {rows.dtype}: expected numbers (N, {ROW}), "
            "one row for each image.\nWrite poses_bounds.npy again (docs/formats/llff.md)."
        )
    return rows.astype(np.float64)


def _image_folder(root: Path) -> Path | None:
    """images/, or the least shrunk of images_2/, images_4/, ..., or image/; None without any."""
    shrunk = []
    for path in root.iterdir():
        match = re.fullmatch(r"images_(\d{1,4})", path.name)
        if match and path.is_dir():
            shrunk.append((int(match[1]), path))
    folders = [root / "images", *(path for _, path in sorted(shrunk)), root / "image"]
    return next((folder for folder in folders if folder.is_dir() and list_images(folder)), None)


def _view(row: Float[np.ndarray, "17"], path: Path, where: str) -> View:
    pose = row[:15].reshape(3, 5)
    if not np.isfinite(pose).all() or np.abs(pose).max() > 1e100:
        raise SceneError(
            f"{where} holds values that are NaN or infinite: expected finite numbers.\n"
            "Write the row again, or leave this view out with --views."
        )
    height, width, focal = pose[:, 4].tolist()
    if abs(height - round(height)) > WHOLE or abs(width - round(width)) > WHOLE:
        raise SceneError(
            f"{where} has the image size {width}x{height}: expected whole numbers, in the fifth column height, width, "
            "focal length.\nWrite the row again (docs/formats/llff.md)."
        )
    camera = lens("SIMPLE_PINHOLE", round(width), round(height), [focal, round(width) / 2, round(height) / 2], where)
    rotation = (pose[:, :3] @ AXES).T
    return posed_view(path.name, path, camera, np.column_stack([rotation, -rotation @ pose[:, 3]]), where)


def _depths(
    cameras: Sequence[Camera], world_from_unit: Float[np.ndarray, "4 4"] | None, sparse: SparseDepth | None
) -> Float[np.ndarray, "n 2"]:
    """Nearest and farthest depth for each camera, world units; both are positive."""
    if world_from_unit is not None:
        radius = similarity_scale(world_from_unit)
        middle = np.array([camera.project(world_from_unit[None, :3, 3])[1][0] for camera in cameras])
        depths = np.stack([middle - radius, middle + radius], axis=1)
    elif sparse is not None:
        ahead = [camera.project(sparse.points)[1] for camera in cameras]
        depths = np.array([np.percentile(depth, [0.1, 99.9]) for depth in ahead])
    else:
        point = axes_meeting_point(np.stack([projection_of(camera) for camera in cameras]))
        # Cameras that look in parallel: the distance between them is the only length there is.
        centres = np.stack([camera.centre for camera in cameras])
        spread = 10 * max(float(np.linalg.norm(np.ptp(centres, axis=0))), 1e-9)
        farthest = [spread if point is None else 2 * camera.project(point[None])[1][0] for camera in cameras]
        depths = np.stack([np.zeros(len(cameras)), np.array(farthest)], axis=1)
    far = np.maximum(depths[:, 1], 1e-9)
    return np.stack([np.clip(depths[:, 0], 1e-3 * far, far), far], axis=1)
