"""Where the object is, and whether the views agree about it: known answers on a sphere."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.bounds import find_bounds
from dvr_cli.scenes.cameras import apply, camera_in_frame, similarity_scale
from dvr_cli.scenes.checks import check_hull, check_scene, worst_views
from dvr_cli.scenes.images import load_views, small_masks
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import SparseDepth
from tests.scenes.tiny_scenes import RADIUS, change_arrays, ring, sphere_mask, world_from_unit, write_sphere


def surface_points(count=200, radius=RADIUS):
    """Points on the sphere, in the world."""
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return apply(world_from_unit(), radius * directions / np.linalg.norm(directions, axis=1, keepdims=True))


def radius_in_bounds(unit_from_world):
    """The largest distance of the sphere's points from the centre of the bounds, whose radius is 1."""
    return np.linalg.norm(apply(unit_from_world, surface_points()), axis=1).max()


def replace_mask(folder, index, mask):
    Image.fromarray(mask).save(folder / "mask" / f"{index:06d}.png")


@pytest.fixture
def unscaled(folder):
    """The sphere without anything that says where it is."""

    def remove(arrays):
        for key in [key for key in arrays if key.startswith("scale")]:
            arrays.pop(key)

    change_arrays(folder / "cameras.npz", remove)
    return folder


def test_bounds_of_masks_hold_the_object_and_little_more(unscaled):
    scene = read_scene(unscaled, masks=True)
    assert "hull of 12 masks" in scene.bounds_source
    # The hull of 12 views of a sphere sticks out by a few per cent; a margin and a coarse voxel come on top.
    assert 0.6 < radius_in_bounds(scene.unit_from_world) < 0.97


@pytest.mark.parametrize("bad", ["black", "white", "inverted", "shifted"])
def test_one_bad_mask_does_not_move_the_bounds(unscaled, bad):
    good = sphere_mask(ring()[5])
    masks = {"black": good & False, "white": good | True, "inverted": ~good, "shifted": np.roll(good, 18, axis=1)}
    replace_mask(unscaled, 5, masks[bad])
    assert 0.5 < radius_in_bounds(read_scene(unscaled, masks=True).unit_from_world) < 1.0


def test_bounds_of_points_survive_outliers_and_background(unscaled):
    points = surface_points(500)
    generator = np.random.default_rng(1)
    outliers = apply(world_from_unit(), generator.normal(size=(8, 3)) * 1.5)
    background = apply(world_from_unit(), generator.normal(size=(300, 3)) * 100)
    write_sparse_depth(unscaled / "sparse.npz", SparseDepth(np.concatenate([points, outliers, background])))
    scene = read_scene(unscaled, depth=unscaled / "sparse.npz")
    assert "sparse points" in scene.bounds_source
    assert 0.7 < radius_in_bounds(scene.unit_from_world) < 1.0


def test_cameras_alone_give_a_guess_that_says_so(unscaled):
    scene = read_scene(unscaled)
    assert "guess" in scene.bounds_source
    assert radius_in_bounds(scene.unit_from_world) < 1


def test_nothing_to_go_by_is_refused(unscaled):
    with pytest.raises(SceneError, match="Nothing says where the object is"):
        read_scene(unscaled, view_range="0")


def test_bounds_do_not_depend_on_the_frame_of_the_world(unscaled):
    views = small_masks(read_scene(unscaled, masks=True).views, 64)
    moved = world_from_unit()
    elsewhere = [replace(view, camera=camera_in_frame(view.camera, moved)) for view in views]
    # The samples lie differently in the object: a voxel of 56 across the ball.
    first, second = find_bounds(views, None)[0], find_bounds(elsewhere, None)[0]
    assert similarity_scale(first) / similarity_scale(second @ moved) == pytest.approx(1, abs=0.08)


def test_scale_mat_is_taken_as_it_is(folder):
    scene = read_scene(folder, masks=True)
    assert "scale_mat in cameras.npz" in scene.bounds_source
    assert radius_in_bounds(scene.unit_from_world) == pytest.approx(RADIUS)


def test_good_masks_agree(folder):
    scene = read_scene(folder, masks=True)
    views = load_views(scene, None)
    check_hull(scene, views)
    check = check_scene(scene, views)
    # The silhouette of the hull is exact up to the pixels of a 64 pixel image.
    assert min(view.hull_iou for view in check.views) > 0.93
    assert check.notes == ()
    # The hull of a sphere is a little larger than the sphere.
    assert RADIUS**3 < check.hull_volume < 1.6 * RADIUS**3


