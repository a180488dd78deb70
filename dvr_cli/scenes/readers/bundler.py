"""The layout of Bundler and of programs that export to it: bundle.out, and list.txt with the names of the photographs.

A camera looks along -z with x to the right and y up, and pixels are counted from the middle of the image, y up: the
corners lie at (+-w / 2, +-h / 2). Lens distortion is radial with two coefficients, which is COLMAP's RADIAL model with
the principal point in the middle. Cameras with focal length 0 were not registered.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError, SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.image_files import stored_shape
from dvr_cli.scenes.lenses import lens, posed_view
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers.bundler_file import HEADER, Bundle, read_bundle, reprojection_errors, write_bundle
from dvr_cli.scenes.readers.files import FoundScene, selected_indices
from dvr_cli.scenes.readers.missing import missing_note
from dvr_cli.scenes.readers.text_files import is_there, read_text
from dvr_cli.scenes.sparse_depth import checked_sparse_depth
from dvr_cli.scenes.views import SparseDepth, View
from dvr_cli.scenes.writing import WritableView, centred_focal

CAMERA_FILES = ("bundle.out", "bundle/bundle.out")
OTHER_CAMERA_FILES = "*.bundle.out"
"""As COLMAP exports it, with the list of names in *.list.txt."""
LIST_FILE = "list.txt"
IMAGE_FOLDERS = ("images", "image", ".")
FLIP = np.diag([1.0, -1.0, -1.0])
"""Between y up, looking along -z, and y down, looking along +z."""


def find(root: Path) -> Path | None:
    """The camera file of this layout, None if there is none."""
    usual = (root / name for name in CAMERA_FILES)
    return next((path for path in (*usual, *sorted(root.glob(OTHER_CAMERA_FILES))) if path.is_file()), None)


def accepts(path: Path) -> bool:
    """True for a file that starts as Bundler's do."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(HEADER)) == HEADER.encode()


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name, their lenses, and the points with their colours; SceneError for anything unusable.

    Photographs that are listed but missing, and cameras that were not registered, are left out, and said.
    """
    bundle = read_bundle(camera_path)
    listed = _listed_names(root, camera_path, len(bundle.focal))
    files = [_photograph(root, camera_path, name) for name in listed]
    registered = [index for index in range(len(listed)) if bundle.focal[index] != 0]
    found = {index: place for index in registered if (place := files[index]) is not None}
    if not found:
        raise SceneError(
            f"{camera_path} has {count_of(len(registered), 'registered camera')}, and none of their photographs is in "
            f"{root}.\nPut them there or into images/, under the names in list.txt (docs/formats/bundler.md)."
        )
    present = sorted(found, key=lambda index: found[index][0])
    names = tuple(found[index][0] for index in present)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SceneError(f"Two cameras of {camera_path} have the photograph {twice}.\nGive each its own in list.txt.")
    chosen = [present[position] for position in selected_indices(view_range, len(present))]
    views = tuple(_view(bundle, index, *found[index], camera_path) for index in chosen)
    missing = [listed[index] for index in registered if index not in found]
    folders = [folder / place for folder in (root, camera_path.parent) for place in IMAGE_FOLDERS]
    notes = missing_note(missing, len(registered), camera_path, folders)
    if len(registered) < len(listed):
        notes += (f"{len(listed) - len(registered)} of {len(listed)} cameras in {camera_path.name} are not registered",)
    return FoundScene(views, sparse_depth=_points(bundle, chosen, views, camera_path), all_names=names, notes=notes)


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: images/, mask/, list.txt, bundle.out with the points and who sees them.

    SceneError for a camera with two focal lengths or off the middle. The format has no place for the region of
    interest. The inverse of `read`.
    """
    cameras = [view.camera for view in views]
    focal = np.array([centred_focal(camera, view.name) for camera, view in zip(cameras, views, strict=True)])
    points = np.zeros((0, 3)) if sparse is None else sparse.points
    grey = np.full((len(points), 3), 0.5)
    colors = grey if sparse is None or sparse.colors is None else sparse.colors
    none = np.zeros((0, 2), dtype=np.int64)
    seen = none if sparse is None or sparse.visibility is None else sparse.visibility
    places = np.zeros((len(seen), 2))
    for index, camera in enumerate(cameras):
        of_camera = seen[:, 0] == index
        pixels, _ = camera.project(points[seen[of_camera, 1]])
        places[of_camera] = (pixels - np.array([camera.width, camera.height]) / 2) * np.array([1.0, -1.0])
    # A point behind a camera is seen nowhere.
    kept = np.isfinite(places).all(axis=1)
    motions = np.stack([FLIP @ camera.camera_from_world[:3] for camera in cameras])
    for view in views:
        view.save_image(folder / "images" / view.name)
        if view.has_mask:
            view.save_mask(folder / "mask" / f"{view.name}.png")
    write_text(folder / "list.txt", "".join(f"images/{view.name}\n" for view in views))
    # Last, because this file is what makes the folder a scene.
    bundle = Bundle(focal, np.zeros((len(views), 2)), motions, points, 255 * colors, seen[kept], places[kept])
    write_bundle(bundle, folder / "bundle.out")


