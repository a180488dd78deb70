"""A COLMAP model (binary or text, any version) beside its folder of photographs, read through pycolmap.

Every camera model that can be undistorted to a pinhole image is accepted: `View.camera` is then the pinhole camera and
`View.distorted` what the pixels were taken with. COLMAP's pixel convention is ours: (0, 0) is the corner of the image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError, SceneError
from dvr_cli.scenes.lenses import posed_view
from dvr_cli.scenes.readers.colmap_files import check_binary_model
from dvr_cli.scenes.readers.files import FoundScene, path_inside, selected_indices
from dvr_cli.scenes.sparse_depth import checked_sparse_depth
from dvr_cli.scenes.views import Camera, SparseDepth, View
from dvr_cli.scenes.writing import WritableView, require_no_skew

MODEL_FOLDERS = ("sparse/0", "sparse")
IMAGE_FOLDERS = ("images", "image")


def find(root: Path) -> Path | None:
    """The folder of the model: sparse/0 or sparse; None if there is none."""
    return next((root / name for name in MODEL_FOLDERS if is_model(root / name)), None)


def accepts(path: Path) -> bool:
    """True for a folder that holds a model."""
    return path.is_dir() and is_model(path)


def read(root: Path, folder: Path, view_range: str | None) -> FoundScene:
    """Views sorted by name, pinhole cameras, and the points of the model in `folder`; SceneError for unusable input."""
    model = read_model(folder)
    images = _posed_images(model, folder)
    image_folder = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    if image_folder is None:
        raise SceneError(
            f"{root} has a COLMAP model but no photographs: looked for images/ and image/.\n"
            "Put the folder of photographs beside the model (docs/formats.md, section COLMAP)."
        )
    chosen = [images[index] for index in selected_indices(view_range, len(images))]
    views = tuple(_view(model, image, image_folder, folder) for image in chosen)
    sparse = _points(model, {view.name: index for index, view in enumerate(views)}, folder)
    return FoundScene(views, sparse_depth=sparse, all_names=tuple(image.name for image in images))


def read_model(folder: Path) -> Any:
    """The `pycolmap.Reconstruction` in a folder; SceneError if it is missing or damaged."""
    import pycolmap

    if not is_model(folder):
        raise SceneError(
            f"{folder} holds no COLMAP model.\nExpected cameras, images and points3D, all .bin or all .txt; pass "
            "--colmap."
        )
    if (folder / "cameras.bin").is_file():
        check_binary_model(folder)
    try:
        return pycolmap.Reconstruction(str(folder))
    except Exception as cause:
        # The library raises its own failed checks as many different types.
        raise SceneError(f"{folder} cannot be read as a COLMAP model: {cause}.\nExport the model again.") from cause


def read_points(folder: Path, view_names: tuple[str, ...]) -> SparseDepth:
    """The points of a model with visibility for the named views; DepthError if it cannot be used."""
    try:
        model = read_model(folder)
    except SceneError as cause:
        raise DepthError(str(cause)) from cause
    sparse = _points(model, {name: index for index, name in enumerate(view_names)}, folder)
    if sparse is None:
        raise DepthError(f"{folder} holds no points.\nTriangulate points first, or leave --depth out.")
    return sparse


def is_model(folder: Path) -> bool:
    """True if the folder holds a COLMAP model, binary or text."""
    return any((folder / f"cameras.{kind}").is_file() for kind in ("bin", "txt"))


def _posed_images(model: Any, folder: Path) -> list[Any]:
    """Images with a pose, sorted by name; SceneError if there is none or two have one name."""
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    names = {image.name for image in images}
    if not images or len(names) < len(images):
        raise SceneError(
            f"{folder} has {len(images)} images with a pose under {len(names)} names: expected at least one, each with "
            "its own name.\nExport the model again after registering the images."
        )
    return images


def _view(model: Any, image: Any, image_folder: Path, model_folder: Path) -> View:
    """One view with its pinhole camera, for the size that the photograph really has."""
    path = path_inside(image_folder, image.name, f"{model_folder}")
    camera = model.cameras[image.camera_id]
    where = f"{model_folder}: camera {image.camera_id} ({camera.model_name}) of {image.name}"
    return posed_view(image.name, path, camera, image.cam_from_world().matrix(), where)


def _points(model: Any, view_index: dict[str, int], folder: Path) -> SparseDepth | None:
    """The model's points in a fixed order with errors, colours and visibility for the chosen views."""
    if not model.points3D:
        return None
    index_of_image = {
        image_id: view_index[image.name] for image_id, image in model.images.items() if image.name in view_index
    }
    points = [model.points3D[point_id] for point_id in sorted(model.points3D)]
    pairs = sorted(
        {
            (index_of_image[element.image_id], index)
            for index, point in enumerate(points)
            for element in point.track.elements
            if element.image_id in index_of_image
        }
    )
    error = np.array([point.error for point in points])
    arrays = {
        "points": np.stack([point.xyz for point in points]),
        "visibility": np.array(pairs, dtype=np.int64).reshape(-1, 2),
        "colors": np.stack([point.color for point in points]),
    }
    # COLMAP writes -1 where it has not computed errors.
    if (error >= 0).all():
        arrays["error"] = error
    return checked_sparse_depth(arrays, str(folder), len(view_index))


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
    target = folder / MODEL_FOLDERS[0]
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
