"""Virtual rephotography: each judged photograph is predicted from the other photographs through the mesh.

The mesh says which surface point a pixel sees; the best-placed other photographs that see the point as well give its
colour. Where the surface is right, the prediction looks like the photograph; the mesh's own texture plays no part, so
geometry alone is judged, and no reference surface is needed. Source: M. Waechter, M. Beljan, S. Fuhrmann, N. Moehrle,
J. Kopf, M. Goesele, "Virtual Rephotography: Novel View Prediction Error for 3D Reconstruction", ACM Transactions on
Graphics 36 (1), 2017. docs/photo_evaluation.md says what each number means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.comparing.photographs import checked_indices, decibels, mean_of_defined, picture_settings
from dvr_cli.comparing.visibility import sees
from dvr_cli.scenes.cameras import axes_meeting_point, projection_of
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

SOURCE_VIEWS = 8
"""Other photographs that may give colour to a view: those that look from the nearest directions."""
COLOURS = 2
"""Colours that a pixel is the mean of, if so many sources see its point."""
WINDOW = 7
"""Side of the windows whose correlation is measured, pixels."""
LEAST_VARIANCE = 1e-4
"""Of the photograph within a window (grey in [0, 1]); below it a window shows noise and has no say."""
SLACK_SHARE = 1e-4
"""Of the mesh's diagonal: where the way from a point to a camera begins, see `visibility.sees`."""
EDGE_MARGIN = 1.5
"""Pixels from the edge of a source photograph within which it gives no colour."""

_CHUNK = 300_000
"""Pixels at a time; one takes about 500 bytes on the way."""


@dataclass(frozen=True)
class Rephotograph:
    """A view as the other photographs predict it."""

    predicted: Float32[np.ndarray, "h w 3"]
    """RGB; 0 where not valid."""
    valid: Bool[np.ndarray, "h w"]
    """Pixels that at least one other photograph could predict."""
    region: Bool[np.ndarray, "h w"]
    """Pixels that should be predicted: the mask or, without one, the mesh's silhouette."""