def _listed_names(root: Path, camera_path: Path, cameras: int) -> list[str]:
    """The names of the photographs, one for each camera; a focal length behind a name is cut off."""
    folders = dict.fromkeys((camera_path.parent, root))
    stem = camera_path.name.removesuffix(".out").removesuffix(".bundle")
    names = (f"{stem}.list.txt", LIST_FILE)
    path = next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)
    if path is None:
        raise SceneError(
            f"There is no list.txt beside {camera_path}: nothing says which photograph belongs to which camera.\n"
            "Expected one name on each line, in the order of the cameras; copy it from where the cameras were made."
        )
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if len(lines) != cameras:
        raise SceneError(
            f"{path} names {count_of(len(lines), 'photograph')}, {camera_path.name} has "
            f"{count_of(cameras, 'camera')}.\nExpected one name for each camera, registered or not, in the same order; "
            "copy both files from one place."
        )
    return [re.sub(r"\s+0(?:\s+[-+.0-9eE]{1,40})?$", "", line) for line in lines]


def _photograph(root: Path, camera_path: Path, listed: str) -> tuple[str, Path] | None:
    """Name and path of a listed photograph that lies in the scene; None if it does not.

    A path that is absolute or climbs comes from another machine: its last part is looked for in the scene instead.
    """
    if "\0" in listed:
        return None
    pure = PurePosixPath(listed.replace("\\", "/"))
    elsewhere = pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:", listed)
    relative = [] if elsewhere else [pure]
    if relative and len(pure.parts) > 1 and pure.parts[0] in IMAGE_FOLDERS:
        relative.insert(0, PurePosixPath(*pure.parts[1:]))
    if pure.name and pure.name != "..":
        relative.append(PurePosixPath(pure.name))
    for folder in dict.fromkeys((root, camera_path.parent)):
        for name in relative:
            for place in IMAGE_FOLDERS:
                if is_there(folder / place / name):
                    return name.as_posix(), folder / place / name
    return None


def _view(bundle: Bundle, index: int, name: str, path: Path, camera_path: Path) -> View:
    """One view; Bundler's cameras have no size but that of their photograph, as it is stored."""
    where = f"{camera_path.name}: camera {index} ({name})"
    height, width, _ = stored_shape(path)
    parameters = [float(bundle.focal[index]), width / 2, height / 2, *bundle.distortion[index].tolist()]
    camera = lens("RADIAL", width, height, parameters, where)
    return posed_view(name, path, camera, FLIP @ bundle.camera_from_world[index], where)


def _points(bundle: Bundle, chosen: list[int], views: tuple[View, ...], camera_path: Path) -> SparseDepth | None:
    """The points, with visibility for the chosen cameras; None if the file holds none."""
    if not len(bundle.points):
        return None
    position = np.full(len(bundle.focal), -1)
    position[chosen] = np.arange(len(chosen))
    view = position[bundle.seen[:, 0]]
    pairs = np.stack([view, bundle.seen[:, 1]], axis=1)[view >= 0]
    arrays = {
        "points": bundle.points,
        "visibility": np.unique(pairs, axis=0).reshape(-1, 2),
        "colors": np.clip(bundle.colors, 0, 255) / 255,
    }
    error = reprojection_errors(bundle)
    if error is not None:
        arrays["error"] = error
    try:
        return checked_sparse_depth(arrays, str(camera_path), len(views))
    except DepthError as cause:
        raise SceneError(str(cause)) from cause
