"""What the values of a depth map mean, solved for from points: depth of networks comes without a scale.

Networks that look at one photograph give one of two things, each with numbers of its own for every photograph:

- depth up to a factor (Metric3D, UniDepth, the metric models of Depth Anything): z = a v;
- inverse depth up to a factor and a shift (MiDaS, Depth Anything): 1 / z = a v + b.

Which of the two a folder of maps holds is one question for all of its views, and the points answer it: inverse depth
has a number more to fit them with, so it must fit them clearly better. a must be positive; with z = a v a shift is not
solved for. Residuals are relative, (z_map - z_point) / z_point, because networks err in proportion to depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import DepthError
from dvr_cli.scenes.depth_maps import load_depth_map
from dvr_cli.scenes.images import working_shape
from dvr_cli.scenes.listing import listed
from dvr_cli.scenes.views import Camera, DepthScale, Scene, SparseDepth, View

FEWEST_POINTS = 8
"""In a view, to solve for its scale."""
LEAST_GAIN = 0.8
"""The spread with inverse depth, in units of that with depth, below which maps count as inverse depth."""
LONGEST_SIDE = 512
"""Pixels at which maps are compared with points."""
LARGEST_SPREAD = 0.2
"""Relative; a map that is farther from its points tells nothing."""
_TRIALS = 300
_CELLS = 24
"""Along the longer side of a picture, when points say themselves which of them are hidden."""
_BEHIND = 0.05
"""Relative depth behind the nearest point of a cell beyond which a point may be hidden."""


@dataclass(frozen=True)
class SolvedScale:
    """A scale and how well it fits."""

    scale: DepthScale
    spread: float
    """Median of the relative errors of depth at the points, without sign."""
    points: int
    """That the map has a value for."""


def solve_scale(
    depth: Float[np.ndarray, "h w"],
    camera: Camera,
    points: Float[np.ndarray, "p 3"],
    inverse: bool = False,
    seed: int = 0,
) -> SolvedScale | None:
    """What turns the values of a map into the camera z of points that the view sees; None if they do not say.

    `depth`: values of the map, NaN where unknown, in pixels of `camera`; `points` in the world, of which fewer than
    half may be wrong or hidden. `inverse`: z = a v when False, 1 / z = a v + b when True. The answer is the median of
    all factors, or the line with the least median error of many through pairs of points (least median of squares),
    fitted again to the points near it.
    """
    values, z = _values_at(depth, camera, points)
    if len(values) < FEWEST_POINTS or np.ptp(values) == 0:
        return None
    scale = _disparity_line(values, z, np.random.default_rng(seed)) if inverse else _factor(values, z)
    if scale is None:
        return None
    error = np.abs(_relative_errors(scale, values, z))
    return SolvedScale(scale, float(np.median(error)), len(values))


def seen_points(sparse: SparseDepth, camera: Camera, view_index: int) -> Float[np.ndarray, "p 3"]:
    """The points that a view sees: those it is said to see, or, where nothing says so, those that none lies before."""
    if sparse.visibility is not None:
        return sparse.points[sparse.visibility[sparse.visibility[:, 0] == view_index, 1]]
    pixels, z = camera.project(sparse.points)
    within = (z > 0) & (pixels[:, 0] >= 0) & (pixels[:, 0] < camera.width)
    within &= (pixels[:, 1] >= 0) & (pixels[:, 1] < camera.height)
    points, pixels, z = sparse.points[within], pixels[within], z[within]
    side = max(camera.width, camera.height) / _CELLS
    cell = (pixels[:, 1] // side).astype(np.int64) * (_CELLS + 1) + (pixels[:, 0] // side).astype(np.int64)
    nearest = np.full((_CELLS + 1) ** 2, np.inf)
    np.minimum.at(nearest, cell, z)
    return points[z <= nearest[cell] * (1 + _BEHIND)]


def with_scaled_depth(scene: Scene, factor: float) -> Scene:
    """The scene with the values of all depth maps multiplied by `factor`; DepthError unless it is above 0."""
    if not 0 < factor < np.inf:
        raise DepthError(f"--depth-scale {factor} is no scale: expected a number above 0, or solve.")
    require_maps(scene)
    return replace(scene, depth_scales=(DepthScale(factor),) * len(scene.views))


def with_solved_depth(scene: Scene, sparse: SparseDepth | None = None, seed: int = 0) -> tuple[Scene, tuple[str, ...]]:
    """The scene with a scale for each depth map, solved against `sparse` (None: the scene's own points), and notes.

    Maps that do not fit their points, or show fewer than 8 of them, are left out, and the notes say so. DepthError when
    there are no points, or no map fits.
    """
    paths, sparse = require_maps(scene), sparse or scene.sparse_depth
    if sparse is None:
        raise DepthError(
            "--depth-scale solve needs points to solve against, and the scene has none.\n"
            "Triangulate some (dvr reconstruct SCENE --depth auto writes RUN/depth/sparse.npz), or give the scale as a "
            "number."
        )
    maps = [_raw_map(view, path) for view, path in zip(scene.views, paths, strict=True)]
    seen = [seen_points(sparse, view.camera, index) for index, view in enumerate(scene.views)]
    by_kind = {inverse: _solve_all(scene.views, maps, seen, inverse, seed) for inverse in (False, True)}
    usual = {inverse: _usual_spread(found) for inverse, found in by_kind.items()}
    inverse = usual[True] < LEAST_GAIN * usual[False]
    solved = [None if one is None or one.spread > LARGEST_SPREAD else one for one in by_kind[inverse]]
    if not any(solved):
        raise DepthError(
            f"No depth map fits the points: the usual relative error is {min(usual.values()):.2f} as depth or inverse "
            f"depth, expected at most {LARGEST_SPREAD}, at {FEWEST_POINTS} points or more in a view.\n"
            "The maps belong to other photographs, or the points to another world."
        )
    kept = tuple(path if one is not None else None for path, one in zip(paths, solved, strict=True))
    scales = tuple(None if one is None else one.scale for one in solved)
    return replace(scene, depth_map_paths=kept, depth_scales=scales), _notes(scene.views, paths, solved, inverse)


def require_maps(scene: Scene) -> tuple[Path | None, ...]:
    """The scene's depth maps; DepthError if there are none, so that there is nothing to scale."""
    if scene.depth_map_paths is None:
        raise DepthError("--depth-scale is for depth maps, and there are none.\nName their folder with --depth FOLDER.")
    return scene.depth_map_paths


def _raw_map(view: View, path: Path | None) -> tuple[Float[np.ndarray, "h w"], Camera] | None:
    """Values of a map as the file has them, small, and the camera whose pixels they are."""
    if path is None:
        return None
    height, width = working_shape(view.camera.height, view.camera.width, LONGEST_SIDE)
    values = load_depth_map(path, view, height, width, DepthScale()).astype(np.float64)
    return values, view.camera.resized(height, width)


def _solve_all(
    views: Sequence[View],
    maps: Sequence[tuple[Float[np.ndarray, "h w"], Camera] | None],
    seen: Sequence[Float[np.ndarray, "p 3"]],
    inverse: bool,
    seed: int,
) -> list[SolvedScale | None]:
    return [
        None if found is None else solve_scale(found[0], found[1], points, inverse, seed)
        for found, points in zip(maps, seen, strict=True)
    ]


def _usual_spread(found: Sequence[SolvedScale | None]) -> float:
    spreads = [one.spread for one in found if one is not None]
    return float(np.median(spreads)) if spreads else np.inf


def _notes(
    views: Sequence[View], paths: Sequence[Path | None], solved: Sequence[SolvedScale | None], inverse: bool
) -> tuple[str, ...]:
    """What was solved, and which maps are left out."""
    spreads = [one.spread for one in solved if one is not None]
    kind = "inverse depth (1 / z = a v + b)" if inverse else "depth (z = a v)"
    notes = [
        f"depth maps: {len(spreads)} are {kind} up to numbers of their own, solved against points; they differ by "
        f"{100 * float(np.median(spreads)):.1f} % of the depth"
    ]
    left_out = [view.name for view, path, one in zip(views, paths, solved, strict=True) if path and one is None]
    if left_out:
        notes.append(
            f"depth maps that do not fit their points, or show too few, are not used ({len(left_out)}): "
            f"{listed(left_out)}"
        )
    return tuple(notes)


def _values_at(
    depth: Float[np.ndarray, "h w"], camera: Camera, points: Float[np.ndarray, "p 3"]
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Values of the map where points are seen, and the points' camera z; known values only."""
    pixels, z = camera.project(points)
    within = (z > 0) & (pixels[:, 0] >= 0) & (pixels[:, 0] < camera.width)
    within &= (pixels[:, 1] >= 0) & (pixels[:, 1] < camera.height)
    column, row = pixels[within].astype(np.int64).T
    values = depth[row, column]
    known = np.isfinite(values)
    return values[known].astype(np.float64), z[within][known]


def _factor(values: Float[np.ndarray, "k"], z: Float[np.ndarray, "k"]) -> DepthScale | None:
    """z = a v: the median of all ratios, in which half of the points may be wrong."""
    usable = values > 0
    if usable.sum() < FEWEST_POINTS:
        return None
    return DepthScale(float(np.exp(np.median(np.log(z[usable] / values[usable])))))


def _disparity_line(
    values: Float[np.ndarray, "k"], z: Float[np.ndarray, "k"], generator: np.random.Generator
) -> DepthScale | None:
    """1 / z = a v + b with the least median error, then least squares near it."""
    disparity = 1 / z
    first, second = generator.integers(len(values), size=(2, _TRIALS))
    run = values[second] - values[first]
    ok = run != 0
    a = (disparity[second] - disparity[first])[ok] / run[ok]
    b = disparity[first][ok] - a * values[first][ok]
    a, b = a[a > 0], b[a > 0]
    if len(a) == 0:
        return None
    # 1/z_line * z - 1 is the relative error of depth to first order, and does not blow up where the line meets zero.
    errors = np.median(np.abs((a[:, None] * values + b[:, None]) * z - 1), axis=1)
    best = int(np.argmin(errors))
    near = _near((a[best] * values + b[best]) * z - 1, float(errors[best]))
    if near.sum() < FEWEST_POINTS or np.ptp(values[near]) == 0:
        return DepthScale(float(a[best]), float(b[best]), inverse=True)
    rows = np.stack([values, np.ones_like(values)], axis=1)[near] * z[near, None]
    refined = np.linalg.lstsq(rows, np.ones(int(near.sum())))[0]
    if refined[0] <= 0:
        return DepthScale(float(a[best]), float(b[best]), inverse=True)
    return DepthScale(float(refined[0]), float(refined[1]), inverse=True)


def _near(errors: Float[np.ndarray, "k"], usual: float) -> Bool[np.ndarray, "k"]:
    """Errors within 2.5 standard deviations, of which `usual` is the median without sign."""
    return np.abs(errors) <= max(2.5 * 1.4826 * usual, 1e-9)


def _relative_errors(
    scale: DepthScale, values: Float[np.ndarray, "k"], z: Float[np.ndarray, "k"]
) -> Float[np.ndarray, "k"]:
    """(z of the map - z of the point) / z of the point; 1 where the map's is not positive."""
    found = scale.depth(values)
    return np.where(np.isfinite(found) & (found > 0), found / z - 1, 1.0)
