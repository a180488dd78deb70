"""What points on contours do while a level is fitted: nothing is guessed behind them, what they leave loose is kept."""

import numpy as np
import pytest
import torch

from dvr_cli.config import Level
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting import step
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_targets import SparseTargets, together
from dvr_cli.fitting.depth_terms import DepthTargets
from dvr_cli.fitting.grid_checkpoint import UNTOUCHED_ALBEDO
from dvr_cli.fitting.grid_kind import GridStepper
from dvr_cli.fitting.hardly_seen import loose_vertices
from tests.fitting.tiny_runs import TINY
from tests.kernels.tiny_views import RADIUS, ball_sdf, ball_views

VOXELS = 32
SETTINGS = TINY.model_copy(update={"levels": (Level(voxels=VOXELS, steps=9, rays=2048, reach=3.0),)})


def points_of_one_half() -> torch.Tensor:
    """Points of the ball's surface, close together, where x is positive."""
    towards = torch.nn.functional.normalize(torch.randn(8000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    return RADIUS * towards[towards[:, 0] > 0]


def depth_with(touched: torch.Tensor | None) -> DepthTargets:
    points, nothing = points_of_one_half(), torch.zeros(0, dtype=torch.int32)
    return DepthTargets(SparseTargets(points, torch.full((len(points),), 0.01), nothing, nothing, touched))


def course() -> Course:
    return Course(np.eye(4), GridField(ball_sdf(VOXELS)))


def stepper_of(run: Course, touched: torch.Tensor | None) -> GridStepper:
    return GridStepper(run, ball_views(12, 64), depth_with(touched), SETTINGS, lambda message: None)


def guesses_of_a_step(touched: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch):
    """(the guesses of a first step's rays, the points that these see, whether pixels are brighter than the surface)."""
    asked = {}

    def recording(stack, views, pixels, directions, t, *others, guesses, **options):
        points = stack.centres[views.long()] + t.detach()[:, None] * directions
        brightness = stack.rgb[stack.pixel_index(views, pixels)].mean(dim=1)
        asked.update(guesses=guesses, points=points, brighter=brightness > UNTOUCHED_ALBEDO)
        return photometric_loss(stack, views, pixels, directions, t, *others, guesses=guesses, **options)

    photometric_loss = step.photometric_loss
    monkeypatch.setattr(step, "photometric_loss", recording)
    stepper_of(course(), touched).step(0, 0.0, torch.Generator().manual_seed(0))
    return asked["guesses"], asked["points"], asked["brighter"]


def test_nothing_is_guessed_behind_what_contours_touch(monkeypatch):
    guesses, points, brighter = guesses_of_a_step(points_of_one_half(), monkeypatch)
    held, elsewhere = points[:, 0] > 0.1, (points[:, 0] < -0.25) & ~brighter
    assert held.sum() > 100 and elsewhere.sum() > 100
    assert torch.equal(guesses.allowed[held], guesses.offsets[held] < 0)
    assert 0.3 < guesses.allowed[held].float().mean() < 0.7
    assert guesses.allowed[elsewhere].all()


def test_nothing_is_guessed_behind_a_surface_that_is_brighter_here_than_elsewhere(monkeypatch):
    """Points that no contour touches change nothing about it."""
    guesses, _, brighter = guesses_of_a_step(None, monkeypatch)
    assert brighter.sum() > 100 and (~brighter).sum() > 100
    assert torch.equal(guesses.allowed[brighter], guesses.offsets[brighter] < 0)
    assert guesses.allowed[~brighter].all()


def test_a_level_knows_its_loose_vertices_and_so_does_its_checkpoint():
    """From all around nothing is loose, so only half of the views are there."""
    whole, touched = ball_views(12, 64), points_of_one_half()
    run = course()
    stack = type(whole)(**{**vars(whole), "centres": whole.centres.abs()})
    GridStepper(run, stack, depth_with(touched), SETTINGS, lambda message: None)
    expected = loose_vertices(ball_sdf(VOXELS), stack.centres, touched)
    assert len(expected) > 100
    assert torch.equal(run.optimiser.loose, expected)
    again = Course.from_checkpoint(run.to_checkpoint(), torch.device("cpu"))
    assert torch.equal(again.optimiser.loose, expected)


def test_without_points_on_contours_nothing_is_loose():
    run = course()
    stepper_of(run, None)
    assert run.optimiser.loose is None
    assert Course.from_checkpoint(run.to_checkpoint(), torch.device("cpu")).optimiser.loose is None


def test_points_that_are_put_together_stay_touched():
    touching, other = depth_with(points_of_one_half()).sparse, depth_with(None).sparse
    for both in (together(touching, other), together(other, touching), together(touching, None)):
        assert torch.equal(both.touched, touching.points)
    assert together(other, other).touched is None
