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

LOWEST = -45.0
"""Degrees above the horizon: whoever is said to have photographed from farther below was not upright."""
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
    """Degrees of the widest step between neighbouring directions."""
    beside_step: tuple[str, str] | None
    """Names of the photographs on both sides of that step."""
    inwards: bool
    """True where most cameras look at the middle of the points; else none of these numbers says much."""
    level: bool
    """True where the cameras say which way is up; else `around`, `lowest` and `highest` say little."""


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
    up = up_direction(cameras)
    axis = up if up is not None else -rotations[:, 1].mean(axis=0)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
    elevation = np.degrees(np.arcsin(np.clip(outwards @ axis, -1, 1)))
    first = np.linalg.svd(axis[None])[2][1]
    azimuth = np.sort(np.degrees(np.arctan2(outwards @ np.cross(axis, first), outwards @ first)) % 360)
    gap = float(np.diff(np.append(azimuth, azimuth[0] + 360)).max())
    step, beside = _widest_step(outwards)
    return Coverage(
        around=360 - gap,
        lowest=float(elevation.min()),
        highest=float(elevation.max()),
        largest_step=step,
        beside_step=None if beside is None else (names[beside[0]], names[beside[1]]),
        inwards=inwards,
        level=up is not None and float(elevation.min()) > LOWEST,
    )


def _widest_step(directions: Float[np.ndarray, "v 3"]) -> tuple[float, tuple[int, int] | None]:
    """The widest angle (degrees) that has to be crossed to come from any direction to any other, and between which two.

    It is the longest edge of the shortest tree that connects them (Prim 1957); 0 and None for a single direction.
    """
    angle = np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1)))
    reached = np.zeros(len(directions), dtype=bool)
    reached[0] = True
    nearest, distance = np.zeros(len(directions), dtype=np.int64), angle[0].copy()
    widest, beside = 0.0, None
    for _ in range(len(directions) - 1):
        following = int(np.argmin(np.where(reached, np.inf, distance)))
        if beside is None or distance[following] > widest:
            widest, beside = float(distance[following]), (int(nearest[following]), following)
        reached[following] = True
        closer = angle[following] < distance
        nearest[closer], distance[closer] = following, angle[following][closer]
    return widest, None if beside is None else (min(beside), max(beside))


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
