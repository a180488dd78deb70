"""Smoothing of long waves: against its twin, and what it must flatten, keep and leave alone."""

import pytest
import torch

from dvr_cli.kernels.band import find_band, smooth_and_redistance
from dvr_cli.kernels.long_waves import smooth_long_waves
from dvr_cli.kernels.twins import long_waves as twins
from tests.kernels.tiny_views import ball_sdf
from tests.tolerances import ROUNDING, assert_agree

N = 49
VOXEL = 2 / (N - 1)
LARGEST = 2 * VOXEL


def wavy_plane(length: float, height: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(plane z = 0 in waves along x, `length` and `height` in voxels; what it differs from the plane)."""
    x = torch.arange(N) - (N - 1) / 2
    bump = height * VOXEL * torch.cos(2 * torch.pi * x / length)[:, None, None].expand(N, N, N)
    return torch.linspace(-1, 1, N).expand(N, N, N) + bump, bump


def height_left(sdf: torch.Tensor, bump: torch.Tensor) -> float:
    """Share of the bump that is left in the middle, where neighbours of neighbours lie in the band as well."""
    inner = (slice(12, -12), slice(12, -12), slice(23, -23))
    plane = torch.linspace(-1, 1, N).expand(N, N, N)
    return float(((sdf - plane) * bump)[inner].sum() / bump.square()[inner].sum())


@pytest.mark.parametrize("stride", [2, 4])
def test_it_agrees_with_the_twin(stride):
    """Up to the walls, with and without information, for bends on both sides of the largest."""
    generator = torch.Generator().manual_seed(0)
    sdf = ball_sdf(N, 0.95) + 0.8 * VOXEL * torch.randn(N, N, N, generator=generator)
    information = torch.randn(N, N, N, generator=generator).clamp(min=0)
    band = find_band(sdf, 5 * VOXEL)
    expected = twins.smooth_long_waves(band, sdf.double(), stride, 0.5, information.double(), 8.0, LARGEST)
    found = sdf.clone()
    smooth_long_waves(band, found, stride, 0.5, information, 8.0, LARGEST)
    assert (found != sdf).sum() > 1000
    assert_agree(found, expected, ROUNDING)


def test_a_long_bump_goes_where_nothing_is_known():
    """A bump 16 voxels long is multiplied by 1 - (a lambda)^2 with lambda = (1 - cos 90 degrees) / 3; by neighbours one
    voxel away next to nothing of it goes."""
    sdf, bump = wavy_plane(16, 0.05)
    near, band, nothing = sdf.clone(), find_band(sdf, 6 * VOXEL), torch.zeros_like(sdf)
    smooth_long_waves(band, sdf, 4, 0.6, nothing, 8.0, LARGEST)
    smooth_and_redistance(band, near, 0.6, 0.0, nothing, 8.0)
    assert abs(height_left(sdf, bump) - (1 - (0.6 / 3) ** 2)) < 1e-3
    assert height_left(near, bump) > 0.999


def test_data_over_four_voxels_counts_for_the_fourth_power_of_four():
    """At `half_at` / 256 half of the effect is left; at `half_at`, where smoothing by the next vertices is halved,
    nothing to speak of."""
    lost = []
    for information in (0.0, 8.0 / 4**4, 8.0):
        sdf, bump = wavy_plane(16, 0.05)
        smooth_long_waves(find_band(sdf, 6 * VOXEL), sdf, 4, 0.6, torch.full_like(sdf, information), 8.0, LARGEST)
        lost.append(1 - height_left(sdf, bump))
    assert abs(lost[1] / lost[0] - 0.5) < 0.02
    assert lost[2] < 0.01 * lost[0]


def test_an_edge_is_left_alone():
    """A roof of 90 degrees: its ridge bends by more than the largest bend. A tenth as steep it is smoothed."""
    x, y = (torch.linspace(-1, 1, N) for _ in range(2))
    for slope, stays in ((1.0, True), (0.1, False)):
        roof = (x[None, None, :] + slope * y[:, None, None].abs()).expand(N, N, N) / (1 + slope**2) ** 0.5
        sdf = roof.clone()
        smooth_long_waves(find_band(sdf, 6 * VOXEL), sdf, 4, 0.6, torch.zeros_like(sdf), 8.0, LARGEST)
        moved = (sdf - roof)[N // 2, 8:-8, 14:-14].abs().max()
        assert (moved < 1e-7) == stays


def test_a_plane_stays_a_plane_and_a_ball_nearly_keeps_its_radius():
    axis = torch.linspace(-1, 1, N)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    plane, ball = 0.48 * x - 0.6 * y + 0.64 * z - 0.1, ball_sdf(N, 0.7)
    moved = plane.clone()
    for _ in range(20):
        smooth_long_waves(find_band(plane, 4 * VOXEL), moved, 4, 0.5, torch.zeros_like(moved), 8.0, LARGEST)
    assert (moved - plane).abs().max() < 1e-5
    rounder = ball.clone()
    smooth_long_waves(find_band(ball, 4 * VOXEL), rounder, 4, 0.5, torch.zeros_like(ball), 8.0, LARGEST)
    assert (rounder - ball)[ball.abs() < VOXEL].abs().max() < 0.05 * VOXEL
