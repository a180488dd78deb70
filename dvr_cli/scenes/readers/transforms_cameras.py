"""The cameras of a transforms.json: lens and pose of one frame, in our conventions.

`transform_matrix` is world_from_camera with the camera looking along -z and y up (OpenGL). Intrinsics are in pixels,
(0, 0) the corner of the image (https://docs.nerf.studio/quickstart/data_conventions.html, and
https://github.com/NVlabs/instant-ngp/blob/master/docs/nerf_dataset_tips.md); what a frame says goes before what stands
at the top of the file.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.lenses import lens, rigid_motion
from dvr_cli.scenes.readers.json_files import number, number_array, text
from dvr_cli.scenes.views import Camera

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "FISHEYE")
FISHEYE_FLAG = "is_fisheye"
OTHER_LENSES = ("ftheta_p0", "latlong", "equirectangular")
"""Keys by which instant-ngp says that the photographs are panoramas or come from an f-theta lens."""
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def frame_lens(frame: Mapping[str, Any], top: Mapping[str, Any], shape: tuple[int, int], where: str) -> Any:
    """The `pycolmap.Camera` that took a frame.

    `top`: what the file says for all frames; `shape`: height and width of the photograph, for files that do not say.
    """
    both = {**top, **frame}
    width, height = (number(both, key, where) for key in ("w", "h"))
    width, height = shape[1] if width is None else width, shape[0] if height is None else height
    if not (1 <= width <= 1e6 and 1 <= height <= 1e6):
        raise SceneError(
            f"{where}: w x h is {width:g}x{height:g}: expected the image's size in pixels.\nWrite it again."
        )
    focal = _focal_lengths(frame, width, height, where) or _focal_lengths(top, width, height, where)
    if focal is None:
        raise SceneError(
            f"{where} has no focal length: expected fl_x (pixels) or camera_angle_x (radians), in the frame or at the "
            "top of the file.\nWrite one of them."
        )
    x, y = (number(both, key, where) for key in ("cx", "cy"))
    centre = [width / 2 if x is None else x, height / 2 if y is None else y]
    model, distortion = _distortion(both, where)
    return lens(model, round(width), round(height), [*focal, *centre, *distortion], where)


def frame_pose(frame: Mapping[str, Any], where: str) -> Float[np.ndarray, "4 4"]:
    """`camera_from_world` of a frame; SceneError if its matrix is no rigid motion."""
    matrix = frame.get("transform_matrix")
    rows = 3 if isinstance(matrix, list) and len(matrix) == 3 else 4
    world_from_camera = np.eye(4)
    world_from_camera[:rows] = number_array(matrix, (rows, 4), "transform_matrix", where)
    world_from_camera = rigid_motion(world_from_camera, where)
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = world_from_camera[:3, :3].T
    camera_from_world[:3, 3] = -world_from_camera[:3, :3].T @ world_from_camera[:3, 3]
    return OPENCV_FROM_OPENGL @ camera_from_world


def transform_matrix(camera: Camera) -> list[list[float]]:
    """The inverse of `frame_pose`, as nested lists."""
    matrix: list[list[float]] = (camera.world_from_camera @ OPENCV_FROM_OPENGL).tolist()
    return matrix


def _focal_lengths(values: Mapping[str, Any], width: float, height: float, where: str) -> tuple[float, float] | None:
    """Focal lengths in x and y, pixels, from one level of the file; one of them serves for both."""
    found: list[float | None] = []
    for key, angle_key, size in (("fl_x", "camera_angle_x", width), ("fl_y", "camera_angle_y", height)):
        focal, angle = number(values, key, where), number(values, angle_key, where)
        if focal is None and angle is not None:
            # The tangent of the smallest numbers is 0.
            if not 1e-9 < angle < math.pi:
                raise SceneError(
                    f"{where}: {angle_key} is {angle:g}: expected the angle of view in radians, between 0 and pi.\n"
                    "Write it again, or write fl_x in pixels."
                )
            focal = 0.5 * size / math.tan(0.5 * angle)
        found.append(focal)
    known = [focal for focal in found if focal is not None]
    return (known[0], known[-1]) if known else None


def _distortion(values: Mapping[str, Any], where: str) -> tuple[str, list[float]]:
    """COLMAP's name of the lens model and its parameters after focal lengths and centre."""
    model = (text(values, "camera_model", where) or "OPENCV").upper()
    other = [key for key in OTHER_LENSES if values.get(key)]
    if model not in PERSPECTIVE + FISHEYE or other:
        raise SceneError(
            f"{where}: a camera of the kind {other[0] if other else model} makes no pinhole image.\n"
            f"Expected camera_model {', '.join(PERSPECTIVE[:5] + FISHEYE[:1])}; make such images from it first."
        )
    k1, k2, k3, k4, p1, p2 = (number(values, key, where) or 0.0 for key in DISTORTION)
    if model in FISHEYE or values.get(FISHEYE_FLAG):
        return "OPENCV_FISHEYE", [k1, k2, k3, k4]
    if k4 != 0:
        raise SceneError(
            f"{where}: k4 is {k4:g}, a fourth radial term that only fisheye cameras may have here.\n"
            "Calibrate with k1, k2, k3, p1, p2, or write camera_model OPENCV_FISHEYE if it is one."
        )
    if k3 != 0:
        return "FULL_OPENCV", [k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]
    return ("OPENCV", [k1, k2, p1, p2]) if any((k1, k2, p1, p2)) else ("PINHOLE", [])
