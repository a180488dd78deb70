"""A mesh against the photographs: its own colours as pictures, and its silhouettes against the masks.

Pictures have one ray through each pixel centre. Of a masked view only the mask counts, so that a background that nobody
asked for has no say. Numbers are means over views of each view's number; docs/photo_evaluation.md says what they mean.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.comparing.lpips import Lpips
from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.errors import CompareError
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.viewing.render import SurfaceImage, cast, has_colours, surface_colours
from dvr_cli.viewing.texture_levels import TextureLevels

SSIM_WINDOW = 7
"""Side of SSIM's windows, pixels; scikit-image's default."""
LEAST_SQUARED_ERROR = 1e-12
"""PSNR stops at 120 dB: equal pictures would have none."""


def judge_images(mesh: Mesh, views: Sequence[LoadedView], indices: Sequence[int], lpips: bool = False) -> Evaluation:
    """The mesh's own colours against the photographs: `psnr`, `psnr_covered` (dB), `ssim`, `missed`, maybe `lpips`.

    The colours are those of its texture where it has one, or else of its vertices. Each number is the mean over the
    views of `indices`. CompareError when there is none, or LPIPS is asked for and cannot be computed; ExportError for a
    mesh without faces.
    """
    indices = checked_indices(indices, views)
    judge = Lpips() if lpips else None
    names = ("psnr", "psnr_covered", "ssim", "missed", *(("lpips",) if lpips else ()))
    settings = {
        **picture_settings(views, indices),
        **_colour_settings(mesh),
        "rays_per_pixel": 1,
        "missed_pixels": "black",
        "ssim_window": SSIM_WINDOW,
        **({"lpips_network": judge.network} if judge else {}),
    }
    if not has_colours(mesh):
        measures = tuple(_image_measure(name, None) for name in names)
        return Evaluation("images", settings, measures, ("The mesh has no colours, so there is no picture to judge.",))
    caster = RayCaster(mesh)
    levels = TextureLevels(mesh) if mesh.texture is not None else None
    rows = []
    for index in indices:
        view, surface = views[index], cast(mesh, views[index].camera, caster)
        rendered = surface_colours(mesh, surface, view.camera, levels)
        rows.append(image_scores(rendered, surface.hit, view, judge))
    measures = tuple(_image_measure(name, mean_of_defined([row[name] for row in rows])) for name in names)
    return Evaluation("images", settings, measures, _image_notes(views, indices, rows))


def image_scores(
    rendered: Float[np.ndarray, "h w 3"],
    covered: Bool[np.ndarray, "h w"],
    view: LoadedView,
    lpips: Lpips | None = None,
) -> dict[str, float]:
    """The numbers of one view; NaN where one is not defined. `covered` is the rendered silhouette.

    The pictures compared are black outside the mask, the rendered one also where nothing was rendered. Without a mask
    the silhouette stands in for it.
    """
    region = covered if view.mask is None else view.mask
    photograph = np.where(region[..., None], view.image, 0).astype(np.float64)
    picture = np.where((region & covered)[..., None], rendered, 0)
    missed = float((region & ~covered).sum() / region.sum()) if region.any() else np.nan
    scores = {
        "psnr": peak_signal_to_noise(picture, photograph, region),
        "psnr_covered": peak_signal_to_noise(picture, photograph, region & covered),
        "ssim": mean_similarity(picture, photograph, region),
        "missed": missed,
    }
    if lpips is not None:
        scores["lpips"] = lpips(picture, photograph) if region.any() else np.nan
    return scores


def peak_signal_to_noise(
    picture: Float[np.ndarray, "h w 3"], photograph: Float[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
) -> float:
    """PSNR (dB, peak 1) over the pixels of a region and the three channels; NaN for an empty region."""
    if not region.any():
        return np.nan
    return decibels(float(((picture[region].astype(np.float64) - photograph[region]) ** 2).mean()))


def mean_similarity(
    picture: Float[np.ndarray, "h w 3"], photograph: Float[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
) -> float:
    """SSIM (Wang et al. 2004; scikit-image, 7x7 uniform windows, peak 1), averaged over a region and the channels.

    As in scikit-image, pixels whose window leaves the picture do not count; NaN when none is left.
    """
    from skimage.metrics import structural_similarity

    if min(region.shape) < SSIM_WINDOW:
        return np.nan
    edge = SSIM_WINDOW // 2
    inner = np.zeros_like(region)
    inner[edge:-edge, edge:-edge] = region[edge:-edge, edge:-edge]
    if not inner.any():
        return np.nan
    # Windows of the region reach so far beyond it and no farther.
    rows, columns = (np.flatnonzero(inner.any(axis=axis)) for axis in (1, 0))
    box = tuple(slice(int(found[0]) - edge, int(found[-1]) + edge + 1) for found in (rows, columns))
    _, similarity = structural_similarity(
        picture[box].astype(np.float64),
        photograph[box].astype(np.float64),
        win_size=SSIM_WINDOW,
        channel_axis=-1,
        data_range=1.0,
        full=True,
    )
    return float(similarity[inner[box]].mean())


def judge_silhouettes(mesh: Mesh, views: Sequence[LoadedView], indices: Sequence[int]) -> Evaluation:
    """Silhouettes against masks: `iou`, the mean over the views of `indices` that have a mask, and `iou_worst`.

    CompareError when there are no such views at all, ExportError for a mesh without faces.
    """
    indices = checked_indices(indices, views)
    caster = RayCaster(mesh)
    masked = [index for index in indices if views[index].mask is not None]
    found = {
        views[index].name: _silhouette_iou(cast(mesh, views[index].camera, caster), views[index]) for index in masked
    }
    defined = {name: iou for name, iou in found.items() if np.isfinite(iou)}
    notes = []
    if len(masked) < len(indices):
        notes.append(f"Left out for want of a mask: {len(indices) - len(masked)} of {count_of(len(indices), 'view')}.")
    if defined:
        worst = min(defined, key=lambda name: defined[name])
        notes.append(f"The worst view is {worst} with an IoU of {defined[worst]:.3f}.")
    measures = (
        Measure("iou", mean_of_defined(defined.values()), "", "higher", "silhouette IoU"),
        Measure("iou_worst", min(defined.values(), default=None), "", "higher", "worst silhouette IoU"),
    )
    return Evaluation("silhouettes", picture_settings(views, indices), measures, tuple(notes))


def intersection_over_union(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Share of the pixels in either that are in both; NaN when both are empty."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else np.nan


def checked_indices(indices: Sequence[int], views: Sequence[LoadedView]) -> list[int]:
    """The indices as a list; CompareError when there is none, or one names no view."""
    if not len(indices):
        raise CompareError("There is no view to judge: expected the number of at least one view.")
    wrong = [index for index in indices if not 0 <= index < len(views)]
    if wrong:
        raise CompareError(f"There is no view {wrong[0]}: the scene has {len(views)}, counted from 0.")
    return [int(index) for index in indices]


def picture_settings(views: Sequence[LoadedView], indices: Sequence[int]) -> dict[str, Any]:
    """What all numbers from photographs depend on: which views, at what size."""
    sizes = sorted({f"{views[index].camera.width}x{views[index].camera.height}" for index in indices})
    return {"views": [views[index].name for index in indices], "image_sizes": sizes}


def decibels(squared_error: float) -> float:
    """PSNR of a mean squared error where the peak is 1."""
    return float(-10 * np.log10(max(squared_error, LEAST_SQUARED_ERROR)))


def mean_of_defined(values: Iterable[float]) -> float | None:
    """The mean of those that are numbers; None when none is."""
    numbers = [value for value in values if np.isfinite(value)]
    return float(np.mean(numbers)) if numbers else None


def _colour_settings(mesh: Mesh) -> dict[str, Any]:
    """Where the colours come from: a texture is finer than vertices, so their numbers are about different things."""
    if mesh.texture is None:
        return {"colours": None if mesh.colors is None else "vertices"}
    height, width = mesh.texture.image.shape[:2]
    return {"colours": "texture", "texture_size": f"{width}x{height}"}


def _silhouette_iou(surface: SurfaceImage, view: LoadedView) -> float:
    assert view.mask is not None
    return intersection_over_union(surface.hit, view.mask)


def _image_measure(name: str, value: float | None) -> Measure:
    unit, label = {
        "psnr": ("dB", "PSNR"),
        "psnr_covered": ("dB", "PSNR where covered"),
        "ssim": ("", "SSIM"),
        "missed": ("", "share missed"),
        "lpips": ("", "LPIPS"),
    }[name]
    return Measure(name, value, unit, "lower" if name in ("missed", "lpips") else "higher", label)


def _image_notes(views: Sequence[LoadedView], indices: Sequence[int], rows: list[dict[str, float]]) -> tuple[str, ...]:
    notes = []
    unmasked = sum(views[index].mask is None for index in indices)
    if unmasked:
        notes.append(
            f"No mask in {unmasked} of {count_of(len(indices), 'view')}: there, the numbers are over the mesh's "
            "silhouette, which nothing checks."
        )
    empty = [views[index].name for index, row in zip(indices, rows, strict=True) if not np.isfinite(row["psnr"])]
    if empty:
        notes.append(f"No pixel to judge in {count_of(len(empty), 'view')}, left out of the means: {empty[0]}.")
    return tuple(notes)
