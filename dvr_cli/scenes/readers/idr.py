"""The DTU/IDR layout: image/ or images/, mask/, and cameras.npz or cameras_sphere.npz.

`world_mat_i` = K [R | t] (4x4) projects the world to image i, counting whole numbers as pixel centres: the reader adds
0.5 to the principal point. `scale_mat_i`, when there is one, takes the unit ball around the object to the world.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.arrays import read_npz, write_npz
from dvr_cli.scenes.cameras import (
    axes_meeting_point,
    camera_from_projection,
    checked_projection,
    projection_of,
    similarity_from_scale_mat,
)
from dvr_cli.scenes.file_contents import unread_note, unread_text
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers.files import FoundScene, list_images, no_photographs, selected_indices
from dvr_cli.scenes.readers.missing import missing_note
from dvr_cli.scenes.readers.numbered_matrices import has_intrinsics_apart
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import Camera, SparseDepth, View
from dvr_cli.scenes.writing import PixelsToWrite, WritableView

# cameras_sphere.npz comes first: where both exist, its scale_mat is the tight one; the world matrices are the same.
CAMERA_FILES = ("cameras_sphere.npz", "cameras.npz")
IMAGE_FOLDERS = ("image", "images")
# From pixel centres at whole numbers to pixel centres at +0.5.
HALF_PIXEL = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


def find(root: Path) -> Path | None:
    """The camera file of this layout, None if there is none or its intrinsics are elsewhere, as DVR has them."""
    path = next((root / name for name in CAMERA_FILES if (root / name).is_file()), None)
    return None if path is None or has_intrinsics_apart(path) else path


def accepts(path: Path) -> bool:
    """True for a NumPy archive with its intrinsics in place: which matrices it holds is seen when it is read."""
    return path.suffix.lower() == ".npz" and path.is_file() and not has_intrinsics_apart(path)


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views, cameras and, from scale_mat, the region of interest; SceneError for anything that cannot be used."""
    folder, names = numbered_photographs(root, camera_path, "docs/formats/idr.md")
    matrices = read_npz(camera_path, SceneError)
    chosen = [names[index] for index in selected_indices(view_range, len(names))]
    numbers = camera_numbers(folder, names, matrices, camera_path)
    require_world_mats([numbers[name] for name in chosen], matrices, camera_path, len(names))
    projections = np.stack([_projection(matrices, numbers[name], camera_path) for name in chosen])
    world_from_unit = agreed_scale_mat(matrices, [numbers[name] for name in chosen], camera_path)
    object_point = axes_meeting_point(projections) if world_from_unit is None else world_from_unit[:3, 3]
    views = tuple(
        View(
            name,
            camera_from_projection(
                projection, *image_shape(folder / name), object_point, _key_name(camera_path, numbers[name])
            ),
            folder / name,
        )
        for name, projection in zip(chosen, projections, strict=True)
    )
    source = "" if world_from_unit is None else f"scale_mat in {camera_path.name}"
    without_photograph = sorted(set(_present(matrices, "world_mat")) - set(numbers.values()))
    notes = missing_note([f"number {n}" for n in without_photograph], len(names) + len(without_photograph), camera_path)
    notes += unread_note(folder)
    return FoundScene(views, world_from_unit, source, all_names=names, paired_by_order=True, notes=notes)


def numbered_photographs(root: Path, camera_path: Path, page: str) -> tuple[Path, tuple[str, ...]]:
    """The folder of photographs and their names, sorted; SceneError, with the page that describes it, for none."""
    folder = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    names = list_images(folder) if folder else ()
    if folder is None or not names:
        raise no_photographs(root, camera_path.name, IMAGE_FOLDERS, page)
    return folder, names


def _key_name(camera_path: Path, number: int) -> str:
    return f"{camera_path.parent.name}/{camera_path.name}: world_mat_{number}"


def _projection(matrices: dict[str, np.ndarray], number: int, camera_path: Path) -> Float[np.ndarray, "3 4"]:
    return HALF_PIXEL @ checked_projection(matrices[f"world_mat_{number}"], _key_name(camera_path, number))


def _present(matrices: dict[str, np.ndarray], prefix: str) -> list[int]:
    return sorted(int(match[1]) for key in matrices if (match := re.fullmatch(rf"{prefix}_(\d{{1,9}})", key)))


