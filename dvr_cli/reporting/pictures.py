"""The pictures of a report: every mesh from the same views, in clay, in its colours, as normals and as error.

Pictures of meshes are transparent where nothing is hit, so that they stand on a light and on a dark page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.comparison import Comparison
from dvr_cli.reporting.distances import Distance, distance_to
from dvr_cli.reporting.encoding import picture_uri
from dvr_cli.reporting.framing import Frame
from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.viewing.error_colours import error_colours, limit_of
from dvr_cli.viewing.render import SurfaceImage, What, averaged, cast, has_colours, paint

KINDS: tuple[What, ...] = ("shaded", "colour", "normals")
_SUPERSAMPLE = 2

PhotographErrors = Callable[[Mesh], Callable[[int], Float[np.ndarray, "h w"]]]
"""For a mesh: from the index of a view to the error in it, a picture of the view's size, NaN where there is none."""


@dataclass(frozen=True)
class PictureSet:
    """The pictures of one subject from one view."""

    subject: int
    """Index of the column; -1 for the reference."""
    frame: int
    """Index of the frame."""
    uris: dict[str, str]
    """Kind -> data URI: shaded, colour, normals; error and missing where they can be drawn."""


@dataclass(frozen=True)
class Pictures:
    """All pictures, and what the colours of errors mean."""

    frames: tuple[Frame, ...]
    photographs: tuple[str, ...]
    """Data URIs, one per frame."""
    sets: tuple[PictureSet, ...]
    error_limit: float | None = None
    """At the end of the colour scale; None when no errors are drawn."""
    missing_limit: float | None = None
    """The same for distances from the reference to the mesh."""


@dataclass
class _Errors:
    """Errors of all meshes, collected before a scale that suits all can be chosen."""

    images: dict[tuple[int, int], Float[np.ndarray, "h w"]] = field(default_factory=dict)

    def encoded(self) -> tuple[dict[tuple[int, int], str], float | None]:
        if not self.images:
            return {}, None
        subjects = sorted({subject for subject, _ in self.images})
        together = [np.concatenate([e.ravel() for key, e in self.images.items() if key[0] == s]) for s in subjects]
        limit = limit_of(together)
        uris = {
            key: picture_uri(error_colours(errors, limit), np.isfinite(errors).astype(np.float64))
            for key, errors in self.images.items()
        }
        return uris, limit


def draw_pictures(
    comparison: Comparison,
    frames: Sequence[Frame],
    photograph_errors: PhotographErrors | None = None,
    report: Callable[[str], None] | None = None,
) -> Pictures:
    """Every mesh (and a reference that is a mesh) from every frame.

    With a reference, errors are distances from what is seen to the reference, and "missing" are distances from the
    reference to the mesh; without one `photograph_errors` is asked. `report` is told what is being drawn.
    """
    reference = comparison.reference
    to_reference = None if reference is None else distance_to(reference)
    seen_reference = _points_of_reference(reference, frames) if isinstance(reference, Mesh) else {}
    errors, missing = _Errors(), _Errors()
    drawn: list[tuple[int, int, dict[str, str]]] = []
    subjects = [(index, column.mesh) for index, column in enumerate(comparison.columns)]
    if isinstance(reference, Mesh):
        subjects.append((-1, reference))
    for index, mesh in subjects:
        if not len(mesh.faces):
            continue
        if report:
            report(f"Drawing {comparison.columns[index].name if index >= 0 else 'the reference'}")
        caster = RayCaster(mesh)
        in_photograph = None if photograph_errors is None or index < 0 else photograph_errors(mesh)
        for number, frame in enumerate(frames):
            drawn.append((index, number, _draw(mesh, caster, frame.camera)))
            if index < 0:
                continue
            error = _error(mesh, caster, frame, to_reference, in_photograph)
            if error is not None:
                errors.images[index, number] = error
            if number in seen_reference:
                missing.images[index, number] = _at_hits(*seen_reference[number], caster.distance)
    error_uris, error_limit = errors.encoded()
    missing_uris, missing_limit = missing.encoded()
    sets = []
    for index, number, uris in drawn:
        more = {"error": error_uris.get((index, number)), "missing": missing_uris.get((index, number))}
        sets.append(PictureSet(index, number, uris | {kind: uri for kind, uri in more.items() if uri}))
    photographs = tuple(_photograph(comparison, frame) for frame in frames)
    return Pictures(tuple(frames), photographs, tuple(sets), error_limit, missing_limit)


def _error(
    mesh: Mesh,
    caster: RayCaster,
    frame: Frame,
    to_reference: Distance | None,
    in_photograph: Callable[[int], Float[np.ndarray, "h w"]] | None,
) -> Float[np.ndarray, "h w"] | None:
    """The mesh's error in a frame, by the reference if there is one; None without anything to compare with."""
    if to_reference is not None:
        surface = cast(mesh, frame.camera, caster)
        return _at_hits(surface, surface.interpolated(mesh, mesh.vertices), to_reference)
    return None if in_photograph is None else frame.cut(in_photograph(frame.view))


def _draw(mesh: Mesh, caster: RayCaster, camera: Camera) -> dict[str, str]:
    fine = camera.resized(camera.height * _SUPERSAMPLE, camera.width * _SUPERSAMPLE)
    surface = cast(mesh, fine, caster)
    kinds = KINDS if has_colours(mesh) else tuple(kind for kind in KINDS if kind != "colour")
    return {kind: picture_uri(*averaged(paint(mesh, surface, fine, kind), surface.hit, _SUPERSAMPLE)) for kind in kinds}


def _points_of_reference(
    reference: Mesh, frames: Sequence[Frame]
) -> dict[int, tuple[SurfaceImage, Float[np.ndarray, "h w 3"]]]:
    """What each frame sees of the reference: the surface and its points in the world."""
    caster = RayCaster(reference)
    surfaces = {number: cast(reference, frame.camera, caster) for number, frame in enumerate(frames)}
    return {
        number: (surface, surface.interpolated(reference, reference.vertices)) for number, surface in surfaces.items()
    }


def _at_hits(
    surface: SurfaceImage,
    points: Float[np.ndarray, "h w 3"],
    distance: Distance,
) -> Float[np.ndarray, "h w"]:
    """Distances of the points that are seen; NaN elsewhere."""
    values = np.full(surface.hit.shape, np.nan)
    if surface.hit.any():
        values[surface.hit] = distance(points[surface.hit])
    return values


def _photograph(comparison: Comparison, frame: Frame) -> str:
    from PIL import Image

    pixels = np.round(255 * np.clip(frame.cut(comparison.views[frame.view].image), 0, 1)).astype(np.uint8)
    size = (frame.camera.width, frame.camera.height)
    resized = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    return picture_uri(np.asarray(resized) / 255.0)
