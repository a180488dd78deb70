"""Poses, lenses and points from matches: incremental structure from motion and a last bundle adjustment.

The pose solver is COLMAP's (Schönberger and Frahm 2016) on one thread, so that the same photographs give the same
poses; its time is small beside that of the matches.
"""

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors
from dvr_cli.preparing.libraries import quiet_logs, stoppable
from dvr_cli.preparing.matching import FIRST_MODEL
from dvr_cli.preparing.stages import SPACE_ADVICE, Report, Stop

CAMERA_MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE")
AUTO = "auto"
"""`SIMPLE_RADIAL`, or `RICHER_MODEL` where the photographs ask for it."""
RICHER_MODEL = "OPENCV"
ENOUGH_FOR_ALL_PARAMETERS = 8
"""Photographs with one lens from which the parameters of a richer model are tried."""
WORTHWHILE = 0.02
"""Share of the root mean square error that a richer model must take away. A phone's video: 6 %; rendered photographs
without distortion: nothing, while the parameters drift far from the truth."""
ROUNDS = 2
"""Bundle adjustments, each followed by dropping outliers."""
LARGEST_ERROR = 4.0
"""Pixels of reprojection error of an observation that is kept, COLMAP's own limit."""
SMALLEST_ANGLE = 1.5
"""Degrees between the rays of a point that is kept."""
SMALLEST_MODEL = 2
FEWEST_INLIERS = 15
"""Points that a photograph which is left over must agree with; COLMAP's 30 left out 3 of 16 views 22 degrees apart, of
which all fitted in with this one."""
FEWEST_POINTS = 20


@dataclass(frozen=True)
class Solved:
    """The largest group of photographs that could be connected."""

    model: Any
    """A `pycolmap.Reconstruction`; image i of the list has the id i + 1."""
    groups: tuple[tuple[int, ...], ...]
    """Photographs (indices) of each group that was connected within itself, the largest first; it is the one used."""


def solve_poses(
    database: Path, work: Path, camera_model: str, count: int, seed: int, report: Report, stop: Stop
) -> Solved:
    """Poses of as many of `count` photographs as possible; SceneError with advice when there are none.

    Raises Stopped, and begins anew the next time.
    """
    import pycolmap

    options = pycolmap.IncrementalPipelineOptions(
        random_seed=seed, num_threads=1, ba_use_gpu=False, extract_colors=False, min_model_size=SMALLEST_MODEL
    )
    told = _Registered(report, count)
    found = _mapped(database, work, options, None, told, stop)
    ranked = sorted(found, key=lambda model: (-model.num_reg_images(), -model.num_points3D()))
    usable = [model for model in ranked if model.num_points3D() >= FEWEST_POINTS]
    if not usable:
        raise SceneError(_nothing_connected(count))
    best = usable[0]
    if best.num_reg_images() < count:
        # Once more for those that are left, which now may agree with fewer points.
        options.multiple_models = False
        options.mapper.abs_pose_min_num_inliers = FEWEST_INLIERS
        told.registered = best.num_reg_images()
        again = _mapped(database, work, options, best, told, stop)
        best = max([best, *again], key=lambda model: (model.num_reg_images(), model.num_points3D()))
    with quiet_logs():
        refined = refine(best, camera_model)
    return Solved(refined, _groups(best, usable[1:]))


@dataclass
class _Registered:
    """Counts photographs as they get a pose."""

    report: Report
    count: int
    registered: int = 0

    def first_two(self) -> None:
        self.registered = 2
        self.report("poses", self.registered, self.count)

    def one_more(self) -> None:
        self.registered = min(self.registered + 1, self.count)
        self.report("poses", self.registered, self.count)


def _mapped(database: Path, work: Path, options: Any, start: Any, told: _Registered, stop: Stop) -> list[Any]:
    """What COLMAP's mapper makes of the database, from the beginning or from a model that is to grow."""
    import pycolmap

    models, before = work / "models", work / "before"
    with disk_errors(models, SceneError, SPACE_ADVICE):
        for folder in (models, before):
            shutil.rmtree(folder, ignore_errors=True)
        models.mkdir()
    if start is not None:
        write_model(start, before)
    found = stoppable(
        lambda token: pycolmap.incremental_mapping(
            database, work, models, options, "" if start is None else before, told.first_two, told.one_more,
            cancellation_token=token,
        ),
        stop,
    )  # fmt: skip
    for folder in (models, before):
        shutil.rmtree(folder, ignore_errors=True)
    return list(found.values())


