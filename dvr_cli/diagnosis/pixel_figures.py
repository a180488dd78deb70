"""Sharpness, brightness and a thumbnail of one photograph.

Sharpness is the share of detail that survives only in focus: the root mean square of the gradient over that of the
gradient after a blur of two pixels. Contrast cancels, so that views of different sides can be compared.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.hull import is_full

BLUR = 2.0
"""Standard deviation, pixels."""
THUMBNAIL = 32
"""Pixels a side."""
WHITE = 0.985
"""All three channels above this: nothing is left of the surface."""
FEWEST_PIXELS = 100
"""Of the object; with fewer the whole image is judged."""


@dataclass(frozen=True)
class PixelFigures:
    """What the pixels of one view say."""

    sharpness: float
    """Fine gradient over coarse gradient, above 1 for a sharp photograph, 1 for one without fine detail."""
    brightness: float
    """Mean of the object (or the image), 0 to 1."""
    white: float | None
    """Share of the object that is white; None without a mask, where the whole image was judged."""
    colour: float
    """Largest difference between channels, 0 to 1; 0 for a grey photograph."""
    thumbnail: Float[np.ndarray, "32 32"]
    """Grey, [0, 1]."""


def pixel_figures(image: Float[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"] | None) -> PixelFigures:
    """Figures of an image in [0, 1] within the mask, or of the whole image where there is none that says anything."""
    from scipy.ndimage import binary_erosion

    grey = image.mean(axis=2, dtype=np.float32)
    inside = mask if mask is not None and mask.sum() >= FEWEST_PIXELS and not is_full(mask) else None
    # The outline is an edge of the mask, not of the surface.
    core = None if inside is None else binary_erosion(inside, iterations=4)
    core = core if core is not None and core.sum() >= FEWEST_PIXELS else inside
    white = None if inside is None else float((image[inside].min(axis=1) > WHITE).mean())
    colour = float((image.max(axis=2) - image.min(axis=2)).max(initial=0))
    brightness = float(grey.mean() if inside is None else grey[inside].mean())
    return PixelFigures(_sharpness(grey, core), brightness, white, colour, _thumbnail(grey))


def _sharpness(grey: Float[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"] | None) -> float:
    from scipy.ndimage import gaussian_filter

    fine, coarse = (_gradient(values, inside) for values in (grey, gaussian_filter(grey, BLUR)))
    # Noise of an 8-bit image, so that a flat one is neither sharp nor blurred.
    return float((fine + 1e-4) / (coarse + 1e-4))


def _gradient(values: Float[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"] | None) -> float:
    if min(values.shape) < 2:
        return 0.0
    down, right = values[1:, :-1] - values[:-1, :-1], values[:-1, 1:] - values[:-1, :-1]
    squared = down**2 + right**2
    chosen = squared if inside is None else squared[inside[:-1, :-1]]
    return float(np.sqrt(chosen.mean())) if chosen.size else 0.0


def _thumbnail(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "32 32"]:
    from PIL import Image

    small = Image.fromarray(grey).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)
