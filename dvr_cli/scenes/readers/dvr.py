"""The layout of the original DVR implementation: image/, mask/, depth/*.exr, cameras.npz and pcl.npz.

`camera_mat_i @ world_mat_i` (4x4 each) takes the world to pixels in [-1, 1], (-1, -1) at the top left, with the depth
(camera z) in the third place. -1 stands for the centre of the first pixel and +1 for that of the one after the last, as
in the DTU scenes that were published so: pixel number = (x + 1) / 2 w, and 0.5 more from the corner. `scale_mat_i`
takes the cube [-0.5, 0.5]^3 around the object to the world.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError, SceneError
from dvr_cli.scenes.arrays import read_npz, write_npz
from dvr_cli.scenes.cameras import axes_meeting_point, camera_from_projection, checked_projection
from dvr_cli.scenes.file_contents import unread_note
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.readers.files import FoundScene, selected_indices
from dvr_cli.scenes.readers.idr import (
    HALF_PIXEL,
    agreed_scale_mat,
    camera_numbers,
    numbered_photographs,
    require_world_mats,
)
from dvr_cli.scenes.readers.numbered_matrices import has_camera_mat, has_intrinsics_apart
from dvr_cli.scenes.sparse_depth import checked_sparse_depth
from dvr_cli.scenes.views import Camera, SparseDepth, View
from dvr_cli.scenes.writing import WritableView

CAMERA_FILE, POINTS_FILE, DEPTH_FOLDER = "cameras.npz", "pcl.npz", "depth"
DEPTH_SUFFIXES = (".exr", ".npy", ".png")
HALF_DIAGONAL = np.sqrt(3) / 2
"""Of the cube with sides of 1: the unit ball becomes the ball around it."""


def find(root: Path) -> Path | None:
    """The camera file of this layout; None if there is none, or if it is one of the IDR layout.

    Both have the name cameras.npz and may hold `camera_mat_i`. It is this layout if the intrinsics are in there, which
    leaves `world_mat_i` a rigid motion, or if pcl.npz or depth/*.exr lie beside it.
    """
    path = root / CAMERA_FILE
    if not has_camera_mat(path):
        return None
    beside = (root / POINTS_FILE).is_file() or any((root / DEPTH_FOLDER).glob("*.exr"))
    return path if beside or has_intrinsics_apart(path) else None


def accepts(path: Path) -> bool:
    """True for a NumPy archive with `camera_mat_0`, if its `world_mat_0` is rigid or its folder is of this layout."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    return has_intrinsics_apart(path) or find(path.parent) == path


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views, cameras, region of interest, points of pcl.npz and depth maps; SceneError for anything unusable."""
    folder, names = numbered_photographs(root, camera_path, "docs/formats/dvr.md")
    matrices = read_npz(camera_path, SceneError)
    chosen = [names[index] for index in selected_indices(view_range, len(names))]
    number_of = camera_numbers(folder, names, matrices, camera_path)
    numbers = [number_of[name] for name in chosen]
    require_world_mats(numbers, matrices, camera_path, len(names))
    scale_mat = agreed_scale_mat(matrices, numbers, camera_path)
    shapes = [image_shape(folder / name) for name in chosen]
    projections = np.stack(
        [_projection(matrices, number, shape, camera_path) for number, shape in zip(numbers, shapes, strict=True)]
    )
    object_point = axes_meeting_point(projections) if scale_mat is None else scale_mat[:3, 3]
    views = tuple(
        View(name, camera_from_projection(projection, *shape, object_point, _where(camera_path, number)), folder / name)
        for name, projection, shape, number in zip(chosen, projections, shapes, numbers, strict=True)
    )
    world_from_unit = None if scale_mat is None else scale_mat @ np.diag([*[HALF_DIAGONAL] * 3, 1.0])
    return FoundScene(
        views,
        world_from_unit,
        "" if scale_mat is None else f"scale_mat in {camera_path.name}",
        sparse_depth=_points(root / POINTS_FILE, numbers),
        all_names=names,
        paired_by_order=True,
        depth_maps=_depth_maps(root / DEPTH_FOLDER, names, chosen),
        notes=unread_note(folder),
    )


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: image/, mask/ for views that have one, cameras.npz, and pcl.npz for points.

    Images are numbered in the order of the views, since this layout pairs by order. All points are said to be in the
    visual hull; without visibility every view sees all of them. The inverse of `read`.
    """
    matrices: dict[str, np.ndarray] = {}
    for index, view in enumerate(views):
        intrinsics = np.eye(4)
        intrinsics[:3, :3] = _normalised_from_pixels(view.camera.height, view.camera.width) @ view.camera.intrinsics
        matrices[f"camera_mat_{index}"] = intrinsics
        matrices[f"world_mat_{index}"] = view.camera.camera_from_world
        if world_from_unit is not None:
            matrices[f"scale_mat_{index}"] = world_from_unit @ np.diag([*[1 / HALF_DIAGONAL] * 3, 1.0])
        view.save_image(folder / "image" / f"{index:06d}{view.suffix}")
        if view.has_mask:
            view.save_mask(folder / "mask" / f"{index:06d}.png")
    if sparse is not None:
        write_npz(folder / POINTS_FILE, _point_arrays(sparse, [view.camera for view in views]))
    # Last, because this file is what makes the folder a scene.
    write_npz(folder / CAMERA_FILE, matrices)


def _normalised_from_pixels(height: int, width: int) -> Float[np.ndarray, "3 3"]:
    """From pixels counted from the corner of the image to [-1, 1]."""
    from_numbers = np.array([[2 / width, 0.0, -1.0], [0.0, 2 / height, -1.0], [0.0, 0.0, 1.0]])
    return from_numbers @ np.linalg.inv(HALF_PIXEL)


def _where(camera_path: Path, number: int) -> str:
    return f"{camera_path.parent.name}/{camera_path.name}: camera_mat_{number} world_mat_{number}"


def _projection(
    matrices: dict[str, np.ndarray], number: int, shape: tuple[int, int], camera_path: Path
) -> Float[np.ndarray, "3 4"]:
    """World to pixels counted from the corner."""
    key = f"camera_mat_{number}"
    where = f"{camera_path.parent.name}/{camera_path.name}"
    if key not in matrices:
        raise SceneError(
            f"{where} has no key '{key}'.\nExpected camera_mat_i for every world_mat_i (docs/formats/dvr.md)."
        )
    camera_mat, world_mat = matrices[key], matrices[f"world_mat_{number}"]
    if camera_mat.shape not in ((3, 3), (4, 4)) or camera_mat.dtype.kind not in "fiu":
        raise SceneError(
            f"{where}: {key} has shape {camera_mat.shape} and type {camera_mat.dtype}: expected 4x4 numbers.\n"
            "Write the intrinsics again, for pixels in [-1, 1] (docs/formats/dvr.md)."
        )
    motion = checked_projection(world_mat, f"{where}: world_mat_{number}")
    intrinsics = camera_mat[:3, :3].astype(np.float64)
    if not np.isfinite(intrinsics).all():
        raise SceneError(f"{where}: {key} holds values that are NaN or infinite.\nWrite the intrinsics again.")
    with np.errstate(over="ignore", invalid="ignore"):
        projection = np.linalg.inv(_normalised_from_pixels(*shape)) @ intrinsics @ motion
    return checked_projection(projection, _where(camera_path, number))


def _points(path: Path, numbers: list[int]) -> SparseDepth | None:
    """The points of pcl.npz that lie in the visual hull, where it says so; None without the file."""
    if not path.is_file():
        return None
    arrays = read_npz(path, SceneError)
    try:
        return _checked_points(arrays, numbers, path)
    except DepthError as cause:
        raise SceneError(f"{cause}\nOr move {path.name} away to do without it.") from cause


def _checked_points(arrays: dict[str, np.ndarray], numbers: list[int], path: Path) -> SparseDepth:
    named: dict[str, np.ndarray] = {key: arrays[key] for key in ("points", "colors") if key in arrays}
    colors = named.get("colors")
    if colors is not None and colors.dtype.kind == "f" and (colors > 1).any():
        named["colors"] = colors / 255
    sparse = checked_sparse_depth(named, str(path))
    count = len(sparse.points)
    in_hull = np.asarray(arrays.get("is_in_visual_hull", np.ones(count, dtype=bool)))
    if in_hull.shape != (count,) or in_hull.dtype.kind not in "biu" or not in_hull.astype(bool).any():
        raise DepthError(
            f"{path}: 'is_in_visual_hull' has shape {in_hull.shape} and marks {np.count_nonzero(in_hull)} points: "
            f"expected one truth value for each of {count} points, at least one of them true."
        )
    in_hull = in_hull.astype(bool)
    new_index = np.cumsum(in_hull) - 1
    pairs = []
    for view, number in enumerate(numbers):
        seen = _seen(arrays.get(f"visibility_{number:04d}"), count, f"{path}: visibility_{number:04d}")
        kept = new_index[seen[in_hull[seen]]]
        pairs.append(np.stack([np.full(len(kept), view), kept], axis=1))
    any_visibility = any(re.fullmatch(r"visibility_\d{4,9}", key) for key in arrays)
    return SparseDepth(
        sparse.points[in_hull],
        np.concatenate(pairs).astype(np.int64) if any_visibility else None,
        None,
        None if sparse.colors is None else sparse.colors[in_hull],
    )


def _seen(stored: np.ndarray | None, count: int, where: str) -> np.ndarray:
    """Indices of the points that a view sees, out of indices or truth values; none without an entry."""
    if stored is None:
        return np.zeros(0, dtype=np.int64)
    if stored.dtype.kind == "b" and stored.shape == (count,):
        return np.flatnonzero(stored)
    if (
        stored.dtype.kind in "iu"
        and stored.ndim == 1
        and (stored.size == 0 or 0 <= stored.min() <= stored.max() < count)
    ):
        return np.unique(stored.astype(np.int64))
    raise DepthError(
        f"{where} has shape {stored.shape} and type {stored.dtype}: expected the indices of the points that the view "
        f"sees, from 0 to {count - 1}."
    )


def _point_arrays(sparse: SparseDepth, cameras: Sequence[Camera]) -> dict[str, np.ndarray]:
    count = len(sparse.points)
    colors = np.full((count, 3), 0.5) if sparse.colors is None else sparse.colors
    arrays = {"points": sparse.points, "colors": colors, "is_in_visual_hull": np.ones(count, dtype=bool)}
    for view in range(len(cameras)):
        pairs = sparse.visibility
        seen = np.arange(count) if pairs is None else np.sort(pairs[pairs[:, 0] == view, 1])
        arrays[f"visibility_{view:04d}"] = seen
    return arrays


def _depth_maps(folder: Path, names: tuple[str, ...], chosen: list[str]) -> dict[str, Path]:
    """The depth map of each chosen view: of its stem, or at its position where there are as many as photographs."""
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in DEPTH_SUFFIXES and path.is_file())
    by_stem = {path.stem: path for path in reversed(files)}
    by_order = dict(zip(names, files, strict=True)) if len(files) == len(names) else {}
    found = {name: by_stem.get(Path(name).stem) or by_order.get(name) for name in chosen}
    return {name: path for name, path in found.items() if path is not None}
