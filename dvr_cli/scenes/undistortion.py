"""Photographs with lens distortion, resampled to the pinhole image at working size in one go.

For every pixel of the pinhole image the lens model says where in the photograph its ray ended; the photograph, first
shrunk to about that scale, is read there bilinearly. Where the result is at most half the full size, four samples make
one pixel, so that little sharpness is lost. The work depends on the working size, not on that of the photograph.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.views import Camera

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class _Lens:
    """What the map from pinhole pixels to distorted pixels depends on; usually the same for all views."""

    model: str
    parameters: tuple[float, ...]
    distorted_size: tuple[int, int]
    intrinsics: tuple[float, ...]
    shape: tuple[int, int]


def undistorted(
    image: "Image", distorted: Any, pinhole: Camera, height: int, width: int
) -> Float[np.ndarray, "h w *channels"]:
    """The pinhole image at the given size, in the values of `image`, float32.

    `image` may be of any size with the aspect ratio of `distorted`, the `pycolmap.Camera` that took it; `pinhole` is
    the camera of the full-size result.
    """
    from scipy.ndimage import map_coordinates

    samples = 2 if pinhole.height >= 2 * height and pinhole.width >= 2 * width else 1
    target = pinhole.resized(samples * height, samples * width)
    full_height, full_width = image.height, image.width
    divisor = max(1, full_height // target.height)
    shrunk = image.reduce(divisor) if divisor > 1 else image
    lens = _Lens(
        distorted.model_name,
        tuple(distorted.params),
        (distorted.width, distorted.height),
        tuple(target.intrinsics.ravel()),
        (target.height, target.width),
    )
    scale = np.array([full_height / distorted.height, full_width / distorted.width], np.float32) / np.float32(divisor)
    rows_and_columns = _distorted_pixels(lens) * scale[:, None] - np.float32(0.5)
    pixels = np.asarray(shrunk)
    channels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    read = [
        map_coordinates(channels[:, :, index], rows_and_columns, np.float32, order=1, mode="nearest", prefilter=False)
        for index in range(channels.shape[2])
    ]
    values = np.stack(read, axis=-1).reshape(height, samples, width, samples, -1).mean(axis=(1, 3))
    return values if pixels.ndim == 3 else values[:, :, 0]


def picked_undistorted(
    values: Float[np.ndarray, "rows columns"], distorted: Any, pinhole: Camera, height: int, width: int
) -> Float[np.ndarray, "h w"]:
    """The pinhole image at the given size, each value picked from the nearest pixel and never mixed.

    For depth: an average across an edge would be a depth that nothing has. `values` are of any size with the aspect
    ratio of `distorted`; NaN where they do not reach.
    """
    target = pinhole.resized(height, width)
    lens = _Lens(
        distorted.model_name,
        tuple(distorted.params),
        (distorted.width, distorted.height),
        tuple(target.intrinsics.ravel()),
        (target.height, target.width),
    )
    rows, columns = values.shape
    scale = np.array([rows / distorted.height, columns / distorted.width])
    row, column = np.floor(_distorted_pixels(lens) * scale[:, None]).astype(np.int64)
    within = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    picked = np.full(height * width, np.nan)
    picked[within] = values[row[within], column[within]]
    return picked.reshape(height, width)


@lru_cache(maxsize=4)
def _distorted_pixels(lens: _Lens) -> Float[np.ndarray, "2 p"]:
    """Row and column in the full-size photograph for each pixel of the pinhole image, corner convention, float32."""
    import pycolmap

    camera = pycolmap.Camera.create_from_model_name(1, lens.model, 1.0, *lens.distorted_size)
    camera.params = list(lens.parameters)
    rows, columns = np.mgrid[0 : lens.shape[0], 0 : lens.shape[1]] + 0.5
    homogeneous = np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)], axis=1)
    rays = homogeneous @ np.linalg.inv(np.reshape(lens.intrinsics, (3, 3))).T
    distorted = camera.img_from_cam(rays)
    return np.nan_to_num(distorted[:, ::-1].T, nan=-1.0).astype(np.float32)
