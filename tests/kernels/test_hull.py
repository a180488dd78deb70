"""Visual hull, plane sweep and votes: against their twins, and what must hold of a photographed sphere."""

from itertools import pairwise

import pytest
import torch

from dvr_cli.fitting.initial import DepthMaps, empty_maps, mask_pixels, neighbour_views, places_on
from dvr_cli.kernels import hull as kernels
from dvr_cli.kernels.twins import hull as twins
from dvr_cli.kernels.twins.cameras import in_double
from dvr_cli.kernels.views import ViewArrays
from tests.kernels.tiny_views import RADIUS, ball_sdf

N = 33
VOXEL = 2 / (N - 1)
PIXEL = 3.9 / (1.75 * 96)
"""Of the sphere's photographs, in unit space, at the farthest camera's distance."""
SWEEP = {"planes": 96, "sources": 4, "radius": 2, "noise": 0.01}
SPACING = 2 * 3**0.5 / 96
STEP = 3


def first_views(stack: ViewArrays, count: int) -> ViewArrays:
    """The first views alone."""
    pixels = int(stack.starts[count]) if count < stack.count else len(stack.gray)
    return ViewArrays(
        gray=stack.gray[:pixels], rgb=stack.rgb[:pixels], masks=stack.masks[:pixels], starts=stack.starts[:count],
        heights=stack.heights[:count], widths=stack.widths[:count], intrinsics=stack.intrinsics[:count],
        inverse_intrinsics=stack.inverse_intrinsics[:count], rotations=stack.rotations[:count],
        centres=stack.centres[:count],
    )  # fmt: skip


