"""Does a lens make sense over its own image? Coefficients that were damaged or mistyped fold it, or tear it apart.

Asked on a coarse grid over the photograph and over the pinhole image that is made from it. A lens that was calibrated
from photographs passes: wide ones may have no ray in the corners of the photograph, fisheyes see behind themselves.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

GRID = 17
"""Points a side."""
LEAST_COVERED = 0.8
"""Of the pinhole image, that must lie in the photograph; lenses that people use have all of it."""
MOST_FOLDED = 0.5
"""Of the pinhole image, where going right may go left in the photograph. A single radial term that was fitted to a wide
lens folds the margins (k1 = -0.4 at 65 degrees across: a third of the pinhole image), and the middle is still right."""
LEAST_RETURNING = 0.5
"""Of the photograph, whose rays must lead back to where they come from; a wide lens may have no rays in the corners,
and of a fisheye those beyond 90 degrees do not count as rays."""
RETURNS_WITHIN = 0.01
"""Of the longest side."""
SLACK = 0.01
"""Of the longest side, by which a pixel may lie beside the photograph."""


def why_senseless(camera: Any, pinhole: Any) -> str | None:
    """Why a lens (`pycolmap.Camera`) cannot be that of its photograph, in words; None for one that can.

    `pinhole`: the camera of the undistorted image.
    """
    return _why_senseless(
        (camera.model_name, camera.width, camera.height, tuple(camera.params)),
        (pinhole.width, pinhole.height, tuple(np.asarray(pinhole.calibration_matrix()).ravel().tolist())),
    )


@lru_cache(maxsize=64)
def _why_senseless(
    lens: tuple[str, int, int, tuple[float, ...]], pinhole: tuple[int, int, tuple[float, ...]]
) -> str | None:
    import pycolmap

    model, width, height, parameters = lens
    camera = pycolmap.Camera.create_from_model_name(1, model, 1.0, width, height)
    camera.params = list(parameters)
    longest = max(width, height)
    with np.errstate(all="ignore"):
        rays = _homogeneous(_grid(*pinhole[:2])) @ np.linalg.inv(np.reshape(pinhole[2], (3, 3))).T
        distorted = np.asarray(camera.img_from_cam(rays), dtype=np.float64)
        low, high = -SLACK * longest, np.array([width, height]) + SLACK * longest
        covered = float(((distorted >= low) & (distorted <= high)).all(axis=1).mean())
        folded = float((~(_areas(distorted) > 0)).mean())
        pixels = _grid(width, height)
        back = np.asarray(camera.img_from_cam(_homogeneous(np.asarray(camera.cam_from_img(pixels)))))
        returning = float((np.abs(back - pixels).max(axis=1) < RETURNS_WITHIN * longest).mean())
    if covered < LEAST_COVERED:
        return f"{1 - covered:.0%} of the undistorted image would lie beside the photograph"
    if folded > MOST_FOLDED:
        return f"it folds the image: in {folded:.0%} of the undistorted image things would be seen twice or mirrored"
    if returning < LEAST_RETURNING:
        return f"{1 - returning:.0%} of the pixels of the photograph would have no ray"
    return None


def _grid(width: int, height: int) -> Float[np.ndarray, "p 2"]:
    """Points (x, y) from corner to corner, row by row."""
    x, y = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _homogeneous(points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 3"]:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _areas(points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "rows columns"]:
    """Signed area of the parallelogram at each grid point but the last ones; positive where it is not mirrored."""
    places = points.reshape(GRID, GRID, 2)
    right, down = np.diff(places, axis=1)[:-1], np.diff(places, axis=0)[:, :-1]
    return right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
