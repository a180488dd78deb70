"""Rows of several tensors at once are those of each."""

import pytest
import torch

from dvr_cli.kernels.rows import MOST, rows_of

G = torch.Generator().manual_seed(0)
MIXED = (
    torch.randn(100, 3, generator=G),
    torch.randint(2**40, (100,), generator=G),
    torch.rand(100, generator=G) < 0.5,
    torch.randint(256, (100, 5), generator=G, dtype=torch.uint8),
    torch.randint(9, (100, 2), generator=G, dtype=torch.int32),
    torch.randn(100, 3, 3, generator=G).double(),
)


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_rows_are_those_of_each(count):
    index = torch.randint(100, (count,), generator=G)
    for found, values in zip(rows_of(MIXED, index), MIXED, strict=True):
        assert found.dtype == values.dtype and torch.equal(found, values[index])


def test_tensors_need_not_lie_in_one_piece():
    wide, index = torch.randn(4, 50, generator=G), torch.tensor([7, 49, 0, 7])
    assert torch.equal(rows_of((wide.T, wide[1]), index)[0], wide.T[index])


def test_bytes_need_not_begin_at_a_word():
    values, index = (
        torch.randint(256, (4001,), generator=G, dtype=torch.uint8)[1:].reshape(1000, 4),
        torch.tensor([3, 999]),
    )
    assert torch.equal(rows_of((values,), index)[0], values[index])


def test_no_gradient_passes():
    values = torch.randn(10, 2, requires_grad=True)
    assert not rows_of((values,), torch.arange(3))[0].requires_grad


@pytest.mark.parametrize(
    ("tensors", "index", "said"),
    [
        ((torch.zeros(3),) * (MOST + 1), torch.arange(3), "at most 8"),
        ((torch.zeros(3), torch.zeros(4)), torch.arange(3), "one length"),
        ((torch.zeros(3),), torch.arange(3).int(), "64-bit"),
    ],
)
def test_what_cannot_be_picked_is_refused(tensors, index, said):
    with pytest.raises(ValueError, match=said):
        rows_of(tensors, index)
