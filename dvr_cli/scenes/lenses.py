"""Views from cameras with lens distortion: what every reader of such a format shares.

`View.camera` is the pinhole camera of the undistorted photograph, as COLMAP's own undistorter would make it;
`View.distorted` is the lens (`pycolmap.Camera`) that took the pixels. Pixel (0, 0) is the corner of the image.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.image_files import TURNED_ON_EDGE, same_aspect, stored_shape
from dvr_cli.scenes.lens_checks import why_senseless
from dvr_cli.scenes.views import Camera, View

SHORTEST_FOCAL, LONGEST_FOCAL, FARTHEST_CENTRE = 0.01, 1e5, 1e3
"""In image sizes: a fisheye lens has 0.3, a telescope 1000; what is outside is damaged, and breaks computations later.
"""
FARTHEST_TRANSLATION = 1e15
"""Geocentric coordinates are below 1e7; squares and cubes of lengths must stay finite."""
ROTATION_TOLERANCE = 0.01
"""Quaternions and matrices in text files are rounded; what is farther from a rotation is something else."""


def lens(model: str, width: int, height: int, parameters: list[float] | tuple[float, ...], where: str) -> Any:
    """A `pycolmap.Camera` of a model by its COLMAP name ("OPENCV", ...); SceneError for impossible values.

    `parameters` in COLMAP's order (https://colmap.github.io/cameras.html), pixels; (0, 0) is the image's corner.
    """
    import pycolmap

    if not (0 < width <= 1_000_000 and 0 < height <= 1_000_000 and np.isfinite(parameters).all()):
        raise SceneError(
            f"{where}: size {width}x{height} or parameters {list(parameters)} cannot be those of a camera.\n"
            "Expected width and height in pixels and finite numbers; write them again."
        )
    camera = pycolmap.Camera.create_from_model_name(1, model, 1.0, width, height)
    camera.params = [float(value) for value in parameters]
    return camera


def posed_view(
    name: str,
    path: Path,
    camera: Any,
    camera_from_world: Float[np.ndarray, "3 4"] | Float[np.ndarray, "4 4"],
    where: str,
) -> View:
    """One view with its pinhole camera, for the size that the photograph really has.

    `camera`: the `pycolmap.Camera` that took the photograph, perhaps at another size of the same shape. A photograph
    that is stored turned, with an EXIF orientation that gives it the camera's shape, is turned when it is decoded.
    `where` names file and camera in messages. SceneError for numbers that make no camera, and for other shapes.
    """
    import pycolmap

    height, width, orientation = shape_for_camera(path, camera.height, camera.width, where)
    if (camera.height, camera.width) != (height, width):
        camera = pycolmap.Camera(camera.todict())
        camera.rescale(width, height)
    pinhole = _pinhole(camera, where)
    intrinsics = np.asarray(pinhole.calibration_matrix(), dtype=np.float64)
    focal, size = np.diag(intrinsics)[:2], max(height, width)
    plausible = (focal > SHORTEST_FOCAL * size).all() and (focal < LONGEST_FOCAL * size).all()
    if not (np.isfinite(intrinsics).all() and plausible and np.abs(intrinsics[:2, 2]).max() < FARTHEST_CENTRE * size):
        raise SceneError(
            f"{where}: focal length {focal[0]:.4g} and {focal[1]:.4g} pixels, principal point {intrinsics[0, 2]:.4g}, "
            f"{intrinsics[1, 2]:.4g}: these are no numbers for an image of {width}x{height} pixels.\n"
            "Write the camera again, or leave this view out with --views."
        )
    senseless = None if pinhole is camera else why_senseless(camera, pinhole)
    if senseless is not None:
        raise SceneError(
            f"{where}: the distortion ({camera.model_name}: {camera.params_to_string()}) makes no sense over an image "
            f"of {width}x{height} pixels: {senseless}.\nExpected the coefficients of a calibration, seldom beyond 1: "
            "write them again, calibrate again, or leave this view out with --views."
        )
    view_camera = Camera(intrinsics, rigid_motion(camera_from_world, where), pinhole.height, pinhole.width)
    distorted = None if pinhole is camera else camera
    return View(name, view_camera, path, orientation=orientation, distorted=distorted)


def rigid_motion(
    camera_from_world: Float[np.ndarray, "3 4"] | Float[np.ndarray, "4 4"], where: str
) -> Float[np.ndarray, "4 4"]:
    """The nearest rigid motion, 4x4; SceneError if there is none near: not finite, scaled, or mirrored."""
    motion = np.eye(4)
    motion[:3] = np.asarray(camera_from_world, dtype=np.float64)[:3]
    if np.isfinite(motion).all() and np.abs(motion).max() < FARTHEST_TRANSLATION:
        left, _, right = np.linalg.svd(motion[:3, :3])
        rotation = left @ right
        if np.linalg.det(rotation) > 0 and np.abs(rotation - motion[:3, :3]).max() < ROTATION_TOLERANCE:
            motion[:3, :3] = rotation
            return motion
    raise SceneError(
        f"{where}: the pose is no rigid motion (its 3x3 block must be a proper rotation, all numbers finite).\n"
        "Write it again (docs/conventions.md), or leave this view out with --views."
    )


def shape_for_camera(path: Path, height: int, width: int, where: str) -> tuple[int, int, int]:
    """Height and width of a photograph as its camera sees it, and the EXIF orientation to apply (1: none).

    SceneError when neither the pixels as stored nor the turned ones have the shape of the camera's image.
    """
    stored_height, stored_width, orientation = stored_shape(path)
    if same_aspect(stored_height, stored_width, height, width):
        return stored_height, stored_width, 1
    if orientation in TURNED_ON_EDGE and same_aspect(stored_width, stored_height, height, width):
        return stored_width, stored_height, orientation
    raise SceneError(
        f"{path} is {stored_width}x{stored_height} pixels, its camera in {where} {width}x{height}.\n"
        "Expected the photographs that the cameras were made from, or the same at another size."
    )


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
