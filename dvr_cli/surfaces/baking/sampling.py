"""Look-ups in photographs: where points of the surface fall, whether they are seen there, and in which colour."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt32

from dvr_cli.surfaces.baking.photographs import Photograph


@dataclass(frozen=True)
class Places:
    """Points in one photograph's arrays."""

    column: Float32[np.ndarray, "n"]
    row: Float32[np.ndarray, "n"]
    """Whole numbers are pixel centres."""
    depth: Float32[np.ndarray, "n"]


def project(photograph: Photograph, points: Float32[np.ndarray, "n 3"]) -> Places:
    """Where local points fall; meaningless where depth is not positive."""
    homogeneous = points @ photograph.matrix[:, :3].T
    homogeneous += photograph.matrix[:, 3]
    depth = homogeneous[:, 2]
    inverse = 1 / np.where(depth > 0, depth, 1)
    return Places(homogeneous[:, 0] * inverse, homogeneous[:, 1] * inverse, depth)


def visible(
    photograph: Photograph, places: Places, slope: Float32[np.ndarray, "n"], slack: float
) -> Bool[np.ndarray, "n"]:
    """Whether each place lies inside the arrays and at the depth of what is seen first there.

    `slope` is the tangent of the angle between view and normal: that steep is the depth within one block of the depth
    map. `slack` (world units) is what rounding needs.
    """
    height, width = photograph.pixels.shape[:2]
    inside = (places.depth > 0) & (places.column >= 0) & (places.column <= width - 1)
    inside &= (places.row >= 0) & (places.row <= height - 1)
    step = photograph.step
    column = np.where(inside, places.column + 0.5, 0).astype(np.int32) // step
    row = np.where(inside, places.row + 0.5, 0).astype(np.int32) // step
    seen = photograph.inverse_depth.ravel()[row * photograph.inverse_depth.shape[1] + column]
    tolerance = (1 + 0.75 * slope) * (step / photograph.focal) * places.depth + slack
    # Something nearer than the point by more than the tolerance hides it; without any surface there nothing is known.
    return inside & (seen > 0) & (seen * (places.depth - tolerance) <= 1)


def colours(photograph: Photograph, places: Places) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n"]]:
    """Colours times the gain, and trust, linear between pixel centres; places must lie inside the arrays."""
    height, width = photograph.pixels.shape[:2]
    packed = photograph.pixels.reshape(-1, 4).view(np.uint32).ravel()
    left = np.minimum(places.column.astype(np.int32), width - 2)
    top = np.minimum(places.row.astype(np.int32), height - 2)
    # NumPy would make double precision of a difference between single precision and whole numbers.
    across = (places.column - left.astype(np.float32))[:, None]
    down = (places.row - top.astype(np.float32))[:, None]
    first = top * width + left
    corners = [_unpacked(packed[first + offset]) for offset in (0, 1, width, width + 1)]
    upper = corners[0] + across * (corners[1] - corners[0])
    lower = corners[2] + across * (corners[3] - corners[2])
    mixed = (upper + down * (lower - upper)) * np.float32(1 / 255)
    return mixed[:, :3] * np.float32(photograph.gain), mixed[:, 3]


def _unpacked(packed: UInt32[np.ndarray, "n"]) -> Float32[np.ndarray, "n 4"]:
    return packed.view(np.uint8).reshape(-1, 4).astype(np.float32)


def taken(places: Places, chosen: Int[np.ndarray, "m"] | Bool[np.ndarray, "n"]) -> Places:
    """Some of the places."""
    return Places(places.column[chosen], places.row[chosen], places.depth[chosen])


def tangent(cosine: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Tangent of the angle with this cosine, at most 10."""
    cosine = np.clip(cosine, 0.1, 1)
    return np.sqrt(1 - cosine * cosine) / cosine
