"""A texture: an image, and where each face's corners lie in it.

Texture coordinates (u, v) are those of OBJ: (0, 0) is the lower left corner of the image, (1, 1) the upper right one;
row 0 of the image is its top, v = 1. The centre of the texel in column c and row r lies at ((c + 0.5) / width,
1 - (r + 0.5) / height). Each face has corners of its own, so a seam is a matter of coordinates alone: vertices are
shared across it, and a closed mesh stays closed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8


@dataclass(frozen=True)
class Texture:
    """Colours of a mesh's surface as an image."""

    image: UInt8[np.ndarray, "h w 3"]
    """RGB as photographs store it (sRGB)."""
    corners: Float[np.ndarray, "f 3 2"]
    """Texture coordinates (u, v) of the corners of each face of the mesh."""

    def colours(self, faces: Int[np.ndarray, "n"], weights: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """RGB in [0, 1] at points of the surface, linear between texel centres; outside the image its edge goes on.

        `faces` are indices (0 or more), `weights` barycentric weights of their corners.
        """
        height, width = self.image.shape[:2]
        place = np.einsum("nk,nkc->nc", weights, self.corners[faces])
        column = np.clip(place[:, 0] * width - 0.5, 0, width - 1)
        row = np.clip((1 - place[:, 1]) * height - 0.5, 0, height - 1)
        left, top = column.astype(np.int64), row.astype(np.int64)
        right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
        across, down = (column - left)[:, None], (row - top)[:, None]
        upper = self.image[top, left] * (1 - across) + self.image[top, right] * across
        lower = self.image[bottom, left] * (1 - across) + self.image[bottom, right] * across
        return (upper * (1 - down) + lower * down) / 255
