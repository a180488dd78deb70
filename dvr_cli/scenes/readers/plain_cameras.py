"""The cameras of our plain format: lens and pose of one view, written by hand or by a script.

Keys are those of docs/formats/plain.md. Pixels count from the corner of the image; a camera looks along +z with x right
and y down; every pose is given in exactly one of four ways.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.lenses import lens
from dvr_cli.scenes.readers.json_files import number, number_array, text

CAMERA_KEYS = ("width", "height", "fx", "fy", "cx", "cy", "model", "distortion")
POSE_KEYS = ("camera_from_world", "world_from_camera", "quaternion", "look_at")
"""The four ways to say where a camera stands; the last two with `position`."""
VIEW_KEYS = ("name", "mask", *CAMERA_KEYS, *POSE_KEYS, "position", "up", "comment")
WORLD_UP = (0.0, 0.0, 1.0)
SMALLEST_SINE = 1e-6
"""Between the line of sight and `up`: below this, nothing says which way is up in the image."""


def check_keys(values: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    """SceneError for a key that means nothing: a misspelt one would otherwise be a silent default."""
    for key in values:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(allowed)}."
            raise SceneError(f"{where} has an unknown key {key[:40]!r}: {hint}\nCorrect it (docs/formats/plain.md).")


def view_lens(view: Mapping[str, Any], shape: tuple[int, int], where: str) -> Any:
    """The `pycolmap.Camera` that took a view; `shape`: height and width of the photograph, where the file says none."""
    import pycolmap

    given_width, given_height = number(view, "width", where), number(view, "height", where)
    width = shape[1] if given_width is None else given_width
    height = shape[0] if given_height is None else given_height
    fx, fy = number(view, "fx", where), number(view, "fy", where)
    if fx is None or not (1 <= width <= 1e6 and 1 <= height <= 1e6) or width % 1 or height % 1:
        raise SceneError(
            f"{where}: fx {fx}, width {width:g}, height {height:g}: expected a focal length and a whole size, in "
            "pixels.\nWrite them, in the view or at the top of the file."
        )
    cx, cy = number(view, "cx", where), number(view, "cy", where)
    centre = [width / 2 if cx is None else cx, height / 2 if cy is None else cy]
    model = text(view, "model", where) or "PINHOLE"
    if model == "INVALID" or model not in pycolmap.CameraModelId.__members__:
        raise SceneError(
            f"{where}: there is no camera model {model!r}.\n"
            "Expected a name of COLMAP's (https://colmap.github.io/cameras.html): PINHOLE, OPENCV, OPENCV_FISHEYE, ..."
        )
    example = pycolmap.Camera.create_from_model_name(1, model, 1.0, 1, 1)
    focal = [fx] if len(example.focal_length_idxs()) == 1 else [fx, fx if fy is None else fy]
    if len(focal) == 1 and fy not in (None, fx):
        raise SceneError(f"{where}: {model} has one focal length, but fy {fy:g} is not fx {fx:g}.\nUse another model.")
    distortion = view.get("distortion") or []
    count = len(example.params) - len(focal) - len(centre)
    return lens(
        model,
        int(width),
        int(height),
        [*focal, *centre, *number_array(distortion, (count,), f"distortion of {model}", where).tolist()],
        where,
    )


def view_pose(view: Mapping[str, Any], where: str) -> Float[np.ndarray, "4 4"]:
    """`camera_from_world` of a view, still unchecked for being a rigid motion; SceneError unless given in one way."""
    given = [key for key in POSE_KEYS if view.get(key) is not None]
    if len(given) != 1:
        raise SceneError(
            f"{where} says where its camera stands by {' and '.join(given) or 'nothing'}.\n"
            f"Expected exactly one of {', '.join(POSE_KEYS)}, the last two with position (docs/formats/plain.md)."
        )
    if given[0] in POSE_KEYS[:2]:
        matrix = np.eye(4)
        rows = 3 if isinstance(view[given[0]], list) and len(view[given[0]]) == 3 else 4
        matrix[:rows] = number_array(view[given[0]], (rows, 4), given[0], where)
        return matrix if given[0] == "camera_from_world" else _inverse_of_rigid(matrix)
    position = number_array(view.get("position"), (3,), "position", where)
    if given[0] == "quaternion":
        rotation = _rotation(number_array(view["quaternion"], (4,), "quaternion", where), where)
    else:
        target = number_array(view["look_at"], (3,), "look_at", where)
        up = number_array(view.get("up", list(WORLD_UP)), (3,), "up", where)
        rotation = _looking(target - position, up, where)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3], world_from_camera[:3, 3] = rotation, position
    return _inverse_of_rigid(world_from_camera)


def _inverse_of_rigid(matrix: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The inverse where the 3x3 block is a rotation; where it is none, that of the result is none either."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse


def _rotation(quaternion: Float[np.ndarray, "4"], where: str) -> Float[np.ndarray, "3 3"]:
    """The rotation of a quaternion (w, x, y, z), which need not have unit length."""
    length = np.linalg.norm(quaternion)
    if not 1e-6 < length < 1e6:
        raise SceneError(f"{where}: quaternion {quaternion.tolist()} is no rotation.\nExpected [w, x, y, z].")
    w, x, y, z = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _looking(direction: Float[np.ndarray, "3"], up: Float[np.ndarray, "3"], where: str) -> Float[np.ndarray, "3 3"]:
    """`world_from_camera` of a camera that looks along `direction` with `up` upwards in its image."""
    right = np.cross(direction, up)
    lengths = np.linalg.norm(direction) * np.linalg.norm(up)
    if not (np.isfinite(lengths) and np.linalg.norm(right) > SMALLEST_SINE * lengths):
        raise SceneError(
            f"{where} looks along its own up direction {up.tolist()}, or at its own position.\n"
            "Write another look_at, or give up, the direction that is upwards in the image."
        )
    right, forward = right / np.linalg.norm(right), direction / np.linalg.norm(direction)
    return np.stack([right, np.cross(forward, right), forward], axis=1)
