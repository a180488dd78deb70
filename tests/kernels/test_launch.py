"""What a launch accepts: tensors of the type that the kernel's signature names, on the device that it runs on."""

import pytest
import torch

from dvr_cli.kernels import lookup
from dvr_cli.kernels.launch import launch

POINTS = torch.zeros(5, 3)
GRID = torch.rand(8, 8, 8)
VALUES = torch.empty(5)


def look_up(grid, points, out, device="cpu"):
    launch(lookup.value_kernel, 5, [grid.reshape(-1), 8, points, out], torch.device(device))


def test_tensors_of_more_dimensions_are_flattened():
    flat, cubic = torch.empty(5), torch.empty(5, 1)
    look_up(GRID, POINTS, flat)
    launch(lookup.value_kernel, 5, [GRID, 8, POINTS, cubic], torch.device("cpu"))
    assert torch.equal(flat, cubic[:, 0])


@pytest.mark.parametrize(
    "arguments",
    [(GRID.double(), POINTS, VALUES), (GRID, POINTS.double(), VALUES), (GRID, POINTS, VALUES.int())],
    ids=["grid", "points", "result"],
)
def test_another_type_is_refused(arguments):
    with pytest.raises(RuntimeError, match="Cannot convert"):
        look_up(*arguments)


def test_vectors_of_another_length_are_refused():
    with pytest.raises(RuntimeError, match="shape"):
        look_up(GRID, torch.zeros(5, 2), VALUES)


def test_another_device_is_refused():
    with pytest.raises(ValueError, match="value_kernel runs on cpu and got a tensor on meta"):
        look_up(GRID, POINTS.to("meta"), VALUES)


def test_too_few_arguments_are_refused():
    with pytest.raises(ValueError, match="zip"):
        launch(lookup.value_kernel, 5, [GRID, 8, POINTS], torch.device("cpu"))
