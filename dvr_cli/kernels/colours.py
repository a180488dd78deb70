"""How far colours are from those of photographs, with a robust norm (Charbonnier): sqrt(|error|^2 + EASE).

Its derivative is error / norm; 1 / norm as curvature (iteratively reweighted least squares) lets outliers count less.
"""

from typing import NamedTuple

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.launch import launch

wp.set_module_options({"enable_backward": False})

EASE = wp.constant(1.0e-3)
"""Squared error, of colours in [0, 1], below which the norm is nearly quadratic."""


@wp.kernel
def error_kernel(
    first: int,
    colours: wp.array(dtype=wp.vec3),
    expected: wp.array(dtype=wp.vec3),
    slopes_out: wp.array(dtype=wp.vec3),
    softness_out: wp.array(dtype=wp.float32),
    reported_out: wp.array(dtype=wp.float32),
):
    ray = first + wp.tid()
    rays = colours.shape[0]
    error = colours[ray] - expected[ray]
    square = wp.dot(error, error)
    softness = 1.0 / wp.sqrt(square + EASE)
    slopes_out[ray] = error * softness
    softness_out[ray] = softness
    reported_out[ray] = wp.abs(error[0]) + wp.abs(error[1]) + wp.abs(error[2])
    reported_out[rays + ray] = square


class ColourErrors(NamedTuple):
    """Of a batch of rays; no gradient."""

    slopes: Float[Tensor, "r 3"]
    """Derivatives of the robust norm with respect to the colours."""
    softness: Float[Tensor, "r"]
    """Its curvature."""
    sums: Float[Tensor, "two"]
    """Of all absolute errors, and of all squared ones."""


def colour_errors(colours: Float[Tensor, "r 3"], expected: Float[Tensor, "r 3"]) -> ColourErrors:
    """Compare RGB in [0, 1] with what is expected."""
    slopes, reported = torch.empty_like(expected), expected.new_empty(2, len(expected))
    softness = expected.new_empty(len(expected))
    inputs: list[object] = [colours, expected, slopes, softness, reported.reshape(-1)]
    launch(error_kernel, len(expected), inputs, expected.device)
    return ColourErrors(slopes, softness, reported.sum(dim=1))
