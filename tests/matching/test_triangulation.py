"""Triangulated points and which of them deserve trust: closed forms, and a ball that is known exactly."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.errors import DepthError
from dvr_cli.matching.cropping import cropped_to_mask
from dvr_cli.matching.triangulation import Trust, largest_angles, triangulated_points, trustworthy
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.sparse_depth import with_points
from dvr_cli.scenes.synthetic import cameras_around, sphere, synthetic_scene
from dvr_cli.scenes.views import SparseDepth

RADIUS = 0.6


@pytest.fixture(scope="module")
def scene():
    described, views, _ = synthetic_scene(sphere(RADIUS, shortest_wave=0.05), views=24, image_size=160)
    return described, views


@pytest.fixture(scope="module")
def points(scene, tmp_path_factory):
    return triangulated_points(scene[1], tmp_path_factory.mktemp("work"), threads=1)


class Lazy(Sequence):
    """Views that are made when they are asked for."""

    def __init__(self, views):
        self.views = list(views)

    def __len__(self):
        return len(self.views)

    def __getitem__(self, index):
        return cropped_to_mask(self.views[index])


def test_points_lie_on_the_ball_and_are_seen(scene, points):
    distance = np.abs(np.linalg.norm(apply(scene[0].unit_from_world, points.points), axis=1) - RADIUS)
    # A pixel is 0.013 wide there. Measured: 638 points, 0.0008 and 0.0020.
    assert len(points.points) > 400
    assert np.median(distance) < 0.0015 and np.quantile(distance, 0.9) < 0.005
    trust = Trust()
    assert np.bincount(points.visibility[:, 1]).min() >= trust.least_views
    assert points.error.max() <= trust.largest_error
    centres = np.stack([view.camera.centre for view in scene[1]])
    assert largest_angles(points.points, centres, points.visibility).min() >= trust.least_angle


def test_views_may_be_cut_to_their_masks_when_they_are_asked_for(scene, points, tmp_path):
    cut = triangulated_points(Lazy(scene[1]), tmp_path, threads=1)
    distance = np.abs(np.linalg.norm(apply(scene[0].unit_from_world, cut.points), axis=1) - RADIUS)
    assert len(cut.points) > 0.9 * len(points.points) and np.median(distance) < 0.0015


def test_without_masks_the_background_gives_points_too(scene, tmp_path):
    """A picture behind the ball that no camera has masked: features of it are matched like any others."""
    unmasked = [replace(view, mask=None) for view in scene[1]]
    found = triangulated_points(unmasked, tmp_path, threads=1)
    distance = np.abs(np.linalg.norm(apply(scene[0].unit_from_world, found.points), axis=1) - RADIUS)
    assert np.quantile(distance, 0.8) < 0.005


def test_what_the_report_raises_ends_the_work(scene, tmp_path):
    class StopError(Exception):
        pass

    def report(done, total):
        raise StopError

    with pytest.raises(StopError):
        triangulated_points(scene[1][:4], tmp_path, threads=1, report=report)


def test_blank_photographs_give_no_points(scene, tmp_path):
    blank = [replace(view, image=np.full_like(view.image, 0.5)) for view in scene[1][:3]]
    with pytest.raises(DepthError, match="0 points could be triangulated"):
        triangulated_points(blank, tmp_path, threads=1)


def test_too_strict_a_trust_is_an_error_with_advice(scene, tmp_path):
    with pytest.raises(DepthError, match=r"0 of \d+ triangulated points can be trusted"):
        triangulated_points(scene[1], tmp_path, threads=1, trust=Trust(largest_error=0.0))


# Trust.


def test_largest_angle_of_many_rays():
    generator = np.random.default_rng(0)
    points, centres = generator.normal(size=(30, 3)), 5 * generator.normal(size=(9, 3))
    visibility = np.argwhere(generator.random((9, 30)) < 0.4)
    found = largest_angles(points, centres, visibility)
    for index, point in enumerate(points):
        rays = centres[visibility[visibility[:, 1] == index, 0]] - point
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        slow = np.arccos(np.clip(rays @ rays.T, -1, 1)).max() if len(rays) > 1 else 0.0
        assert found[index] == pytest.approx(slow, abs=1e-6)
    assert len(largest_angles(points[:0], centres, visibility[:0])) == 0


def test_trust_asks_for_views_errors_and_angles():
    cameras = cameras_around(9, 64, np.random.default_rng(0), np.eye(4))
    centres = np.stack([camera.centre for camera in cameras])
    near_axis = centres[0] * 1000
    points = np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], near_axis])
    seen = [(view, point) for point, views in enumerate([3, 2, 3, 3]) for view in range(views)]
    sparse = SparseDepth(points, np.array(seen), np.array([1.0, 1.0, 3.0, 1.0]))
    assert trustworthy(sparse, cameras, Trust()).tolist() == [True, False, False, False]
    assert trustworthy(sparse, cameras, Trust(few=10)).tolist() == [True, True, False, False]
    # What is not known does not count against a point.
    assert trustworthy(SparseDepth(points), cameras, Trust()).all()


def test_selected_points_keep_what_belongs_to_them():
    sparse = SparseDepth(
        np.arange(12.0).reshape(4, 3), np.array([[0, 1], [1, 3], [2, 0]]), np.arange(4.0), np.eye(4)[:, :3]
    )
    some = with_points(sparse, np.array([False, True, False, True]))
    assert some.points[:, 0].tolist() == [3, 9] and some.error.tolist() == [1, 3]
    assert some.visibility.tolist() == [[0, 0], [1, 1]]
    assert np.array_equal(some.colors, sparse.colors[[1, 3]])


# Cutting.


def test_cutting_leaves_points_on_their_pixels(scene):
    view = scene[1][0]
    cut = cropped_to_mask(view, margin=3)
    assert cut.mask.sum() == view.mask.sum() and cut.image.shape[:2] == (cut.camera.height, cut.camera.width)
    assert cut.camera.height < view.camera.height
    points = apply(scene[0].world_from_unit, np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3)))
    before, after = view.camera.project(points)[0], cut.camera.project(points)[0]
    (row, column), (y, x) = (np.floor(pixels[:, ::-1]).astype(int).T for pixels in (before, after))
    assert np.array_equal(cut.image[y, x], view.image[row, column])


@pytest.mark.parametrize("mask", [None, np.zeros((120, 160), bool)], ids=["no mask", "an empty one"])
def test_nothing_is_cut_where_no_mask_says_so(scene, mask):
    view = replace(scene[1][0], mask=mask)
    assert cropped_to_mask(view) is view


def test_a_mask_at_the_edge_is_cut_within_the_picture(scene):
    mask = np.zeros((120, 160), bool)
    mask[110:, :4] = True
    cut = cropped_to_mask(replace(scene[1][0], mask=mask), margin=16)
    assert cut.image.shape == (26, 20, 3) and cut.mask.sum() == 40
