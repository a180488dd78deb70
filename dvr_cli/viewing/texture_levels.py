"""A texture for pictures that are coarser than it: levels of half the size each, and which of them a ray should ask.

A ray through a pixel centre stands for the whole pixel. Where the pixel covers several texels, asking one of them picks
by chance, and an animation shimmers; a level that averages them does not (Williams 1983, "Pyramidal parametrics"). The
level is log2 of the number of texels along a pixel's side, for a surface that faces the camera, plus BIAS; between two
levels both are asked. Where a pixel covers about a texel or less this is `Texture.colours`.
"""

from threading import Lock

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture

BIAS = -0.25
"""Interpolation blurs by itself. On 1/f noise at 1.2 to 6 texels per pixel, facing the camera and tilted by 50 degrees,
one ray per pixel differs from the pixel's average by 33.1 to 38.6 dB; without bias 30.2 to 40.7, without levels 21.6
to 36.1."""
SMALLEST_SIDE = 8
"""Levels end before a side is shorter than this, texels: an atlas is mush by then."""


class TextureLevels:
    """The texture of a mesh at full size and at halved ones, which are made when they are first asked for."""

    def __init__(self, mesh: Mesh) -> None:
        """`mesh` has a texture."""
        assert mesh.texture is not None
        self._levels = [mesh.texture]
        self._making = Lock()
        self._texels_per_length = _density(mesh, mesh.texture)
        shortest = min(mesh.texture.image.shape[:2])
        self._last = max(0, int(np.floor(np.log2(shortest / SMALLEST_SIDE)))) if shortest else 0

    def colours(
        self, faces: Int[np.ndarray, "n"], weights: Float[np.ndarray, "n 3"], pixel_lengths: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n 3"]:
        """RGB in [0, 1] at points of faces; `pixel_lengths` are the pixels' sides there, units of the vertices."""
        wanted = self._wanted(faces, pixel_lengths)
        lower = wanted.astype(np.int64)
        share = wanted - lower
        result = np.empty((len(faces), 3))
        for level in np.unique(lower).tolist():
            asked = np.flatnonzero(lower == level)
            found = self._level(level).colours(faces[asked], weights[asked])
            between = np.flatnonzero(share[asked] > 0)
            if len(between):
                coarse = self._level(level + 1).colours(faces[asked[between]], weights[asked[between]])
                found[between] += share[asked[between], None] * (coarse - found[between])
            result[asked] = found
        return result

    def _wanted(self, faces: Int[np.ndarray, "n"], pixel_lengths: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        texels = self._texels_per_length[faces] * pixel_lengths
        return np.clip(np.log2(np.maximum(texels, 1.0)) + BIAS, 0, self._last)

    def _level(self, number: int) -> Texture:
        with self._making:
            while len(self._levels) <= number:
                self._levels.append(_halved(self._levels[-1]))
        return self._levels[number]


def _halved(texture: Texture) -> Texture:
    """The texture at half the size; corners map to corners, so the texture coordinates hold for it as well."""
    from PIL import Image

    height, width = (max(1, side // 2) for side in texture.image.shape[:2])
    image = Image.fromarray(texture.image).resize((width, height), Image.Resampling.BOX)
    return Texture(np.asarray(image), texture.corners)


def _density(mesh: Mesh, texture: Texture) -> Float[np.ndarray, "f"]:
    """Texels per unit of length on each face: the root of its area in texels over its area in the world."""
    height, width = texture.image.shape[:2]
    first, second = (mesh.vertices[mesh.faces[:, k]] - mesh.vertices[mesh.faces[:, 0]] for k in (1, 2))
    area = np.linalg.norm(np.cross(first, second), axis=1)
    flat = (texture.corners[:, 1:] - texture.corners[:, :1]) * (width, height)
    texels = np.abs(flat[:, 0, 0] * flat[:, 1, 1] - flat[:, 0, 1] * flat[:, 1, 0])
    # A face without area is met by no ray.
    return np.sqrt(np.divide(texels, area, out=np.zeros_like(area), where=area > 0))
