"""The border of a mask to a fraction of a pixel: how much of a pixel is object, from the colours on both sides.

A pixel on the border is a mixture of object and background, and each alone is seen a few pixels away. Its share of
object is where its colour lies between theirs; without this, masks before black backgrounds are half a pixel too wide,
because a pixel with a tenth of the object in it is not black.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

BAND = 2
"""Pixels on either side of the border whose shares are found."""
REACH = 3.0
"""Pixels: standard deviation of the neighbourhood whose colours stand for either side."""
LEAST_CONTRAST = 16 / 255
"""Between the two sides (length of the difference of their colours); below it a mask stays as it is."""


def with_soft_edges(soft: Float[np.ndarray, "h w"], image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """The mask with the share of object in each pixel near its border, in [0, 1]."""
    from scipy import ndimage

    mask = soft > 0.5
    near = _near_border(mask)
    if not near.any():
        return soft
    rows, columns = np.nonzero(near)
    margin = int(4 * REACH)
    box = tuple(slice(max(0, axis.min() - margin), axis.max() + margin + 1) for axis in (rows, columns))
    colours, near, mask = image[box].astype(np.float32) / 255, near[box], mask[box]
    inner, outer = _pure(mask), _pure(~mask)
    sides = []
    for pure in (inner, outer):
        weight = ndimage.gaussian_filter(pure.astype(np.float32), REACH)
        weighted = np.stack(
            [ndimage.gaussian_filter(np.where(pure, colours[:, :, c], 0), REACH) for c in range(3)], axis=2
        )
        sides.append((weighted / np.maximum(weight, 1e-6)[:, :, None], weight))
    (object_colour, object_weight), (background_colour, background_weight) = sides
    direction = object_colour - background_colour
    length = (direction**2).sum(axis=2)
    share = ((colours - background_colour) * direction).sum(axis=2) / np.maximum(length, 1e-6)
    known = near & (length > LEAST_CONTRAST**2) & (np.minimum(object_weight, background_weight) > 1e-4)
    result = soft.copy()
    result[box] = np.where(known, np.clip(share, 0, 1), soft[box])
    return result


def _near_border(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    from scipy import ndimage

    # The outermost pixels on either side only: what is a mixture, and not texture beside the border.
    inside = mask & ~ndimage.binary_erosion(mask, iterations=1, border_value=1)
    outside = ~mask & ndimage.binary_dilation(mask, iterations=1)
    return inside | outside


def _pure(region: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The region without the pixels that may be mixed; all of it where nothing else is left of a thin part."""
    from scipy import ndimage

    eroded = ndimage.binary_erosion(region, iterations=BAND, border_value=1)
    thin = region & ~ndimage.binary_dilation(eroded, iterations=BAND + 1)
    return eroded | (thin & ndimage.binary_erosion(region, border_value=1))
