"""Colours for errors: a scale whose lightness falls evenly from pale (no error) to deep (large), and its limit.

The scale is interpolated in OKLab (Ottosson 2020), where equal steps look equal; lightness alone already carries the
order, for those who do not see the hues and for prints in grey.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

_STOPS = ((0.90, 0.035, 225.0), (0.80, 0.11, 95.0), (0.66, 0.17, 55.0), (0.52, 0.20, 25.0), (0.38, 0.16, 345.0))
"""Lightness, chroma, hue in degrees, evenly spaced from 0 to the limit."""
_STEPS = 256


def error_scale() -> UInt8[np.ndarray, "256 3"]:
    """The scale as a table of sRGB colours."""
    stops = np.array([(light, *_on_circle(chroma, hue)) for light, chroma, hue in _STOPS])
    places = np.linspace(0, 1, len(_STOPS))
    lab = np.stack([np.interp(np.linspace(0, 1, _STEPS), places, stops[:, axis]) for axis in range(3)], axis=1)
    return np.round(255 * _srgb_from_oklab(lab)).astype(np.uint8)


def error_colours(errors: Float[np.ndarray, "*shape"], limit: float) -> Float[np.ndarray, "*shape 3"]:
    """RGB in [0, 1] of errors from 0 to `limit`; beyond is saturated, and so is NaN."""
    share = np.clip(np.nan_to_num(errors / limit, nan=1.0), 0, 1)
    return error_scale()[np.round(share * (_STEPS - 1)).astype(np.int64)] / 255


def limit_of(errors: Sequence[Float[np.ndarray, "..."]]) -> float:
    """The end of a scale that several meshes share: the median over them of each one's 95th percentile, rounded up.

    So the better half of the meshes uses the whole scale, and a very bad one does not flatten the others. 1.0 when
    there is no error to show.
    """
    highs = [float(np.percentile(known, 95)) for one in errors if len(known := one[np.isfinite(one)])]
    high = float(np.median(highs)) if highs else 0.0
    return round_up(high) if high > 0 else 1.0


def round_up(value: float) -> float:
    """The next number of two digits from 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten.

    >>> round_up(0.021)
    0.025
    """
    power = 10.0 ** math.floor(math.log10(value))
    factor = next(f for f in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if f * power >= value * (1 - 1e-9))
    return float(f"{factor * power:.12g}")


def _on_circle(chroma: float, hue: float) -> tuple[float, float]:
    return chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))


def _srgb_from_oklab(lab: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Ottosson's matrices, then the transfer curve of sRGB; colours out of gamut are clipped."""
    roots = (
        lab
        @ np.array(
            [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
        ).T
    )
    linear = (
        roots**3
        @ np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        ).T
    )
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
