"""The grid's part in the fitting loop: levels of resolution, and Gauss-Newton steps on the voxels of a band."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.config import Level, Photometric, Settings
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting import initial
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_terms import DepthTargets, accumulate_depth
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.grid_checkpoint import pack_grid, unpack_grid
from dvr_cli.fitting.hardly_seen import keep_tight, loose_vertices
from dvr_cli.fitting.pixels import pixel_pool
from dvr_cli.fitting.step import StepState, accumulate, update
from dvr_cli.kernels.views import ViewArrays

RIM = 0.02
"""Width of the rim around the masks in which free space is asked for, in longest sides of the photographs ..."""
NARROWEST_RIM = 8
"""... and in pixels at least."""
COARSEST = 16
"""Voxels that a level has at least, however small the photographs; the least that settings allow."""
GUESSING = 0.6
"""Share of a level after which nothing is guessed any more; until then guesses reach less and less far."""
LEAST_PIXELS = 1.5
"""Of a level's photographs that a voxel spans: smaller voxels would be moved by the pixels' noise alone."""


class GridKind:
    """Implements `fitting.kinds.Kind`."""

    torch_threads: int | None = 1
    """The loop's tensors are small: handing parts of them to other threads costs more than it saves."""
    needs_masks = False

    def begin(
        self,
        first_grid: Callable[[], GridField],
        settings: Settings,
        device: torch.device,
        report: Callable[[StepReport | Message], None],
        stop: Callable[[], None],
    ) -> GridField:
        """The carved hull as it is."""
        return first_grid()

    def stepper(
        self,
        course: Course,
        stack: ViewArrays,
        depth: DepthTargets,
        settings: Settings,
        report: Callable[[Message], None],
    ) -> "GridStepper":
        """Ready for the steps of the course's level."""
        return GridStepper(course, stack, depth, settings, report)

    def pack(self, field: GridField, optimiser: StepState | None) -> dict[str, Any]:
        """See `grid_checkpoint`."""
        return pack_grid(field, optimiser)

    def unpack(self, state: dict[str, Any], device: torch.device) -> tuple[GridField, StepState | None]:
        """See `grid_checkpoint`."""
        return unpack_grid(state, device)


class GridStepper:
    """Takes the steps of one level."""

    def __init__(
        self,
        course: Course,
        stack: ViewArrays,
        depth: DepthTargets,
        settings: Settings,
        report: Callable[[Message], None],
    ) -> None:
        self._level, self._stack = settings.levels[course.level], stack
        self._settings = settings = settings_of_level(settings, course.level)
        touched = None if depth.sparse is None else depth.sparse.touched
        self._state = enter_level(course, stack, settings, report, touched)
        assert isinstance(course.field, GridField)
        self._field = course.field
        self._held = None
        if touched is not None and self._level.reach > 0:
            self._held = initial.around(touched, self._field.voxels, initial.TWO_STEPS)
        self._depth = replace(depth, settled=course.level > 0)
        rim = max(NARROWEST_RIM, round(RIM * int(torch.maximum(stack.widths, stack.heights).max())))
        self._pool = pixel_pool(stack, rim)
        self._neighbours = compared_views(stack, settings.photometric)

    def step(self, level_step: int, share: float, generator: torch.Generator) -> list[dict[str, Tensor]]:
        """Draw rays, collect what losses ask for, move the field."""
        field, state, stack, settings = self._field, self._state, self._stack, self._settings
        level = guessing_less(self._level, share)
        found = accumulate(field, state, stack, self._pool, self._neighbours, settings, level, generator, self._held)
        of_depth = accumulate_depth(field, stack, self._depth, settings.losses, generator)
        update(field, state, settings, share, level_step)
        if state.loose is not None and level_step % settings.optimiser.band_every == 0:
            keep_tight(state.loose, field.sdf.detach())
        return [found, of_depth]


def settings_of_level(settings: Settings, level: int) -> Settings:
    """The settings with what the level says otherwise about the optimiser."""
    final_smoothing = settings.levels[level].final_smoothing
    if final_smoothing is None:
        return settings
    optimiser = settings.optimiser.model_copy(update={"final_smoothing": final_smoothing})
    return settings.model_copy(update={"optimiser": optimiser})


def guessing_less(level: Level, share: float) -> Level:
    """The level with the reach that guesses still have when `share` of it, 0 to 1, is done.

    Guesses end before the level does, so that what a chance match has moved can come back.
    """
    return level.model_copy(update={"reach": level.reach * max(0.0, 1 - share / GUESSING)})


def finest_voxels(stack: ViewArrays) -> int:
    """Vertices per side of the cube at which a voxel spans `LEAST_PIXELS` at its centre, in the median view."""
    pixel = stack.centres.norm(dim=1) / stack.intrinsics[:, 0, 0]
    return int(2 / (LEAST_PIXELS * float(pixel.quantile(0.5)))) + 1


def enter_level(
    course: Course,
    stack: ViewArrays,
    settings: Settings,
    report: Callable[[Message], None],
    touched: Float[Tensor, "p 3"] | None = None,
) -> StepState:
    """Bring the field to the level's resolution and set up the optimiser, unless a checkpoint has brought both.

    The resolution is that of the settings, or what the level's photographs can show if that is less. `touched` are
    points that contours touch.
    """
    level = settings.levels[course.level]
    assert isinstance(course.field, GridField)
    if course.optimiser is None:
        voxels = max(min(level.voxels, finest_voxels(stack)), COARSEST)
        if voxels < level.voxels:
            report(
                Message(f"Level {course.level + 1}: {voxels} voxels instead of {level.voxels}; the pixels show no more")
            )
        if course.field.voxels != voxels:
            course.field = course.field.resized(voxels)
        course.optimiser = StepState.at_start(course.field, settings)
        if touched is not None:
            course.optimiser.loose = loose_vertices(course.field.sdf.detach(), stack.centres, touched)
    return course.optimiser


def compared_views(stack: ViewArrays, photometric: Photometric) -> Int[Tensor, "v m"]:
    """Views that each view may be compared with, nearest first; -1 fills up.

    Sources are drawn one from each group of columns. Where there are no more other views than groups, the table is just
    as wide as there are views: every ray then gets all of them, some twice, and the best two may be one and the same.
    """
    others = stack.count - 1
    width = photometric.neighbours if others > photometric.sources else max(others, 1)
    return initial.neighbour_views(stack, width)
