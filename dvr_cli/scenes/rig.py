"""What a set of cameras says about the world they stand in: which way is up, and about where the object is.

People hold cameras level. The x axis of a level camera is horizontal, wherever it looks and however steeply; so up is
the direction that is perpendicular to all x axes, u with the least sum of |x . u|.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.cameras import axes_meeting_point, projection_of
from dvr_cli.scenes.views import Camera

SNAP_DEGREES = 5.0
"""A world axis that is as close as this is taken for up itself: whoever made the cameras has aligned it."""
LEAST_TURN_DEGREES = 10.0
"""x axes must spread over so much (root mean square about their mean line) before they span a plane."""
LEVEL_DEGREES = 20.0
"""Half of the cameras must be level to this, or they were held anyhow."""
LEAST_AGREEMENT = 0.5
"""Length that the mean of the cameras' own up directions must have; random directions have about 1 / sqrt(n)."""


def up_direction(cameras: Sequence[Camera]) -> Float[np.ndarray, "3"] | None:
    """Unit vector that points up in the world, as the cameras were held; None when they do not say.

    Where cameras look from different sides, it is the direction that is perpendicular to their x axes, with weights
    that leave a few photographs on edge (portrait) without a say; otherwise the mean of their own up directions (-y),
    if those agree. Its sign is that of the cameras' own up; cameras that all look straight up or down are taken to look
    down. A result within SNAP_DEGREES of a world axis, or of its opposite, becomes that axis.
    """
    if not len(cameras):
        return None
    rotations = np.stack([camera.camera_from_world[:3, :3] for camera in cameras])
    right, down, forward = rotations[:, 0], rotations[:, 1], rotations[:, 2]
    own_up = -down.mean(axis=0)
    axis = _perpendicular_to(right)
    if axis is None:
        length = float(np.linalg.norm(own_up))
        return _snapped(own_up / length) if length >= LEAST_AGREEMENT else None
    for hint in (own_up, -forward.mean(axis=0)):
        # Below a tenth, which way the mean points is chance.
        if abs(hint @ axis) > 0.1:
            return _snapped(axis * np.sign(hint @ axis))
    return None


def _perpendicular_to(directions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"] | None:
    """The axis with the least sum of |direction . axis|, by reweighting; None unless they span a plane."""
    weights = np.ones(len(directions))
    for _ in range(20):
        matrix = np.einsum("n,ni,nj->ij", weights, directions, directions) / weights.sum()
        eigenvalues, vectors = np.linalg.eigh(matrix)
        axis = vectors[:, 0]
        # A degree or two of tilt is a hand's; only beyond that does a camera lose weight.
        weights = 1 / np.maximum(np.abs(directions @ axis), np.sin(np.radians(2)))
    spread = np.sin(np.radians(LEAST_TURN_DEGREES)) ** 2
    level = np.median(np.abs(directions @ axis)) < np.sin(np.radians(LEVEL_DEGREES))
    return axis if level and eigenvalues[1] > spread else None


def _snapped(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    nearest = int(np.argmax(np.abs(direction)))
    if abs(direction[nearest]) < np.cos(np.radians(SNAP_DEGREES)):
        return direction
    axis = np.zeros(3)
    axis[nearest] = np.sign(direction[nearest])
    return axis


def front_direction(
    cameras: Sequence[Camera], centre: Float[np.ndarray, "3"], up: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"] | None:
    """Unit horizontal vector from an object's centre to where most cameras stand; None when it cannot be said.

    Where they stand all around, the first camera says it.
    """
    if not len(cameras):
        return None
    offsets = np.stack([camera.centre for camera in cameras]) - centre
    level = offsets - (offsets @ up)[:, None] * up
    # A camera straight above stands on no side.
    lengths = np.maximum(np.linalg.norm(level, axis=1), 0.01 * np.linalg.norm(offsets, axis=1))
    level = level / np.maximum(lengths, 1e-300)[:, None]
    for candidate, least in ((level.mean(axis=0), 0.3), (level[0], 0.5)):
        length = float(np.linalg.norm(candidate))
        if length >= least:
            return candidate / length
    return None


def guessed_ball(cameras: Sequence[Camera]) -> tuple[Float[np.ndarray, "3"], float]:
    """Centre and radius of a ball where the object may be, whatever the cameras: to find out what is wrong.

    Around the point that the axes meet at, half as far out as the nearest tenth of the cameras; where they do not meet,
    in front of the cameras by as much as they are apart, or by one unit.
    """
    centres = np.stack([camera.centre for camera in cameras])
    target = axes_meeting_point(np.stack([projection_of(camera) for camera in cameras]))
    if target is None or not np.isfinite(target).all():
        forward = np.mean([camera.camera_from_world[2, :3] for camera in cameras], axis=0)
        spread = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
        distance = spread if spread > 0 else 1.0
        return centres.mean(axis=0) + distance * forward, 0.5 * distance
    radius = 0.5 * float(np.quantile(np.linalg.norm(centres - target, axis=1), 0.1))
    return target, radius if radius > 0 else 1.0
