"""The protocol `tanks`: precision, recall and F at a threshold (Knapitsch et al., Tanks and Temples, 2017).

As in the toolbox of that benchmark: both clouds are cropped to the volume, thinned to the mean of every voxel of half
the threshold, and measured point to point. Precision is the share of the shape's points closer than the threshold to
the reference, recall the share of the reference's closer to the shape, F their harmonic mean. A mesh becomes points,
uniform by area. docs/evaluating.md says where this differs from the toolbox and why.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.alignment import Alignment, align
from dvr_cli.comparing.crop_volume import CropVolume
from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.comparing.metrics import f_score, sample_surface
from dvr_cli.comparing.points import check_count, faces_near_box, search_tree, surface_area, voxel_means
from dvr_cli.comparing.shapes import Shape, check_shape, positions
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh

VOXEL_SHARE = 0.5
"""Of the threshold: side of the voxels."""
POINTS_PER_VOXEL = 4.0
"""Points per voxel side^2 of area, so that few voxels on the surface stay empty."""
MOST_SAMPLES = 20_000_000
ICP_REACHES = (20.0, 2.0)
"""Of the threshold: the last reaches of ICP, as in the toolbox."""


def tanks(
    shape: Shape,
    reference: Shape,
    threshold: float,
    *,
    crop: CropVolume | None = None,
    alignment: bool = False,
    samples: int | None = None,
    seed: int = 0,
    workers: int = -1,
) -> Evaluation:
    """Precision, recall and F at `threshold` (world units of the reference) of a shape.

    `crop` is in the reference's coordinates. With `alignment` a similarity is found first that lays the shape on the
    reference; it is in the settings. `samples`: points on a mesh (None: four per voxel side^2 of its area, 20 million
    at most). CompareError when nothing is left inside the crop volume or nothing can be aligned. Measures: `precision`,
    `recall`, `f`, `accuracy_mean`, `completeness_mean`.
    """
    check_shape(shape)
    check_shape(reference)
    generator = np.random.default_rng(seed)
    found = _aligned(shape, reference, threshold, generator) if alignment else None
    if found is not None:
        shape = moved(shape, found.reference_from_shape)
    voxel = VOXEL_SHARE * threshold
    sampled, thin_notes = _points_of(shape, voxel, samples, crop, generator)
    truth, truth_notes = _points_of(reference, voxel, samples, crop, generator)
    for name, whole, left in (("the mesh", shape, sampled), ("the reference", reference, truth)):
        _check_left(name, whole, left, crop)
    points, truth = voxel_means(sampled, voxel), voxel_means(truth, voxel)
    forth = search_tree(truth).query(points, workers=workers)[0]
    back = search_tree(points).query(truth, workers=workers)[0]
    precision, recall = float((forth < threshold).mean()), float((back < threshold).mean())
    settings: dict[str, Any] = {
        "threshold": threshold,
        "voxel": voxel,
        "sampled_points": len(sampled),
        "points": len(points),
        "reference_points": len(truth),
        "cropped": crop is not None,
        "alignment": None if found is None else _described(found),
        "seed": seed,
    }
    measures = (
        Measure("precision", precision, "", "higher"),
        Measure("recall", recall, "", "higher"),
        Measure("f", f_score(precision, recall), "", "higher", "F"),
        Measure("accuracy_mean", float(forth.mean()), "world units", "lower", "accuracy, mean"),
        Measure("completeness_mean", float(back.mean()), "world units", "lower", "completeness, mean"),
    )
    return Evaluation("tanks", settings, measures, (*_alignment_notes(found), *thin_notes, *truth_notes))


def moved(shape: Shape, matrix: Float[np.ndarray, "4 4"]) -> Shape:
    """The shape after a similarity; positions only."""
    if isinstance(shape, Mesh):
        return Mesh(shape.vertices @ matrix[:3, :3].T + matrix[:3, 3], shape.faces)
    return PointCloud(shape.points @ matrix[:3, :3].T + matrix[:3, 3])


def _aligned(shape: Shape, reference: Shape, threshold: float, generator: np.random.Generator) -> Alignment:
    clouds = [
        sample_surface(each, 200_000, generator)[0] if isinstance(each, Mesh) else each.points
        for each in (shape, reference)
    ]
    diagonal = float(np.linalg.norm(np.ptp(clouds[1], axis=0)))
    reaches = [factor * threshold for factor in ICP_REACHES if factor * threshold < 0.1 * diagonal]
    return align(clouds[0], clouds[1], reaches, generator)


def _points_of(
    shape: Shape, voxel: float, samples: int | None, crop: CropVolume | None, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "p 3"], tuple[str, ...]]:
    """Points of the shape within the crop volume, before thinning."""
    notes: tuple[str, ...] = ()
    if isinstance(shape, PointCloud):
        points = shape.points
    else:
        near = shape if crop is None else faces_near_box(shape, *crop.box())
        if not len(near.faces):
            return np.zeros((0, 3)), ()
        wanted = POINTS_PER_VOXEL * surface_area(near) / voxel**2 if samples is None else float(samples)
        if samples is None and wanted > MOST_SAMPLES:
            notes = (
                f"A mesh was sampled by {MOST_SAMPLES} points instead of {wanted:.2g}: voxels of its surface may be "
                "empty, which costs recall.",
            )
            wanted = MOST_SAMPLES
        check_count(wanted, "uniform sampling of the mesh")
        points = sample_surface(near, max(round(wanted), 1000), generator)[0]
    return (points if crop is None else points[crop.contains(points)]), notes


def _check_left(name: str, shape: Shape, left: Float[np.ndarray, "p 3"], crop: CropVolume | None) -> None:
    if len(left):
        return
    assert crop is not None
    found = positions(shape)
    spans = [np.round(corner, 4).tolist() for corner in (found.min(axis=0), found.max(axis=0), *crop.box())]
    raise CompareError(
        f"Nothing of {name} lies in the crop volume: it spans {spans[0]} to {spans[1]}, the volume {spans[2]} to "
        f"{spans[3]}.\n"
        "The crop volume is in the reference's coordinates; bring the mesh there, or pass --align."
    )


def _described(found: Alignment) -> dict[str, Any]:
    return {
        "reference_from_mesh": found.reference_from_shape.tolist(),
        "scale": found.scale,
        "degrees": found.degrees,
        "fitness": found.fitness,
        "rmse": found.rmse,
        "reach": found.reach,
    }


def _alignment_notes(found: Alignment | None) -> tuple[str, ...]:
    if found is None:
        return ()
    shift = ", ".join(f"{value:.4g}" for value in found.reference_from_shape[:3, 3])
    return (
        f"The mesh was aligned first: scale {found.scale:.5g}, turn of {found.degrees:.3g} degrees, shift ({shift}); "
        f"{found.fitness:.1%} of its points then lie within {found.reach:.3g} of the reference.",
    )