def camera_numbers(
    folder: Path, names: tuple[str, ...], matrices: dict[str, np.ndarray], camera_path: Path
) -> dict[str, int]:
    """Number of the camera of each image: its position, or the number in its name where images were left out."""
    present = _present(matrices, "world_mat")
    if len(present) <= len(names):
        return {name: index for index, name in enumerate(names)}
    stems = {name: Path(name).stem for name in names}
    numbers = {name: int(stem) for name, stem in stems.items() if stem.isdecimal()}
    if len(set(numbers.values()) & set(present)) == len(names):
        return numbers
    unread = f"; {text}" if (text := unread_text([folder])) else ""
    raise SceneError(
        f"{camera_path} has {count_of(len(present), 'camera')} for {count_of(len(names), 'image')}, and the names of "
        f"the images (such as {names[0]}) do not say which camera is theirs.\n"
        f"Expected one camera per image in sorted order, or images named by the number of their camera{unread}."
    )


def require_world_mats(
    numbers: list[int], matrices: dict[str, np.ndarray], camera_path: Path, image_count: int
) -> None:
    """SceneError that names the first missing matrix."""
    missing = [number for number in numbers if f"world_mat_{number}" not in matrices]
    if not missing:
        return
    present = _present(matrices, "world_mat")
    found = f"world_mat_{present[0]}..{present[-1]}" if present else "no world_mat at all"
    advice = f"Pass --views {present[0]}-{missing[0] - 1}, or w" if present and present[0] < missing[0] else "W"
    raise SceneError(
        f"{camera_path.parent.name}/{camera_path.name} has no key 'world_mat_{missing[0]}': found {found} for "
        f"{count_of(image_count, 'image')}.\n{advice}rite the missing matrices (docs/formats.md, section IDR)."
    )


def agreed_scale_mat(
    matrices: dict[str, np.ndarray], numbers: list[int], camera_path: Path
) -> Float[np.ndarray, "4 4"] | None:
    """`world_from_unit`, or None without scale_mat; SceneError if the views disagree about it."""
    present = [number for number in numbers if f"scale_mat_{number}" in matrices]
    if not present:
        return None
    first = similarity_from_scale_mat(matrices[f"scale_mat_{present[0]}"], f"{camera_path}: scale_mat_{present[0]}")
    for number in present[1:]:
        other = matrices[f"scale_mat_{number}"]
        tolerance = 1e-5 * np.abs(first).max()
        numbers_fit = other.shape == (4, 4) and other.dtype.kind in "fiu"
        if not (numbers_fit and np.allclose(other, first, rtol=1e-5, atol=tolerance)):
            raise SceneError(
                f"{camera_path}: scale_mat_{number} differs from scale_mat_{present[0]}: expected one region of "
                "interest for all views.\nWrite the same matrix for every view, or leave all scale_mat_* out."
            )
    return first


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: image/, mask/ for views that have one, cameras.npz, sparse.npz for points.

    Images are numbered in the order of the views, since this layout pairs by order. The inverse of `read`.
    """
    matrices: dict[str, np.ndarray] = {}
    for index, view in enumerate(views):
        world_mat = np.eye(4)
        world_mat[:3] = np.linalg.inv(HALF_PIXEL) @ projection_of(view.camera)
        matrices[f"world_mat_{index}"] = world_mat
        if world_from_unit is not None:
            matrices[f"scale_mat_{index}"] = world_from_unit
        view.save_image(folder / "image" / f"{index:06d}{view.suffix}")
        if view.has_mask:
            view.save_mask(folder / "mask" / f"{index:06d}.png")
    if sparse is not None:
        write_sparse_depth(folder / "sparse.npz", sparse)
    # Last, because this file is what makes the folder a scene.
    write_npz(folder / "cameras.npz", matrices)


def write_idr(
    folder: Path,
    cameras: Sequence[Camera],
    images: Sequence[Float[np.ndarray, "h w 3"]],
    masks: Sequence[Bool[np.ndarray, "h w"] | None],
    scale_mat: Float[np.ndarray, "4 4"] | None = None,
) -> None:
    """Write cameras and pixels in memory in this layout, images as 8-bit PNG; masks may be None."""
    views = [
        PixelsToWrite(f"{index:06d}.png", camera, image, mask)
        for index, (camera, image, mask) in enumerate(zip(cameras, images, masks, strict=True))
    ]
    write(folder, views, scale_mat)
