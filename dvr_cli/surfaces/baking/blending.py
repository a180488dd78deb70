"""From what the chosen photographs show at texels to one colour each: a robust mean.

Colours far from the others' are a highlight, a hidden piece that the mesh does not know, or a mask that leaks. Starting
from the weighted mean, reweighting by the inverse distance goes to the weighted spatial median (Weiszfeld), from where
colours within `outlier` share the say. Between two photographs there is no majority: weight decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from dvr_cli.surfaces.baking.levels import Levels
from dvr_cli.surfaces.baking.local_surface import LocalSurface, interpolated
from dvr_cli.surfaces.baking.photographs import Photograph
from dvr_cli.surfaces.baking.sampling import colours, project, taken, tangent, visible
from dvr_cli.surfaces.baking.settings import BakeSettings
from dvr_cli.surfaces.baking.weights import LEAST_COSINE, ViewWeights, qualities
from dvr_cli.surfaces.unwrapping.texels import Texels

MEDIAN_ROUNDS = 2
SMALLEST_DISTANCE = 0.01


@dataclass(frozen=True)
class Seen:
    """What one photograph shows."""

    texel: Int[np.ndarray, "m"]
    """Position in the chunk of texels, each once."""
    colour: Float32[np.ndarray, "m 3"]
    weight: Float32[np.ndarray, "m"]


def robust_mean(
    seen: Sequence[Seen], count: int, outlier: float
) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n"]]:
    """Colour and total weight of `count` texels; colour 0 where the weight is 0."""
    mean, weight = _mean(seen, [part.weight for part in seen], count)
    if len(seen) < 2:
        return mean, weight
    for round_ in range(MEDIAN_ROUNDS + 1):
        weights = []
        for part in seen:
            difference = part.colour - mean[part.texel]
            squared = np.einsum("nc,nc->n", difference, difference)
            if round_ < MEDIAN_ROUNDS:
                weights.append(part.weight / np.sqrt(squared + SMALLEST_DISTANCE**2))
            else:
                weights.append(part.weight / (1 + squared * (1 / outlier**2)) ** 2)
        mean = _mean(seen, weights, count)[0]
    return mean, weight


def _mean(
    seen: Sequence[Seen], weights: Sequence[Float32[np.ndarray, "_"]], count: int
) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n"]]:
    total, sums = np.zeros((count, 3), dtype=np.float32), np.zeros(count, dtype=np.float32)
    for part, weight in zip(seen, weights, strict=True):
        total[part.texel] += part.colour * weight[:, None]
        sums[part.texel] += weight
    return total / np.maximum(sums, 1e-30)[:, None], sums


@dataclass(frozen=True)
class Blender:
    """All that is needed to colour any texels of a surface."""

    surface: LocalSurface
    face_normals: Float32[np.ndarray, "f 3"]
    face_middles: Float32[np.ndarray, "f 3"]
    photographs: Sequence[Photograph]
    weights: ViewWeights
    levels: Levels
    settings: BakeSettings

    def blend(self, texels: Texels) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n"]]:
        """Colour and weight of texels that are sorted by face; the weight is 0 where no photograph shows one.

        Texels that the chosen photographs do not show, although their faces are seen, get a second chance with all.
        """
        points = self.surface.points(texels)
        colour, weight = robust_mean(self._by_choice(texels, points), len(texels), self.settings.outlier)
        missing = np.flatnonzero(weight == 0)
        if len(missing):
            rest = texels.taken(missing)
            seen = self._by_all(rest, points[missing])
            colour[missing], weight[missing] = robust_mean(seen, len(missing), self.settings.outlier)
        return colour, weight

    def _by_choice(self, texels: Texels, points: Float32[np.ndarray, "n 3"]) -> list[Seen]:
        first, last = int(texels.face[0]), int(texels.face[-1]) + 1
        faces = self.surface.faces[first:last]
        of_views = self._corner_weights(faces)
        seen = []
        for index, corner_weights in enumerate(of_views):
            weighted = corner_weights.any(axis=1)
            if not weighted.any():
                continue
            asked = np.flatnonzero(weighted[texels.face - first])
            found = self._look(index, texels.taken(asked), points[asked], first, last)
            if found is None:
                continue
            kept, colour, trust = found
            place = asked[kept]
            own = interpolated(corner_weights[texels.face[place] - first][..., None], texels.weights[place])[:, 0]
            seen.append(Seen(place, colour, np.maximum(own, 0) * trust))
        return seen

    def _corner_weights(self, faces: Int[np.ndarray, "f 3"]) -> Float32[np.ndarray, "views f 3"]:
        found = np.zeros((len(self.photographs), len(faces), 3), dtype=np.float32)
        for column in range(self.weights.photograph.shape[1]):
            photograph, weight = self.weights.photograph[faces, column], self.weights.weight[faces, column]
            face, corner = np.nonzero(photograph >= 0)
            found[photograph[face, corner], face, corner] = weight[face, corner]
        return found

    def _by_all(self, texels: Texels, points: Float32[np.ndarray, "n 3"]) -> list[Seen]:
        normals = interpolated(self.surface.normals[self.surface.faces[texels.face]], texels.weights)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        first, last = int(texels.face.min()), int(texels.face.max()) + 1
        seen = []
        for index, photograph in enumerate(self.photographs):
            quality = qualities(photograph, points, normals, self.settings)[0]
            asked = np.flatnonzero(quality > 0)
            found = self._look(index, texels.taken(asked), points[asked], first, last) if len(asked) else None
            if found is not None:
                kept, colour, trust = found
                seen.append(Seen(asked[kept], colour, quality[asked[kept]] * trust))
        return seen

    def _look(
        self, index: int, texels: Texels, points: Float32[np.ndarray, "m 3"], first: int, last: int
    ) -> tuple[Int[np.ndarray, "s"], Float32[np.ndarray, "s 3"], Float32[np.ndarray, "s"]] | None:
        """Which of the texels photograph `index` shows, their colours at the common level, and trust."""
        photograph = self.photographs[index]
        towards = photograph.centre.astype(np.float32) - self.face_middles[first:last]
        towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-30)
        cosine = np.einsum("fi,fi->f", towards, self.face_normals[first:last])
        slope = tangent(cosine)
        face = texels.face - first
        places = project(photograph, points)
        shown = visible(photograph, places, slope[face], self.surface.slack) & (cosine > LEAST_COSINE)[face]
        kept = np.flatnonzero(shown)
        if not len(kept):
            return None
        colour, trust = colours(photograph, taken(places, kept))
        corners = self.surface.faces[texels.face[kept]]
        correction = self.levels.correction[index]
        colour += interpolated(correction[corners].astype(np.float32, copy=False), texels.weights[kept])
        good = np.flatnonzero(trust > 0)
        return kept[good], colour[good], trust[good]
