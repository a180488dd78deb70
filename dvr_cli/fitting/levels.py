"""One level of the coarse-to-fine schedule: steps until its end, with progress, metrics and checkpoints on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from dvr_cli.config import Settings
from dvr_cli.errors import RunError
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_terms import DepthTargets
from dvr_cli.fitting.devices import torch_threads
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.kinds import KINDS, Stepper
from dvr_cli.fitting.meter import Meter
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.schedule import LevelClock
from dvr_cli.kernels.views import ViewArrays

SECONDS_BETWEEN_CHECKPOINTS = 8.0
SECONDS_BETWEEN_METRICS = 1.0
STEPS_BETWEEN_READINGS = 10


@dataclass
class Watch:
    """Whom a level tells how it goes, and who may stop it."""

    run: RunFolder
    report: Callable[[StepReport | Message], None]
    should_stop: Callable[[], bool]
    saved_at: float = field(default_factory=time.monotonic)
    metrics_at: float = -1e9

    def save(self, course: Course) -> None:
        """Write a checkpoint now; RunError, and none is written, when the field holds values that are not numbers."""
        if not course.is_finite():
            raise RunError(
                f"The field holds values that are not numbers after step {course.step}. The last checkpoint "
                "without them is kept, and dvr export uses it.\nStart anew with --overwrite and another --seed."
            )
        self.run.save_checkpoint(course.to_checkpoint(), course.step)
        self.saved_at = time.monotonic()


def step_generator(seed: int, level: int, level_step: int) -> torch.Generator:
    """The random numbers of one step; they depend on nothing that came before, so a resumed run draws the same."""
    words = np.random.SeedSequence([seed % 2**63, level, level_step]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def run_level(course: Course, stack: ViewArrays, depth: DepthTargets, settings: Settings, watch: Watch) -> bool:
    """Take the steps of the course's level; True when the level has come to its end, False when it was stopped."""
    kind = KINDS[course.field.kind]
    stepper = kind.stepper(course, stack, depth, settings, watch.report)
    with torch_threads(kind.torch_threads or torch.get_num_threads()):
        return _take_steps(stepper, course, settings, watch)


def _take_steps(stepper: Stepper, course: Course, settings: Settings, watch: Watch) -> bool:
    clock, meter = LevelClock(settings, course.level, course.level_step, course.seconds), Meter()
    planned = clock.planned_steps(course.level_step)
    while course.level_step < planned:
        generator = step_generator(settings.seed, course.level, course.level_step)
        for found in stepper.step(course.level_step, course.level_step / planned, generator):
            meter.add(found)
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
    if found.psnr is not None:
        course.psnr = found.psnr
    if found.silhouette_iou is not None:
        course.silhouette_iou = found.silhouette_iou
    watch.report(
        StepReport(
            stage=f"level {course.level + 1} of {len(settings.levels)}",
            step=course.step,
            steps=course.step + planned - course.level_step + clock.later_steps(course.level_step),
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
