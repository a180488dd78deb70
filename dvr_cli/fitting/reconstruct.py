"""The whole reconstruction: photographs in, a run folder with checkpoints out; and the field of a run back.

Stages: load and check, a tight working cube, the first field (visual hull, carved), then the levels of the schedule.
Everything that must survive an interruption is in `Course`; this module only decides what comes next.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage

from dvr_cli.config import Settings
from dvr_cli.errors import RunError
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting import initial
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.devices import kernels_loading, resolve_device, torch_threads
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.levels import Watch, run_level
from dvr_cli.fitting.preview import write_preview
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.working_cube import WorkingCube, cube_hull, in_cube, working_cube
from dvr_cli.kernels import launch
from dvr_cli.kernels.views import ViewArrays, stack_views
from dvr_cli.scenes.checks import check_hull
from dvr_cli.scenes.images import load_views
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
        # The loop's tensors are small: handing parts of them to other threads costs more than it saves.
        try:
            with torch_threads(1), kernels_loading(device, report) as wait_for_kernels:
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


def load_field(run: RunFolder) -> tuple[GridField, Float[np.ndarray, "4 4"]]:
    """The field of the run's newest checkpoint, on the CPU, and `world_from_unit` of the cube that it lives in.

    RunError when the run has no checkpoint that can be used.
    """
    state = run.load_checkpoint()
    if state is None:
        raise RunError(f"{run.path} has no checkpoint yet. Make one with: dvr reconstruct SCENE --out {run.path}")
    course = Course.from_checkpoint(state, torch.device("cpu"))
    return course.field, np.linalg.inv(course.cube_from_world)


def peak_memory_gb() -> float | None:
    """The most memory this process ever held, in 10^9 bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _fit(
    scene: Scene, settings: Settings, course: Course | None, watch: Watch, wait_for_kernels: Callable[[], None]
) -> tuple[Course, bool]:
    """Load, start and run the levels; returns the course and whether it came to its end."""
    device = resolve_device(settings.device)
    views = _load(scene, settings, watch)
    wait_for_kernels()
    if course is None:
        stack = stack_views(views, scene.unit_from_world, settings.start.image_divisor, device)
        cube = working_cube(stack, scene.unit_from_world)
        course = Course(cube.cube_from_world, first_field(in_cube(stack, cube), cube, settings))
        watch.save(course)
    stacks = _stacks(views, course, settings, device)
    del views
    while course.level < len(settings.levels):
        stack, stacks[course.level] = stacks[course.level], None
        if watch.should_stop() or not run_level(course, stack, settings, watch):
            return course, False
        course.level, course.level_step, course.optimiser = course.level + 1, 0, None
        watch.save(course)
        write_preview(watch.run.preview_path(f"level_{course.level}"), course.field, stack)
    return course, True


def _load(scene: Scene, settings: Settings, watch: Watch) -> list[LoadedView]:
    def report(done: int, count: int) -> None:
        if watch.should_stop():
            raise _StoppedError

    watch.report(Message(f"Loading {len(scene.views)} photographs"))
    views = load_views(scene, settings.image_size, settings.threads, report)
    check_hull(scene, views)
    return views


def _stacks(
    views: list[LoadedView], course: Course, settings: Settings, device: torch.device
) -> list[ViewArrays | None]:
    """For each level still to come the photographs at its scale; levels of one scale share them."""
    by_divisor: dict[int, ViewArrays] = {}
    stacks: list[ViewArrays | None] = []
    for index, level in enumerate(settings.levels):
        if index >= course.level and level.image_divisor not in by_divisor:
            divisor = level.image_divisor
            by_divisor[divisor] = stack_views(views, course.cube_from_world, divisor, device)
        stacks.append(by_divisor.get(level.image_divisor))
    return stacks


def first_field(stack: ViewArrays, cube: WorkingCube, settings: Settings) -> GridField:
    """The hull in the cube, carved where views agree that space is free, as a smooth distance field."""
    start, device = settings.start, stack.gray.device
    hull = torch.as_tensor(initial.signed_distance(cube_hull(stack, cube, start.voxels))).to(device)
    sdf = hull.cpu().numpy()
    if start.carve and stack.count > 2:
        depth = initial.coarse_depth(stack, hull, initial.neighbour_views(stack, 8), start)
        sdf = initial.signed_distance(initial.carve(stack, hull, depth, start))
    # The distance to a set of vertices has steps of one voxel; this rounds them.
    return GridField(torch.as_tensor(ndimage.gaussian_filter(sdf, 1.0)).to(device))
