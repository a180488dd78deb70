"""Work on the band: against the twins, and the laws of smoothing, redistancing and Newton's method."""

import pytest
import torch
from pydantic import ValidationError

from dvr_cli.config import Optimiser
from dvr_cli.kernels import band as kernels
from dvr_cli.kernels.march import march
from dvr_cli.kernels.twins import band as twins
from tests.kernels.tiny_views import RADIUS, ball_sdf, rays_at_ball
from tests.tolerances import ROUNDING, assert_agree

N = 33
VOXEL = 2 / (N - 1)
NEWTON = {"memory": 0.8, "damping": 0.2, "rate": 0.5, "longest_step": 0.2}


def random_grids(count: int, n: int = N, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, n, n, generator=generator) for _ in range(count)]


def untouched(grid: torch.Tensor, seed: int = 9) -> torch.Tensor:
    """The grid with half of its vertices set to zero."""
    return grid * (torch.rand(grid.shape, generator=torch.Generator().manual_seed(seed)) < 0.5)


def radii(sdf: torch.Tensor) -> torch.Tensor:
    """Where rays from outside find the zero level, as distance from the origin."""
    origins, directions = rays_at_ball(3000)
    t, hit, *_ = march(sdf, origins, directions)
    points = origins + t[:, None] * directions
    facing = -(points * directions).sum(dim=1) / points.norm(dim=1)
    return points[hit & (facing > 0.5)].double().norm(dim=1)


def test_band_is_what_lies_near_the_surface_and_off_the_walls():
    sdf = ball_sdf(N, 0.9)
    band = kernels.find_band(sdf, 0.2)
    x, y, z = torch.unravel_index(band.long(), sdf.shape)
    assert torch.all(torch.stack([x, y, z]).clamp(1, N - 2) == torch.stack([x, y, z]))
    inner = torch.zeros_like(sdf, dtype=torch.bool)
    inner[1:-1, 1:-1, 1:-1] = True
    assert len(band) == (inner & (sdf.abs() < 0.2)).sum()
    assert torch.all(band[1:] > band[:-1])


def test_newton_step_agrees_with_the_twin():
    grids = random_grids(5)
    grids[1] = untouched(grids[1]) / VOXEL
    grids[2] = untouched(grids[2].abs()) / VOXEL**2
    grids[4] = grids[4].abs()
    band = kernels.find_band(ball_sdf(N), 0.3)
    expected = twins.newton_step(band, *(grid.double() for grid in grids), **NEWTON)
    found = [grid.clone() for grid in grids]
    kernels.newton_step(band, *found, **NEWTON)
    assert (found[0] != grids[0]).sum() > 1000
    for one, other in zip(found, expected, strict=True):
        assert_agree(one, other, ROUNDING)


@pytest.mark.parametrize(("memory", "steps"), [(0.0, 1), (0.8, 80)])
def test_newton_step_solves_a_quadratic(memory, steps):
    """Without damping, memory or bounds one step does; with memory the iteration converges to the same place."""
    target, stiffness = ball_sdf(N), 1 + random_grids(1)[0].square()
    sdf = target + 0.3 * VOXEL * random_grids(1, seed=1)[0]
    gradient, curvature, mean_gradient, mean_curvature = (torch.zeros_like(sdf) for _ in range(4))
    band = kernels.find_band(target, 0.2)
    inside = twins._listed(band, sdf)
    for _ in range(steps):
        gradient += stiffness * (sdf - target)
        curvature += stiffness
        kernels.newton_step(
            band, sdf, gradient, curvature, mean_gradient, mean_curvature,
            memory=memory, damping=0.0, rate=1.0, longest_step=100.0,
        )  # fmt: skip
        gradient[~inside], curvature[~inside] = 0, 0
    assert (sdf - target)[inside].abs().max() < 1e-4 * VOXEL
    assert (sdf - target)[~inside].abs().max() > 0.1 * VOXEL


def test_newton_step_is_bounded_and_damped():
    sdf, zero = ball_sdf(N), torch.zeros(N, N, N)
    band = kernels.find_band(sdf, 0.2)
    moved, tiny_curvature = sdf.clone(), torch.full_like(sdf, 1e-12)
    kernels.newton_step(band, moved, torch.full_like(sdf, 1e6), tiny_curvature, zero.clone(), zero.clone(), **NEWTON)
    assert (moved - sdf).abs().max().item() == pytest.approx(0.2 * VOXEL, rel=1e-4)
    kernels.newton_step(band, moved, zero.clone(), zero.clone(), zero.clone(), zero.clone(), **NEWTON)
    assert (moved - sdf).abs().max().item() == pytest.approx(0.2 * VOXEL, rel=1e-4)
    assert not moved.isnan().any()