def _groups(best: Any, others: list[Any]) -> tuple[tuple[int, ...], ...]:
    """Indices of the photographs of each group; those that are in the largest as well count there only."""
    used = {int(image_id) for image_id in best.reg_image_ids()}
    rest = [sorted(int(image_id) for image_id in model.reg_image_ids() if image_id not in used) for model in others]
    kept = [sorted(used), *(group for group in rest if len(group) >= SMALLEST_MODEL)]
    return tuple(tuple(image_id - 1 for image_id in group) for group in kept)


def refine(model: Any, camera_model: str) -> Any:
    """The model with everything adjusted together, and its lenses extended to the model asked for; `model` is used up.

    For `auto` a richer lens is kept only when it explains the photographs clearly better.
    """
    for _ in range(ROUNDS):
        _adjust(model)
    if camera_model == AUTO:
        richer = copy.deepcopy(model)
        if _extend_lenses(richer, RICHER_MODEL, ENOUGH_FOR_ALL_PARAMETERS):
            for _ in range(ROUNDS):
                _adjust(richer)
            if root_mean_square(richer) < (1 - WORTHWHILE) * root_mean_square(model):
                return richer
    elif _extend_lenses(model, camera_model, 1):
        for _ in range(ROUNDS):
            _adjust(model)
    return model


def root_mean_square(model: Any) -> float:
    """Reprojection error over all points, pixels."""
    errors = np.array([point.error for point in model.points3D.values()])
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0


def _extend_lenses(model: Any, camera_model: str, fewest: int) -> bool:
    """Extend the lenses that took at least `fewest` photographs, in place; True if there were any."""
    extended = False
    for camera_id, photographs in _photographs_of_lenses(model).items():
        camera = model.cameras[camera_id]
        if camera.model_name == FIRST_MODEL.get(camera_model) and photographs >= fewest:
            extend_lens(camera, camera_model)
            extended = True
    return extended


def extend_lens(camera: Any, model_name: str) -> None:
    """Change a lens to a model with more parameters that maps every point as before, in place."""
    import pycolmap

    focal, x, y, *radial = camera.params
    first = [focal, x, y] if model_name == "RADIAL" else [focal, focal, x, y]
    wanted = len(pycolmap.Camera.create_from_model_name(1, model_name, 1.0, camera.width, camera.height).params)
    camera.model = getattr(pycolmap.CameraModelId, model_name)
    camera.params = [*first, *radial, *[0.0] * (wanted - len(first) - len(radial))]


def _photographs_of_lenses(model: Any) -> dict[int, int]:
    counts: dict[int, int] = {}
    for image_id in model.reg_image_ids():
        camera_id = model.images[image_id].camera_id
        counts[camera_id] = counts.get(camera_id, 0) + 1
    return counts


def _adjust(model: Any) -> None:
    """Bundle adjustment of everything, outliers dropped afterwards, in place.

    Not through `pycolmap.bundle_adjustment`, which turns the log on again.
    """
    import pycolmap

    options = pycolmap.BundleAdjustmentOptions(print_summary=False)
    options.ceres.solver_options.num_threads = 1
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in sorted(model.reg_image_ids()):
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    pycolmap.ObservationManager(model).filter_all_points3D(LARGEST_ERROR, SMALLEST_ANGLE)
    model.update_point_3d_errors()


def _nothing_connected(count: int) -> str:
    return (
        f"No two of the {count} photographs could be connected.\n"
        "Expected photographs of one thing that does not move, with texture, sharp, each overlapping the next by 60 % "
        "or more from a place a little farther on (turning on the spot is not enough). See docs/preparing.md."
    )


def write_model(model: Any, folder: Path) -> None:
    """Write a model in place of an earlier one; the folder appears in one step."""
    temporary = folder.with_name(f".{folder.name}.part")
    with disk_errors(folder, SceneError, SPACE_ADVICE):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        model.write_binary(str(temporary))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
