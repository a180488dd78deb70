"""How far sparse points lie off the surface, as a standard deviation for each.

Two things are known. A point's rays say how its error is *shared out*: reprojection error over the square root of the
number of rays, along the direction that they look from, where rays that are nearly parallel say little. And the points
around it say how *large* errors are: on a surface a point lies in the plane through its neighbours. The second sets the
scale of the first, so that neither the pixel that errors were measured in nor what an error leaves out (features that
slide on curved surfaces, imprecise cameras) has to be known. Detail finer than the points are apart counts as error.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.views import Camera, SparseDepth

NEIGHBOURS = 10
UNKNOWN = 0.01
"""Of points that are too few to say: half a hundredth of the cube's side."""
_PRIOR_VIEWS = 4
"""Reprojection errors of a few rays scatter: the usual error counts as so many more."""
_UNSEEN = 3.0
"""Of points that fewer than two views saw, in units of the usual."""
_LEAST = 1e-6
"""In cube lengths: exact points, as of a test, are still no more exact than single precision."""


def point_spreads(
    points: Float[np.ndarray, "p 3"], sparse: SparseDepth, cameras: Sequence[Camera]
) -> Float[np.ndarray, "p"]:
    """Standard deviation of each point's distance from the surface, in the lengths of `points`.

    `points` are those of `sparse` in the working cube; `cameras` are those that its visibility counts, in the world.
    """
    from scipy.spatial import cKDTree

    if len(points) <= NEIGHBOURS + 1:
        return np.full(len(points), UNKNOWN)
    shares = relative_spreads(sparse, cameras)
    around = points[cKDTree(points).query(points, k=NEIGHBOURS + 1)[1][:, 1:]]
    middle = around.mean(axis=1)
    offsets = around - middle[:, None]
    flattest = np.linalg.eigh(np.einsum("pki,pkj->pij", offsets, offsets))[1][:, :, 0]
    off_plane = np.abs(np.einsum("pi,pi->p", points - middle, flattest))
    # The median of |x| of a normal distribution is 0.6745 standard deviations; wrong points hardly move it.
    return np.maximum(1.4826 * float(np.median(off_plane / shares)) * shares, _LEAST)


def relative_spreads(sparse: SparseDepth, cameras: Sequence[Camera]) -> Float[np.ndarray, "p"]:
    """Standard deviations along the mean line of sight, in units of their median; ones where nothing tells them apart.

    With unit directions w of the rays, f focal lengths and z distances the information about a point's place is
    the sum of (f / z)^2 (1 - w w^T) over the square of its error in pixels.
    """
    count = len(sparse.points)
    if sparse.visibility is None:
        return np.ones(count)
    views, owners = sparse.visibility.T
    track = np.bincount(owners, minlength=count)
    information, towards = np.zeros((count, 3, 3)), np.zeros((count, 3))
    for index, camera in enumerate(cameras):
        seen = owners[views == index]
        rays = sparse.points[seen] - camera.centre
        distance = np.linalg.norm(rays, axis=1, keepdims=True)
        rays = rays / np.maximum(distance, 1e-300)
        pixels = camera.intrinsics[0, 0] / np.maximum(distance, 1e-300)
        information[seen] += pixels[:, :, None] ** 2 * (np.eye(3) - rays[:, :, None] * rays[:, None, :])
        towards[seen] += rays
    enough = track >= 2
    if not enough.any():
        return np.ones(count)
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-300)
    # Rays that are parallel to the last bit leave no inverse; depth is then uncertain a hundred times more than place.
    scale = np.trace(information, axis1=1, axis2=2)
    information += 1e-4 * np.where(enough, scale, 1.0)[:, None, None] * np.eye(3)
    variance = np.einsum("pi,pij,pj->p", towards, np.linalg.inv(information), towards)
    spreads = np.sqrt(np.maximum(variance, 0.0)) * _pixel_errors(sparse.error, track)
    usual = max(float(np.median(spreads[enough])), 1e-300)
    return np.where(enough, np.maximum(spreads / usual, 1e-3), _UNSEEN)


def _pixel_errors(error: Float[np.ndarray, "p"] | None, track: np.ndarray) -> Float[np.ndarray, "p"]:
    """Standard deviations in the image: the mean errors, made larger for the three numbers that every point fits."""
    if error is None or not (error > 0).any():
        return np.ones(len(track))
    usual = float(np.median(error[error > 0])) ** 2
    squared = error**2 * 2 * track / np.maximum(2 * track - 3, 1)
    return np.sqrt((_PRIOR_VIEWS * usual + track * squared) / (_PRIOR_VIEWS + track))
