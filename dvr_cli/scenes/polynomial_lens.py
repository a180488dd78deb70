"""Lenses of photogrammetry programs: Brown's polynomial with up to four radial terms, as a `pycolmap.Camera`.

With x = X / Z, y = Y / Z and r^2 = x^2 + y^2 (Brown 1971, in OpenCV's order of the tangential terms):

    x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8) + 2 p1 x y + p2 (r^2 + 2 x^2)
    y' = y (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8) + p1 (r^2 + 2 y^2) + 2 p2 x y

COLMAP has no model with k4: its rational model is fitted to the polynomial over the image instead, and what remains is
measured.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.lenses import lens

FIT_ERROR = 0.25
"""Pixels that the fitted model may differ from the polynomial anywhere in the image: less than what calibrations leave
as reprojection error. A drone's lens comes out at 0.05 in the corner, and far below elsewhere."""
FIT_STEPS = 10


def polynomial_lens(
    size: tuple[int, int],
    focal: tuple[float, float],
    centre: tuple[float, float],
    radial: Sequence[float],
    tangential: tuple[float, float],
    where: str,
) -> Any:
    """The simplest `pycolmap.Camera` for these numbers; SceneError where none of COLMAP's models comes near enough.

    `size` (width, height), `focal` (x, y) and `centre` in pixels, (0, 0) the image's corner; `radial` k1 to k4,
    `tangential` p1, p2 in OpenCV's order.
    """
    k1, k2, k3, k4 = radial
    base = [*focal, *centre]
    if not any(radial) and not any(tangential):
        return lens("PINHOLE", *size, base, where)
    if k3 == 0 and k4 == 0:
        return lens("OPENCV", *size, [*base, k1, k2, *tangential], where)
    if k4 == 0:
        return lens("FULL_OPENCV", *size, [*base, k1, k2, *tangential, k3, 0, 0, 0], where)
    # Checks the numbers before anything is computed with them.
    lens("PINHOLE", *size, [*base, *radial, *tangential][:4], where)
    a1, a2, a3, b1, b2, b3 = _rational(radial, _largest_radius(size, focal, centre, radial), focal, where)
    return lens("FULL_OPENCV", *size, [*base, a1, a2, *tangential, a3, b1, b2, b3], where)


def _largest_radius(
    size: tuple[int, int], focal: tuple[float, float], centre: tuple[float, float], radial: Sequence[float]
) -> float:
    """Undistorted radius r of the corner that is farthest from the centre."""
    farthest = [max(centre[axis], size[axis] - centre[axis]) / focal[axis] for axis in (0, 1)]
    distorted = float(np.clip(np.hypot(farthest[0], farthest[1]), 0, 1e3))
    radii = np.linspace(0, 3 * distorted, 3001)
    with np.errstate(all="ignore"):
        reached = radii * _polynomial(radii**2, radial) >= distorted
    # A polynomial that turns back before the corner has no radius for it: the image is then used as far as it goes.
    return float(radii[np.argmax(reached)]) if reached.any() else distorted


def _polynomial(squared: Float[np.ndarray, "n"], radial: Sequence[float]) -> Float[np.ndarray, "n"]:
    return 1 + squared * np.polyval([*reversed(radial)], squared)


def _rational(radial: Sequence[float], largest: float, focal: tuple[float, float], where: str) -> list[float]:
    """a1..a3, b1..b3 so that (1 + a1 s + a2 s^2 + a3 s^3) / (1 + b1 s + b2 s^2 + b3 s^3) is the polynomial in s = r^2.

    Linear least squares over the radii in the image, repeated with two weights: one over the denominator of the step
    before (Sanathanan and Koerner 1963), and more where the error is largest (Lawson 1961), which tends to the smallest
    largest error.
    """
    radii = np.linspace(0, largest, 400)[1:]
    best, solution = np.inf, np.zeros(6)
    with np.errstate(all="ignore"):
        wanted = _polynomial(radii**2, radial)
        powers = np.stack([radii**2, radii**4, radii**6], axis=1)
        matrix = np.concatenate([powers, -wanted[:, None] * powers], axis=1)
        scale = np.abs(matrix).max(axis=0)
        denominator = weight = np.ones_like(radii)
        usable = bool(np.isfinite(matrix).all() and np.abs(wanted).max() < 1e6 and (scale > 0).all())
        for _ in range(FIT_STEPS if usable else 0):
            weights = radii * np.sqrt(weight) / denominator
            if not (np.isfinite(weights).all() and np.abs(weights).max() < 1e12):
                break
            step = np.linalg.lstsq(matrix / scale * weights[:, None], (wanted - 1) * weights, rcond=1e-14)[0] / scale
            denominator = 1 + powers @ step[3:]
            error = np.abs((1 + powers @ step[:3]) / denominator - wanted) * radii * max(focal)
            if error.max() < best and denominator.min() > 0:
                best, solution = float(error.max()), step
            weight = weight * (error + 1e-3 * error.max())
            weight = weight / weight.mean()
    if not best <= FIT_ERROR:
        raise SceneError(
            f"{where}: the distortion k1..k4 = {', '.join(f'{value:.4g}' for value in radial)} cannot be undistorted "
            f"to {FIT_ERROR} pixels.\nCalibrate without k4, or export undistorted photographs with their cameras."
        )
    return solution.tolist()
