"""Grids of another resolution: as torch makes them, exact for what is linear."""

import pytest
import torch

from dvr_cli.kernels.resize import resize
from tests.tolerances import ROUNDING_OF_POSITIONS, assert_agree


@pytest.mark.parametrize("channels", [0, 1, 3, 9])
@pytest.mark.parametrize(("n", "m"), [(12, 23), (23, 12), (2, 9), (9, 2), (40, 77)])
def test_as_torch_does_it(n, m, channels):
    shape = (channels,) if channels else ()
    grid = torch.randn(n, n, n, *shape, generator=torch.Generator().manual_seed(0))
    moved = grid.double().reshape(n, n, n, -1).permute(3, 0, 1, 2)[None]
    expected = torch.nn.functional.interpolate(moved, (m, m, m), mode="trilinear", align_corners=True)
    assert_agree(resize(grid, m), expected[0].permute(1, 2, 3, 0).reshape(m, m, m, *shape), ROUNDING_OF_POSITIONS)


def test_the_same_size_is_the_same_grid():
    grid = torch.randn(17, 17, 17, generator=torch.Generator().manual_seed(1))
    assert torch.equal(resize(grid, 17), grid)


def test_a_ramp_stays_a_ramp():
    def ramp(n: int) -> torch.Tensor:
        axis = torch.linspace(-1, 1, n)
        return axis[:, None, None] + 2 * axis[:, None] - 3 * axis

    assert_agree(resize(ramp(11), 50), ramp(50).double(), ROUNDING_OF_POSITIONS)
