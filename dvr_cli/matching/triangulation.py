"""Points that photographs show, triangulated with the cameras as they are, and which of them deserve trust.

Nothing needs COLMAP installed: pycolmap's wheels bring features, matching and triangulation on the CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import DepthError
from dvr_cli.matching.matches import match_views
from dvr_cli.matching.quiet import silent_libraries
from dvr_cli.scenes.sparse_depth import with_points
from dvr_cli.scenes.views import Camera, LoadedView, SparseDepth

FEWEST_POINTS = 20


@dataclass(frozen=True)
class Triangulation:
    """All that could be triangulated."""

    sparse: SparseDepth
    """With visibility, mean reprojection errors in pixels of the views, and colours."""
    cameras: tuple[Camera, ...]
    """Of the views, in their order."""
    features: int
    matches: int
    """That agree with the cameras."""


@dataclass(frozen=True)
class Trust:
    """What a point must have to be used."""

    least_views: int = 3
    """Two views agree on a wrong match as easily as on a right one; a third one does not ..."""
    least_views_of_few: int = 2
    """... but where there are fewer than `few` views hardly any point has three."""
    few: int = 8
    largest_error: float = 2.0
    """Mean reprojection error, pixels."""
    least_angle: float = np.deg2rad(3.0)
    """Largest angle between two of its rays, radians: depth is uncertain by the error over the angle."""


def triangulate(
    views: Sequence[LoadedView],
    work_folder: Path,
    threads: int | None = None,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
    fast: bool = False,
) -> Triangulation:
    """Points seen by two or more views, from SIFT features, with the cameras as they are.

    Photographs, masks and COLMAP's database are written to `work_folder`, which is made. Where a view has a mask only
    features inside it count. Each view is asked for once and not kept, so that a sequence may load them as they are
    wanted. `fast` looks for fewer features in large pictures. `report(done, total)` is called between the steps, in
    hundredths; what it raises ends the work. The same seed gives the same points with any number of threads (None: all
    cores). Raises DepthError, with advice, when there are fewer than two views or too few points.
    """
    import pycolmap

    matched = match_views(views, work_folder, threads, seed, report, fast)
    options = pycolmap.IncrementalPipelineOptions(random_seed=seed, num_threads=1, ba_use_gpu=False)
    output = work_folder / "sparse"
    output.mkdir(exist_ok=True)
    with silent_libraries():
        model = pycolmap.triangulate_points(
            matched.reconstruction, matched.database, matched.images, output, options=options, refine_intrinsics=False
        )
    if report:
        report(100, 100)
    points = [model.points3D[point_id] for point_id in sorted(model.points3D)]
    if len(points) < FEWEST_POINTS:
        raise DepthError(
            f"{len(points)} points could be triangulated from {matched.features} features in {len(matched.cameras)} "
            f"views ({matched.matches} matches agree with the cameras): at least {FEWEST_POINTS} are needed.\n"
            "The photographs show too little texture, or too few overlap. If they do overlap, check the cameras "
            "with dvr inspect, or work at a larger --image-size."
        )
    pairs = {
        (matched.view_of_image[element.image_id], index)
        for index, point in enumerate(points)
        for element in point.track.elements
    }
    sparse = SparseDepth(
        np.stack([point.xyz for point in points]).astype(np.float64),
        np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2),
        np.array([point.error for point in points], dtype=np.float64),
        np.stack([point.color for point in points]) / 255.0,
    )
    return Triangulation(sparse, matched.cameras, matched.features, matched.matches)


def triangulated_points(
    views: Sequence[LoadedView],
    work_folder: Path,
    threads: int | None = None,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
    trust: Trust | None = None,
) -> SparseDepth:
    """The points of `triangulate` that deserve `trust` (None: the usual one): visibility, errors and colours with them.

    Large photographs are searched for coarser features only, in a fifth of the time; cut them to their masks before
    (`cropping.cropped_to_mask`). Without masks points of the background are among them; who wants the object alone cuts
    them by the region of interest. Raises DepthError as `triangulate` does, and when fewer than 20 points deserve
    trust.
    """
    found = triangulate(views, work_folder, threads, seed, report, fast=True)
    kept = trustworthy(found.sparse, found.cameras, trust or Trust())
    if kept.sum() < FEWEST_POINTS:
        raise DepthError(
            f"{int(kept.sum())} of {len(kept)} triangulated points can be trusted (enough views, a small reprojection "
            f"error, rays that are not parallel): at least {FEWEST_POINTS} are needed.\n"
            "The cameras are imprecise, or the photographs show too little texture: look at them with dvr inspect, or "
            "leave --depth auto out."
        )
    return with_points(found.sparse, kept)


def trustworthy(sparse: SparseDepth, cameras: Sequence[Camera], trust: Trust) -> Bool[np.ndarray, "p"]:
    """Which points enough views saw, from directions different enough, with a small reprojection error.

    What is not known about points (visibility, errors) does not count against them.
    """
    kept = np.ones(len(sparse.points), dtype=bool)
    if sparse.error is not None:
        kept &= sparse.error <= trust.largest_error
    if sparse.visibility is not None:
        least = trust.least_views_of_few if len(cameras) < trust.few else trust.least_views
        kept &= np.bincount(sparse.visibility[:, 1], minlength=len(kept)) >= least
        centres = np.stack([camera.centre for camera in cameras])
        kept &= largest_angles(sparse.points, centres, sparse.visibility) >= trust.least_angle
    return kept


def largest_angles(
    points: Float[np.ndarray, "p 3"], centres: Float[np.ndarray, "v 3"], visibility: Int[np.ndarray, "m 2"]
) -> Float[np.ndarray, "p"]:
    """The largest angle between two of the rays that see each point, radians; 0 with fewer than two.

    >>> points, centres = np.zeros((1, 3)), np.array([[0.0, 0, 1], [1, 0, 1]])
    >>> float(np.rad2deg(largest_angles(points, centres, np.array([[0, 0], [1, 0]]))[0]).round(6))
    45.0
    """
    order = np.argsort(visibility[:, 1], kind="stable")
    views, owners = visibility[order].T
    rays = centres[views] - points[owners]
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-300)
    smallest_cosine = np.ones(len(points))
    # Every ray with the one that is `shift` places on, as long as any point has so many: no loop over points.
    longest = int(np.bincount(owners, minlength=1).max())
    for shift in range(1, longest):
        same = np.flatnonzero(owners[shift:] == owners[:-shift])
        cosine = np.einsum("mi,mi->m", rays[same], rays[same + shift])
        np.minimum.at(smallest_cosine, owners[same], cosine)
    return np.arccos(np.clip(smallest_cosine, -1, 1))
