"""Textures and vertex colours from photographs, by one rule.

Photographs are made ready (what each shows of the mesh, how far each pixel is trusted), evened out in exposure and in
their slow differences, and combined at every texel; what none shows comes from a fallback (the texture field), brought
to the level around it, or by diffusion over the surface. Texels beside a chart are baked like those inside, on the
surface continued beyond the seam. Results depend neither on the number of threads nor on the size of chunks.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from dvr_cli.processors import available_threads
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.baking.blending import Blender
from dvr_cli.surfaces.baking.focus import sharpness
from dvr_cli.surfaces.baking.gains import gains
from dvr_cli.surfaces.baking.levels import Levels, common_level, edge_average, spread
from dvr_cli.surfaces.baking.local_surface import LocalSurface, divided, interpolated, local_surface
from dvr_cli.surfaces.baking.photographs import Photograph, prepare
from dvr_cli.surfaces.baking.settings import BakeSettings
from dvr_cli.surfaces.baking.weights import chosen, sample_vertices
from dvr_cli.surfaces.extraction import ColourFunction
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.surfaces.texture import Texture
from dvr_cli.surfaces.unwrapping.texels import Texels, covered_texels, fill_around, joined, texels_around

Report = Callable[[float], None]

UNKNOWN = 128 / 255
"""Grey where there is neither a photograph nor a fallback."""
PREPARED, LEVELLED, BLENDED = 0.2, 0.3, 0.9
"""Shares of the work that are done after each stage, roughly."""


@dataclass(frozen=True)
class Baked:
    """A texture and how it came about."""

    texture: Texture
    seen: float
    """Share of the texels on the surface that some photograph shows."""
    gains: dict[str, float]
    """What each photograph that was used was multiplied by."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Coloured:
    """Vertex colours and how they came about."""

    mesh: Mesh
    seen: float
    """Share of the vertices that some photograph shows."""
    gains: dict[str, float]
    notes: tuple[str, ...]


def bake(
    mesh: Mesh,
    corners: Float[np.ndarray, "f 3 2"],
    size: int,
    views: Sequence[LoadedView],
    settings: BakeSettings | None = None,
    fallback: ColourFunction | None = None,
    report: Report | None = None,
    threads: int | None = None,
) -> Baked:
    """A texture of size x size texels from photographs, for an atlas where face corners lie at `corners` (u, v).

    `fallback` gives colours in [0, 1] at world points seen along unit directions, where no photograph shows any. Views
    whose photograph is black or white throughout are left out, and a note says so. `report` is told the share of work
    done, in this thread. Raises ExportError for a mesh without faces.
    """
    texels = covered_texels(corners, size)
    inside = len(texels)
    texels = joined([texels, texels_around(texels, corners, size)])
    found = _coloured(mesh, texels, views, settings or BakeSettings(), fallback, report, threads)
    image = np.zeros((size, size, 3), dtype=np.float32)
    known = np.zeros((size, size), dtype=bool)
    image[texels.row, texels.column], known[texels.row, texels.column] = found.colour, True
    filled = fill_around(image, known)
    del image
    if report:
        report(1.0)
    seen = float(found.seen[:inside].mean()) if inside else 0.0
    return Baked(Texture(as_bytes(filled), corners), seen, found.gains, found.notes)


