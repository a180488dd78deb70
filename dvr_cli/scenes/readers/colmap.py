"""A COLMAP model (binary or text, any version) beside its folder of photographs, read through pycolmap.

Every camera model that can be undistorted to a pinhole image is accepted: `View.camera` is then the pinhole camera and
`View.distorted` what the pixels were taken with. COLMAP's pixel convention is ours: (0, 0) is the corner of the image.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dvr_cli.errors import DepthError, SceneError
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.readers.colmap_files import check_binary_model
from dvr_cli.scenes.readers.files import FoundScene, path_inside, same_aspect, selected_indices
from dvr_cli.scenes.sparse_depth import checked_sparse_depth
from dvr_cli.scenes.views import Camera, SparseDepth, View

MODEL_FOLDERS = ("sparse/0", "sparse")
IMAGE_FOLDERS = ("images", "image")


def detect(root: Path) -> bool:
    """True if the folder holds a model in sparse/0 or sparse."""
    return any(is_model(root / name) for name in MODEL_FOLDERS)


def read(root: Path, view_range: str | None, model_folder: Path | None = None) -> FoundScene:
    """Views sorted by name, pinhole cameras, and the model's points; SceneError for anything that cannot be used."""
    folder = model_folder or next(root / name for name in MODEL_FOLDERS if is_model(root / name))
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
    import pycolmap

    path = path_inside(image_folder, image.name, f"{model_folder}")
    height, width = image_shape(path)
    stored = model.cameras[image.camera_id]
    camera = pycolmap.Camera(stored.todict())
    if (camera.height, camera.width) != (height, width):
        if not same_aspect(height, width, camera.height, camera.width):
            raise SceneError(
                f"{path} is {width}x{height} pixels, its camera in {model_folder} {camera.width}x{camera.height}.\n"
                "Expected the photographs that the model was made from, or the same at another size."
            )
        camera.rescale(width, height)
    where = f"{model_folder}: camera {image.camera_id} ({camera.model_name})"
    pinhole = _pinhole(camera, where)
    camera_from_world = np.eye(4)
    camera_from_world[:3] = image.cam_from_world().matrix()
    intrinsics = np.asarray(pinhole.calibration_matrix(), dtype=np.float64)
    if not (np.isfinite(camera_from_world).all() and np.isfinite(intrinsics).all() and (np.diag(intrinsics) > 0).all()):
        raise SceneError(
            f"{where}, image {image.name}: pose or intrinsics are not finite, or the focal length is not positive.\n"
            "Export the model again, or leave this view out with --views."
        )
    # Quaternions in text files are rounded; the nearest rotation keeps the motion rigid.
    left, _, right = np.linalg.svd(camera_from_world[:3, :3])
    camera_from_world[:3, :3] = left @ right
    view_camera = Camera(intrinsics, camera_from_world, pinhole.height, pinhole.width)
    return View(image.name, view_camera, path, distorted=None if pinhole is camera else camera)


def _pinhole(camera: Any, where: str) -> Any:
    """The camera itself if it is a pinhole camera, or the pinhole camera of its undistorted image."""
    import pycolmap

    if not (np.isfinite(camera.params).all() and camera.verify_params() and camera.is_perspective()):
        raise SceneError(
            f"{where} has parameters {camera.params_to_string()}: no pinhole image can be made from it.\n"
            "Expected a perspective or fisheye model with finite parameters; export the model again."
        )
    if camera.is_undistorted() and not camera.is_perspective_fisheye():
        return camera
    return pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)


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