class Rephotographer:
    """A mesh with the photographs of its scene, from which it predicts each."""

    def __init__(
        self, mesh: Mesh, views: Sequence[LoadedView], source_views: int = SOURCE_VIEWS, colours: int = COLOURS
    ) -> None:
        """Raises ExportError for a mesh without faces."""
        self._caster = RayCaster(mesh)
        self._views, self._source_views, self._colours = views, source_views, colours
        corners = mesh.vertices[mesh.faces]
        self._normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        used = corners.reshape(-1, 3)
        self._slack = SLACK_SHARE * float(np.linalg.norm(np.ptp(used, axis=0)))
        self._similarity = _similarity_of_directions(views)

    def predict(self, index: int) -> Rephotograph:
        """The view of this index from the others alone."""
        view = self._views[index]
        height, width = view.camera.height, view.camera.width
        wanted = np.arange(height * width) if view.mask is None else np.flatnonzero(view.mask)
        predicted = np.zeros((height * width, 3), dtype=np.float32)
        valid, silhouette = np.zeros(height * width, dtype=bool), np.zeros(height * width, dtype=bool)
        sources = self._sources(index)
        for start in range(0, len(wanted), _CHUNK):
            pixels = wanted[start : start + _CHUNK]
            seen, colour, known = self._predict_pixels(view, pixels, sources)
            silhouette[pixels[seen]] = True
            predicted[pixels[seen][known]] = colour[known]
            valid[pixels[seen][known]] = True
        region = silhouette.reshape(height, width) if view.mask is None else view.mask
        return Rephotograph(predicted.reshape(height, width, 3), valid.reshape(height, width), region)

    def _sources(self, index: int) -> list[LoadedView]:
        """The other views from the nearest directions, nearest first."""
        order = np.argsort(-self._similarity[index], kind="stable")
        return [self._views[other] for other in order if other != index][: self._source_views]

    def _predict_pixels(
        self, view: LoadedView, pixels: Int[np.ndarray, "n"], sources: list[LoadedView]
    ) -> tuple[Bool[np.ndarray, "n"], Float32[np.ndarray, "p 3"], Bool[np.ndarray, "p"]]:
        """Which pixels (flat indices) see the mesh; for those that do, colours and whether there is one."""
        rows, columns = np.divmod(pixels, view.camera.width)
        origins, directions = view.camera.rays(np.stack([columns, rows], axis=1) + 0.5)
        found = self._caster.cast(origins, directions)
        seen = found.face >= 0
        points = origins[seen] + found.t[seen, None] * directions[seen]
        normals = self._normals[found.face[seen]]
        # The side that the judged view looks at is the front, whichever way the mesh has its faces.
        away = np.einsum("pi,pi->p", normals, directions[seen]) > 0
        normals[away] *= -1
        total = np.zeros((len(points), 3), dtype=np.float32)
        count = np.zeros(len(points), dtype=np.int64)
        for source in sources:
            lacking = np.flatnonzero(count < self._colours)
            if not len(lacking):
                break
            chosen, colour = self._colour_from(source, points[lacking], normals[lacking])
            total[lacking[chosen]] += colour
            count[lacking[chosen]] += 1
        return seen, total / np.maximum(count, 1)[:, None].astype(np.float32), count > 0

    def _colour_from(
        self, source: LoadedView, points: Float[np.ndarray, "p 3"], normals: Float[np.ndarray, "p 3"]
    ) -> tuple[Int[np.ndarray, "q"], Float32[np.ndarray, "q 3"]]:
        """The points that a source sees from the front, and their colours in it, between pixels linearly."""
        from scipy.ndimage import map_coordinates

        camera = source.camera
        pixels, depth = camera.project(points)
        limits = np.array([camera.width, camera.height]) - EDGE_MARGIN
        candidates = (depth > 0) & (pixels > EDGE_MARGIN).all(axis=1) & (pixels < limits).all(axis=1)
        candidates &= np.einsum("pi,pi->p", camera.centre - points, normals) > 0
        chosen = np.flatnonzero(candidates)
        chosen = chosen[sees(self._caster, camera, points[chosen], self._slack)]
        # Pixel centres lie at +0.5, samples of an array at whole numbers.
        coordinates = pixels[chosen, ::-1].T - 0.5
        channels = [map_coordinates(source.image[..., channel], coordinates, order=1) for channel in range(3)]
        return chosen, np.stack(channels, axis=1).astype(np.float32)


def rephotograph(
    mesh: Mesh,
    views: Sequence[LoadedView],
    indices: Sequence[int],
    source_views: int = SOURCE_VIEWS,
    colours: int = COLOURS,
) -> Evaluation:
    """Judge a mesh by how well photographs follow from the others: `psnr` (dB), `ncc`, `covered`.

    Each is the mean over the views of `indices`; all views may serve as sources. CompareError when a view of the
    scene is missing for it, ExportError for a mesh without faces.
    """
    indices = checked_indices(indices, views)
    machine = Rephotographer(mesh, views, source_views, colours)
    scores = np.array([_scores(machine.predict(index), views[index].image) for index in indices])
    psnr, ncc, covered = (mean_of_defined(column) for column in scores.T)
    settings = {
        **picture_settings(views, indices),
        "source_views": source_views,
        "colours_per_pixel": colours,
        "window": WINDOW,
        "least_variance": LEAST_VARIANCE,
    }
    measures = (
        Measure("psnr", psnr, "dB", "higher", "rephotography PSNR"),
        Measure("ncc", ncc, "", "higher", "rephotography NCC"),
        Measure("covered", covered, "", "higher", "rephotography covered"),
    )
    return Evaluation("rephotography", settings, measures, _notes(views, indices, scores))


def rephotography_error(mesh: Mesh, views: Sequence[LoadedView], index: int) -> Float[np.ndarray, "h w"]:
    """Root mean square difference over RGB (0 to 1) of a photograph and its prediction; NaN where there is none."""
    return error_picture(Rephotographer(mesh, views).predict(index), views[index])


