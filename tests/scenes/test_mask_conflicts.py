"""A part that moved between photographs stays where the longest run shows it; masks that agree are left alone."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.scenes.mask_conflicts import without_conflicts
from dvr_cli.scenes.synthetic import synthetic_scene
from tests.scenes.moving_plate import ball_with_plate

VIEWS, MOVED_AT = 30, 19


@pytest.fixture(scope="module")
def scene():
    return synthetic_scene(ball_with_plate(0.35), VIEWS, 112)


@pytest.fixture(scope="module")
def moved():
    return synthetic_scene(ball_with_plate(0.5), VIEWS, 112)[1]


def names_of(views):
    return [view.name for view in views]


def test_the_part_stays_where_the_longest_run_shows_it(scene, moved):
    views = [*scene[1][:MOVED_AT], *moved[MOVED_AT:]]
    settled, names = without_conflicts(views, scene[0].unit_from_world)
    assert all(after is before for after, before in zip(settled[:MOVED_AT], views[:MOVED_AT], strict=True))
    assert set(names) <= set(names_of(views[MOVED_AT:])) and len(names) >= VIEWS - MOVED_AT - 2
    taken, still_taken = 0, 0
    for view, truth in zip(settled[MOVED_AT:], scene[1][MOVED_AT:], strict=True):
        if view.disregarded is not None:
            # What the mask takes from the part where it stays, next to all of which is disregarded.
            taken += (truth.mask & ~view.mask).sum()
            still_taken += (truth.mask & ~view.mask & ~view.disregarded).sum()
            assert (view.mask & ~view.disregarded).sum() > 0.4 * view.mask.sum()
            np.testing.assert_array_equal(view.mask, moved[int(view.name[:3])].mask)
    assert taken > 500 and still_taken < 0.1 * taken


def test_the_run_may_be_the_last_one(scene, moved):
    views = [*scene[1][: VIEWS - MOVED_AT], *moved[VIEWS - MOVED_AT :]]
    _, names = without_conflicts(views, scene[0].unit_from_world)
    assert names and set(names) <= set(names_of(views[: VIEWS - MOVED_AT]))


def test_the_order_is_that_of_names(scene, moved):
    views = [*scene[1][:MOVED_AT], *moved[MOVED_AT:]]
    expected = without_conflicts(views, scene[0].unit_from_world)[1]
    shuffled = [views[index] for index in np.random.default_rng(0).permutation(VIEWS)]
    assert without_conflicts(shuffled, scene[0].unit_from_world)[1] == expected


def test_few_wrong_masks_are_disregarded_alone(scene, moved):
    """The part is elsewhere in two photographs that do not follow each other: no run is needed."""
    views = [moved[index] if index in (7, 14) else view for index, view in enumerate(scene[1])]
    _, names = without_conflicts(views, scene[0].unit_from_world)
    assert views[7].name in names and len(names) <= 3


def test_masks_that_agree_are_left_alone(scene):
    views = list(scene[1])
    assert without_conflicts(views, scene[0].unit_from_world) == (views, [])


def test_masks_that_are_a_pixel_off_are_left_alone(scene):
    views = [replace(view, mask=np.roll(view.mask, index % 3 - 1, axis=1)) for index, view in enumerate(scene[1])]
    assert without_conflicts(views, scene[0].unit_from_world) == (views, [])


def test_few_views_prove_nothing(scene, moved):
    views = [*scene[1][:5], *moved[5:8]]
    assert without_conflicts(views, scene[0].unit_from_world) == (views, [])


def test_views_without_masks_pass(scene):
    views = [replace(view, mask=None) for view in scene[1]]
    assert without_conflicts(views, scene[0].unit_from_world) == (views, [])