def sphere_distance(ball: ViewArrays, views: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Where the rays of pixels meet the sphere, 0 where they do not."""
    origins, directions = ball.rays(views, pixels)
    towards = (origins * directions).sum(dim=1)
    inside = towards**2 - origins.square().sum(dim=1) + RADIUS**2
    return torch.where(inside > 0, -towards - inside.clamp(min=0).sqrt(), 0.0)


def maps_of(ball: ViewArrays, step: int, views: torch.Tensor, pixels: torch.Tensor, t: torch.Tensor) -> DepthMaps:
    """Depth maps with these distances of pixels."""
    maps = empty_maps(ball, step)
    maps.t_map[places_on(maps, ball, views, pixels)] = t
    return maps


@pytest.fixture(scope="module")
def swept(ball):
    """Every third object pixel, its plane-sweep distance and score, and the neighbours that were asked."""
    neighbours = neighbour_views(ball, 6)
    views, pixels = mask_pixels(ball, STEP)
    hull = ball_sdf(N) - 0.05
    t, score = kernels.sweep(ball, neighbours, hull, views, pixels, **SWEEP)
    return {"neighbours": neighbours, "views": views, "pixels": pixels, "hull": hull, "t": t, "score": score}


@pytest.fixture(scope="module")
def maps(ball, swept):
    """(starts, t_map) of the swept distances that are trusted."""
    trusted = torch.where(swept["score"] > 0.4, swept["t"], 0)
    found = maps_of(ball, STEP, swept["views"], swept["pixels"], trusted)
    return found.starts, found.t_map


@pytest.mark.parametrize("radius", [1.0, 0.7])
def test_hull_agrees_with_the_twin(ball, radius):
    found, expected = kernels.visual_hull(ball, 40, radius), twins.visual_hull(in_double(ball), 40, radius)
    assert found.sum() > 5000
    # A vertex that projects onto the line between two pixels may be rounded to either.
    assert (found != expected).sum() <= 2


def test_hull_contains_the_sphere_and_little_more(ball):
    hull, sdf = kernels.visual_hull(ball, 65, 0.75), ball_sdf(65)
    assert torch.all(hull[sdf < -PIXEL])
    assert hull[sdf > 0.12].sum() == 0
    assert hull.sum() < 1.15 * (sdf < 0).sum()


def test_hull_shrinks_with_more_views(ball):
    """Within a ball that every view sees whole."""
    hulls = [kernels.visual_hull(first_views(ball, count), N, 0.7) for count in (1, 2, 5, 10, 20)]
    for fewer, more in pairwise(hulls):
        assert torch.all(fewer | ~more)
        assert more.sum() < fewer.sum()


def test_vertices_that_no_view_sees_are_outside(ball):
    behind = first_views(ball, 1)
    away = ViewArrays(**{**vars(behind), "rotations": behind.rotations * torch.tensor([-1.0, 1.0, -1.0])[:, None]})
    assert kernels.visual_hull(behind, N).any()
    assert not kernels.visual_hull(away, N).any()


def test_empty_mask_empties_the_hull(ball):
    masks = ball.masks.clone()
    masks[: ball.starts[1]] = 0
    assert not kernels.visual_hull(ViewArrays(**{**vars(ball), "masks": masks}), N, 0.7).any()


def test_sweep_finds_the_sphere(ball, swept):
    origins, directions = ball.rays(swept["views"], swept["pixels"])
    trusted = swept["score"] > 0.4
    points = (origins + swept["t"][:, None] * directions)[trusted]
    error = points.norm(dim=1) - RADIUS
    assert trusted.float().mean() > 0.3
    assert error.abs().median() < 0.3 * SPACING
    assert (error.abs() < SPACING).float().mean() > 0.95


def test_sweep_agrees_with_the_twin(ball, swept):
    some = slice(None, None, 6)
    arguments = [swept["neighbours"], swept["hull"].double(), swept["views"][some], swept["pixels"][some]]
    t, loss = twins.plane_losses(in_double(ball), *arguments, **SWEEP)
    expected_t, score = twins.choose_plane(t, loss, SPACING)
    found_t, found_score = swept["t"][some], swept["score"][some]
    assert (found_t > 0).sum() > 500
    assert torch.equal(found_t > 0, expected_t > 0)
    # A loss at the limit of a parabola's use moves t by a share of the spacing; measured: none, 4e-6 at worst.
    assert ((found_t - expected_t).abs() < 1e-4).float().mean() > 0.99
    # Three planes away: rounding decides whether that is another depth (measured: 4 % of the pixels).
    assert ((found_score - score).abs() < 1e-3).float().mean() > 0.9


def test_sweep_stays_in_the_hull(ball, swept):
    hull = ball_sdf(N, 0.3) + 0.0
    t, _ = kernels.sweep(ball, swept["neighbours"], hull, swept["views"], swept["pixels"], **SWEEP)
    origins, directions = ball.rays(swept["views"], swept["pixels"])
    found = t > 0
    radius = (origins + t[:, None] * directions)[found].norm(dim=1)
    assert radius.max() < 0.3 + 1.6 * SPACING
    empty, score = kernels.sweep(
        ball, swept["neighbours"], torch.ones(N, N, N), swept["views"], swept["pixels"], **SWEEP
    )
    assert torch.all(empty == 0)
    assert torch.all(score == 0)


def test_sweep_without_neighbours_finds_nothing(ball, swept):
    alone = torch.full_like(swept["neighbours"], -1)
    t, score = kernels.sweep(ball, alone, swept["hull"], swept["views"], swept["pixels"], **SWEEP)
    assert torch.all(t == 0)
    assert torch.all(score == 0)


def test_confirmations_agree_with_the_twin(ball, swept, maps):
    arguments = (*maps, VOXEL)
    starts, t_map, tolerance = arguments
    found = kernels.confirm(
        ball, swept["neighbours"], starts, STEP, swept["views"], swept["pixels"], swept["t"], t_map, tolerance
    )
    expected = twins.confirm(
        in_double(ball), swept["neighbours"], starts, STEP, swept["views"], swept["pixels"],
        swept["t"].double(), t_map.double(), tolerance,
    )  # fmt: skip
    assert found.max() >= 3
    assert (found != expected).sum() <= 2
    assert torch.all(found[swept["t"] == 0] == 0)


def test_wrong_depths_are_not_confirmed(ball, swept, maps):
    starts, t_map = maps

    def confirmed(t):
        return kernels.confirm(
            ball, swept["neighbours"], starts, STEP, swept["views"], swept["pixels"], t, t_map, 0.5 * VOXEL
        )

    trusted = swept["score"] > 0.4
    right, wrong = confirmed(swept["t"])[trusted], confirmed(swept["t"] + 0.3)[trusted]
    assert (right >= 2).float().mean() > 0.5
    assert (wrong >= 2).float().mean() < 0.02


@pytest.mark.parametrize("step", [2, 5])
def test_true_depths_are_confirmed_however_slanted(ball, step):
    """Exact maps of the sphere: a tolerance far below what depths change by towards its rim will do."""
    views, pixels = mask_pixels(ball, step)
    t = sphere_distance(ball, views, pixels)
    maps = maps_of(ball, step, views, pixels, t)
    neighbours = neighbour_views(ball, 6)
    tolerance = 0.3 * step * PIXEL
    found = kernels.confirm(ball, neighbours, maps.starts, step, views, pixels, t, maps.t_map, tolerance)
    assert (found[t > 0] >= 2).float().mean() > 0.95  # the nearest depth alone: 0.77 and 0.86


def test_votes_agree_with_the_twin(ball, maps):
    hull = ball_sdf(N) - 0.2
    found = kernels.vote(ball, hull, maps[0], STEP, maps[1], 1.5 * VOXEL)
    expected = twins.vote(in_double(ball), hull.double(), maps[0], STEP, maps[1].double(), 1.5 * VOXEL)
    for one, other in zip(found, expected, strict=True):
        assert one.max() > 3
        assert (one != other).sum() <= 5
        assert torch.all(one[hull >= 0] == 0)


def test_votes_tell_the_sphere_from_the_space_before_it(ball, maps):
    sdf = ball_sdf(N)
    free, support = kernels.vote(ball, sdf - 0.2, maps[0], STEP, maps[1], 1.5 * VOXEL)
    before = (sdf > 2.5 * VOXEL) & (sdf < 0.2)
    assert (free - support)[before].mean() > 1
    assert (free - support)[(sdf > -2 * VOXEL) & (sdf < 0)].mean() < -2


def veto_data(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    hull = ball_sdf(N)
    kept = ((hull < 0) & (torch.rand(hull.shape, generator=generator) < 0.01)).to(torch.uint8)
    votes = torch.randn(hull.shape, generator=generator).round(decimals=1)
    return hull, kept, votes


def test_veto_agrees_with_the_twin(ball):
    hull, kept, votes = veto_data()
    origins, directions = ball.rays(*mask_pixels(ball, 3))
    found = kernels.veto(hull, kept, votes, origins, directions)
    expected = twins.veto(hull.double(), kept, votes.double(), origins.double(), directions.double())
    assert 100 < (found >= 0).sum() < len(found) - 100
    # A sample half-way between two vertices may be rounded to either.
    assert (found != expected).float().mean() < 2e-3


def test_veto_restores_a_hull_vertex_on_every_empty_ray(ball):
    hull, kept, votes = veto_data()
    origins, directions = ball.rays(*mask_pixels(ball, 3))
    restored = kernels.veto(hull, kept, votes, origins, directions)
    places = restored[restored >= 0].long()
    assert torch.all(hull.reshape(-1)[places] < 0)
    kept.reshape(-1)[places] = 1
    again = kernels.veto(hull, kept, votes, origins, directions)
    assert torch.all(again == -1)


def test_veto_is_silent_where_something_is_kept_or_nothing_could_be(ball):
    origins, directions = ball.rays(*mask_pixels(ball, 5))
    votes = torch.zeros(N, N, N)
    everything, nothing = torch.ones(N, N, N, dtype=torch.uint8), torch.zeros(N, N, N, dtype=torch.uint8)
    assert torch.all(kernels.veto(ball_sdf(N), everything, votes, origins, directions) == -1)
    assert torch.all(kernels.veto(torch.ones(N, N, N), nothing, votes, origins, directions) == -1)