@pytest.mark.parametrize("bad", ["inverted half", "shifted", "small"])
def test_the_mask_that_disagrees_is_named(folder, bad):
    good = sphere_mask(ring()[5])
    columns = np.arange(good.shape[1]) > ring()[5].intrinsics[0, 2]
    masks = {
        "inverted half": good ^ columns,
        "shifted": np.roll(good, 9, axis=1),
        "small": sphere_mask(ring()[5], radius_in_unit=0.35),
    }
    replace_mask(folder, 5, masks[bad])
    scene = read_scene(folder, masks=True)
    check = check_scene(scene, load_views(scene, None))
    assert worst_views(check)[0].name == "000005.png"
    # The others are judged without it.
    assert sorted(view.hull_iou for view in check.views)[1] > 0.85
    assert any("000005.png" in note for note in check.notes)


def test_empty_hull_names_the_masks_that_conflict(tmp_path):
    # Wide enough that every view sees the whole ball.
    cameras = [replace(camera, intrinsics=np.diag([0.6, 0.6, 1]) @ camera.intrinsics) for camera in ring()]
    cameras = [replace(c, intrinsics=c.intrinsics + np.array([[0, 0, 12.8], [0, 0, 9.6], [0, 0, 0]])) for c in cameras]
    masks = [sphere_mask(camera) for camera in cameras]
    for index in (2, 7):
        masks[index] = ~sphere_mask(cameras[index], radius_in_unit=1.2)
    write_sphere(tmp_path, cameras=cameras, masks=masks)
    scene = read_scene(tmp_path, masks=True)
    with pytest.raises(SceneError, match=r"without 2 of them: 000002\.png, 000007\.png\."):
        check_hull(scene, load_views(scene, None))


def test_contradicting_masks_leave_no_bounds(unscaled):
    for index in range(12):
        mask = np.zeros((ring()[index].height, ring()[index].width), bool)
        mask[:3, :3] = index % 2 == 0
        mask[-3:, -3:] = index % 2 == 1
        replace_mask(unscaled, index, mask)
    with pytest.raises(SceneError, match="contradict each other"):
        read_scene(unscaled, masks=True)


def test_object_outside_the_images_is_refused(folder):
    def move(arrays):
        for key in [key for key in arrays if key.startswith("scale")]:
            arrays[key] = arrays[key].copy()
            arrays[key][:3, 3] += 100

    change_arrays(folder / "cameras.npz", move)
    scene = read_scene(folder, masks=True)
    with pytest.raises(SceneError, match="lies outside 12 of 12 images"):
        check_hull(scene, load_views(scene, None))


def test_views_without_masks_are_noted(folder):
    (folder / "mask" / "000001.png").unlink()
    scene = read_scene(folder, masks=True)
    check = check_scene(scene, load_views(scene, None))
    assert check.views[1].hull_iou is None
    assert any("1 of 12 views have no mask: 000001.png" in note for note in check.notes)
    scene = read_scene(folder)
    check_hull(scene, load_views(scene, None))
    assert any("no masks" in note for note in check_scene(scene, load_views(scene, None)).notes)


def test_object_that_leaves_the_frames_keeps_its_hull(tmp_path):
    # The camera's image is the middle third only: the sphere fills it and goes on outside.
    cameras = ring()
    cropped = []
    for camera in cameras:
        intrinsics = camera.intrinsics.copy()
        intrinsics[:2, 2] -= [camera.width / 3, camera.height / 3]
        cropped.append(type(camera)(intrinsics, camera.camera_from_world, camera.height // 3, camera.width // 3))
    write_sphere(tmp_path, cameras=cropped)
    scene = read_scene(tmp_path, masks=True)
    check = check_scene(scene, load_views(scene, None))
    assert min(view.hull_iou for view in check.views) > 0.9


@pytest.mark.parametrize("name", ["scan65", "scan24_half", "gt_lion"])
def test_real_masks_agree(data_root, name):
    root = data_root / name
    if not root.is_dir():
        pytest.skip(f"no {name} in DVR_TEST_DATA")
    scene = read_scene(root, masks=True)
    check = check_scene(scene, load_views(scene, 400))
    assert min(view.hull_iou for view in check.views) > 0.94
    # Bounds found from masks must hold what scale_mat holds of the hull, and not be three times as large.
    found, _ = find_bounds(small_masks(scene.views, 200), None)
    assert 0.8 < 1 / similarity_scale(found @ scene.world_from_unit) < 3
