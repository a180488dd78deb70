"""A level's grid is no finer than what its photographs can show, and its guesses end before it does."""

import numpy as np
import pytest
import torch

from dvr_cli.config import Level
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting import grid_kind
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_terms import DepthTargets
from dvr_cli.fitting.grid_kind import LEAST_PIXELS, GridStepper, enter_level, finest_voxels
from tests.fitting.tiny_runs import TINY
from tests.kernels.tiny_views import ball_views


def test_voxels_span_enough_pixels_and_follow_the_size_of_photographs():
    small, large = ball_views(8, 64), ball_views(8, 128)
    for stack in (small, large):
        voxel = 2 / (finest_voxels(stack) - 1)
        pixel = (stack.centres.norm(dim=1) / stack.intrinsics[:, 0, 0]).quantile(0.5)
        assert LEAST_PIXELS <= float(voxel / pixel) < 1.1 * LEAST_PIXELS
    assert finest_voxels(large) == pytest.approx(2 * finest_voxels(small), abs=2)


@pytest.mark.parametrize(("asked", "share"), [(200, 1.0), (20, None), (16, None)])
def test_level_takes_what_is_asked_unless_it_is_too_fine(asked, share):
    stack, said = ball_views(8, 64), []
    settings = TINY.model_copy(update={"levels": (Level(voxels=asked, steps=1),)})
    course = course_with(24)
    state = enter_level(course, stack, settings, said.append)
    expected = finest_voxels(stack) if share else asked
    assert course.field.voxels == expected and state.mean_gradient.shape == (expected,) * 3
    assert [str(asked) in message.text for message in said] == ([True] if share else [])


def test_photographs_of_a_few_pixels_still_get_a_grid():
    course = course_with(24)
    stack = ball_views(4, 16)
    assert finest_voxels(stack) < 16
    enter_level(course, stack, TINY, lambda message: None)
    assert course.field.voxels == 16


def course_with(voxels):
    """A run before its first step."""
    axis = torch.linspace(-1, 1, voxels)
    sdf = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).norm(dim=-1) - 0.6
    return Course(np.eye(4), GridField(sdf))


def test_guesses_reach_less_and_less_far_until_there_are_none(monkeypatch):
    reaches = []

    def recording(*arguments):
        level = arguments[6]
        reaches.append(level.reach)
        return accumulate(*arguments)

    accumulate = grid_kind.accumulate
    monkeypatch.setattr(grid_kind, "accumulate", recording)
    settings = TINY.model_copy(update={"levels": (Level(voxels=24, steps=9, rays=256, reach=6.0),)})
    stepper = GridStepper(course_with(24), ball_views(8, 64), DepthTargets(), settings, lambda message: None)
    for step, share in enumerate([0.0, 0.2, 0.4, 0.59, 0.6, 0.61, 1.0]):
        stepper.step(step, share, torch.Generator().manual_seed(step))
    assert reaches[:3] == pytest.approx([6.0, 4.0, 2.0])
    assert 0 < reaches[3] < 0.11 and reaches[4:] == [0, 0, 0]


@pytest.mark.parametrize(("own", "expected"), [(None, 0.15), (0.3, 0.3), (0.0, 0.0)])
def test_level_may_end_with_a_smoothing_of_its_own(monkeypatch, own, expected):
    used = []

    def recording(field, state, settings, share, step):
        used.append(settings.optimiser)
        return update(field, state, settings, share, step)

    update = grid_kind.update
    monkeypatch.setattr(grid_kind, "update", recording)
    settings = TINY.model_copy(update={"levels": (Level(voxels=24, steps=9, rays=256, final_smoothing=own),)})
    stepper = GridStepper(course_with(24), ball_views(8, 64), DepthTargets(), settings, lambda message: None)
    stepper.step(0, 0.0, torch.Generator().manual_seed(0))
    assert used == [TINY.optimiser.model_copy(update={"final_smoothing": expected})]
