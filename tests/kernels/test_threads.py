"""The number of threads changes nothing: every kernel's results are the same bits with one, two and three."""

import os

import pytest
import torch

from dvr_cli.fitting.initial import mask_pixels, neighbour_views
from dvr_cli.kernels import band, hull, launch, lookup, march, patches
from tests.kernels.tiny_views import ball_sdf, rays_at_ball

N = 48
G = torch.Generator().manual_seed(0)
GRID = torch.randn(N, N, N, generator=G)
SHEEN = torch.randn(24, 24, 24, 9, generator=G)
ALBEDO = torch.randn(N, N, N, 3, generator=G)
POINTS = 2 * torch.rand(5000, 3, generator=G) - 1
DIRECTIONS = torch.nn.functional.normalize(torch.randn(5000, 3, generator=G), dim=1)


def scattered(ball):
    grids = torch.zeros(N, N, N), torch.zeros(24, 24, 24, 9)
    lookup.scatter(grids[0], POINTS, GRID.reshape(-1)[:5000])
    lookup.scatter(grids[1], POINTS, GRID.reshape(-1)[:45000].reshape(5000, 9))
    return grids


def looked_up(ball):
    arguments = (ALBEDO, SHEEN, POINTS, DIRECTIONS)
    return (
        lookup.grid_value(GRID, POINTS),
        lookup.grid_gradient(GRID, POINTS),
        lookup.grid_colour(*arguments),
        lookup.grid_colour_slope(*arguments, DIRECTIONS),
    )


def marched(ball):
    return march.march(ball_sdf(N), *rays_at_ball(5000))


def updated(ball):
    sdf = ball_sdf(N)
    grids = [sdf, GRID.clone(), GRID.abs(), torch.zeros_like(sdf), torch.zeros_like(sdf)]
    vertices = band.find_band(sdf, 0.4)
    assert len(vertices) > 3 * 4096
    band.newton_step(vertices, *grids, memory=0.8, damping=0.2, rate=0.5, longest_step=0.2)
    band.smooth(vertices, sdf, 0.5, 0.3)
    colours = [ALBEDO.clone(), torch.ones_like(ALBEDO), GRID.abs()]
    band.relax(None, *colours, damping=0.1, rate=0.5)
    return (*grids, *colours)


def compared(ball):
    views, pixels = mask_pixels(ball, 3)
    directions = ball.rays(views, pixels)[1]
    t = 3.1 + 0.0 * directions[:, 0]
    normals = -directions
    sources = neighbour_views(ball, 4)[views.long()].contiguous()
    bends = torch.zeros(len(t), 2)
    return patches.patch_ncc(ball, views, pixels, directions, t, normals, bends, sources, keep=2, radius=2, noise=0.01)


def carved(ball):
    sdf, neighbours, (views, pixels) = ball_sdf(N), neighbour_views(ball, 4), mask_pixels(ball, 3)
    t, score = hull.sweep(ball, neighbours, sdf, views, pixels, planes=48, sources=4, radius=2, noise=0.01)
    starts = (torch.arange(ball.count) * 96 * 72).int()
    t_map = torch.full((ball.count * 96 * 72,), 3.1)
    kept = (GRID > 3).to(torch.uint8)
    return (
        hull.visual_hull(ball, N),
        t,
        score,
        hull.confirm(ball, neighbours, starts, 1, views, pixels, t, t_map, 0.1),
        *hull.vote(ball, sdf, starts, 1, t_map, 0.05),
        hull.veto(sdf, kept, GRID, *ball.rays(views, pixels)),
    )


def in_parts(ball):
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


@pytest.mark.parametrize("work", [scattered, looked_up, marched, updated, compared, carved, in_parts])
def test_number_of_threads_changes_nothing(ball, work):
    results = []
    for threads in (1, 2, 3, 9):
        assert launch.set_threads(threads) == threads
        results.append(work(ball))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert any((array != array.reshape(-1)[0]).any() for array in results[0])


def test_all_cores_are_used_when_none_are_named():
    assert launch.set_threads(None) == len(os.sched_getaffinity(0))
    assert launch.threads() == len(os.sched_getaffinity(0))


def test_more_threads_than_planes(ball):
    """Slabs may be empty."""
    expected, found = torch.zeros(2, 2, 2), torch.zeros(2, 2, 2)
    lookup.scatter(expected, POINTS, POINTS[:, 0].contiguous())
    launch.set_threads(5)
    lookup.scatter(found, POINTS, POINTS[:, 0].contiguous())
    assert torch.equal(found, expected)