def vertex_colours(
    mesh: Mesh,
    views: Sequence[LoadedView],
    settings: BakeSettings | None = None,
    fallback: ColourFunction | None = None,
    report: Report | None = None,
    threads: int | None = None,
) -> Coloured:
    """The mesh with colours at its vertices from photographs, by the rule of `bake`; a texture it had is left out."""
    # Each vertex is a corner of some face; those of no face keep a colour that nobody sees.
    flat = mesh.faces.ravel()
    used, first = np.unique(flat, return_index=True)
    weights = np.zeros((len(used), 3), dtype=np.float32)
    weights[np.arange(len(used)), first % 3] = 1
    texels = Texels(np.zeros_like(used, dtype=np.int32), used.astype(np.int32), (first // 3).astype(np.int32), weights)
    found = _coloured(mesh, texels, views, settings or BakeSettings(), fallback, report, threads)
    colors = np.full((len(mesh.vertices), 3), UNKNOWN)
    colors[used] = np.clip(found.colour, 0, 1)
    if report:
        report(1.0)
    coloured = replace(mesh, colors=colors, texture=None)
    return Coloured(coloured, float(found.seen.mean()), found.gains, found.notes)


def bake_field(
    mesh: Mesh,
    corners: Float[np.ndarray, "f 3 2"],
    size: int,
    colour: ColourFunction,
    report: Report | None = None,
    threads: int | None = None,
) -> Baked:
    """A texture from a colour function of world points and directions alone; each is seen along the inward normal."""
    return bake(mesh, corners, size, (), None, colour, report, threads)


def as_bytes(image: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colours in [0, 1] to the nearest of 256 values, a part of the rows at a time; what is out of range is clipped."""
    found = np.empty(image.shape, dtype=np.uint8)
    for start in range(0, len(image), 256):
        part = slice(start, start + 256)
        found[part] = np.clip(image[part], 0, 1) * 255 + np.float32(0.5)
    return found


@dataclass(frozen=True)
class _Colours:
    colour: Float32[np.ndarray, "n 3"]
    seen: Bool[np.ndarray, "n"]
    gains: dict[str, float]
    notes: tuple[str, ...]


def _coloured(
    mesh: Mesh,
    texels: Texels,
    views: Sequence[LoadedView],
    settings: BakeSettings,
    fallback: ColourFunction | None,
    report: Report | None,
    threads: int | None,
) -> _Colours:
    """Colours of texels (in any order), from photographs where there are any."""
    tell = report or (lambda share: None)
    caster = RayCaster(mesh)
    with ThreadPoolExecutor(threads or available_threads()) as pool:
        try:
            surface, sorted_texels, order = divided(local_surface(mesh), texels)
            photographs, notes = _prepared(mesh, caster, surface.middle, views, settings, pool, tell)
            del caster
            blender, average, gain = _blender(surface, photographs, settings, pool)
            tell(LEVELLED)
            colour, weight = _blended(blender, sorted_texels, settings.texels_at_a_time, pool, tell)
            missing = np.flatnonzero(weight == 0)
            if len(missing):
                rest = sorted_texels.taken(missing)
                colour[missing] = _unseen(surface, rest, blender.levels, average, fallback, settings, pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    tell(BLENDED)
    in_order, seen = np.empty_like(colour), np.empty(len(texels), dtype=bool)
    in_order[order], seen[order] = colour, weight > 0
    names = [views[photograph.index].name for photograph in photographs]
    return _Colours(in_order, seen, dict(zip(names, gain.tolist(), strict=True)), tuple(notes))


def _prepared(
    mesh: Mesh,
    caster: RayCaster,
    middle: Float[np.ndarray, "3"],
    views: Sequence[LoadedView],
    settings: BakeSettings,
    pool: ThreadPoolExecutor,
    tell: Report,
) -> tuple[list[Photograph], list[str]]:
    """The photographs that show something of the mesh, and notes about those that show nothing but black or white."""
    photographs, blank = [], []
    made = pool.map(lambda index: prepare(mesh, caster, middle, views[index], index, settings), range(len(views)))
    for index, photograph in enumerate(made):
        tell(PREPARED * (index + 1) / len(views))
        if photograph is not None and photograph.lit:
            photographs.append(photograph)
        elif photograph is not None:
            blank.append(views[index].name)
    notes = []
    if blank:
        others = f" and {len(blank) - 1} more" if len(blank) > 1 else ""
        notes.append(f"Left out of the texture, for the object is black or white throughout in it: {blank[0]}{others}.")
    if views and not photographs:
        notes.append("No photograph shows any of the surface, so its colours are not from photographs.")
    return photographs, notes


def _blender(
    surface: LocalSurface, photographs: list[Photograph], settings: BakeSettings, pool: ThreadPoolExecutor
) -> tuple[Blender, Callable[[np.ndarray], np.ndarray], Float[np.ndarray, "views"]]:
    """What is known before texels are looked at, the mean over neighbours, and gains."""
    samples = sample_vertices(surface, photographs, settings, pool)
    gain = gains(samples.colour, samples.trust) if settings.exposure else np.ones(len(photographs))
    average = edge_average(surface.faces, len(surface.vertices))
    photographs = [photograph.exposed(value) for photograph, value in zip(photographs, gain.tolist(), strict=True)]
    # A dark photograph that is made brighter shows its noise.
    samples.quality[:] *= np.minimum(1 / gain, 1)[:, None].astype(np.float32)
    if settings.focus:
        samples.quality[:] *= sharpness(samples.contrast, samples.trust, gain)[:, None].astype(np.float32)
    levels = common_level(samples, gain, average, settings, pool)
    weights = chosen(samples.quality, settings.views)
    normals, middles = surface.face_normals, surface.face_middles
    return Blender(surface, normals, middles, photographs, weights, levels, settings), average, gain


def _blended(
    blender: Blender, texels: Texels, chunk: int, pool: ThreadPoolExecutor, tell: Report
) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n"]]:
    """Colours and weights of all texels, a chunk at a time and thread."""
    colour, weight = np.zeros((len(texels), 3), dtype=np.float32), np.zeros(len(texels), dtype=np.float32)
    if not blender.photographs:
        return colour, weight
    starts = range(0, len(texels), chunk)

    def work(start: int) -> None:
        part = slice(start, start + chunk)
        colour[part], weight[part] = blender.blend(texels.taken(part))

    for done, _ in enumerate(pool.map(work, starts), start=1):
        tell(min(LEVELLED + (BLENDED - LEVELLED) * done / len(starts), BLENDED))
    return colour, weight


def _unseen(
    surface: LocalSurface,
    texels: Texels,
    levels: Levels,
    average: Callable[[np.ndarray], np.ndarray],
    fallback: ColourFunction | None,
    settings: BakeSettings,
    pool: ThreadPoolExecutor,
) -> Float32[np.ndarray, "n 3"]:
    """Colours where no photograph has a say: the fallback's at the level of the photographs, or diffused ones.

    What the photographs and the fallback differ by where both are known is diffused to where only the fallback is.
    """
    seen = levels.seen
    base = None if fallback is None else _from_fallback(fallback, surface, surface.vertices, surface.normals)
    known = np.zeros_like(levels.mean) if base is None else base
    offset = spread(levels.mean - known, seen, average)
    if base is None and not seen.any():
        offset[:] = UNKNOWN
    chunk = settings.texels_at_a_time

    def colour(start: int) -> Float32[np.ndarray, "m 3"]:
        part = texels.taken(slice(start, start + chunk))
        corners = surface.faces[part.face]
        found = interpolated(offset[corners], part.weights)
        if fallback is not None:
            normals = interpolated(surface.normals[corners], part.weights)
            found += _from_fallback(fallback, surface, surface.points(part), normals)
        return np.clip(found, 0, 1)

    return np.concatenate(list(pool.map(colour, range(0, len(texels), chunk))))


def _from_fallback(
    fallback: ColourFunction,
    surface: LocalSurface,
    points: Float32[np.ndarray, "p 3"],
    normals: Float32[np.ndarray, "p 3"],
) -> Float32[np.ndarray, "p 3"]:
    """The fallback's colours of local points, seen along the inward normal; 0 where they are not finite."""
    directions = -normals.astype(np.float64)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-30)
    found = np.asarray(fallback(points.astype(np.float64) + surface.middle, directions))
    return np.clip(np.nan_to_num(found), 0, 1).astype(np.float32)
