"""Shrinking photographs: the mean over blocks, of every kind of array and of sizes that do not divide."""

import numpy as np
import pytest

from dvr_cli.kernels.views import in_one_piece, shrink


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


def laid_out(*shapes):
    pixels = np.random.default_rng(0).random((sum(height * width for height, width in shapes) + 7, 3), np.float32)
    images, first = [], 7
    for height, width in shapes:
        images.append(pixels[first : first + height * width].reshape(height, width, 3))
        first += height * width
    return pixels, images


@pytest.mark.parametrize("chosen", [slice(None), slice(1, None), slice(0, 2), slice(2, 3)])
def test_images_that_lie_one_after_the_other_are_not_copied(chosen):
    pixels, images = laid_out((3, 4), (5, 2), (1, 6))
    found = in_one_piece(images[chosen])
    np.testing.assert_array_equal(found, np.concatenate([image.reshape(-1, 3) for image in images[chosen]]))
    assert np.shares_memory(found, pixels)


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[::-1],
        lambda images: [images[0], images[2]],
        lambda images: [images[0], images[1].copy(), images[2]],
        lambda images: [images[0][:2], *images[1:]],
        lambda images: [images[0][:, :3], *images[1:]],
        lambda images: [images[0], images[0]],
        lambda images: [image.copy() for image in images],
    ],
    ids=["another order", "one left out", "one elsewhere", "cut", "columns cut", "twice", "all elsewhere"],
)
def test_all_other_images_are(change):
    pixels, images = laid_out((3, 4), (5, 2), (1, 6))
    images = change(images)
    found = in_one_piece(images)
    np.testing.assert_array_equal(found, np.concatenate([image.reshape(-1, 3) for image in images]))
    assert not np.shares_memory(found, pixels)
