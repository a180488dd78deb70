"""The sRGB transfer curve (IEC 61966-2-1) between stored colours and amounts of light.

Photographs, textures and vertex colours of this package are stored as files store them, in sRGB. glTF's vertex colours
and USD's displayColor are linear in light.
"""

import numpy as np
from jaxtyping import Float


def linear_from_srgb(values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Light in [0, 1] of stored values in [0, 1], e.g. 0.5 -> 0.214."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(light: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Stored values in [0, 1] of light in [0, 1]: the inverse of `linear_from_srgb`."""
    # The root is taken of values above the straight part alone, where it is defined for rounding below zero as well.
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
