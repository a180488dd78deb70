"""The whole reconstruction: photographs in, a run folder with checkpoints out; and the field of a run back.

Stages: load and check, a tight working cube, the first field (visual hull, carved), then the levels of the schedule.
Everything that must survive an interruption is in `Course`; this module only decides what comes next.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float

from dvr_cli.config import Settings
from dvr_cli.errors import RunError, SceneError
from dvr_cli.fields.grid import GridField
from dvr_cli.fields.kinds import AnyField
from dvr_cli.files import disk_errors
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_targets import SparseTargets, dense_targets, sparse_targets, together
from dvr_cli.fitting.depth_terms import DepthTargets
from dvr_cli.fitting.devices import kernels_loading, resolve_device, said_of, torch_threads
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.first_field import first_field
from dvr_cli.fitting.kinds import KINDS
from dvr_cli.fitting.levels import Watch, run_level
from dvr_cli.fitting.memory import peak_memory_gb
from dvr_cli.fitting.preview import write_preview
from dvr_cli.fitting.rims import rim_targets
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.seen_depth import SeenDepth, load_seen, save_seen
from dvr_cli.fitting.surroundings import see_all_around, too_few_masks, with_labels
from dvr_cli.fitting.unmasked_start import unmasked_cube, unmasked_field
from dvr_cli.fitting.working_cube import WorkingCube, in_cube, working_cube
from dvr_cli.kernels import launch
from dvr_cli.kernels.views import ViewArrays, divisor_for, stack_views
from dvr_cli.scenes.checks import check_hull
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.listing import count_of, listed
from dvr_cli.scenes.mask_conflicts import without_conflicts
from dvr_cli.scenes.mask_repair import with_holes_filled
from dvr_cli.scenes.views import LoadedView, Scene

Report = Callable[[StepReport | Message], None]


@dataclass(frozen=True)
class ReconstructionSummary:
    """What a reconstruction came to, in plain values."""

    steps: int
    """Steps done in all, those before a resumption included."""
    seconds: float
    """Wall time of this session, loading included."""
    psnr: float | None
    """Of the last steps, dB."""
    silhouette_iou: float | None
    """Of the last steps, in [0, 1]."""
    finished: bool
    """False when it was stopped."""
    resumed_from: int | None
    """The step it went on from; None for a new run."""
    peak_memory_gb: float | None
    """Most memory this process ever held, 10^9 bytes; None where the system does not say."""


class _StoppedError(Exception):
    """The user asked to stop before there was anything to save."""


def _stop_if_asked(watch: Watch, *progress: int) -> None:
    """For work before the first step, which has a callback, whatever it tells that about its progress."""
    if watch.should_stop():
        raise _StoppedError


def reconstruct(
    scene: Scene, settings: Settings, run: RunFolder, report: Report, should_stop: Callable[[], bool]
) -> ReconstructionSummary:
    """Fit a field to the scene's photographs, from the run's last checkpoint on, and leave the result in the run.

    `report` is told about progress; `should_stop` is asked between steps, and a stopped run is saved before this
    returns. Raises SceneError (photographs, masks, hull), DeviceError and RunError (checkpoints, disk).
    """
    began = time.monotonic()
    device = resolve_device(settings.device)
    launch.set_threads(settings.threads)
    state = run.load_checkpoint(report)
    course = None if state is None else Course.from_checkpoint(state, device)
    resumed_from = None if course is None else course.step
    finished = course is not None and course.level >= len(settings.levels)
    if finished:
        report(Message("The run has already come to its end; there is nothing left to do."))
    else:
        if said := said_of(device):
            report(said)
        try:
            with torch_threads(launch.threads()), kernels_loading(device, report) as wait_for_kernels:
                course, finished = _fit(scene, settings, course, Watch(run, report, should_stop), wait_for_kernels)
        except _StoppedError:
            finished = False
    return ReconstructionSummary(
        steps=0 if course is None else course.step,
        seconds=time.monotonic() - began,
        psnr=None if course is None else course.psnr,
        silhouette_iou=None if course is None else course.silhouette_iou,
        finished=finished,
        resumed_from=resumed_from,
        peak_memory_gb=peak_memory_gb(),
    )


def load_field(
    run: RunFolder, device: str = "cpu", report: Callable[[Message], None] | None = None
) -> tuple[AnyField, Float[np.ndarray, "4 4"]]:
    """The field of the run's newest checkpoint and `world_from_unit` of the cube that it lives in.

    `report` is told when an older one has to serve. RunError when the run has no checkpoint that can be used.
    """
    state = run.load_checkpoint(report)
    if state is None:
        raise RunError(f"{run.path} has no checkpoint yet. Make one with: dvr reconstruct SCENE --out {run.path}")
    course = Course.from_checkpoint(state, resolve_device(device))
    return course.field, np.linalg.inv(course.cube_from_world)


def _fit(
    scene: Scene, settings: Settings, course: Course | None, watch: Watch, wait_for_kernels: Callable[[], None]
) -> tuple[Course, bool]:
    """Load, start and run the levels; returns the course and whether it came to its end."""
    device = resolve_device(settings.device)
    views = _load(scene, settings, watch)
    wait_for_kernels()
    seen = None
    if too_few_masks(views):
        if KINDS[settings.field].needs_masks:
            raise SceneError(
                f"Too few photographs have masks: a field of the kind {settings.field} learns from them where space is "
                "free.\nMake some with --masks auto, or take the preset fast, which can do without."
            )
        seen = None if course is None else load_seen(watch.run.path, len(views))
        seen = seen or _seen(scene, views, settings, watch, device)
    if course is None:
        course, sparse = _start(scene, views, settings, watch, device, seen)
        watch.save(course)
        if seen is not None:
            _save_seen(watch.run, seen)
    else:
        sparse = _sparse(scene, views, course.cube_from_world, device)
        sparse = together(sparse, _rims(views, course.cube_from_world, settings, device))
    inputs = _level_inputs(scene, views, sparse, course, settings, device, seen)
    del views
    while course.level < len(settings.levels):
        stack, depth = inputs.pop(course.level)
        if watch.should_stop() or not run_level(course, stack, depth, settings, watch):
            return course, False
        course.level, course.level_step, course.optimiser = course.level + 1, 0, None
        watch.save(course)
        write_preview(watch.run.preview_path(f"level_{course.level}"), course.field, stack)
    return course, True


def _load(scene: Scene, settings: Settings, watch: Watch) -> list[LoadedView]:
    watch.report(Message(f"Loading {count_of(len(scene.views), 'photograph')}"))
    views = load_views(scene, settings.image_size, settings.threads, partial(_stop_if_asked, watch))
    if settings.start.fill_masks:
        views, filled = with_holes_filled(views, scene.unit_from_world)
        if filled:
            watch.report(Message(f"Filled holes in masks that nearly all others refute: {', '.join(filled)}"))
        views, disregarded = without_conflicts(views, scene.unit_from_world)
        if disregarded:
            watch.report(Message(_say_moved(disregarded, len(views))))
    check_hull(scene, views)
    return views


def _say_moved(disregarded: list[str], count: int) -> str:
    agreeing = count - len(disregarded)
    return (
        "Masks contradict each other about a part of the object: it seems to have moved between photographs. It is "
        f"made as {agreeing} of them show it, and disregarded in {len(disregarded)}: {listed(disregarded)}"
    )


def _seen(scene: Scene, views: list[LoadedView], settings: Settings, watch: Watch, device: torch.device) -> SeenDepth:
    """Coarse depth of a scene without masks."""

    watch.report(Message(f"No masks: comparing {len(views)} photographs to find what is object and what background"))
    return see_all_around(
        views, scene.unit_from_world, settings.surroundings, device, settings.seed, partial(_stop_if_asked, watch)
    )


def _save_seen(run: RunFolder, seen: SeenDepth) -> None:
    """Leave it in the run: resuming need not look again, and export asks which surface photographs agree about."""
    with disk_errors(run.path, RunError, "Free some space and go on with --resume."):
        save_seen(run.path, seen)


def _start(
    scene: Scene,
    views: list[LoadedView],
    settings: Settings,
    watch: Watch,
    device: torch.device,
    seen: SeenDepth | None,
) -> tuple[Course, SparseTargets | None]:
    """The course before the first step, and the points that are known to lie on the surface."""
    divisor = seen.divisor if seen is not None else divisor_for(views, settings.start.image_size)
    stack = stack_views(views, scene.unit_from_world, divisor, device)
    if seen is None:
        cube = working_cube(stack, scene.unit_from_world)
    else:

        def known(whole: WorkingCube, small: ViewArrays) -> tuple[SparseTargets | None, torch.Tensor | None]:
            in_whole = _sparse(scene, views, whole.cube_from_world, device)
            return in_whole, dense_targets(views, small, divisor, whole.cube_from_world)

        cube = unmasked_cube(stack, seen, scene.unit_from_world, settings, known)
    stack = in_cube(stack, cube)
    sparse = _sparse(scene, views, cube.cube_from_world, device)
    if sparse is not None and scene.sparse_depth is not None:
        watch.report(Message(_say_used(len(sparse.points), len(scene.sparse_depth.points))))
    rims = _rims(views, cube.cube_from_world, settings, device)
    if rims is not None:
        watch.report(Message(f"Masks agree to the pixel: {len(rims.points)} points on contours are used"))
    dense = dense_targets(views, stack, divisor, cube.cube_from_world)

    def first_grid() -> GridField:
        if seen is None:
            return first_field(stack, cube, settings.start, sparse, dense, None if rims is None else rims.points)
        return unmasked_field(stack, seen, cube, settings, sparse, dense)

    stop = partial(_stop_if_asked, watch)
    began = time.perf_counter()
    field = KINDS[settings.field].begin(first_grid, settings, device, watch.report, stop)
    return Course(cube.cube_from_world, field, seconds=time.perf_counter() - began), together(sparse, rims)


def _sparse(
    scene: Scene, views: list[LoadedView], cube_from_world: Float[np.ndarray, "4 4"], device: torch.device
) -> SparseTargets | None:
    return None if scene.sparse_depth is None else sparse_targets(scene.sparse_depth, views, cube_from_world, device)


def _rims(
    views: list[LoadedView], cube_from_world: Float[np.ndarray, "4 4"], settings: Settings, device: torch.device
) -> SparseTargets | None:
    if settings.field != "grid" or not settings.losses.rims or all(view.mask is None for view in views):
        return None
    return rim_targets(stack_views(views, cube_from_world, 1, device))


def _say_used(used: int, found: int) -> str:
    if used == 0:
        return f"None of the {found} sparse points lies on the object; check that they are in the scene's world units."
    others = "" if used == found else "; the others are off the object, stand alone or are many"
    return f"Sparse depth: {used} of {found} points are used{others}."


def _level_inputs(
    scene: Scene,
    views: list[LoadedView],
    sparse: SparseTargets | None,
    course: Course,
    settings: Settings,
    device: torch.device,
    seen: SeenDepth | None,
) -> dict[int, tuple[ViewArrays, DepthTargets]]:
    """For each level still to come the photographs and the depth at its scale; levels of one scale share them."""
    by_divisor: dict[int, tuple[ViewArrays, DepthTargets]] = {}
    inputs = {}
    for index, level in list(enumerate(settings.levels))[course.level :]:
        divisor = divisor_for(views, level.image_size)
        if divisor not in by_divisor:
            stack = stack_views(views, course.cube_from_world, divisor, device)
            dense = dense_targets(views, stack, divisor, course.cube_from_world)
            if seen is not None:
                stack = with_labels(stack, seen, views, scene.unit_from_world)
            by_divisor[divisor] = stack, DepthTargets(sparse, dense)
        inputs[index] = by_divisor[divisor]
    return inputs
