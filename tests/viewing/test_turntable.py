"""A turntable closes, keeps the whole object in the middle of the picture, and turns the way it says."""

import numpy as np
import pytest

from dvr_cli.scenes.synthetic import demo_shape, random_similarity
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.viewing.render import Painter
from dvr_cli.viewing.turntable import MARGIN, make_turntable

GENERATOR = np.random.default_rng(5)
UP, FRONT = np.array([0.3, 0.5, 0.9]), np.array([1.0, -0.4, 0.2])
CLOUD = GENERATOR.normal(size=(500, 3)) * (1, 2, 0.5) + (30, -20, 10)


def test_a_full_turn_ends_where_it_began():
    table = make_turntable(CLOUD, UP, FRONT)
    np.testing.assert_array_equal(table.camera(1.0).camera_from_world, table.camera(0.0).camera_from_world)
    half, quarter = table.camera(0.5).centre, table.camera(0.25).centre
    np.testing.assert_allclose(half + table.camera(0).centre, quarter + table.camera(0.75).centre, atol=1e-9)


@pytest.mark.parametrize("elevation", [-60, 0, 15, 89])
@pytest.mark.parametrize("stretch", [(1, 1, 1), (0.05, 0.05, 3), (4, 4, 0.01), (5, 0.1, 0.1), (0, 0, 0)])
def test_everything_is_in_the_picture_at_every_angle(elevation, stretch):
    points = CLOUD @ np.diag(stretch)
    table = make_turntable(points, UP, FRONT, elevation, longest=301)
    assert max(table.width, table.height) == 300 and table.width % 2 == table.height % 2 == 0
    seen = np.concatenate([table.camera(turn).project(points)[0] for turn in np.linspace(0, 1, 24)])
    size = np.array([table.width, table.height])
    low, high = seen.min(axis=0) / size, seen.max(axis=0) / size
    assert (low > MARGIN - 1e-6).all() and (high < 1 - MARGIN + 1e-6).all()
    near, far = table.depth_range
    depths = table.camera(0.3).project(points)[1]
    assert near - 1e-9 <= depths.min() and depths.max() <= far + 1e-9


def test_the_picture_is_filled_and_its_middle_is_the_objects():
    """A ball, which is as wide in every picture as what it sweeps."""
    directions = GENERATOR.normal(size=(20000, 3))
    ball = directions / np.linalg.norm(directions, axis=1, keepdims=True) + (5, 6, 7)
    table = make_turntable(ball, UP, FRONT, 30)
    seen = np.concatenate([table.camera(turn).project(ball)[0] for turn in np.linspace(0, 1, 12)])
    size = np.array([table.width, table.height])
    np.testing.assert_allclose(0.5 * (seen.min(axis=0) + seen.max(axis=0)), size / 2, atol=0.01 * size.max())
    assert (np.ptp(seen, axis=0) > 0.97 * (1 - 2 * MARGIN) * size).all()


def test_the_front_comes_first_and_moves_to_the_right():
    front, up = np.array([0.0, -1, 0]), np.array([0.0, 0, 1])
    post = np.array([[0.0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0]])
    table = make_turntable(post, up, front, elevation=20)
    assert np.argmin(table.camera(0).project(post)[1]) == 0
    start, later = (table.camera(turn).project(post)[0][0, 0] for turn in (0, 0.05))
    assert start == pytest.approx(table.width / 2, abs=0.5) and later > start + 5
    # From above, what is higher is higher in the picture.
    tall = table.camera(0).project(np.array([[0, 0, 0.5], [0, 0, -0.5]]))[0]
    assert tall[0, 1] < tall[1, 1]


def test_pictures_turn_with_the_world():
    shape = demo_shape(0)
    mesh = extract(shape.value, shape.gradient, resolution=32)
    similarity = random_similarity(np.random.default_rng(3))
    moved = to_world(mesh, similarity)
    pictures = []
    for one, turn in ((mesh, np.eye(3)), (moved, similarity[:3, :3])):
        table = make_turntable(one.vertices, turn @ UP, turn @ FRONT, 25, 64)
        pictures.append(Painter(one).draw(table.camera(0.2), "shaded", 2, table.depth_range))
    assert np.abs(pictures[0].coverage - pictures[1].coverage).mean() < 2e-3
    assert np.abs(pictures[0].colour - pictures[1].colour).mean() < 2e-3
