"""First hits with a grid: against the twin and the closed form on a sphere, and where there is nothing to hit."""

import pytest
import torch

from dvr_cli.kernels.march import march
from dvr_cli.kernels.twins import grid as twins
from tests.kernels.tiny_views import RADIUS, ball_sdf, rays_at_ball
from tests.tolerances import HIT_DISTANCE, NEAREST_SAMPLE, assert_agree

N = 33


def sphere_entry(origins: torch.Tensor, directions: torch.Tensor, radius: float) -> torch.Tensor:
    """Distance to the front of a sphere around the origin; NaN for a miss."""
    along = (origins * directions).sum(dim=1)
    return -along - (along.square() - origins.square().sum(dim=1) + radius**2).sqrt()


def test_hits_agree_with_the_twin():
    sdf, (origins, directions) = ball_sdf(N), rays_at_ball(4000)
    t, hit, nearest_t, nearest_value, starts_inside = march(sdf, origins, directions)
    expected = twins.march(sdf.double(), origins.double(), directions.double())
    assert 1000 < hit.sum() < 3000
    assert torch.equal(hit, expected[1])
    assert_agree(t, expected[0], HIT_DISTANCE)
    assert_agree(nearest_t, expected[2], NEAREST_SAMPLE)
    assert (nearest_value - expected[3]).abs().max() < 1e-4
    assert torch.equal(starts_inside, expected[4])
    assert not starts_inside.any()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 300])
def test_rays_do_not_depend_on_their_neighbours(count):
    """A thread follows several rays by turns; the last ones may be fewer."""
    sdf, (origins, directions) = ball_sdf(N), rays_at_ball(4000)
    together = march(sdf, origins, directions)
    for begin in (0, 3, 3600):
        some = march(sdf, origins[begin : begin + count], directions[begin : begin + count])
        assert all(torch.equal(a, b[begin : begin + count]) for a, b in zip(some, together, strict=True))


def test_rough_fields_agree_with_the_twin():
    """Not a distance field: steps may skip surfaces, the same ones in both."""
    sdf = 0.3 * torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(1)) + 0.1
    origins, directions = rays_at_ball(1000)
    t, hit, *_ = march(sdf, origins, directions)
    expected_t, expected_hit, *_ = twins.march(sdf.double(), origins.double(), directions.double())
    same = hit & expected_hit & ((t - expected_t).abs() < 1e-4)
    # Rounding decides whether a step ends just before or just behind a thin piece.
    assert (hit != expected_hit).sum() + (hit & expected_hit & ~same).sum() <= 5
    assert hit.sum() > 300


def test_hit_distance_matches_sphere():
    sdf, (origins, directions) = ball_sdf(129), rays_at_ball(2000)
    expected = sphere_entry(origins.double(), directions.double(), RADIUS)
    t, hit, *_ = march(sdf, origins, directions)
    clear = ~((origins + (-(origins * directions).sum(dim=1))[:, None] * directions).norm(dim=1) - RADIUS).abs().lt(
        0.01
    )
    assert torch.equal(hit[clear], ~expected.isnan()[clear])
    # Trilinear distances to a curved surface are too great by up to curvature * voxel^2 / 4.
    bound = (2 / 128) ** 2 / RADIUS
    points = origins + t[:, None] * directions
    assert (points[hit & clear].norm(dim=1) - RADIUS).abs().max() < bound


def test_nearest_sample_of_a_miss_is_where_the_ray_passes():
    origins = torch.tensor([[-3.0, 0.8, 0.0]])
    _, hit, nearest_t, nearest_value, _ = march(ball_sdf(N), origins, torch.tensor([[1.0, 0.0, 0.0]]))
    voxel = 2 / (N - 1)
    assert not hit
    assert nearest_t.item() == pytest.approx(3, abs=0.3)
    assert nearest_value.item() == pytest.approx(0.2, abs=voxel)


