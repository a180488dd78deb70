"""An iteration for the cut of least area against its twin; what comes out in the end is tested in `tests/fitting`."""

import pytest
import torch

from dvr_cli.kernels import cut as kernels
from dvr_cli.kernels.twins import cut as twins
from tests.tolerances import ROUNDING, assert_agree

STEP = 0.28


def random_state(n: int) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor]:
    """(ahead, inside, dual, evidence, u); the dual variable is zero where it has to be, some of it nearly too long."""
    g = torch.Generator().manual_seed(n)
    ahead, u = 3 * torch.rand(n, n, n, generator=g) - 1, torch.rand(n, n, n, generator=g)
    inside = (torch.rand(n, n, n, generator=g) < 0.8).float()
    dual = []
    for axis in range(3):
        part = 0.55 * torch.randn(n, n, n, generator=g)
        part.select(axis, -1).fill_(0)
        dual.append(part)
    return ahead, inside, tuple(dual), 0.5 * torch.randn(n, n, n, generator=g), u


@pytest.mark.parametrize("n", [2, 7, 8, 9, 16, 21])
def test_iterations_agree_with_the_twin(n):
    ahead, inside, dual, evidence, u = random_state(n)
    doubled = tuple(part.double() for part in dual)
    expected = twins.pull(ahead.double(), inside.double(), STEP, doubled)
    kernels.pull(ahead, inside, STEP, dual)
    for found, part in zip(dual, expected, strict=True):
        assert_agree(found, part, ROUNDING)
    moved, further = twins.follow(expected, evidence.double(), STEP, u.double())
    kernels.follow(dual, evidence, STEP, u, ahead)
    assert_agree(u, moved, ROUNDING)
    assert_agree(ahead, further, ROUNDING)
    assert (u == 0).any() and (u == 1).any()


def test_nothing_crosses_the_border_of_the_domain():
    ahead, inside, _, _, _ = random_state(12)
    dual = tuple(torch.zeros(12, 12, 12) for _ in range(3))
    kernels.pull(ahead, inside, STEP, dual)
    for axis, part in enumerate(dual):
        joined = (inside * inside.roll(-1, axis)).bool()
        joined.select(axis, -1).fill_(False)
        assert not part[~joined].any() and part[joined].all()
