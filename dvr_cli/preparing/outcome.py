"""How good a preparation is, in numbers: what was connected, how exactly, and from where the thing was photographed.

Angles are in degrees, errors in pixels of the photographs as taken, lengths in the arbitrary unit of the poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.scenes.rig import up_direction
from dvr_cli.scenes.views import Camera

FEWEST_OBSERVATIONS = 60
"""Points that a photograph sees; with fewer its pose is weak."""


@dataclass(frozen=True)
class RegisteredPhotograph:
    """One photograph with a pose."""

    name: str
    points: int
    """Points of the model that it sees."""
    error: float
    """Mean reprojection error of these, pixels; 0 where there are none."""


@dataclass(frozen=True)
class Coverage:
    """From which sides the thing was photographed, seen from the middle of the points."""

    around: float
    """Degrees of the full turn about the axis that was up, without the largest gap between neighbours."""
    lowest: float
    """Degrees above the horizon of the lowest and ..."""
    highest: float
    """... the highest photograph; negative is below."""
    largest_step: float
    """Degrees between neighbours around, of the widest step within the part that was photographed."""
    beside_step: tuple[str, str] | None
    """Names of the photographs on both sides of that step."""
    inwards: bool
    """True where most cameras look at the middle of the points; else the numbers around say little."""


@dataclass(frozen=True)
class Outcome:
    """What `dvr prepare` reports."""

    photographs: int
    """That could be read, without copies."""
    registered: tuple[RegisteredPhotograph, ...]
    """In order."""
    unregistered: tuple[str, ...]
    groups: tuple[int, ...]
    """Photographs in each group that was connected within itself; the first is the one used."""
    points: int
    reprojection_error: float
    """Mean over all points, pixels."""
    track_length: float
    """Photographs that see a point, in the mean."""
    cameras: tuple[dict[str, Any], ...]
    """Model, size, parameters and number of photographs of each lens."""
    coverage: Coverage


def judge(model: Any, names: Sequence[str], groups: Sequence[Sequence[int]]) -> Outcome:
    """Measure a solved model (image i of `names` has the id i + 1) before it is undistorted."""
    ids = sorted(model.reg_image_ids())
    registered = tuple(_registered(model, image_id, names[image_id - 1]) for image_id in ids)
    unregistered = tuple(name for index, name in enumerate(names) if index + 1 not in set(ids))
    return Outcome(
        photographs=len(names),
        registered=registered,
        unregistered=unregistered,
        groups=tuple(len(group) for group in groups),
        points=int(model.num_points3D()),
        reprojection_error=float(model.compute_mean_reprojection_error()),
        track_length=float(model.compute_mean_track_length()),
        cameras=_lenses(model, ids),
        coverage=_coverage(model, ids, names),
    )


def coverage_of(cameras: Sequence[Camera], middle: Float[np.ndarray, "3"], names: Sequence[str]) -> Coverage:
    """Coverage of the thing around `middle` (world) by cameras of these names.

    The axis is what the cameras say is up, or the mean of their own up directions where they were held anyhow.
    """
    outwards = np.stack([camera.centre for camera in cameras]) - middle
    outwards = outwards / np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-12)
    rotations = np.stack([camera.camera_from_world[:3, :3] for camera in cameras])
    inwards = bool(np.median(-np.einsum("vi,vi->v", outwards, rotations[:, 2])) > 0.5)
    axis = up_direction(cameras)
    if axis is None:
        axis = -rotations[:, 1].mean(axis=0)
        axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
    elevation = np.degrees(np.arcsin(np.clip(outwards @ axis, -1, 1)))
    first = np.linalg.svd(axis[None])[2][1]
    azimuth = np.degrees(np.arctan2(outwards @ np.cross(axis, first), outwards @ first)) % 360
    order = np.argsort(azimuth, kind="stable")
    steps = np.diff(np.append(azimuth[order], azimuth[order[0]] + 360)) if len(order) else np.zeros(0)
    # The widest gap is what was not photographed; around a whole turn it is a step like the others.
    gap = int(np.argmax(steps))
    inner = [index for index in range(len(steps)) if index != gap]
    widest = max(inner, key=lambda index: steps[index]) if inner else None
    beside = None if widest is None else (names[order[widest]], names[order[(widest + 1) % len(order)]])
    return Coverage(
        around=360 - float(steps[gap]),
        lowest=float(elevation.min()),
        highest=float(elevation.max()),
        largest_step=0.0 if widest is None else float(steps[widest]),
        beside_step=beside,
        inwards=inwards,
    )


def _coverage(model: Any, ids: Sequence[int], names: Sequence[str]) -> Coverage:
    cameras = [_camera(model, image_id) for image_id in ids]
    points = np.stack([model.points3D[point_id].xyz for point_id in sorted(model.points3D)])
    middle = np.median(points, axis=0)
    listed = [names[image_id - 1] for image_id in ids]
    return coverage_of(cameras, middle, listed)


def _camera(model: Any, image_id: int) -> Camera:
    """Of one photograph, without its distortion."""
    image = model.images[image_id]
    lens = model.cameras[image.camera_id]
    motion = np.eye(4)
    motion[:3] = image.cam_from_world().matrix()
    return Camera(np.asarray(lens.calibration_matrix(), dtype=np.float64), motion, lens.height, lens.width)


def _registered(model: Any, image_id: int, name: str) -> RegisteredPhotograph:
    image = model.images[image_id]
    seen = [point.point3D_id for point in image.points2D if point.has_point3D()]
    errors = [model.points3D[point_id].error for point_id in seen]
    return RegisteredPhotograph(name, len(seen), float(np.mean(errors)) if errors else 0.0)


def _lenses(model: Any, ids: Sequence[int]) -> tuple[dict[str, Any], ...]:
    used: dict[int, int] = {}
    for image_id in ids:
        camera_id = model.images[image_id].camera_id
        used[camera_id] = used.get(camera_id, 0) + 1
    return tuple(
        {
            "model": model.cameras[camera_id].model_name,
            "width": int(model.cameras[camera_id].width),
            "height": int(model.cameras[camera_id].height),
            "parameters": [float(value) for value in model.cameras[camera_id].params],
            "photographs": count,
        }
        for camera_id, count in sorted(used.items())
    )


def blurred(blur: Float[np.ndarray, "v"]) -> Int[np.ndarray, "n"]:
    """Indices of photographs that are blurred much more than most: 0.08 above the median, and 4 times the usual spread.

    `blur` as `features.Features` has it. The spread is 1.48 times the median distance from the median.
    """
    if len(blur) < 3:
        return np.zeros(0, dtype=np.int64)
    middle = float(np.median(blur))
    spread = 1.48 * float(np.median(np.abs(blur - middle)))
    return np.flatnonzero(blur > middle + max(0.08, 4 * spread))
