"""A COLMAP model (binary or text, with or without rigs) beside its folder of photographs.

Every camera model that can be undistorted to a pinhole image is accepted: `View.camera` is then the pinhole camera and
`View.distorted` what the pixels were taken with. COLMAP's pixel convention is ours: (0, 0) is the corner of the image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError, SceneError
from dvr_cli.scenes.lenses import lens, posed_view
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.readers.colmap_files import binary_image_count, read_binary_model
from dvr_cli.scenes.readers.colmap_model import ModelFiles, PosedImage, posed_images
from dvr_cli.scenes.readers.colmap_text import read_text_model, text_image_count
from dvr_cli.scenes.readers.files import FoundScene, no_photographs, path_inside, selected_indices
from dvr_cli.scenes.readers.missing import missing_note, named_missing
from dvr_cli.scenes.readers.text_files import is_there
from dvr_cli.scenes.sparse_depth import checked_sparse_depth
from dvr_cli.scenes.views import Camera, SparseDepth, View
from dvr_cli.scenes.writing import WritableView, require_no_skew

MODELS = "sparse"
"""The folder of a model, or of several in folders 0, 1, 2, ...: COLMAP writes one for each part that it cannot join."""
IMAGE_FOLDERS = ("images", "image")


def find(root: Path) -> Path | None:
    """The folder of the model: sparse/0, sparse, or the first of sparse/1, sparse/2, ...; None if there is none."""
    folder = root / MODELS
    return next((place for place in (folder / "0", folder, *_numbered_models(folder)) if is_model(place)), None)


def accepts(path: Path) -> bool:
    """True for a folder that holds a model."""
    return path.is_dir() and is_model(path)


def read(root: Path, folder: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name, pinhole cameras, and the points of the model in `folder`; SceneError for unusable input."""
    model = read_model(folder)
    images, without_pose = posed_images(model, folder)
    _require_own_names(images, folder)
    image_folder = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    if image_folder is None:
        raise no_photographs(root, "a COLMAP model", IMAGE_FOLDERS, "docs/formats/colmap.md")
    present, missing_notes = _present(images, image_folder, folder)
    chosen = [present[index] for index in selected_indices(view_range, len(present))]
    views = tuple(_view(model, image, image_folder, folder) for image in chosen)
    sparse = _points(model, {image.image_id: index for index, image in enumerate(chosen)}, len(views), folder)
    notes = (*_other_models_note(root, folder), *missing_notes, *_without_pose_note(without_pose))
    return FoundScene(views, sparse_depth=sparse, all_names=tuple(image.name for image in present), notes=notes)


def _present(images: list[PosedImage], image_folder: Path, folder: Path) -> tuple[list[PosedImage], tuple[str, ...]]:
    """The images whose photographs are there, and a note on the others; SceneError if there is none."""
    present = [image for image in images if is_there(path_inside(image_folder, image.name, f"{folder}"))]
    names = {image.name for image in present}
    missing = [image.name for image in images if image.name not in names]
    if not present:
        raise SceneError(
            f"{folder} lists {count_of(len(images), 'photograph')}, and none of them is in {image_folder}: "
            f"{named_missing(missing, [image_folder])}.\n"
            "Put them there under the names that the model has, or correct these names and export the model again."
        )
    return present, missing_note(missing, len(images), folder, [image_folder])


def _numbered_models(folder: Path) -> list[Path]:
    """The models in folders 0, 1, 2, ... of a folder, in this order."""
    try:
        numbered = [path for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()]
    except OSError:
        return []
    return sorted((path for path in numbered if is_model(path)), key=lambda path: (int(path.name[:18]), path.name))


def _other_models_note(root: Path, folder: Path) -> tuple[str, ...]:
    """Which of several models was chosen, and how many images each has."""
    models = _numbered_models(root / MODELS)
    if folder != find(root) or len(models) < 2 or folder not in models:
        return ()
    counted = {path: f"{MODELS}/{path.name} ({_image_count_text(path)})" for path in models}
    others = listed(text for path, text in counted.items() if path != folder)
    return (f"{counted[folder]} is read, one of {len(models)} models; --colmap FOLDER names another: {others}",)


def _image_count_text(folder: Path) -> str:
    read_count = binary_image_count if (folder / "cameras.bin").is_file() else text_image_count
    count = read_count(folder)
    return "unreadable" if count is None else count_of(count, "image")


def _without_pose_note(without_pose: list[str]) -> tuple[str, ...]:
    if not without_pose:
        return ()
    one, several = "image of the model has no pose and is", "images of the model have no pose and are"
    return (f"{count_of(len(without_pose), one, several)} left out: {listed(without_pose)}",)


def read_model(folder: Path) -> ModelFiles:
    """The model in a folder, as its files have it; SceneError if it is missing or damaged."""
    if not is_model(folder):
        raise SceneError(
            f"{folder} holds no COLMAP model.\nExpected cameras, images and points3D, all .bin or all .txt; pass "
            "--colmap."
        )
    return read_binary_model(folder) if (folder / "cameras.bin").is_file() else read_text_model(folder)


