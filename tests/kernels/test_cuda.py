"""One source, two devices: what the kernels find on a GPU is what they find on a CPU. Skipped where there is no GPU."""

import pytest
import torch
from cuda_device import needs_cuda

from dvr_cli.kernels import lookup
from tests.kernels.kernel_work import WORKS, Place

pytestmark = needs_cuda
CUDA = torch.device("cuda", 0)
ROUNDING = 1e-4
"""Largest difference of almost all results, as a share of their largest magnitude: a GPU fuses additions with products
and adds atomically in any order."""
ELSEWHERE = 2e-3
"""Share of results that may differ by more: rounding decides on which side of an edge or a kink they fall."""


@pytest.fixture(scope="module")
def ball_on_cuda(ball):
    return ball.to(CUDA)


@pytest.mark.parametrize("work", WORKS)
def test_cuda_finds_what_the_cpu_finds(ball, ball_on_cuda, work):
    expected, found = work(Place(ball)), work(Place(ball_on_cuda))
    for one, other in zip(expected, found, strict=True):
        assert other.device == CUDA and other.dtype == one.dtype and other.shape == one.shape
        one, other = one.double(), other.cpu().double()
        assert torch.equal(one.isfinite(), other.isfinite())
        finite = one.isfinite()
        scale = one[finite].abs().max().clamp(min=1e-9)
        assert ((one - other)[finite].abs() > ROUNDING * scale).double().mean() < ELSEWHERE
    assert any((array != array.reshape(-1)[0]).any() for array in found)


def test_nothing_is_read_from_another_device():
    with pytest.raises(ValueError, match="runs on cuda:0 and got a tensor on cpu"):
        lookup.grid_value(torch.zeros(8, 8, 8, device=CUDA), torch.zeros(5, 3))


def test_kernels_wait_for_the_stream_that_torch_is_on():
    """A launch on another stream than the default one sees what torch has queued there."""
    points = torch.zeros(100, 3, device=CUDA)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream(CUDA)):
        torch.cuda._sleep(20_000_000)
        grid = torch.full((16, 16, 16), 7.0, device=CUDA)
        found = lookup.grid_value(grid, points)
    torch.cuda.synchronize()
    assert torch.all(found == 7)
