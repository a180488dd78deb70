"""Resampled photographs: the same rays, nothing lost, and nothing invented beyond the old image."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.scenes.resampling import centred_camera, resampled, resampled_mask, square_camera, unskewed_camera
from tests.scenes.tiny_scenes import photograph, ring, sphere_mask


def camera(fx=1.0, fy=1.0, cx=0.0, cy=0.0, skew=0.0, size=64):
    base = ring(image_size=size)[0]
    intrinsics = np.array([[70.0 * fx, skew, 32.0 + cx], [0, 70.0 * fy, 32.0 + cy], [0, 0, 1]])
    intrinsics[:2] *= size / 64
    return replace(base, intrinsics=intrinsics, height=size, width=size)


CAMERAS = {
    "long in y": camera(fy=1.3),
    "long in x": camera(fx=1.3),
    "off the middle": camera(cx=5.3, cy=-3.8),
    "skewed": camera(skew=4.0),
    "all of it": camera(fx=1.1, cx=-7.7, cy=2.2, skew=-3.0),
}
KINDS = {"square": square_camera, "centred": centred_camera, "unskewed": unskewed_camera}


@pytest.mark.parametrize("kind", KINDS)
def test_a_camera_that_needs_nothing_is_left_as_it_is(kind):
    plain = camera()
    assert KINDS[kind](plain) is plain


@pytest.mark.parametrize("name", CAMERAS)
def test_cameras_have_what_their_kind_promises(name):
    square, centred, unskewed = (KINDS[kind](CAMERAS[name]).intrinsics for kind in KINDS)
    assert square[0, 0] == square[1, 1] == centred[0, 0] == centred[1, 1]
    assert square[0, 1] == centred[0, 1] == unskewed[0, 1] == 0
    new = centred_camera(CAMERAS[name])
    np.testing.assert_allclose(new.intrinsics[:2, 2], [new.width / 2, new.height / 2], rtol=1e-12)


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_new_image_holds_all_of_the_old_one_at_no_less_resolution(name, kind):
    old, new = CAMERAS[name], KINDS[kind](CAMERAS[name])
    corners = np.array([[0.0, 0], [old.width, 0], [0, old.height], [old.width, old.height]])
    origins, directions = old.rays(corners)
    seen, _ = new.project(origins + directions)
    assert (seen >= -1e-4).all() and (seen <= np.array([new.width, new.height]) + 1e-4).all()
    assert new.intrinsics[0, 0] >= old.intrinsics[0, 0] - 1e-9 and new.intrinsics[1, 1] >= old.intrinsics[1, 1] - 1e-9


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_show_what_their_rays_say_and_black_beyond(name, kind):
    old, new = CAMERAS[name], KINDS[kind](CAMERAS[name])
    image = resampled(0.1 + 0.9 * photograph(old), old, new)
    expected = 0.1 + 0.9 * photograph(new)
    seen = image.max(axis=2) > 0
    # Half a pixel off gives 0.04 here on average.
    assert np.abs(image - expected)[seen].mean() < 2e-3
    # The area of the old image in pixels of the new one, by the ratio of the intrinsics.
    area = np.linalg.det(new.intrinsics) / np.linalg.det(old.intrinsics) * old.width * old.height
    assert abs(seen.sum() - area) < 0.05 * area


@pytest.mark.parametrize("name", CAMERAS)
def test_masks_go_with_their_photographs(name):
    old = CAMERAS[name]
    new = centred_camera(old)
    mask = resampled_mask(sphere_mask(old, radius_in_unit=0.4), old, new)
    expected = sphere_mask(new, radius_in_unit=0.4)
    assert expected.sum() > 100 and (mask != expected).sum() < 0.1 * expected.sum()
    # Where the old photograph shows nothing, nothing is object.
    everything = np.ones((old.height, old.width))
    np.testing.assert_array_equal(resampled_mask(everything > 0, old, new), resampled(everything, old, new) > 0)


def test_an_image_resampled_to_its_own_camera_is_the_same():
    image = photograph(camera())
    np.testing.assert_allclose(resampled(image, camera(), camera()), image, atol=1e-5)
