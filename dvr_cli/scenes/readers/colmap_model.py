"""What a COLMAP model says, whichever kind of file it was read from, and how its poses come together.

A rig is several cameras that move together; a frame is one moment of a rig. Since COLMAP 3.12 the pose of an image is
`sensor_from_rig` of its camera times `rig_from_world` of its frame; models without rigs and frames carry the pose with
the image. The files are read here and not by COLMAP's own library, which is not made for damaged files: it reserves the
memory that their counts claim. Format: https://colmap.github.io/format.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt64

from dvr_cli.errors import SceneError

Pose = tuple[float, ...]
"""Seven numbers: quaternion w, x, y, z and translation."""


@dataclass(frozen=True)
class ModelCamera:
    """One lens."""

    model: str
    """COLMAP's name of the camera model, such as "OPENCV"."""
    width: int
    height: int
    parameters: tuple[float, ...]
    """As many as the model has, pixels."""


@dataclass(frozen=True)
class ImageRecord:
    """One line of the list of images."""

    image_id: int
    pose: Pose
    camera_id: int
    name: str


@dataclass(frozen=True)
class Frame:
    """One moment of a rig."""

    rig_id: int
    rig_from_world: Pose
    images: tuple[tuple[int, int], ...]
    """Pairs (camera id, image id)."""


@dataclass(frozen=True)
class ModelPoints:
    """Points in the order of their ids, and the images that saw them."""

    ids: UInt64[np.ndarray, "p"]
    positions: Float[np.ndarray, "p 3"]
    colors: UInt8[np.ndarray, "p 3"]
    error: Float[np.ndarray, "p"]
    """Reprojection error, pixels; -1 where COLMAP has not computed it."""
    track_lengths: Int[np.ndarray, "p"]
    track_images: Int[np.ndarray, "m"]
    """Image ids of all tracks, one track after the other."""


@dataclass(frozen=True)
class ModelFiles:
    """A model as its files hold it."""

    cameras: dict[int, ModelCamera]
    images: Sequence[ImageRecord]
    points: ModelPoints
    rigs: dict[int, dict[int, Pose | None]]
    """By rig id and camera id: `sensor_from_rig`, None where it is not known. Empty in models without rigs."""
    frames: Sequence[Frame]


@dataclass(frozen=True)
class PosedImage:
    """An image with a pose."""

    image_id: int
    name: str
    camera_id: int
    camera_from_world: Float[np.ndarray, "4 4"]
    """As the files have it: not checked to be a rigid motion."""


IDENTITY: Pose = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@cache
def parameter_counts() -> dict[int, tuple[str, int]]:
    """Name and number of parameters of each camera model, by COLMAP's number for it."""
    import pycolmap

    models = {name: kind for name, kind in pycolmap.CameraModelId.__members__.items() if name != "INVALID"}
    return {
        kind.value: (name, len(pycolmap.Camera.create_from_model_name(1, name, 1.0, 1, 1).params))
        for name, kind in models.items()
    }


def damaged(path: Path, what: str) -> SceneError:
    """The error for a file of a model that is not what it should be."""
    return SceneError(
        f"{path} is missing, cut off or damaged: {what}.\n"
        "Expected cameras, images and points3D of one COLMAP model, all .bin or all .txt; export the model again."
    )


def posed_images(model: ModelFiles, folder: Path) -> tuple[list[PosedImage], list[str]]:
    """Images with a pose, sorted by name, and the names of those without; SceneError if a model contradicts itself."""
    identities = [record.image_id for record in model.images]
    if len(set(identities)) < len(identities):
        raise damaged(folder, "two images have the same id")
    unknown = [record.name for record in model.images if record.camera_id not in model.cameras]
    if unknown:
        raise damaged(folder, f"the camera of {unknown[0]!r} is not among the cameras")
    with_rigs = bool(model.rigs or model.frames)
    poses = _poses_from_rigs(model, folder) if with_rigs else {r.image_id: matrix(r.pose) for r in model.images}
    posed = [
        PosedImage(record.image_id, record.name, record.camera_id, poses[record.image_id])
        for record in model.images
        if record.image_id in poses
    ]
    without = sorted(record.name for record in model.images if record.image_id not in poses)
    return sorted(posed, key=lambda image: image.name), without


def _poses_from_rigs(model: ModelFiles, folder: Path) -> dict[int, np.ndarray]:
    """`camera_from_world` by image id: sensor_from_rig times rig_from_world."""
    camera_of = {record.image_id: record.camera_id for record in model.images}
    poses: dict[int, np.ndarray] = {}
    for frame in model.frames:
        if frame.rig_id not in model.rigs:
            raise damaged(folder, f"a frame belongs to rig {frame.rig_id}, which is not among the rigs")
        rig_from_world = matrix(frame.rig_from_world)
        for camera_id, image_id in frame.images:
            # A frame may list images that were left out of the model.
            if image_id not in camera_of:
                continue
            rig = model.rigs[frame.rig_id]
            if image_id in poses or camera_of[image_id] != camera_id or camera_id not in rig:
                raise damaged(folder, f"image {image_id} is in two frames, or not of the camera that its frame says")
            sensor_from_rig = rig[camera_id]
            if sensor_from_rig is not None:
                with np.errstate(all="ignore"):
                    poses[image_id] = matrix(sensor_from_rig) @ rig_from_world
    return poses


def matrix(pose: Pose) -> Float[np.ndarray, "4 4"]:
    """The 4x4 matrix of a pose; no rotation unless the quaternion has length one.

    >>> matrix((0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0)).tolist()[0]
    [-1.0, 0.0, 0.0, 1.0]
    """
    w, x, y, z, *translation = pose
    motion = np.eye(4)
    motion[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    motion[:3, 3] = translation
    return motion


def points_in_order(
    ids: UInt64[np.ndarray, "p"],
    positions: Float[np.ndarray, "p 3"],
    colors: UInt8[np.ndarray, "p 3"],
    error: Float[np.ndarray, "p"],
    tracks: Sequence[Int[np.ndarray, "_"]],
) -> ModelPoints:
    """Points sorted by id: the same model gives the same order, whichever program wrote it."""
    order = np.argsort(ids, kind="stable")
    ordered = [tracks[index] for index in order]
    lengths = np.array([len(track) for track in ordered], dtype=np.int64)
    images = np.concatenate([np.zeros(0, np.int64), *ordered]).astype(np.int64)
    return ModelPoints(ids[order], positions[order], colors[order], error[order], lengths, images)
