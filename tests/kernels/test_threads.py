"""The number of threads changes nothing: every kernel's results are the same bits with one, two and three."""

import pytest
import torch

from dvr_cli.kernels import launch, lookup, march
from dvr_cli.processors import available_threads
from tests.kernels.kernel_work import GRID, POINTS, WORKS, N, Place
from tests.kernels.tiny_views import ball_sdf, rays_at_ball


def in_parts(place):
    """Parts that march, look up at the hits and scatter there, as the parts of a step do."""
    grid, sdf = torch.zeros(N, N, N), ball_sdf(N)
    origins, directions = rays_at_ball(5000)

    def part(index):
        own = slice(1250 * index, 1250 * (index + 1))
        t, hit, *_ = march.march(sdf, origins[own], directions[own])
        points = (origins[own] + t[:, None] * directions[own])[hit]
        values = lookup.grid_value(GRID, points)
        lookup.scatter(grid, points, values)
        assert grid.count_nonzero() == 0  # Scatters wait until all parts are done.
        return values.sum()

    return grid, torch.stack(launch.in_parts(part, 4))


def test_an_error_in_a_part_is_raised_and_ends_the_parts(ball):
    def part(index):
        if index == 2:
            raise ValueError("third part")
        return index

    for threads in (1, 2, 5):
        launch.set_threads(threads)
        with pytest.raises(ValueError, match="third part"):
            launch.in_parts(part, 4)
        grid = torch.zeros(N, N, N)
        lookup.scatter(grid, POINTS, GRID.reshape(-1)[:5000])
        assert grid.count_nonzero() > 0
        assert launch.in_parts(lambda index: index, 3) == [0, 1, 2]


@pytest.mark.parametrize("work", [*WORKS, in_parts])
def test_number_of_threads_changes_nothing(ball, work):
    results = []
    for threads in (1, 2, 3, 9):
        assert launch.set_threads(threads) == threads
        results.append(work(Place(ball)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert any((array != array.reshape(-1)[0]).any() for array in results[0])


def test_all_cores_are_used_when_none_are_named():
    assert launch.set_threads(None) == available_threads()
    assert launch.threads() == available_threads()


def test_more_threads_than_planes(ball):
    """Slabs may be empty."""
    expected, found = torch.zeros(2, 2, 2), torch.zeros(2, 2, 2)
    lookup.scatter(expected, POINTS, POINTS[:, 0].contiguous())
    launch.set_threads(5)
    lookup.scatter(found, POINTS, POINTS[:, 0].contiguous())
    assert torch.equal(found, expected)
