"""The working cube holds the object tightly and says truly where it lies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dvr_cli.errors import SceneError
from dvr_cli.fitting.working_cube import cube_hull, in_cube, working_cube
from dvr_cli.kernels.views import ViewArrays, stack_views
from dvr_cli.scenes.synthetic import make_views, random_similarity
from dvr_cli.scenes.synthetic_shapes import Shape, Sphere, solid_texture

WORLD_FROM_UNIT = random_similarity(np.random.default_rng(4))
CENTRE = np.array([0.2, -0.1, 0.15])
RADIUS = 0.35


@pytest.fixture(scope="module")
def stack() -> ViewArrays:
    """A small ball off the middle, seen by 20 views."""
    shape = Shape(Sphere(RADIUS, tuple(CENTRE)), solid_texture(np.random.default_rng(0), 0.2, 8), 0.7)
    views = make_views(shape, 20, 96, 4, WORLD_FROM_UNIT)
    return stack_views(views, np.linalg.inv(WORLD_FROM_UNIT), 1, torch.device("cpu"))


def test_cube_is_tight_around_the_object(stack):
    cube = working_cube(stack, np.linalg.inv(WORLD_FROM_UNIT))
    cube_from_unit = cube.cube_from_world @ WORLD_FROM_UNIT
    scale = cube_from_unit[0, 0]
    np.testing.assert_allclose(cube_from_unit[:3, :3], scale * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(cube_from_unit[:3, 3], cube.ball_centre, atol=1e-9)
    assert scale == pytest.approx(cube.ball_radius)
    # The ball reaches at least two thirds of the way to the walls, and not beyond.
    reach = np.abs(scale * CENTRE + cube.ball_centre) + scale * RADIUS
    assert 0.66 < reach.max() < 1


def test_moved_cameras_see_the_same_pixels(stack):
    cube = working_cube(stack, np.linalg.inv(WORLD_FROM_UNIT))
    moved = in_cube(stack, cube)
    point = torch.as_tensor(CENTRE).float()
    point_in_cube = point * cube.ball_radius + torch.as_tensor(cube.ball_centre).float()
    for centre, moved_centre in zip(stack.centres, moved.centres, strict=True):
        towards = torch.nn.functional.normalize(point - centre, dim=0)
        moved_towards = torch.nn.functional.normalize(point_in_cube - moved_centre, dim=0)
        torch.testing.assert_close(towards, moved_towards, atol=1e-5, rtol=0)
    assert moved.rgb is stack.rgb


def test_hull_covers_the_object_and_not_the_walls(stack):
    cube = working_cube(stack, np.linalg.inv(WORLD_FROM_UNIT))
    inside = cube_hull(in_cube(stack, cube), cube, 48)
    axis = np.linspace(-1, 1, 48)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    in_unit = (points - cube.ball_centre) / cube.ball_radius
    # Masks are exact up to a pixel, of which the ball is some thirty across.
    assert inside[np.linalg.norm(in_unit - CENTRE, axis=-1) < 0.9 * RADIUS].all()
    assert not inside[np.linalg.norm(in_unit, axis=-1) > 1].any()
    assert not inside[0].any() and not inside[:, :, -1].any()


def test_views_without_masks_leave_the_region_of_interest(stack):
    unmasked = replace(stack, masks=torch.ones_like(stack.masks))
    cube = working_cube(unmasked, np.linalg.inv(WORLD_FROM_UNIT))
    assert 1 < 1 / cube.ball_radius < 1.05
    assert 0.4 < cube_hull(in_cube(unmasked, cube), cube, 32).mean() < np.pi / 6


def test_black_masks_leave_no_hull(stack):
    with pytest.raises(SceneError, match="hull is empty"):
        working_cube(replace(stack, masks=torch.zeros_like(stack.masks)), np.linalg.inv(WORLD_FROM_UNIT))
