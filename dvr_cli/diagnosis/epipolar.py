"""Do photographs and cameras agree? Matches between neighbours, held against the epipolar lines of the given cameras.

A match of two views is wrong by its distance from the epipolar line of the other (Hartley and Zisserman, section
11.4.3, Sampson's approximation). Wrong matches are left out by a fundamental matrix that is fitted to each pair by
itself (RANSAC); what agrees with that but not with the cameras shows that the cameras are wrong. A view with a wrong
pose is wrong with all its neighbours, while they are right with theirs: the median over its pairs finds it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.diagnosis.findings import Finding
from dvr_cli.errors import DvrError
from dvr_cli.scenes.images import load_view
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.views import Camera, LoadedView, Scene

IMAGE_SIZE = 640
"""Longest side of the photographs that are matched."""
MOST_VIEWS = 120
"""Evenly chosen; more take minutes."""
FEWEST_MATCHES = 20
"""Of a pair that count; with fewer a fundamental matrix fits anything."""
PAIRS_OF_A_VIEW = 6
"""The nearest; matches of far views are mostly wrong."""
RANSAC_PIXELS = 1.5
LARGE_ERROR = 2.5
"""Pixels at IMAGE_SIZE (median of a view) from which on a pose is wrong; good cameras have 0.2 to 1."""
OUTLYING = 3.0
"""Times the median over the views."""


@dataclass(frozen=True)
class EpipolarFigures:
    """What matches say about the cameras."""

    error_of_view: dict[str, float]
    """Median over its pairs of the median error, pixels of the full-size image."""
    matches_of_view: dict[str, int]
    """That these are medians over."""
    relative_error: dict[str, float]
    """The same errors in pixels at IMAGE_SIZE."""
    views: tuple[str, ...]
    """Those that were matched."""


class _LazyViews(Sequence[LoadedView]):
    """Photographs that are loaded when they are asked for, and not kept."""

    def __init__(self, scene: Scene, chosen: Sequence[int]) -> None:
        self._views = [scene.views[index] for index in chosen]

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: Any) -> Any:
        view = self._views[index]
        try:
            return load_view(view, IMAGE_SIZE)
        except DvrError:
            # The mask, since the photographs have been decoded before.
            return load_view(replace(view, mask_path=None), IMAGE_SIZE)


def epipolar_figures(scene: Scene, threads: int | None = None) -> EpipolarFigures:
    """Match neighbours among (at most MOST_VIEWS) views; nothing where there is too little to match."""
    from dvr_cli.matching.matches import match_views

    step = -(-len(scene.views) // MOST_VIEWS)
    chosen = range(0, len(scene.views), step)
    names = [scene.views[index].name for index in chosen]
    with tempfile.TemporaryDirectory(prefix="dvr-inspect-") as folder:
        pairs_to_match = nearest_pairs([scene.views[index].camera for index in chosen])
        matched = match_views(_LazyViews(scene, chosen), Path(folder), threads, 0, None, pairs=pairs_to_match)
        pairs = list(_pairs(matched))
    error, count = {}, {}
    for index, name in enumerate(names):
        own = sorted((p for p in pairs if index in p[:2]), key=lambda pair: -pair[3])[:PAIRS_OF_A_VIEW]
        count[name] = sum(pair[3] for pair in own)
        if own:
            error[name] = float(np.median([pair[2] for pair in own]))
    full = {
        scene.views[index].name: max(scene.views[index].camera.height, scene.views[index].camera.width)
        for index in chosen
    }
    in_full = {name: value * max(1.0, full[name] / IMAGE_SIZE) for name, value in error.items()}
    return EpipolarFigures(in_full, count, error, tuple(names))


def nearest_pairs(cameras: Sequence[Camera]) -> list[tuple[int, int]]:
    """Pairs (i < j): each view with the PAIRS_OF_A_VIEW that look most nearly the same way from the nearest places.

    Two views at the very same place share no epipolar line, so they are no pair.
    """
    directions = np.stack([camera.camera_from_world[2, :3] for camera in cameras])
    centres = np.stack([camera.centre for camera in cameras])
    spread = max(float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).mean()), 1e-300)
    pairs = set()
    for index in range(len(cameras)):
        apart = np.linalg.norm(centres - centres[index], axis=1) / spread
        far = np.where(apart < 1e-6, np.inf, apart + np.linalg.norm(directions - directions[index], axis=1))
        nearest = np.argsort(far, kind="stable")[:PAIRS_OF_A_VIEW]
        pairs |= {(min(index, int(other)), max(index, int(other))) for other in nearest if np.isfinite(far[other])}
    return sorted(pairs)


def epipolar_findings(figures: EpipolarFigures) -> list[Finding]:
    """Views whose matches contradict their cameras, and scenes in which hardly anything matches."""
    matched = list(figures.relative_error)
    if 2 * len(matched) < len(figures.views):
        text = (
            f"Only {len(matched)} of {len(figures.views)} photographs have matches with their neighbours: too little "
            "texture, or too little overlap"
        )
        advice = "Take photographs closer together; without texture only masks and depth say anything about the shape"
        return [Finding("few-matches", "note", text, advice)]
    usual = float(np.median(list(figures.relative_error.values())))
    if usual > LARGE_ERROR:
        full = float(np.median(list(figures.error_of_view.values())))
        text = f"Matches lie {full:.1f} pixels (median) beside the epipolar lines of the cameras; good cameras have 1"
        advice = "The cameras are inexact or of other photographs: make them again, with dvr prepare for example"
        return [Finding("epipolar-error", "warning", text, advice)]
    bad = [name for name, e in figures.relative_error.items() if e > max(LARGE_ERROR, OUTLYING * usual)]
    if not bad:
        return []
    bad.sort(key=lambda name: -figures.relative_error[name])
    named = listed(f"{name} ({figures.error_of_view[name]:.0f} pixels)" for name in bad)
    text = f"Matches of {count_of(len(bad), 'view')} contradict the cameras: {named}"
    advice = "Check the poses of these views (exchanged or inexact), or leave them out with --views"
    return [Finding("epipolar-error", "warning", text, advice, tuple(bad))]


def fundamental_matrix(first: Camera, second: Camera) -> Float[np.ndarray, "3 3"]:
    """F with x2^T F x1 = 0 for the pixels x1, x2 (homogeneous) of one point in both cameras."""
    relative = second.camera_from_world @ first.world_from_camera
    x, y, z = relative[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    essential = cross @ relative[:3, :3]
    return np.linalg.inv(second.intrinsics).T @ essential @ np.linalg.inv(first.intrinsics)


def sampson_distance(
    matrix: Float[np.ndarray, "3 3"], first: Float[np.ndarray, "m 2"], second: Float[np.ndarray, "m 2"]
) -> Float[np.ndarray, "m"]:
    """Distance in pixels of each match from fulfilling x2^T F x1 = 0, to first order."""
    one = np.ones((len(first), 1))
    x1, x2 = np.hstack([first, one]), np.hstack([second, one])
    line2, line1 = x1 @ matrix.T, x2 @ matrix
    length = np.sqrt((line2[:, :2] ** 2).sum(axis=1) + (line1[:, :2] ** 2).sum(axis=1))
    return np.abs((x2 * line2).sum(axis=1)) / np.maximum(length, 1e-300)


def _pairs(matched: Any) -> Iterator[tuple[int, int, float, int]]:
    """(first view, second view, median error at working size, matches) of pairs with enough matches, sorted."""
    import pycolmap

    from dvr_cli.matching.quiet import silent_libraries

    options = pycolmap.RANSACOptions(max_error=RANSAC_PIXELS, max_num_trials=2000, random_seed=0)
    with silent_libraries(), pycolmap.Database.open(matched.database) as database:
        ids = sorted(matched.view_of_image, key=matched.view_of_image.__getitem__)
        keypoints = {image: np.asarray(database.read_keypoints(image), dtype=np.float64)[:, :2] for image in ids}
        for position, first in enumerate(ids):
            for second in ids[position + 1 :]:
                if not database.exists_matches(first, second):
                    continue
                matches = np.asarray(database.read_matches(first, second))
                if len(matches) < FEWEST_MATCHES:
                    continue
                x1, x2 = keypoints[first][matches[:, 0]], keypoints[second][matches[:, 1]]
                kept = _agreeing_by_themselves(x1, x2, options)
                if kept.sum() < FEWEST_MATCHES:
                    continue
                one, other = matched.view_of_image[first], matched.view_of_image[second]
                matrix = fundamental_matrix(_without_skew(matched.cameras[one]), _without_skew(matched.cameras[other]))
                error = float(np.median(sampson_distance(matrix, x1[kept], x2[kept])))
                yield one, other, error, int(kept.sum())


def _agreeing_by_themselves(x1: np.ndarray, x2: np.ndarray, options: Any) -> np.ndarray:
    """Matches that fit one fundamental matrix, whatever the cameras."""
    import pycolmap

    found = pycolmap.estimate_fundamental_matrix(x1, x2, options)
    return np.zeros(len(x1), bool) if found is None else np.asarray(found["inlier_mask"], bool)


def _without_skew(camera: Camera) -> Camera:
    """`matching` has moved the features to where a camera without skew would see them."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[0, 1] = 0.0
    return replace(camera, intrinsics=intrinsics)
