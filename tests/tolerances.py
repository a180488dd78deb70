"""How far float32 results may be from their float64 twins: one table, and the comparison that uses it.

Four measures, because one tolerance near zero hides a missing gradient: the largest difference (as a share of the
largest expected magnitude), the relative L2 difference, 1 - cosine, and the signed bias (mean difference over mean
magnitude).
A tolerance that is looser than `ROUNDING` carries the worst case measured on the tests' data.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """Bounds of the four measures."""

    largest: float
    relative_l2: float
    cosine: float
    bias: float


ROUNDING = Tolerance(largest=2e-6, relative_l2=1e-6, cosine=1e-6, bias=1e-7)
"""A few roundings of numbers around one."""

ROUNDING_OF_POSITIONS = Tolerance(largest=8e-6, relative_l2=4e-6, cosine=1e-6, bias=1e-6)
"""Look-ups in a random grid: a position is rounded to 1e-6 voxels. Measured: 2.3e-6, 1.3e-6, 1e-12, 3e-8."""

HIT_DISTANCE = Tolerance(largest=3e-6, relative_l2=3e-7, cosine=1e-6, bias=1e-7)
"""Hits with a sphere, distances 2 to 4, the worst ones grazing. Measured: 6.8e-7, 4.6e-8, 0, 1.2e-9."""

NEAREST_SAMPLE = Tolerance(largest=1e-4, relative_l2=1e-5, cosine=1e-6, bias=1e-6)
"""Distance of a sample after a hundred steps whose roundings add up. Measured: 1.1e-5, 5e-7, 0, 2e-8."""

PATCH_LOSS = Tolerance(largest=1e-4, relative_l2=5e-5, cosine=1e-6, bias=5e-6)
"""1 - NCC of 24 samples. Measured: 2.8e-5, 1.3e-5, 7e-11, 1.6e-6."""

PATCH_SLOPE = Tolerance(largest=0.05, relative_l2=0.01, cosine=3e-5, bias=5e-4)
"""Slopes and curvatures of 1 - NCC: bilinear images have kinks, and rounding decides on which side a sample lies.
Measured: 0.027, 0.0036, 6.4e-6, 6.4e-5; rays with a sample at a kink to within rounding are set apart."""

BENT_PATCH_SLOPE = Tolerance(largest=0.05, relative_l2=0.01, cosine=3e-5, bias=2e-3)
"""The same with bent patches, where the kernel is exact to first order. Measured: 0.0056, 7e-4, 2e-7, 3.1e-4."""

BENT_PATCH_DISCORD = Tolerance(largest=0.15, relative_l2=0.02, cosine=2e-4, bias=2e-3)
"""Differences of slope over curvature, which blow up what a kink does to either where the curvature is small.
Measured, the worst of ten draws of bends: 0.067, 0.011, 6.3e-5, 2.5e-4."""

SMALL_RESIDUALS = Tolerance(largest=1e-4, relative_l2=2e-5, cosine=1e-6, bias=1e-5)
"""Gradients of squared residuals, of which some are near zero or near the bound beyond which they do not count."""

BEND_POINTS = Tolerance(largest=1e-5, relative_l2=1e-6, cosine=1e-6, bias=1e-7)
"""Points of a tangent plane beside a hit, grazing rays too. Measured: 3.0e-6, 2.9e-7, 7e-14, 1.1e-11."""

BEND_STEPS = Tolerance(largest=3e-4, relative_l2=3e-5, cosine=1e-6, bias=2e-6)
"""From the hit to these points, and how far a pixel moves them: a thirtieth and a hundredth of the points themselves.
Measured: 9.1e-5, 9.7e-6, 5e-11, 4e-10; and for rays that do not graze 1.4e-5, 7.0e-6, 2e-11, 5.2e-7."""

OTHER_EXPOSURE = Tolerance(largest=0.1, relative_l2=0.05, cosine=2e-3, bias=0.02)
"""The same patches at another brightness: float32 sums from which their mean is subtracted late (the twin: 6e-14).
Measured: 0.031, 0.026, 2.9e-4, 3.8e-3 for losses of 2e-4; slopes and curvatures are ten times better."""


def disagreement(found: Tensor, expected: Tensor) -> Tolerance:
    """The four measures of two arrays of the same shape; zero for equal ones."""
    a, b = found.detach().double().flatten(), expected.detach().double().flatten()
    if bool((a == b).all()):
        return Tolerance(0, 0, 0, 0)
    difference, tiny = a - b, 1e-300
    return Tolerance(
        largest=float(difference.abs().max() / (b.abs().max() + tiny)),
        relative_l2=float(difference.norm() / (b.norm() + tiny)),
        cosine=float(1 - (a @ b) / (a.norm() * b.norm() + tiny)),
        bias=float(difference.mean().abs() / (b.abs().mean() + tiny)),
    )


def assert_agree(found: Tensor, expected: Tensor, tolerance: Tolerance) -> None:
    """All four measures are within the tolerance; NaN is never."""
    assert found.shape == expected.shape
    measured = disagreement(found, expected)
    for name, bound in vars(tolerance).items():
        assert getattr(measured, name) <= bound, f"{name}: {measured} exceeds {tolerance}"
