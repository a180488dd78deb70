"""How sharp each photograph is beside the others that show the same surface: blurred ones lose their say.

Local contrast is the mean difference of pixels from a blur of about their own size. What a photograph shows of a
surface point has log contrast = that of the point + that of the photograph, so the photographs' shares follow by the
same robust least squares as gains. Pixels compare with pixels, whatever the distance: natural textures have about the
same contrast at every scale.
"""

import numpy as np
from jaxtyping import Float, Float32

from dvr_cli.surfaces.baking.gains import relative_levels
from dvr_cli.surfaces.baking.photographs import Photograph
from dvr_cli.surfaces.baking.sampling import project

FINE, AROUND = 1.0, 2.0
"""Standard deviations (pixels) of the blur that pixels are compared with, and of the mean over neighbours."""
LEAST_CONTRAST = 2 / 255
"""Some photograph must show a point with so much contrast, or it says nothing about sharpness."""
NOISE = 0.25 / 255
"""Contrast below this counts as this."""
TOLERANCE = 0.4
"""Logarithm of contrast by which a photograph may fall behind the middle one at no cost: a factor of 1.5."""
POWER = 4.0
"""Of what it falls behind by beyond that, on its quality; half of it is left where qualities are flattened."""


def contrast_at(photograph: Photograph, points: Float32[np.ndarray, "p 3"]) -> Float32[np.ndarray, "p"]:
    """Local contrast (of values in [0, 1]) of a photograph where points that it sees fall."""
    from scipy.ndimage import gaussian_filter

    usable = (photograph.pixels[..., 3] > 0).astype(np.float32)
    grey = photograph.pixels[..., :3].mean(axis=-1, dtype=np.float32) / 255

    def blurred(values: Float32[np.ndarray, "h w"], radius: float) -> Float32[np.ndarray, "h w"]:
        # Only usable pixels count, so that a silhouette makes no contrast.
        return gaussian_filter(values * usable, radius) / np.maximum(gaussian_filter(usable, radius), 1e-6)

    contrast = blurred(np.abs(grey - blurred(grey, FINE)), AROUND)
    places = project(photograph, points)
    row = np.clip(np.rint(places.row), 0, grey.shape[0] - 1).astype(np.int64)
    column = np.clip(np.rint(places.column), 0, grey.shape[1] - 1).astype(np.int64)
    return contrast[row, column]


def sharpness(
    contrast: Float32[np.ndarray, "views v"], trust: Float32[np.ndarray, "views v"], gain: Float[np.ndarray, "views"]
) -> Float[np.ndarray, "views"]:
    """What each photograph's quality is multiplied by: 1, or less for those that are more blurred than usual.

    `contrast` and `trust` are what the photographs show of the same points (0: not seen). A photograph that shares too
    little with the others keeps 1.
    """
    usable = (trust > 0) & (contrast.max(axis=0, initial=0) > LEAST_CONTRAST)
    values = np.log(np.maximum(contrast.astype(np.float64) * gain[:, None], NOISE))
    level = relative_levels(values, usable)
    if not len(level):
        return np.ones(0)
    behind = np.median(level) - level - TOLERANCE
    return np.exp(-POWER * np.maximum(behind, 0))
