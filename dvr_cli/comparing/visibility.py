"""Which points the cameras saw: inside the picture, from the front, with nothing of the mesh in between.

What no photograph shows cannot be judged by a method that starts from photographs, so comparisons leave it out. Points
are in world units; work goes in chunks, as a protocol may bring millions of points.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.raycasting import RayCaster

_CHUNK = 400_000
"""Points at a time; one takes about 300 bytes on the way."""


def views_that_see(
    caster: RayCaster,
    points: Float[np.ndarray, "p 3"],
    normals: Float[np.ndarray, "p 3"] | None,
    cameras: Sequence[Camera],
    slack: float,
) -> Int[np.ndarray, "p"]:
    """Number of cameras that see each point.

    A camera sees a point that lies before it and projects into its picture, whose normal (any length) turns towards
    it, and from which the way to the camera is free of the caster's mesh; see `sees` for `slack`. Without normals both
    sides of a surface count.
    """
    counts = np.zeros(len(points), dtype=np.int64)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        for camera in cameras:
            candidates = in_picture(camera, points[part])
            if normals is not None:
                candidates &= np.einsum("pi,pi->p", camera.centre - points[part], normals[part]) > 0
            index = np.flatnonzero(candidates)
            counts[start + index] += sees(caster, camera, points[part][index], slack)
    return counts


def in_picture(camera: Camera, points: Float[np.ndarray, "p 3"], margin: float = 0.0) -> Bool[np.ndarray, "p"]:
    """Whether each point lies before the camera and projects into its picture, at least `margin` pixels inside."""
    pixels, depth = camera.project(points)
    inside = (pixels >= margin) & (pixels < np.array([camera.width, camera.height]) - margin)
    return (depth > 0) & inside.all(axis=1)


def sees(caster: RayCaster, camera: Camera, points: Float[np.ndarray, "p 3"], slack: float) -> Bool[np.ndarray, "p"]:
    """Whether nothing of the mesh lies between each point and the camera's centre.

    The way starts `slack` (world units, > 0) from the point, so that the surface that it lies on does not hide it; a
    surface thinner than that hides nothing. 1e-4 of the mesh's diagonal is far above the ray caster's rounding.
    """
    if not len(points):
        return np.zeros(0, dtype=bool)
    free = np.empty(len(points), dtype=bool)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        towards = camera.centre - points[part]
        distance = np.linalg.norm(towards, axis=1)
        directions = towards / np.maximum(distance, 1e-300)[:, None]
        found = caster.cast(points[part] + slack * directions, directions)
        free[part] = found.t > distance - 2 * slack
    return free
