"""Shrinking photographs: the mean over blocks, of every kind of array and of sizes that do not divide."""

import numpy as np
import pytest

from dvr_cli.kernels.views import shrink


@pytest.mark.parametrize("divisor", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(16, 24, 3), (17, 31, 3), (19, 22)])
def test_shrinking_takes_the_mean_over_blocks(divisor, shape):
    image = np.random.default_rng(0).random(shape, np.float32)
    found = shrink(image, divisor)
    assert found.shape == (shape[0] // divisor, shape[1] // divisor, *shape[2:]) and found.dtype == np.float32
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            block = image[y * divisor : (y + 1) * divisor, x * divisor : (x + 1) * divisor].astype(np.float64)
            np.testing.assert_allclose(found[y, x], block.mean(axis=(0, 1)), rtol=1e-6)
