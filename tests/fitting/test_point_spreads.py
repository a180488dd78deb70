"""Spreads of sparse points: they follow noise, rays and errors, in any unit."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.fitting.point_spreads import UNKNOWN, point_spreads, relative_spreads
from dvr_cli.scenes.synthetic import cameras_around
from dvr_cli.scenes.views import SparseDepth

CAMERAS = cameras_around(8, 200, np.random.default_rng(0), np.eye(4))


def noisy_ball(sigma, count=2000, seed=0):
    """Points on a ball of radius 0.5 with noise of this standard deviation along the radius."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * (0.5 + sigma * generator.normal(size=(count, 1)))


@pytest.mark.parametrize("sigma", [0.006, 0.02])
def test_spread_is_that_of_the_noise(sigma):
    points = noisy_ball(sigma)
    found = point_spreads(points, SparseDepth(points), [])
    assert np.ptp(found) == 0
    # The neighbours' plane has noise of its own, and a ball bends away from it.
    assert found[0] == pytest.approx(sigma, rel=0.35)


def test_a_tenth_of_wrong_points_hardly_changes_it():
    points = noisy_ball(0.005)
    wrong = points.copy()
    wrong[::10] = np.random.default_rng(1).uniform(-0.7, 0.7, (200, 3))
    alone, mixed = (point_spreads(some, SparseDepth(some), [])[0] for some in (points, wrong))
    assert alone < mixed < 1.6 * alone


def test_spread_scales_with_the_points():
    points = noisy_ball(0.005)
    once, twice = (point_spreads(scale * points, SparseDepth(points), []) for scale in (1, 2))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-9)


def test_few_points_and_none_have_a_spread_too():
    for count in (0, 1, 11):
        points = noisy_ball(0.005)[:count]
        assert (point_spreads(points, SparseDepth(points), []) == np.full(count, UNKNOWN)).all()


def test_points_at_one_place_are_not_infinitely_exact():
    points = np.zeros((30, 3))
    assert (point_spreads(points, SparseDepth(points), []) > 0).all()


def seen_by(*tracks):
    """Points at the origin, each seen by these cameras."""
    pairs = [(view, point) for point, views in enumerate(tracks) for view in views]
    return SparseDepth(np.zeros((len(tracks), 3)), np.array(pairs).reshape(-1, 2))


def test_more_rays_are_more_exact_and_errors_less():
    sparse = seen_by(range(2), range(4), range(8), range(8))
    two, four, eight, wrong = relative_spreads(replace(sparse, error=np.array([1.0, 1, 1, 6])), CAMERAS)
    assert two > four > eight and wrong > 3 * eight


def test_error_of_a_pair_of_rays_against_its_closed_form():
    """Two rays at 90 degrees: along their bisector sigma is that of one pixel; at a small angle a it grows as 1 / a."""
    wide, narrow = (_pair(angle) for angle in (np.pi / 2, np.pi / 36))
    (first, second), cameras = relative_spreads(seen_by([0, 1], [2, 3]), wide + narrow), wide + narrow
    assert len(cameras) == 4
    # Variance along the bisector: 1 / (2 sin^2(a / 2)).
    assert second / first == pytest.approx(np.sin(np.pi / 4) / np.sin(np.pi / 72), rel=0.1)


def _pair(angle):
    """Two cameras 4 away from the origin, `angle` apart."""
    found = []
    for turn in (-angle / 2, angle / 2):
        cosine, sine = np.cos(turn), np.sin(turn)
        pose = np.eye(4)
        pose[:3, :3] = [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]
        pose[2, 3] = 4
        found.append(replace(CAMERAS[0], camera_from_world=pose))
    return found


def test_unseen_points_are_called_inexact_and_nothing_known_is_no_difference():
    spreads = relative_spreads(seen_by(range(4), [], [3], range(4)), CAMERAS)
    assert spreads[0] == spreads[3] == 1 and (spreads[1:3] == 3).all()
    assert (relative_spreads(SparseDepth(np.zeros((5, 3))), CAMERAS) == 1).all()
    assert (relative_spreads(seen_by([0], []), CAMERAS) == 1).all()
    same_place = replace(CAMERAS[0], camera_from_world=CAMERAS[0].camera_from_world.copy())
    assert np.isfinite(relative_spreads(seen_by([0, 1], [0, 1]), [CAMERAS[0], same_place])).all()