@pytest.mark.parametrize("everywhere", [False, True])
def test_relax_agrees_with_the_twin(everywhere):
    generator = torch.Generator().manual_seed(3)
    values, gradient = (torch.randn(N, N, N, 3, generator=generator) for _ in range(2))
    curvature = untouched(random_grids(1)[0].abs())
    band = None if everywhere else kernels.find_band(ball_sdf(N), 0.2)
    grids = [values, gradient, curvature]
    expected = twins.relax(band, *(grid.double() for grid in grids), damping=0.1, rate=0.5)
    found = [grid.clone() for grid in grids]
    kernels.relax(band, *found, damping=0.1, rate=0.5)
    for one, other in zip(found, expected, strict=True):
        assert_agree(one, other, ROUNDING)


@pytest.mark.parametrize(("smoothing", "redistancing"), [(0.4, 0.0), (-0.4, 0.0), (0.0, 0.3), (0.4, 0.3)])
def test_smoothing_agrees_with_the_twin(smoothing, redistancing):
    sdf = ball_sdf(N) + 0.3 * VOXEL * random_grids(1)[0]
    band = kernels.find_band(sdf, 5 * VOXEL)
    expected = twins.smooth(band, sdf.double(), smoothing, redistancing)
    found = sdf.clone()
    kernels.smooth(band, found, smoothing, redistancing)
    assert (found != sdf).sum() > 1000
    assert_agree(found, expected, ROUNDING)


def test_smoothing_that_gives_way_to_information_agrees_with_the_twin():
    sdf = ball_sdf(N) + 0.3 * VOXEL * random_grids(1)[0]
    information = untouched(5 * random_grids(1, seed=1)[0].abs())
    band = kernels.find_band(sdf, 5 * VOXEL)
    expected = twins.smooth(band, sdf.double(), 0.4, 0.3, information.double(), 2.0)
    found, plain = sdf.clone(), sdf.clone()
    kernels.smooth(band, found, 0.4, 0.3, information, 2.0)
    kernels.smooth(band, plain, 0.4, 0.3)
    assert torch.equal(found[information == 0], plain[information == 0])
    assert (found != plain).sum() > 1000
    assert_agree(found, expected, ROUNDING)


def test_noise_stays_where_the_data_is_certain():
    """The loss of the shortest wave, 1 - 4 a^2 there and back, is half as large at `half_at`."""
    x, y, z = torch.meshgrid(*3 * [torch.arange(N)], indexing="ij")
    wave = 0.01 * VOXEL * torch.where((x + y + z) % 2 == 0, 1.0, -1.0)
    interior = (slice(8, -8),) * 3
    band = kernels.find_band(wave, 1.0)
    lost = []
    for information in (0.0, 3.0, 1e9):
        sdf = wave.clone()
        kernels.smooth_and_redistance(band, sdf, 0.4, 0.0, torch.full_like(sdf, information), 3.0)
        lost.append(float((1 - sdf / wave)[interior].mean()))
    assert abs(lost[0] - 4 * 0.4**2) < 1e-4
    assert abs(lost[1] - lost[0] / 2) < 1e-4
    assert abs(lost[2]) < 1e-4


def test_a_plane_stays_a_plane():
    axis = torch.linspace(-1, 1, N)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    plane = 0.48 * x - 0.6 * y + 0.64 * z - 0.1
    moved = plane.clone()
    band = kernels.find_band(plane, 4 * VOXEL)
    for _ in range(40):
        kernels.smooth_and_redistance(band, moved, 0.5, 0.3)
    assert (moved - plane).abs().max() < 1e-5


def test_redistancing_leaves_the_surface_where_it_is():
    """A sphere whose values are up to twice too steep or too flat, and no smoothing."""
    uneven = ball_sdf(N) * (1 + 0.5 * torch.sin(3 * torch.linspace(-1, 1, N)))[:, None, None]
    before = radii(uneven)
    band = kernels.find_band(uneven, 6 * VOXEL)
    for _ in range(100):
        kernels.smooth(band, uneven, 0.0, 0.3)
    assert len(before) > 500
    assert (radii(uneven) - RADIUS).abs().max() < 0.1 * VOXEL
    assert (radii(uneven).mean() - before.mean()).abs() < 0.01 * VOXEL


