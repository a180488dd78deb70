"""How likely a colour is in the object or in the background: smoothed histograms, learnt from all photographs together.

Colours are counted by the square roots of their RGB values, so that dark ones are told apart about as well as bright
ones (the noise of a photograph grows with the root of its brightness).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

BINS = 24
"""Of each channel."""
BLUR = 0.9
"""Bins: what neighbouring colours know of each other."""
UNIFORM = 0.02
"""Share of all colours alike in every histogram, so that no colour is impossible."""

_BIN_OF_VALUE = np.minimum((np.sqrt(np.arange(256) / 255) * BINS).astype(np.int32), BINS - 1)


@dataclass(frozen=True)
class ColourModel:
    """The distribution of colours in a region."""

    density: Float[np.ndarray, "bins3"]
    """Probability of each bin times the number of bins: 1 where all colours are alike."""

    def density_of(self, bins: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Density at pixels whose bins are known, 1 on average over all colours."""
        return self.density[bins]


def colour_bins(image: UInt8[np.ndarray, "*n 3"]) -> Int[np.ndarray, "*n"]:
    """The flat number of the bin of each pixel."""
    channels = _BIN_OF_VALUE[image]
    return (channels[..., 0] * BINS + channels[..., 1]) * BINS + channels[..., 2]


def counted(bins: Int[np.ndarray, "p"], weights: Float[np.ndarray, "p"] | None = None) -> Float[np.ndarray, "bins3"]:
    """How often each bin occurs."""
    return np.bincount(bins, weights, minlength=BINS**3).astype(np.float64)


def colour_model(counts: Float[np.ndarray, "bins3"]) -> ColourModel:
    """The smoothed density of counted colours; uniform when nothing was counted."""
    from scipy.ndimage import gaussian_filter

    total = counts.sum()
    if total <= 0:
        return ColourModel(np.ones(BINS**3, np.float32))
    # At the border of the cube the blurred mass stays inside.
    smooth = gaussian_filter(counts.reshape(BINS, BINS, BINS), BLUR, mode="nearest").reshape(-1)
    density = smooth / smooth.sum() * BINS**3
    return ColourModel(((1 - UNIFORM) * density + UNIFORM).astype(np.float32))
