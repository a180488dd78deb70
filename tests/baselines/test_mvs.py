"""The dense cloud: on a synthetic shape's surface, the same whatever the threads, and errors that say what to do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cuda_device import needs_cuda

from dvr_cli.baselines.mvs import MvsLevel, MvsSettings, dense_cloud
from dvr_cli.errors import CompareError, DeviceError
from dvr_cli.fitting.stereo import source_views
from dvr_cli.kernels import launch
from dvr_cli.kernels.views import stack_views
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.synthetic import sphere, synthetic_scene
from tests.kernels.tiny_views import ball_sdf

RADIUS = 0.6
SMALL = MvsSettings(
    image_size=None,
    levels=(
        MvsLevel(passes=3, reach=3, draws=3, scale=1.0, refinements=1, radius=2),
        MvsLevel(passes=1, reach=2, draws=1, scale=0.2, refinements=2, radius=2),
    ),
    sources=4,
    keep=2,
    witnesses=6,
    hull_voxels=48,
)


@pytest.fixture(autouse=True)
def one_thread():
    yield
    launch.set_threads(1)


@pytest.fixture(scope="module")
def photographed():
    """A textured sphere from 24 sides; unit space is a similarity away from the world."""
    scene, views, _ = synthetic_scene(sphere(RADIUS, shortest_wave=9.0 / 96), views=24, image_size=96)
    return scene, views


@pytest.fixture(scope="module")
def cloud(photographed):
    scene, views = photographed
    return dense_cloud(views, scene.unit_from_world, SMALL, threads=1)


def errors(scene, cloud):
    """Signed distances to the sphere in unit space, and cosines between normals and true ones."""
    points = apply(scene.unit_from_world, cloud.points)
    rotation = scene.unit_from_world[:3, :3] / np.cbrt(np.linalg.det(scene.unit_from_world[:3, :3]))
    distance = np.linalg.norm(points, axis=1)
    return distance - RADIUS, ((cloud.normals @ rotation.T) * points).sum(axis=1) / distance


def test_points_lie_on_the_surface_with_outward_normals(photographed, cloud):
    scene, _ = photographed
    distance, cosine = errors(scene, cloud)
    pixel = 3.7 / (1.75 * 96)
    assert len(cloud.points) > 3000
    assert np.median(np.abs(distance)) < 0.15 * pixel
    assert (np.abs(distance) < pixel).mean() > 0.98
    assert np.median(cosine) > 0.99
    assert (cosine > 0).mean() > 0.999
    assert np.allclose(np.linalg.norm(cloud.normals, axis=1), 1)


def test_points_are_all_around(photographed, cloud):
    scene, _ = photographed
    directions = apply(scene.unit_from_world, cloud.points)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    generator = np.random.default_rng(0)
    asked = generator.normal(size=(300, 3))
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    assert ((asked @ directions.T).max(axis=1) > np.cos(np.radians(8))).mean() > 0.95


def test_colours_are_those_of_the_texture(photographed, cloud):
    _, views = photographed
    assert cloud.colors.min() >= 0
    assert cloud.colors.max() <= 1
    view = views[0]
    towards = view.camera.centre - cloud.points
    cosine = (towards * cloud.normals).sum(axis=1) / np.linalg.norm(towards, axis=1)
    chosen = cosine > 0.7
    pixel, _ = view.camera.project(cloud.points[chosen])
    seen = view.image[pixel[:, 1].astype(int), pixel[:, 0].astype(int)]
    assert np.median(np.abs(seen - cloud.colors[chosen])) < 0.05


def test_threads_and_repetition_change_nothing(photographed):
    scene, views = photographed
    few = views[:8]
    one = dense_cloud(few, scene.unit_from_world, SMALL, threads=1, seed=3)
    three = dense_cloud(few, scene.unit_from_world, SMALL, threads=3, seed=3)
    assert np.array_equal(one.points, three.points)
    assert np.array_equal(one.normals, three.normals)


@needs_cuda
def test_a_gpu_finds_the_same_cloud(photographed, cloud):
    scene, views = photographed
    there = dense_cloud(views, scene.unit_from_world, SMALL, threads=1, device="cuda")
    distance, cosine = errors(scene, there)
    assert abs(len(there.points) / len(cloud.points) - 1) < 0.02
    assert (np.abs(distance) < 3.7 / (1.75 * 96)).mean() > 0.98
    assert np.median(cosine) > 0.99


def test_masks_are_not_needed(photographed):
    scene, views = photographed
    bare = [replace(view, mask=None) for view in views]
    distance, cosine = errors(scene, dense_cloud(bare, scene.unit_from_world, SMALL, threads=1))
    on_surface = np.abs(distance) < 0.03
    assert on_surface.sum() > 3000
    # A tenth is a fringe outside the silhouettes, where the smooth surrounding goes along with the object's edge.
    assert on_surface.mean() > 0.85
    assert np.median(cosine[on_surface]) > 0.98


def test_moving_the_world_moves_the_cloud(photographed):
    scene, views = photographed
    few = views[:8]
    here = dense_cloud(few, scene.unit_from_world, SMALL, threads=1)
    shift = np.eye(4)
    shift[:3, 3] = [1.0, -2.0, 0.5]
    moved = [
        replace(
            view,
            camera=replace(view.camera, camera_from_world=view.camera.camera_from_world @ np.linalg.inv(shift)),
        )
        for view in few
    ]
    there = dense_cloud(moved, scene.unit_from_world @ np.linalg.inv(shift), SMALL, threads=1)
    # Rounding decides on which side of a tie a pixel falls, so single points may differ.
    assert abs(len(there.points) / len(here.points) - 1) < 0.02
    assert np.allclose(there.points.mean(axis=0) - here.points.mean(axis=0), shift[:3, 3], atol=0.02)


def test_progress_comes_to_its_end(photographed):
    scene, views = photographed
    told = []
    dense_cloud(views[:4], scene.unit_from_world, SMALL, lambda done, total: told.append((done, total)), threads=1)
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total in told} == {len(told)}


def test_two_views_are_too_few(photographed):
    scene, views = photographed
    with pytest.raises(CompareError, match="at least 3 views, and there are 2"):
        dense_cloud(views[:2], scene.unit_from_world, SMALL)


def test_black_photographs_give_advice(photographed):
    scene, views = photographed
    black = [replace(view, image=np.zeros_like(view.image)) for view in views[:6]]
    with pytest.raises(CompareError, match="No depth in 6 views is confirmed"):
        dense_cloud(black, scene.unit_from_world, SMALL, threads=1)


def test_a_missing_device_is_named(photographed):
    scene, views = photographed
    with pytest.raises(DeviceError, match="cuda:99"):
        dense_cloud(views, scene.unit_from_world, SMALL, device="cuda:99")


def test_sources_look_from_nearby_at_the_same_side(photographed):
    scene, views = photographed
    stack = stack_views(views, scene.unit_from_world, 1, torch.device("cpu"))
    sources = source_views(stack, ball_sdf(33), 4)
    towards = torch.nn.functional.normalize(stack.centres, dim=1)
    angles = (towards @ towards.T).clamp(-1, 1).acos().rad2deg()
    chosen = torch.gather(angles, 1, sources.long())
    assert torch.all(sources != torch.arange(stack.count)[:, None])
    assert chosen.max() < 75
    assert chosen.mean() < 0.6 * angles.mean()
    assert source_views(stack, ball_sdf(33), 40)[:, -1].eq(-1).all()