@pytest.mark.parametrize("smoothing", [0.5, 0.15])
def test_a_sphere_stays_a_sphere(smoothing):
    """Exact distances, a hundred passes: neither the surface nor the distances around it change much."""
    n = 65
    sdf, voxel = ball_sdf(n), 2 / (n - 1)
    band, near = (kernels.find_band(sdf, width * voxel) for width in (6, 3))
    before, radius_before = sdf.reshape(-1)[near.long()].clone(), radii(sdf).mean()
    for _ in range(100):
        kernels.smooth_and_redistance(band, sdf, smoothing, 0.3)
    assert (sdf.reshape(-1)[near.long()] - before).square().mean().sqrt() < 0.1 * voxel
    assert (radii(sdf).mean() - radius_before).abs() < 0.06 * voxel
    assert radii(sdf).std() < 0.04 * voxel


def test_redistancing_restores_distances():
    sdf = ball_sdf(N)
    uneven = sdf * (1 + 0.5 * torch.sin(3 * torch.linspace(-1, 1, N)))[:, None, None]
    band = kernels.find_band(sdf, 4 * VOXEL)
    before = (uneven - sdf).reshape(-1)[band.long()].abs().mean()
    wider = kernels.find_band(sdf, 8 * VOXEL)
    for _ in range(60):
        kernels.smooth(wider, uneven, 0.0, 0.3)
    assert (uneven - sdf).reshape(-1)[band.long()].abs().mean() < 0.15 * before


def test_smoothing_there_and_back_keeps_the_radius():
    """Taubin: a step towards the neighbours' mean and one away; curvature flow alone would shrink the sphere."""
    forth_and_back, forth = ball_sdf(N), ball_sdf(N)
    band = kernels.find_band(forth, 6 * VOXEL)
    for _ in range(20):
        kernels.smooth(band, forth, 0.5, 0.0)
        kernels.smooth(band, forth_and_back, 0.5, 0.0)
        kernels.smooth(band, forth_and_back, -0.5, 0.0)
    shrunk = RADIUS - radii(forth).mean()
    assert shrunk > 0.1 * VOXEL
    assert (RADIUS - radii(forth_and_back).mean()).abs() < 0.05 * shrunk


def test_smoothing_removes_noise():
    noise = 0.2 * VOXEL * random_grids(1)[0]
    sdf = ball_sdf(N) + noise
    band = kernels.find_band(sdf, 5 * VOXEL)
    rough = radii(sdf).std()
    for _ in range(40):
        kernels.smooth_and_redistance(band, sdf, 0.5, 0.3)
    assert radii(sdf).std() < 0.5 * rough


def alternating_error_after(smoothing: float) -> float:
    """What ten times there and back make of alternating errors of size one."""
    i, j, k = torch.meshgrid(*[torch.arange(N)] * 3, indexing="ij")
    values = 1 - 2 * ((i + j + k) % 2).float()
    band = kernels.find_band(values, 2.0)
    for _ in range(10):
        kernels.smooth(band, values, smoothing, 0.0)
        kernels.smooth(band, values, -smoothing, 0.0)
    middle = N // 2
    return float(values[middle, middle, middle].abs())


def test_no_smoothing_that_settings_allow_makes_alternating_errors_grow():
    """There and back multiplies them by 1 - 4 smoothing^2: by 0.96 at the most that is allowed."""
    assert alternating_error_after(Optimiser(final_smoothing=0.7).final_smoothing) < 0.7
    assert alternating_error_after(0.75) > 5
    with pytest.raises(ValidationError, match="final_smoothing"):
        Optimiser(final_smoothing=0.75)


def test_empty_band_changes_nothing():
    sdf, none = ball_sdf(N), torch.zeros(0, dtype=torch.int32)
    moved = sdf.clone()
    kernels.smooth(none, moved, 0.5, 0.3)
    kernels.newton_step(none, moved, *(torch.ones_like(sdf) for _ in range(4)), **NEWTON)
    kernels.relax(none, moved[..., None], torch.ones(N, N, N, 1), torch.ones_like(sdf), damping=0.1, rate=0.5)
    assert torch.equal(moved, sdf)
    assert len(kernels.find_band(torch.ones(N, N, N), 0.5)) == 0
