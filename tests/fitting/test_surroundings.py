"""What depth says without masks: labels, distances, and a first field that leaves the surroundings out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dvr_cli.config import Surroundings
from dvr_cli.errors import SceneError
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.depth_targets import sparse_targets
from dvr_cli.fitting.surroundings import distance_maps, see_all_around, too_few_masks, view_labels, with_labels
from dvr_cli.fitting.unmasked_start import unmasked_cube, unmasked_field
from dvr_cli.fitting.working_cube import in_cube
from dvr_cli.kernels import hull as hull_kernels
from dvr_cli.kernels import launch
from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.silhouettes import ask_masks
from dvr_cli.kernels.twins import hull as hull_twins
from dvr_cli.kernels.twins.cameras import in_double
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN, stack_views
from dvr_cli.rendering.surface import first_hit
from dvr_cli.scenes.cameras import apply, similarity_scale
from dvr_cli.scenes.views import SparseDepth
from tests.fitting.rooms import RADIUS, make_room
from tests.fitting.tiny_runs import TINY
from tests.kernels.tiny_views import ball_sdf

CPU = torch.device("cpu")


def nothing_known(whole, stack):
    """No points and no depth maps were given."""
    return None, None


def camera_centre(room, view):
    """In unit space."""
    return apply(room.unit_from_world, np.linalg.inv(view.camera.camera_from_world)[:3, 3][None])[0]


@pytest.fixture(scope="module")
def room():
    return make_room()


@pytest.fixture(scope="module")
def seen(room):
    return see_all_around(room.without_masks(), room.unit_from_world, Surroundings(), CPU)


def test_depth_tells_object_from_background(room, seen):
    right, said, known = 0, 0, 0
    for index, view in enumerate(room.views):
        labels = view_labels(seen, index, view, room.unit_from_world)
        assert labels.shape == view.mask.shape
        said += int((labels != UNKNOWN).sum())
        right += int((labels == OBJECT)[view.mask].sum() + (labels == BACKGROUND)[~view.mask].sum())
        known += labels.size
    assert said > 0.6 * known
    assert right > 0.99 * said


def test_labels_are_doubted_where_neighbours_differ(room, seen):
    labels = view_labels(seen, 0, room.views[0], room.unit_from_world)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        assert not ((one == OBJECT) & (other == BACKGROUND)).any()
        assert not ((one == BACKGROUND) & (other == OBJECT)).any()


def test_distances_are_those_of_ball_and_wall(room, seen):
    stack = stack_views(room.views, room.unit_from_world, 1, CPU)
    t = distance_maps(seen, stack, similarity_scale(room.unit_from_world)).t_map
    every = torch.arange(len(t))
    views = torch.searchsorted(stack.starts.long(), every, right=True) - 1
    inside = every - stack.starts[views]
    pixels = torch.stack([inside % stack.widths[views], inside // stack.widths[views]], dim=1)
    origins, directions = stack.rays(views.int(), pixels.int())
    points = origins + t[:, None] * directions
    on_ball = (t > 0) & (points.norm(dim=1) < 1)
    assert on_ball.sum() > 1000
    assert (points[on_ball].norm(dim=1) - RADIUS).abs().median() < 0.02
    on_wall = (t > 0) & (points[:, 2] < -1.5)
    assert (points[on_wall][:, 2] + 2).abs().median() < 0.05


def test_threads_change_nothing(room):
    views, found = room.without_masks()[:3], []
    for threads in (1, 2):
        launch.set_threads(threads)
        found.append(see_all_around(views, room.unit_from_world, Surroundings(image_size=48), CPU).planes)
    launch.set_threads(1)
    assert found[0].any()
    np.testing.assert_array_equal(*found)


def test_given_masks_stay_as_they_are(room, seen):
    views = room.without_masks(slice(2, None))
    stack = stack_views(views, room.unit_from_world, 1, CPU)
    labelled = with_labels(stack, seen, views, room.unit_from_world)
    third = int(stack.starts[2])
    assert torch.equal(labelled.masks[:third], stack.masks[:third])
    assert set(labelled.masks[third:].tolist()) == {BACKGROUND, OBJECT, UNKNOWN}
    assert too_few_masks(views) and not too_few_masks(room.without_masks(slice(3, None)))
    assert not too_few_masks(room.views[:1]) and too_few_masks(room.without_masks()[:1])


def test_first_field_is_the_ball_without_the_wall(room, seen):
    settings = TINY.model_copy(update={"surroundings": Surroundings(voxels=48)})
    small = stack_views(room.without_masks(), room.unit_from_world, seen.divisor, CPU)
    cube = unmasked_cube(small, seen, room.unit_from_world, settings, nothing_known)
    field = unmasked_field(in_cube(small, cube), seen, cube, settings)
    origins, directions = small.rays(torch.full((96,), 4), torch.stack([torch.arange(96), torch.full((96,), 47)], 1))
    origins = origins * cube.ball_radius + torch.as_tensor(cube.ball_centre).float()
    hits = first_hit(field, origins, directions)
    points = (origins + hits.t[:, None] * directions - torch.as_tensor(cube.ball_centre).float()) / cube.ball_radius
    truth = torch.as_tensor(room.views[4].mask[47])
    assert (hits.hit == truth).float().mean() > 0.9
    assert (points[hits.hit & truth].norm(dim=1) - RADIUS).abs().max() < 0.15


def test_nothing_in_sight_is_an_error(room, seen):
    blind = replace(seen, planes=np.zeros_like(seen.planes))
    small = stack_views(room.without_masks(), room.unit_from_world, seen.divisor, CPU)
    with pytest.raises(SceneError, match="no depth in the region of interest"):
        unmasked_cube(small, blind, room.unit_from_world, TINY, nothing_known)


def test_known_depth_says_where_the_object_is_when_comparing_does_not(room, seen):
    """Points on the ball, as two photographs saw them, which confirm nothing to each other."""
    views = room.without_masks()[:2]
    blind = replace(seen, planes=np.zeros_like(seen.planes), heights=seen.heights[:2], widths=seen.widths[:2])
    blind = replace(blind, planes=blind.planes[: int((blind.heights * blind.widths).sum())])
    small = stack_views(views, room.unit_from_world, seen.divisor, CPU)
    unit = np.random.default_rng(0).normal(size=(3000, 3))
    points = RADIUS * unit / np.linalg.norm(unit, axis=1, keepdims=True)
    facing = np.stack([points @ camera_centre(room, view) > RADIUS**2 for view in views], axis=1)
    pairs = np.argwhere(facing)[:, ::-1].copy()
    world = apply(np.linalg.inv(room.unit_from_world), points)

    def known(whole, stack):
        return sparse_targets(SparseDepth(world, pairs), views, whole.cube_from_world, CPU), None

    cube = unmasked_cube(small, blind, room.unit_from_world, TINY, known)
    seen_points = apply(cube.cube_from_world, world[facing.any(axis=1)])
    assert np.abs(seen_points).max() <= 1, "every point that was seen lies in the cube"
    assert np.ptp(seen_points, axis=0).max() > 1, "and they fill it"


def test_two_views_confirm_nothing(room):
    found = see_all_around(room.without_masks()[:2], room.unit_from_world, Surroundings(), CPU)
    assert not found.planes.any()


@pytest.mark.parametrize("value", [BACKGROUND, OBJECT, UNKNOWN])
def test_unknown_pixels_ask_nothing_of_silhouettes(room, value):
    """Rays that hit and rays that miss by little: a mask moves the one or the other, an unknown pixel neither."""
    field = GridField(ball_sdf(32, 0.6))
    stack = stack_views(room.views, room.unit_from_world, 1, CPU)
    pixels = torch.stack([torch.arange(96), torch.full((96,), 40)], dim=1).int()
    origins, directions = stack.rays(torch.full((96,), 4).int(), pixels)
    hits = first_hit(field, origins, directions)
    assert hits.hit.any() and not hits.hit.all()
    mask = torch.full((96,), value, dtype=torch.uint8)
    views, edge, rgb = torch.zeros(96, dtype=torch.int32), torch.ones(96, dtype=torch.bool), torch.zeros(96, 3)
    looks = Looks(views, pixels, edge, origins, directions, mask, rgb)
    found = (hits.t, hits.hit, hits.nearest_t, hits.nearest_value)
    weights = dict(exact_masks=0.0, free_space=1.0, occupancy=1.0, margin=0.5)
    asked = ask_masks(field.sdf.detach(), looks, found, torch.ones(()), **weights)
    assert asked.gradient.any() == asked.curvature.any() == (value != UNKNOWN)


def test_unknown_views_leave_the_hull_to_the_masks(room):
    """Kernel and twin: a view without a mask counts as one that is white all over."""
    views = room.without_masks(slice(0, None, 2))
    stack = stack_views(views, room.unit_from_world, 1, CPU)
    white = [replace(view, mask=np.ones(view.image.shape[:2], bool)) if view.mask is None else view for view in views]
    found = hull_kernels.visual_hull(stack, 32)
    assert torch.equal(found, hull_kernels.visual_hull(stack_views(white, room.unit_from_world, 1, CPU), 32))
    assert (found != hull_twins.visual_hull(in_double(stack), 32)).float().mean() < 1e-3
    assert found.any() and not found.all()