def read_points(folder: Path, view_names: tuple[str, ...]) -> SparseDepth:
    """The points of a model with visibility for the named views; DepthError if it cannot be used."""
    try:
        model = read_model(folder)
    except SceneError as cause:
        raise DepthError(str(cause)) from cause
    view_index = {name: index for index, name in enumerate(view_names)}
    index_of_image = {image.image_id: view_index[image.name] for image in model.images if image.name in view_index}
    sparse = _points(model, index_of_image, len(view_names), folder)
    if sparse is None:
        raise DepthError(f"{folder} holds no points.\nTriangulate points first, or leave --depth out.")
    return sparse


def is_model(folder: Path) -> bool:
    """True if the folder holds a COLMAP model, binary or text."""
    return any((folder / f"cameras.{kind}").is_file() for kind in ("bin", "txt"))


def _require_own_names(images: list[PosedImage], folder: Path) -> None:
    """SceneError if no image has a pose, or two have one name."""
    names = {image.name for image in images}
    if not images or len(names) < len(images):
        raise SceneError(
            f"{folder} has {count_of(len(images), 'image')} with a pose under {count_of(len(names), 'name')}: expected "
            "at least one, each with its own name.\nExport the model again after registering the images."
        )


def _view(model: ModelFiles, image: PosedImage, image_folder: Path, model_folder: Path) -> View:
    """One view with its pinhole camera, for the size that the photograph really has."""
    path = path_inside(image_folder, image.name, f"{model_folder}")
    camera = model.cameras[image.camera_id]
    where = f"{model_folder}: camera {image.camera_id} ({camera.model}) of {image.name}"
    taken_with = lens(camera.model, camera.width, camera.height, camera.parameters, where)
    return posed_view(image.name, path, taken_with, image.camera_from_world, where)


def _points(model: ModelFiles, index_of_image: dict[int, int], view_count: int, folder: Path) -> SparseDepth | None:
    """The model's points in a fixed order with errors, colours and visibility for the chosen views."""
    points = model.points
    if not len(points.ids):
        return None
    images, inverse = np.unique(points.track_images, return_inverse=True)
    views = np.array([index_of_image.get(int(image), -1) for image in images], dtype=np.int64)[inverse]
    seen = np.stack([views, np.repeat(np.arange(len(points.ids)), points.track_lengths)], axis=1)
    arrays = {
        "points": points.positions,
        "visibility": np.unique(seen[views >= 0], axis=0).reshape(-1, 2),
        "colors": points.colors,
    }
    # COLMAP writes -1 where it has not computed errors.
    if (points.error >= 0).all():
        arrays["error"] = points.error
    return checked_sparse_depth(arrays, str(folder), view_count)


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write a scene in this layout: images/, masks/NAME.png, and the model with its points in sparse/0.

    COLMAP's pinhole model has no skew: SceneError for a camera that has. The format has no place for the region of
    interest. The inverse of `read`.
    """
    import pycolmap

    model = pycolmap.Reconstruction()
    for index, view in enumerate(views, start=1):
        intrinsics = view.camera.intrinsics
        require_no_skew(view.camera, view.name)
        camera = pycolmap.Camera.create_from_model_name(
            index, "PINHOLE", intrinsics[0, 0], view.camera.width, view.camera.height
        )
        camera.params = [*np.diag(intrinsics)[:2], *intrinsics[:2, 2]]
        model.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(image_id=index, name=view.name, camera_id=index)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(view.camera.camera_from_world[:3]))
        view.save_image(folder / "images" / view.name)
        if view.has_mask:
            view.save_mask(folder / "masks" / f"{view.name}.png")
    if sparse is not None:
        _add_points(model, sparse, [view.camera for view in views])
    target = folder / MODELS / "0"
    target.mkdir(parents=True, exist_ok=True)
    model.write(str(target))


def _add_points(model: Any, sparse: SparseDepth, cameras: Sequence[Camera]) -> None:
    """Points with the tracks that their visibility and the cameras say."""
    import pycolmap

    places: list[list[Any]] = [[] for _ in cameras]
    tracks: list[list[Any]] = [[] for _ in sparse.points]
    pairs = np.zeros((0, 2), np.int64) if sparse.visibility is None else sparse.visibility
    for view_index, camera in enumerate(cameras):
        seen = pairs[pairs[:, 0] == view_index, 1]
        pixels, _ = camera.project(sparse.points[seen])
        for point, pixel in zip(seen.tolist(), pixels, strict=True):
            if np.isfinite(pixel).all():
                tracks[point].append(pycolmap.TrackElement(view_index + 1, len(places[view_index])))
                places[view_index].append(pycolmap.Point2D(pixel))
    for view_index, points in enumerate(places):
        model.images[view_index + 1].points2D = pycolmap.Point2DList(points)
    colors = np.full((len(sparse.points), 3), 128.0) if sparse.colors is None else 255 * sparse.colors
    for index, position in enumerate(sparse.points):
        track = pycolmap.Track()
        for element in tracks[index]:
            track.add_element(element.image_id, element.point2D_idx)
        point_id = model.add_point3D(position, track, np.round(colors[index]).astype(np.uint8))
        if sparse.error is not None:
            model.points3D[point_id].error = float(sparse.error[index])