def test_rays_that_start_inside_have_no_entry():
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(2)), dim=1)
    t, hit, _, nearest_value, starts_inside = march(ball_sdf(N), torch.zeros(50, 3), directions)
    assert not hit.any()
    assert starts_inside.all()
    assert torch.all(t == 0)
    assert torch.all(nearest_value < 0)


def test_rays_that_start_inside_hit_what_they_enter_next():
    shell = torch.minimum(ball_sdf(65, 0.15), ball_sdf(65, 0.2, (0.6, 0.0, 0.0)))
    t, hit, *_ = march(shell, torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]))
    assert hit.all()
    assert t.item() == pytest.approx(0.4, abs=2e-3)


@pytest.mark.parametrize(
    ("origin", "direction"),
    [
        ((3.0, 0.0, 0.0), (1.0, 0.0, 0.0)),  # the cube is behind
        ((3.0, 3.0, 0.0), (-1.0, 0.0, 0.0)),  # parallel to walls, beside the cube
        ((0.0, 3.0, 0.0), (0.6, 0.0, 0.8)),
    ],
)
def test_rays_that_miss_the_cube(origin, direction):
    t, hit, nearest_t, nearest_value, starts_inside = march(
        ball_sdf(N), torch.tensor([origin]), torch.tensor([direction])
    )
    assert not hit
    assert t == 0
    assert nearest_t.isfinite()
    assert nearest_value == torch.inf
    assert not starts_inside


def test_axis_parallel_rays_hit_from_inside_the_cube():
    origins = torch.tensor([[0.0, 0.0, -0.9], [0.0, 0.9, 0.0], [-0.9, 0.0, 0.0]])
    directions = torch.tensor([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    t, hit, *_ = march(ball_sdf(N), origins, directions)
    assert hit.all()
    assert torch.allclose(t, torch.full((3,), 0.3), atol=2e-3)


def test_empty_and_full_cubes_and_no_rays():
    origins, directions = rays_at_ball(200)
    for level in (0.5, -0.5):
        t, hit, _, nearest_value, starts_inside = march(torch.full((N, N, N), level), origins, directions)
        assert not hit.any()
        assert torch.equal(starts_inside, nearest_value.isfinite() & (nearest_value < 0))
        assert torch.all(t == 0)
    assert [len(array) for array in march(ball_sdf(N), torch.zeros(0, 3), torch.zeros(0, 3))] == [0, 0, 0, 0, 0]


def test_grazing_rays_are_finite():
    """Rays along the sphere's tangents, from just inside to just outside."""
    heights = RADIUS + torch.linspace(-0.02, 0.02, 401)
    origins = torch.stack([torch.full_like(heights, -3), heights, torch.zeros_like(heights)], dim=1)
    outputs = march(ball_sdf(N), origins, torch.tensor([[1.0, 0.0, 0.0]]).expand(401, 3).contiguous())
    assert all(array.isfinite().all() for array in outputs)
    t, hit = outputs[0], outputs[1]
    assert hit[0]
    assert not hit[-1]
    assert torch.all((t[hit] > 2) & (t[hit] < 4))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_rays_end_where_the_field_holds_no_numbers(value):
    sdf = ball_sdf(N)
    sdf[N // 2 :] = value
    origins = torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]])
    t, hit, *_ = march(sdf, origins, torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert hit.tolist() == [False, True]
    assert t[1].item() == pytest.approx(3 - RADIUS, abs=1e-2)


@pytest.mark.parametrize(("broken", "value"), [("origin", torch.nan), ("direction", torch.nan), ("direction", 0.0)])
def test_rays_that_lead_nowhere_end(broken, value):
    ray = {"origin": torch.tensor([[-0.9, 0.0, 0.0]]), "direction": torch.tensor([[1.0, 0.0, 0.0]])}
    ray[broken][0, 0] = value
    _, hit, *_ = march(ball_sdf(N), ray["origin"], ray["direction"])
    assert not hit
