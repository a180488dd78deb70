"""How much each photograph has to say at each vertex of a surface, before a single texel is looked at.

A photograph's quality at a point is the area in pixels of a piece of surface there, cosine times focal length over
distance squared, faded out towards grazing angles. The best few that see a point share the say: each weighs by how much
it is better than the best one that is left out, in the spirit of unstructured lumigraph rendering (Buehler et al. 2001,
section 4.2), so that no weight jumps where a photograph enters or leaves the choice.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from dvr_cli.surfaces.baking.focus import contrast_at
from dvr_cli.surfaces.baking.local_surface import LocalSurface
from dvr_cli.surfaces.baking.photographs import Photograph
from dvr_cli.surfaces.baking.sampling import colours, project, taken, tangent, visible
from dvr_cli.surfaces.baking.settings import BakeSettings

FADE = 0.3
"""From `steepest` on, over so much of the cosine, a photograph rises to its full quality."""
LEAST_COSINE = 0.05
"""Faces that are seen more flatly are not looked at."""


@dataclass(frozen=True)
class VertexSamples:
    """What each photograph shows at each vertex."""

    quality: Float32[np.ndarray, "views v"]
    """Whether the vertex, or the middle of a face around it, is seen at all, and how well; 0 if not."""
    trust: Float32[np.ndarray, "views v"]
    """0 where the vertex itself is not seen."""
    colour: Float32[np.ndarray, "views v 3"]
    """Of the vertex, without gain; 0 where it is not seen."""
    contrast: Float32[np.ndarray, "views v"]
    """Of the photograph around the vertex, without gain (see `focus`); 0 where it is not seen."""


@dataclass(frozen=True)
class ViewWeights:
    """The photographs that have a say at each vertex, best first."""

    photograph: Int16[np.ndarray, "v k"]
    """Position in the list of photographs; -1 where there are fewer."""
    weight: Float32[np.ndarray, "v k"]
    """0 to 1."""


def qualities(
    photograph: Photograph,
    points: Float32[np.ndarray, "p 3"],
    normals: Float32[np.ndarray, "p 3"],
    settings: BakeSettings,
) -> tuple[Float32[np.ndarray, "p"], Float32[np.ndarray, "p"]]:
    """Quality, whether or not anything hides the points, and the cosine between view and normal."""
    towards = photograph.centre.astype(np.float32) - points
    distance = np.maximum(np.sqrt(np.einsum("pi,pi->p", towards, towards)), 1e-30)
    cosine = np.einsum("pi,pi->p", towards, normals) / distance
    fade = np.clip((cosine - settings.steepest) / FADE, 0, 1)
    return (fade * cosine * (photograph.focal / distance) ** 2).astype(np.float32), cosine


def samples(
    photograph: Photograph, points: Float32[np.ndarray, "p 3"], cosine: Float32[np.ndarray, "p"], slack: float
) -> tuple[Float32[np.ndarray, "p 3"], Float32[np.ndarray, "p"]]:
    """Colours and trust where points fall; both 0 where they are not seen."""
    colour, trust = np.zeros((len(points), 3), dtype=np.float32), np.zeros(len(points), dtype=np.float32)
    asked = np.flatnonzero(cosine > LEAST_COSINE)
    places = project(photograph, points[asked])
    seen = np.flatnonzero(visible(photograph, places, tangent(cosine[asked]), slack))
    colour[asked[seen]], trust[asked[seen]] = colours(photograph, taken(places, seen))
    return colour, trust


def sample_vertices(
    surface: LocalSurface, photographs: Sequence[Photograph], settings: BakeSettings, pool: Executor
) -> VertexSamples:
    """Look at every vertex and at the middle of every face in every photograph.

    A vertex counts as seen as well as it or the middle of any face around it is seen: what hides single texels is
    decided for each of them.
    """
    middles, normals = surface.face_middles, surface.face_normals
    order = np.argsort(surface.faces.ravel(), kind="stable")
    used, starts = np.unique(surface.faces.ravel()[order], return_index=True)
    shape = (len(photographs), len(surface.vertices))
    found = VertexSamples(*(np.zeros((*shape, *more), dtype=np.float32) for more in ((), (), (3,), ())))

    def look(index: int) -> None:
        photograph = photographs[index]
        quality, cosine = qualities(photograph, surface.vertices, surface.normals, settings)
        colour, trust = samples(photograph, surface.vertices, cosine, surface.slack)
        found.colour[index], found.trust[index] = colour, trust
        seen = np.flatnonzero(trust)
        found.contrast[index, seen] = contrast_at(photograph, surface.vertices[seen])
        face_cosine = qualities(photograph, middles, normals, settings)[1]
        of_faces = samples(photograph, middles, face_cosine, surface.slack)[1]
        trust = trust.copy()
        trust[used] = np.maximum(trust[used], np.maximum.reduceat(of_faces[order // 3], starts))
        found.quality[index] = quality * trust

    list(pool.map(look, range(len(photographs))))
    return found


def chosen(quality: Float32[np.ndarray, "views v"], count: int) -> ViewWeights:
    """The best `count` photographs of each vertex, weighted by how much better they are than the next.

    >>> chosen(np.array([[4.0], [1.0], [2.0]], dtype=np.float32), 2)
    ViewWeights(photograph=array([[0, 2]], dtype=int16), weight=array([[1.        , 0.33333334]], dtype=float32))
    """
    views, points = quality.shape
    kept = min(count, views)
    order = np.argsort(-quality, axis=0, kind="stable")[: kept + 1]
    best = np.take_along_axis(quality, order, axis=0)
    limit = best[kept] if views > kept else np.zeros(points, dtype=np.float32)
    weight = best[:kept] - limit
    # Where all are equally good they share the say.
    tied = (weight <= 0).all(axis=0) & (best.max(axis=0, initial=0) > 0)
    weight[:, tied] = best[:kept, tied]
    photograph = np.where(weight > 0, order[:kept], -1)
    largest = np.float32(max(float(weight.max(initial=0.0)), 1e-30))
    return ViewWeights(photograph.T.astype(np.int16), (weight / largest).T.astype(np.float32))
