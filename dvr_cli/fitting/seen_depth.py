"""Coarse depth of all views of a scene without masks, as a value and as a file of the run.

Planes are kept instead of depths: inverse depth is affine in the pixel along a plane, so that photographs at a larger
scale find their own depth on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import RunError
from dvr_cli.scenes.arrays import read_npz, write_npz
from dvr_cli.scenes.views import Camera

FILE = Path("depth") / "surroundings.npz"
"""Within the run's folder."""
ALIKE = 0.01
"""Relative difference between a point's depth and that of a map which supports it."""


@dataclass(frozen=True)
class SeenDepth:
    """Depth of all views at one small scale."""

    divisor: int
    """By which the photographs were shrunk (`kernels.views.shrink`)."""
    heights: Int[np.ndarray, "v"]
    widths: Int[np.ndarray, "v"]
    planes: Float[np.ndarray, "pixels 3"]
    """Inverse camera depth in world units at the pixel's centre, and its change per pixel to the right and down; zeros
    where no depth is confirmed. Views lie flat behind each other."""

    @property
    def starts(self) -> Int[np.ndarray, "v"]:
        """Place of each view's first pixel."""
        sizes = self.heights.astype(np.int64) * self.widths
        return np.cumsum(sizes) - sizes


def save_seen(folder: Path, seen: SeenDepth) -> None:
    """Write it into a run's folder; OSError when the disk is full."""
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    sizes = np.stack([seen.heights, seen.widths], axis=1)
    write_npz(path, {"divisor": np.array(seen.divisor), "sizes": sizes, "planes": seen.planes})


def load_seen(folder: Path, view_count: int) -> SeenDepth | None:
    """What `save_seen` wrote; None when there is nothing, or nothing that belongs to so many views."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path, RunError)
    except RunError:
        return None
    if set(arrays) != {"divisor", "sizes", "planes"}:
        return None
    divisor, sizes, planes = arrays["divisor"], arrays["sizes"], arrays["planes"]
    whole = divisor.shape == () and all(np.issubdtype(array.dtype, np.integer) for array in (divisor, sizes))
    fits = whole and sizes.shape == (view_count, 2) and planes.dtype == np.float32 and planes.ndim == 2
    if not fits or (sizes < 1).any() or int(divisor) < 1:
        return None
    if planes.shape != (int(sizes.astype(np.int64).prod(axis=1).sum()), 3) or not np.isfinite(planes).all():
        return None
    return SeenDepth(int(divisor), sizes[:, 0], sizes[:, 1], planes)


def supporting_views(
    seen: SeenDepth, cameras: Sequence[Camera], points: Float[np.ndarray, "p 3"], slack: float = 0.0
) -> Int[np.ndarray, "p"]:
    """Number of views whose confirmed depth lies at each world point, or within `slack` (world units) of it.

    `cameras` may be of any size.
    """
    count = np.zeros(len(points), np.int64)
    for start, height, width, camera in zip(seen.starts, seen.heights, seen.widths, cameras, strict=True):
        # The last rows and columns of the photograph that do not fill a coarse pixel are cut off.
        pixels, depth = camera.project(points)
        pixels = pixels * [width / camera.width, height / camera.height]
        shown = _shown(pixels, depth, int(height), int(width))
        columns, rows = pixels[shown].astype(np.int64).T
        plane = seen.planes[start + rows * width + columns]
        offset = pixels[shown] - np.stack([columns, rows], axis=1) - 0.5
        inverse = plane[:, 0] + (plane[:, 1:] * offset).sum(axis=1)
        known = (plane[:, 0] > 0) & (inverse > 0)
        apart = np.abs(1 / np.where(known, inverse, 1) - depth[shown])
        count[shown] += known & (apart < ALIKE * depth[shown] + slack)
    return count


def _shown(
    pixels: Float[np.ndarray, "p 2"], depth: Float[np.ndarray, "p"], height: int, width: int
) -> Bool[np.ndarray, "p"]:
    with np.errstate(invalid="ignore"):
        return (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1)
