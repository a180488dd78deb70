"""The check of annotations that all other tests run under: what it refuses, also of arrays it has seen the like of."""

import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from checked_types import checked_function
from jaxtyping import Float, Int
from torch import Tensor


def scaled(points: Float[np.ndarray, "p 3"], weights: Float[np.ndarray, "p"]) -> Float[np.ndarray, "p 3"]:
    return points * weights[:, None] if len(weights) != 7 else points[:3]


def stacked(grid: Float[Tensor, "*rest n"], index: Int[Tensor, "n"]) -> Float[Tensor, "*rest n"]:
    return grid if index[0] == 0 else grid.transpose(0, 1)


@pytest.mark.parametrize("time", ["first", "second"])
def test_arrays_that_do_not_fit_are_refused(time):
    checked = checked_function(scaled)
    for count in (4, 5):
        assert checked(np.ones((count, 3)), np.ones(count)).shape == (count, 3)
    for points, weights in [
        (np.ones((4, 2)), np.ones(4)),
        (np.ones((4, 3)), np.ones(5)),
        (np.ones((4, 3)), np.ones((4, 1))),
        (np.ones((4, 3), dtype=int), np.ones(4)),
        (np.ones((4, 3)).tolist(), np.ones(4)),
        (torch.ones(4, 3), np.ones(4)),
    ]:
        with pytest.raises(BeartypeCallHintViolation):
            checked(points, weights)
    assert checked(np.ones((4, 3), dtype=np.float32), np.ones(4)).shape == (4, 3)
    with pytest.raises(BeartypeCallHintViolation):
        checked(np.ones((7, 3)), np.ones(7))


def test_any_number_of_leading_axes_is_one_and_the_same_in_a_call():
    checked = checked_function(stacked)
    index = torch.zeros(3, dtype=torch.int64)
    for shape in [(2, 4, 3), (3,), (3, 3)]:
        assert checked(torch.ones(shape), index).shape == shape
    with pytest.raises(BeartypeCallHintViolation):
        checked(torch.ones(2, 4, 4), index)
    with pytest.raises(BeartypeCallHintViolation):
        checked(torch.ones(2, 4, 3), index + 1)
