"""Which photographs each photograph is compared with."""

from dataclasses import replace

import pytest
import torch

from dvr_cli.fitting.initial import APART, neighbour_views
from tests.kernels.tiny_views import ball_views


def around(*degrees: float):
    """Views from a circle around the ball."""
    stack = ball_views(len(degrees), 12)
    angle = torch.deg2rad(torch.tensor(degrees))
    centres = 3 * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1)
    return replace(stack, centres=centres)


def test_photographs_around_an_object_are_compared_with_the_nearest():
    found = neighbour_views(around(0, 10, 25, 45, 70), 3)
    assert found.tolist() == [[1, 2, 3], [0, 2, 3], [1, 3, 0], [2, 4, 1], [3, 2, 1]]


@pytest.mark.parametrize("between", [0.5, 2.0, 3.5])
def test_frames_of_a_film_are_compared_with_frames_that_look_from_elsewhere(between):
    count = round(90 / between)
    found = neighbour_views(around(*(between * number for number in range(count))), 6)
    for view, sources in enumerate(found.tolist()):
        places = between * torch.tensor([view, *sources])
        distances = (places[:, None] - places[None]).abs().fill_diagonal_(APART)
        assert distances.min() >= APART - 1e-3
        assert distances[0].diff().min() > -1e-3, "nearest first"
        # Six that are apart, on both sides where there are two, do not fit in less; one frame may be lost at each.
        assert distances[0].max() <= 6 * (APART + between)


def test_the_same_place_twice_is_taken_last():
    found = neighbour_views(around(0, 0, 0, 20, 40), 4)
    assert found[0].sort().values.tolist() == [1, 2, 3, 4]
    assert neighbour_views(around(0, 0, 0, 20, 40), 2)[0].tolist() == [3, 4]


def test_what_looks_from_the_other_side_is_no_better_than_what_is_close():
    assert neighbour_views(around(0, 3, 20, 180), 2)[0].tolist() == [1, 2]


def test_no_view_is_its_own_neighbour_and_none_comes_twice():
    found = neighbour_views(around(*(7.0 * number for number in range(30)), *[100.0] * 12), 8)
    for view, sources in enumerate(found.tolist()):
        assert len({view, *sources}) == 9


def test_few_views_are_filled_up():
    assert neighbour_views(around(0, 20, 40), 4).tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [1, 0, -1, -1]]
    assert neighbour_views(around(0.0), 2).tolist() == [[-1, -1]]
