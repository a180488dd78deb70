"""One level of the coarse-to-fine schedule: steps until its end, with progress, metrics and checkpoints on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from dvr_cli.config import Photometric, Settings
from dvr_cli.fitting import initial
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_terms import DepthTargets, accumulate_depth
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.meter import Meter
from dvr_cli.fitting.pixels import pixel_pool
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.schedule import LevelClock
from dvr_cli.fitting.step import StepState, accumulate, update
from dvr_cli.kernels.views import ViewArrays

SECONDS_BETWEEN_CHECKPOINTS = 8.0
SECONDS_BETWEEN_METRICS = 1.0
STEPS_BETWEEN_READINGS = 10
RIM = 0.02
"""Width of the rim around the masks in which free space is asked for, in longest sides of the photographs ..."""
NARROWEST_RIM = 8
"""... and in pixels at least."""
COARSEST = 16
"""Voxels that a level has at least, however small the photographs; the least that settings allow."""
LEAST_PIXELS = 1.5
"""Of a level's photographs that a voxel spans: smaller voxels would be moved by the pixels' noise alone."""


@dataclass
class Watch:
    """Whom a level tells how it goes, and who may stop it."""

    run: RunFolder
    report: Callable[[StepReport | Message], None]
    should_stop: Callable[[], bool]
    saved_at: float = field(default_factory=time.monotonic)
    metrics_at: float = -1e9

    def save(self, course: Course) -> None:
        """Write a checkpoint now."""
        self.run.save_checkpoint(course.to_checkpoint(), course.step)
        self.saved_at = time.monotonic()


def step_generator(seed: int, level: int, level_step: int) -> torch.Generator:
    """The random numbers of one step; they depend on nothing that came before, so a resumed run draws the same."""
    words = np.random.SeedSequence([seed % 2**63, level, level_step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def finest_voxels(stack: ViewArrays) -> int:
    """Vertices per side of the cube at which a voxel spans `LEAST_PIXELS` at its centre, in the median view."""
    pixel = stack.centres.norm(dim=1) / stack.intrinsics[:, 0, 0]
    return int(2 / (LEAST_PIXELS * float(pixel.quantile(0.5)))) + 1


def enter_level(course: Course, stack: ViewArrays, settings: Settings, report: Callable[[Message], None]) -> StepState:
    """Bring the field to the level's resolution and set up the optimiser, unless a checkpoint has brought both.

    The resolution is that of the settings, or what the level's photographs can show if that is less.
    """
    level = settings.levels[course.level]
    if course.optimiser is None:
        voxels = max(min(level.voxels, finest_voxels(stack)), COARSEST)
        if voxels < level.voxels:
            report(
                Message(f"Level {course.level + 1}: {voxels} voxels instead of {level.voxels}; the pixels show no more")
            )
        if course.field.voxels != voxels:
            course.field = course.field.resized(voxels)
        course.optimiser = StepState.at_start(course.field, settings)
    return course.optimiser


def compared_views(stack: ViewArrays, photometric: Photometric) -> Int[Tensor, "v m"]:
    """Views that each view may be compared with, nearest first; -1 fills up.

    Sources are drawn one from each group of columns. Where there are no more other views than groups, the table is just
    as wide as there are views: every ray then gets all of them, some twice, and the best two may be one and the same.
    """
    others = stack.count - 1
    width = photometric.neighbours if others > photometric.sources else max(others, 1)
    return initial.neighbour_views(stack, width)


def run_level(course: Course, stack: ViewArrays, depth: DepthTargets, settings: Settings, watch: Watch) -> bool:
    """Take the steps of the course's level; True when the level has come to its end, False when it was stopped."""
    level = settings.levels[course.level]
    state = enter_level(course, stack, settings, watch.report)
    depth = replace(depth, settled=course.level > 0)
    pool = pixel_pool(stack, max(NARROWEST_RIM, round(RIM * int(torch.maximum(stack.widths, stack.heights).max()))))
    neighbours = compared_views(stack, settings.photometric)
    clock, meter = LevelClock(settings, course.level, course.level_step, course.seconds), Meter()
    planned = clock.planned_steps(course.level_step)
    while course.level_step < planned:
        generator = step_generator(settings.seed, course.level, course.level_step)
        meter.add(accumulate(course.field, state, stack, pool, neighbours, settings, level, generator))
        meter.add(accumulate_depth(course.field, stack, depth, settings.losses, generator))
        update(course.field, state, settings, course.level_step / planned, course.level_step)
        course.level_step += 1
        course.step += 1
        if course.level_step % STEPS_BETWEEN_READINGS == 0 or course.level_step >= planned:
            planned = _take_stock(course, settings, watch, clock, meter)
        stop = watch.should_stop()
        if stop or time.monotonic() - watch.saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            course.seconds = clock.seconds
            watch.save(course)
        if stop:
            return False
    course.seconds = clock.seconds
    return True


def _take_stock(course: Course, settings: Settings, watch: Watch, clock: LevelClock, meter: Meter) -> int:
    """Read the meter, report, write metrics; returns how many steps the level will have."""
    found = meter.read()
    planned = clock.planned_steps(course.level_step)
    later = sum(level.steps for level in settings.levels[course.level + 1 :])
    if found.psnr is not None:
        course.psnr = found.psnr
    if found.silhouette_iou is not None:
        course.silhouette_iou = found.silhouette_iou
    watch.report(
        StepReport(
            stage=f"level {course.level + 1} of {len(settings.levels)}",
            step=course.step,
            steps=course.step + planned - course.level_step + later,
            losses=found.losses,
            psnr=course.psnr,
            silhouette_iou=course.silhouette_iou,
            seconds_left=clock.seconds_left(course.level_step, planned),
        )
    )
    if clock.seconds - watch.metrics_at >= SECONDS_BETWEEN_METRICS or course.level_step >= planned:
        watch.metrics_at = clock.seconds
        quality = {"psnr": course.psnr, "silhouette_iou": course.silhouette_iou}
        place = {"step": course.step, "level": course.level, "seconds": round(clock.seconds, 3)}
        watch.run.append_metrics({**place, **found.losses, **quality})
    return planned
