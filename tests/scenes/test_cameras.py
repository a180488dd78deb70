"""Laws of cameras and similarities."""

import numpy as np
import pytest

from dvr_cli.errors import SceneError
from dvr_cli.scenes.cameras import (
    apply,
    axes_meeting_point,
    ball_similarity,
    camera_from_projection,
    camera_in_frame,
    projection_of,
    similarity_from_scale_mat,
)
from tests.scenes.tiny_scenes import pixel_centres, ring, world_from_unit

CAMERA = ring()[4]
OBJECT = world_from_unit()[:3, 3]


def split(projection, object_point=OBJECT):
    return camera_from_projection(projection, CAMERA.height, CAMERA.width, object_point, "here")


def test_projection_inverts_rays():
    pixels = pixel_centres(CAMERA)
    origins, directions = CAMERA.rays(pixels)
    t = np.linspace(0.5, 9, len(pixels))[:, None]
    projected, depth = CAMERA.project(origins + t * directions)
    np.testing.assert_allclose(projected, pixels, atol=1e-9)
    assert (depth > 0).all()


def test_points_behind_the_camera_have_no_pixel():
    origins, directions = CAMERA.rays(pixel_centres(CAMERA)[:5])
    pixels, depth = CAMERA.project(origins - directions)
    assert np.isnan(pixels).all() and (depth < 0).all()


def test_resized_camera_keeps_rays():
    pixels = pixel_centres(CAMERA)
    smaller = CAMERA.resized(17, 31)
    scale = np.array([31 / CAMERA.width, 17 / CAMERA.height])
    np.testing.assert_allclose(smaller.rays(pixels * scale)[1], CAMERA.rays(pixels)[1], atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 250.0, -1.0, -1e-4])
def test_splitting_inverts_composing_whatever_the_scale_and_sign(factor):
    camera = split(factor * projection_of(CAMERA))
    np.testing.assert_allclose(camera.intrinsics, CAMERA.intrinsics, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(camera.camera_from_world, CAMERA.camera_from_world, atol=1e-9)
    assert np.linalg.det(camera.camera_from_world[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_mirrored_camera_is_refused_whatever_the_sign(factor):
    mirrored = CAMERA.intrinsics @ np.diag([-1.0, 1.0, 1.0]) @ CAMERA.camera_from_world[:3]
    if factor > 0:
        with pytest.raises(SceneError, match="mirrored"):
            split(mirrored)
    else:
        # -P of a mirrored camera has determinant +1, and only the object behind it gives it away: a camera that looks
        # the other way projects the same. The check of the whole scene finds that nothing lies in the image.
        assert split(-mirrored).project(OBJECT[None])[1][0] < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: np.full_like(p, np.nan), "NaN"),
        (lambda p: np.where(np.eye(3, 4) > 0, np.inf, p), "NaN or infinite"),
        (lambda p: p * 0, "singular"),
        (lambda p: np.stack([p[0], p[0], p[2]]), "singular"),
        (lambda p: np.zeros((2, 4)), "shape"),
        (lambda p: np.full((3, 4), "a"), "shape"),
    ],
)
def test_projection_that_is_none_is_refused(change, message):
    from dvr_cli.scenes.cameras import checked_projection

    with pytest.raises(SceneError, match=message):
        checked_projection(change(projection_of(CAMERA)), "cameras.npz: world_mat_3")


def test_axes_meet_at_the_object_whatever_the_signs():
    # The cameras look at the ball's centre up to the shift of their principal points, so meet near it.
    projections = np.stack([(-1) ** i * projection_of(camera) for i, camera in enumerate(ring())])
    unit = apply(np.linalg.inv(world_from_unit()), axes_meeting_point(projections)[None])
    assert np.linalg.norm(unit) < 0.2
    assert axes_meeting_point(projections[:1]) is None


def test_camera_in_another_frame_sees_the_same_pixels():
    unit_from_world = np.linalg.inv(world_from_unit())
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    in_unit = camera_in_frame(CAMERA, unit_from_world)
    np.testing.assert_allclose(in_unit.project(points)[0], CAMERA.project(apply(world_from_unit(), points))[0])
    np.testing.assert_allclose(
        in_unit.camera_from_world[:3, :3] @ in_unit.camera_from_world[:3, :3].T, np.eye(3), atol=1e-12
    )


def test_ball_similarity_takes_the_ball_to_the_unit_ball():
    matrix = ball_similarity(np.array([1.0, 2.0, 3.0]), 4.0)
    np.testing.assert_allclose(apply(matrix, np.array([[1.0, 2.0, 3.0], [5.0, 2.0, 3.0]])), [[0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "matrix", [np.diag([1.0, 2, 1, 1]), np.diag([-1.0, 1, 1, 1]), np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4))]
)
def test_scale_mat_that_is_no_similarity_is_refused(matrix):
    with pytest.raises(SceneError):
        similarity_from_scale_mat(matrix)


def test_scale_mat_may_turn():
    np.testing.assert_array_equal(similarity_from_scale_mat(world_from_unit()), world_from_unit())
