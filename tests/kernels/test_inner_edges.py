"""The kernels of inner edges against their twins; what they are for is tested with a fit's rays, on two plates."""

import pytest
import torch

from dvr_cli.fitting.initial import mask_pixels
from dvr_cli.kernels import inner_edges as kernels
from dvr_cli.kernels.march import march
from dvr_cli.kernels.scatter import scatter
from dvr_cli.kernels.twins import inner_edges as twins
from dvr_cli.kernels.twins.cameras import in_double, project
from tests.kernels.tiny_views import ball_sdf
from tests.tolerances import ROUNDING, ROUNDING_OF_POSITIONS, SMALL_RESIDUALS, assert_agree

N = 48
VOXEL = 2 / (N - 1)
G = torch.Generator


@pytest.fixture(scope="module")
def rays(ball):
    """Views and whole pixels of the object, their rays, and where these would meet a surface."""
    views, pixels = mask_pixels(ball, 2)
    origins, directions = ball.rays(views, pixels)
    t, hit, *_ = march(ball_sdf(N), origins, directions)
    views, pixels, origins, directions, t = (part[hit].contiguous() for part in (views, pixels, origins, directions, t))
    return views, pixels, origins, directions, t


@pytest.fixture(scope="module")
def beside(ball, rays):
    """(asked rays, farthest pixel beside theirs, seed)."""
    return (torch.rand(len(rays[0]), generator=G().manual_seed(0)) < 0.5).nonzero().squeeze(1), 5, 9


def test_rays_beside_agree_with_the_twin_and_with_those_of_the_views(ball, rays, beside):
    found = kernels.rays_beside(ball, rays[0], rays[1], *beside)
    expected = twins.rays_beside(in_double(ball), rays[0], rays[1], *beside)
    assert_agree(found[0], expected[0], ROUNDING)
    assert_agree(found[1], expected[1], ROUNDING)
    asked, _, _ = beside
    position, _ = project(ball, rays[0][asked], found[0] + 2 * found[1])
    shifts = position - 0.5 - rays[1][asked]
    torch.testing.assert_close(shifts, shifts.round(), atol=1e-3, rtol=0)
    shifts = shifts.round().int()
    # Every neighbour in the square, and about as often as any other.
    counts = torch.bincount((shifts[:, 0] + 5) * 11 + shifts[:, 1] + 5, minlength=121)
    assert shifts.abs().max() == 5 and counts.min() > 0.3 * counts.float().mean()


def test_planes_agree_with_the_twin(ball, rays, beside):
    """Rays whose own surface is up to eight voxels before or behind that of the rays beside them."""
    asked, _, _ = beside
    _, _, origins, directions, t = rays
    t = t + (16 * torch.rand(len(t), generator=G().manual_seed(1)) - 8) * VOXEL
    sdf = ball_sdf(N)
    near = kernels.rays_beside(ball, rays[0], rays[1], *beside)
    near_t, near_hit, *_ = march(sdf, *near)
    found = kernels.planes_met(sdf, (origins, directions, t), asked, (*near, near_t, near_hit))
    double = (part.double() for part in (origins, directions, t))
    there = (near[0].double(), near[1].double(), near_t.double(), near_hit)
    expected = twins.planes_met(sdf.double(), tuple(double), asked, there)
    # Rounding decides about a few that are as far apart as they have to be.
    assert (found[2] != expected[2]).float().mean() < 2e-3
    both = found[2] & expected[2]
    assert 0.1 < both.float().mean() < 0.9
    assert_agree(found[0][both], expected[0][both], ROUNDING_OF_POSITIONS)
    assert_agree(found[1][both], expected[1][both], ROUNDING_OF_POSITIONS)


def test_rims_agree_with_the_loss_of_the_twin(rays):
    _, _, origins, directions, t = rays
    g = G().manual_seed(2)
    t, other_t = (t + (8 * torch.rand(len(t), generator=g) - 4) * VOXEL for _ in range(2))
    own, other = ((torch.rand(len(t), generator=g), torch.rand(len(t), generator=g) - 0.3) for _ in range(2))
    other = 0.3 * other[0], other[1]
    sdf = ball_sdf(N)
    points, gradient, curvature = kernels.ask_rims(sdf, (origins, directions, t), other_t, own, other, 0.7, 0.5)
    double = sdf.double().requires_grad_()
    there = tuple(part.double() for part in (origins, directions, t))
    loss, expected_curvature = twins.rim_loss(double, there, other_t.double(), own, other, 0.7, 0.5)
    (expected,) = torch.autograd.grad(loss, double)
    grid = torch.zeros_like(sdf)
    scatter(grid, points, gradient)
    assert_agree(grid, expected, SMALL_RESIDUALS)
    assert (curvature - expected_curvature).abs().gt(1e-3).float().mean() < 2e-3
    assert 0.05 < (curvature > 0).float().mean() < 0.7


def test_no_rays_have_no_edges(ball):
    views, pixels = torch.zeros(0, dtype=torch.int32), torch.zeros(0, 2, dtype=torch.int32)
    nobody, nothing = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)
    origins, directions = kernels.rays_beside(ball, views, pixels, nobody, 5, 0)
    hits = torch.zeros(0), torch.zeros(0, dtype=torch.bool)
    rays = nothing, nothing, torch.zeros(0)
    planes = kernels.planes_met(ball_sdf(8), rays, nobody, (origins, directions, *hits))
    nobodys = torch.zeros(0), torch.zeros(0)
    rims = kernels.ask_rims(ball_sdf(8), rays, torch.zeros(0), nobodys, nobodys, 1.0, 0.5)
    assert [len(part) for part in (*planes, *rims)] == [0] * 6