def error_picture(prediction: Rephotograph, view: LoadedView) -> Float[np.ndarray, "h w"]:
    """`rephotography_error` of a prediction that is there already."""
    difference = prediction.predicted.astype(np.float64) - view.image
    return np.where(prediction.valid, np.sqrt((difference**2).mean(axis=-1)), np.nan)


def window_correlation(
    predicted: Float[np.ndarray, "h w 3"], photograph: Float[np.ndarray, "h w 3"], valid: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Normalised cross-correlation (-1 to 1) of the grey values in the window around each pixel.

    Grey is the mean of red, green and blue. NaN where the window is not valid as a whole, or the photograph shows no
    texture in it. A window without any contrast in the prediction correlates with nothing: 0.
    """
    from scipy.ndimage import uniform_filter

    grey, true_grey = (picture.astype(np.float64).mean(axis=-1) for picture in (predicted, photograph))
    whole = uniform_filter(valid.astype(np.float64), WINDOW) > 1 - 0.5 / WINDOW**2
    mean, true_mean = uniform_filter(grey, WINDOW), uniform_filter(true_grey, WINDOW)
    variance = uniform_filter(grey**2, WINDOW) - mean**2
    true_variance = uniform_filter(true_grey**2, WINDOW) - true_mean**2
    covariance = uniform_filter(grey * true_grey, WINDOW) - mean * true_mean
    correlation = covariance / np.sqrt(np.maximum(variance * true_variance, 1e-12))
    return np.where(whole & (true_variance > LEAST_VARIANCE), correlation, np.nan)


def _similarity_of_directions(views: Sequence[LoadedView]) -> Float[np.ndarray, "n n"]:
    """Cosine between the directions from which two views look at the point where all optical axes meet.

    That point depends on the cameras alone, so all meshes of a scene are judged by the same sources. Cameras whose
    axes are parallel are compared by their positions around their mean.
    """
    centres = np.stack([view.camera.centre for view in views])
    target = axes_meeting_point(np.stack([projection_of(view.camera) for view in views]))
    directions = centres - (centres.mean(axis=0) if target is None else target)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    return directions @ directions.T


def _scores(prediction: Rephotograph, photograph: Float[np.ndarray, "h w 3"]) -> tuple[float, float, float]:
    """PSNR, mean NCC and covered share of one view; NaN where a number is not defined."""
    valid = prediction.valid
    covered = float(valid.sum() / prediction.region.sum()) if prediction.region.any() else np.nan
    if not valid.any():
        return np.nan, np.nan, covered
    error = (prediction.predicted[valid].astype(np.float64) - photograph[valid]) ** 2
    box = _box_around(valid, WINDOW)
    ncc = window_correlation(prediction.predicted[box], photograph[box], valid[box])
    defined = np.isfinite(ncc)
    return decibels(float(error.mean())), float(ncc[defined].mean()) if defined.any() else np.nan, covered


def _box_around(valid: Bool[np.ndarray, "h w"], margin: int) -> tuple[slice, slice]:
    """The part of the picture with all valid pixels and a margin, where the picture reaches so far."""
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def _notes(views: Sequence[LoadedView], indices: Sequence[int], scores: Float[np.ndarray, "n 3"]) -> tuple[str, ...]:
    notes = []
    unmasked = sum(views[index].mask is None for index in indices)
    if unmasked:
        notes.append(
            f"No mask in {unmasked} of {count_of(len(indices), 'view')}: there, `covered` is the share of the mesh's "
            "silhouette."
        )
    nothing = [views[index].name for index, score in zip(indices, scores, strict=True) if not np.isfinite(score[0])]
    if nothing:
        notes.append(
            f"Nothing could be predicted in {count_of(len(nothing), 'view')}, which the means leave out: {nothing[0]}."
        )
    return tuple(notes)
