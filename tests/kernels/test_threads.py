"""The number of threads changes nothing: every kernel's results are the same bits with one, two and three."""

import pytest
import torch

from dvr_cli.kernels import launch, lookup, march, scatter
from dvr_cli.processors import available_threads
from tests.kernels.kernel_work import GRID, POINTS, WORKS, N, Place
from tests.kernels.tiny_views import ball_sdf, rays_at_ball


def in_parts(place):
    """Parts that march and look up at the hits."""
    sdf = ball_sdf(N)
    origins, directions = rays_at_ball(5000)

    def part(index):
        own = slice(1250 * index, 1250 * (index + 1))
        t, hit, *_ = march.march(sdf, origins[own], directions[own])
        return lookup.grid_value(GRID, (origins[own] + t[:, None] * directions[own])[hit]).sum()

    return [torch.stack(launch.in_parts(part, 4))]


def scattered_together(place):
    """To the same grid and to others."""
    grids = [torch.zeros(N, N, N) for _ in range(3)]
    with launch.scatters_together():
        for grid, share in zip([*grids, grids[0]], (1.0, 0.5, 0.25, 0.1), strict=True):
            scatter.scatter(grid, share * POINTS, POINTS[:, 0].contiguous())
        assert all(grid.count_nonzero() == 0 for grid in grids)
    return grids


def test_scatters_put_off_add_the_same():
    at_once, launched = torch.zeros(N, N, N), scattered_together(None)[0]
    for share in (1.0, 0.1):
        scatter.scatter(at_once, share * POINTS, POINTS[:, 0].contiguous())
    assert torch.equal(at_once, launched)


def test_scatters_that_an_error_put_an_end_to_are_given_up():
    grid = torch.zeros(N, N, N)
    with pytest.raises(ValueError, match="midway"), launch.scatters_together():
        scatter.scatter(grid, POINTS, POINTS[:, 0].contiguous())
        raise ValueError("midway")
    assert grid.count_nonzero() == 0
    scatter.scatter(grid, POINTS, POINTS[:, 0].contiguous())
    assert grid.count_nonzero() > 0


def test_parts_may_not_scatter():
    grid = torch.zeros(N, N, N)
    with pytest.raises(AssertionError, match="may not scatter"):
        launch.in_parts(lambda _: scatter.scatter(grid, POINTS, POINTS[:, 0].contiguous()), 2)


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
        scatter.scatter(grid, POINTS, GRID.reshape(-1)[:5000])
        assert grid.count_nonzero() > 0
        assert launch.in_parts(lambda index: index, 3) == [0, 1, 2]


@pytest.mark.parametrize("work", [*WORKS, in_parts, scattered_together])
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
    scatter.scatter(expected, POINTS, POINTS[:, 0].contiguous())
    launch.set_threads(5)
    scatter.scatter(found, POINTS, POINTS[:, 0].contiguous())
    assert torch.equal(found, expected)
