"""Views that are held out: which they are, that nothing of them is used, and that indices count what is left."""

import numpy as np
import pytest

from dvr_cli.errors import SceneError
from dvr_cli.fitting.scene_description import changed_inputs, describe_scene, read_described_scene, split_views
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.files import held_out_indices
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import SparseDepth
from tests.scenes.tiny_scenes import VIEWS, ring, write_colmap, write_sphere

POINTS = np.random.default_rng(2).normal(size=(25, 3))
PAIRS = np.stack([np.arange(25) % VIEWS, np.arange(25)], axis=1)


def names_of(scene):
    return [view.name for view in scene.views]


@pytest.mark.parametrize(
    ("count", "hold_out", "expected"),
    [(12, 8, (0, 8)), (12, 4, (0, 4, 8)), (12, 12, (0,)), (3, 100, (0,)), (4, 2, (0, 2)), (12, None, ())],
)
def test_every_nth_view_from_the_first_is_held_out(count, hold_out, expected):
    assert held_out_indices(count, hold_out) == expected


@pytest.mark.parametrize("hold_out", [1, 0, -3])
def test_numbers_below_two_are_refused(hold_out):
    with pytest.raises(SceneError, match="whole number of at least 2"):
        held_out_indices(12, hold_out)


@pytest.mark.parametrize("value", [2.0, "8", True, [8]])
@pytest.mark.parametrize("read", [read_described_scene, split_views])
def test_descriptions_with_something_else_than_a_number_are_refused(folder, read, value):
    with pytest.raises(SceneError, match="whole number of at least 2"):
        read(folder, {"hold_out": value})


@pytest.mark.parametrize(("count", "left"), [(2, 1), (3, 1), (1, 0)])
def test_too_few_views_left_are_refused_with_their_number(count, left):
    with pytest.raises(SceneError, match=f"leaves {left} of {count} views.*at least 2"):
        held_out_indices(count, 2)


def test_rest_of_the_scene_is_as_if_the_others_had_been_named(folder):
    held = read_scene(folder, masks=True, hold_out=4)
    named = read_scene(folder, masks=True, view_range="1-3,5-7,9-11")
    assert names_of(held) == names_of(named)
    np.testing.assert_array_equal(held.unit_from_world, named.unit_from_world)
    for one, other in zip(held.views, named.views, strict=True):
        assert one.image_path == other.image_path and one.mask_path == other.mask_path
        np.testing.assert_array_equal(one.camera.camera_from_world, other.camera.camera_from_world)


def test_counting_starts_at_the_views_chosen(folder):
    assert names_of(read_scene(folder, view_range="2-7", hold_out=3)) == [f"{index:06d}.png" for index in (3, 4, 6, 7)]


def test_bounds_come_from_the_masks_that_are_left(tmp_path):
    unscaled = tmp_path / "ball"
    write_sphere(unscaled, with_scale_mat=False)
    before = read_scene(unscaled, masks=True, hold_out=4)
    for index in (0, 4, 8):
        (unscaled / "mask" / f"{index:06d}.png").write_bytes(b"no picture")
    after = read_scene(unscaled, masks=True, hold_out=4)
    np.testing.assert_array_equal(before.unit_from_world, after.unit_from_world)


def test_points_know_the_remaining_views_by_their_new_numbers(folder):
    write_sparse_depth(folder / "sparse.npz", SparseDepth(POINTS, PAIRS))
    sparse = read_scene(folder, depth=folder / "sparse.npz", hold_out=4).sparse_depth
    left = [index for index in range(VIEWS) if index % 4]
    expected = [(left.index(view), point) for view, point in PAIRS.tolist() if view in left]
    assert sorted(map(tuple, sparse.visibility.tolist())) == sorted(expected)


def test_points_of_a_model_know_them_too(tmp_path):
    write_colmap(tmp_path, ring(6), points=POINTS[:4])
    sparse = read_scene(tmp_path, hold_out=3).sparse_depth
    assert sorted(map(tuple, sparse.visibility.tolist())) == [(view, point) for view in range(4) for point in range(4)]
    assert len(sparse.points) == 4


def test_depth_maps_go_with_their_views(folder):
    (folder / "depth").mkdir()
    for index in range(VIEWS):
        np.save(folder / "depth" / f"{index:06d}.npy", np.full((48, 64), index + 1.0))
    views = load_views(read_scene(folder, depth=folder / "depth", hold_out=4), None)
    assert [view.depth[0, 0] - 1 for view in views] == [1, 2, 3, 5, 6, 7, 9, 10, 11]


def test_split_gives_all_views_and_which_were_fitted(folder):
    options = {"masks": True, "hold_out": 4}
    scene, fitted, held_out = split_views(folder, options)
    assert held_out == (0, 4, 8) and sorted(fitted + held_out) == list(range(VIEWS)) and len(scene.views) == VIEWS
    used = names_of(read_described_scene(folder, options))
    assert [scene.views[index].name for index in fitted] == used
    assert split_views(folder, options, used)[1:] == (fitted, held_out)


@pytest.mark.parametrize("options", [{"masks": True}, {"masks": True, "hold_out": None}])
def test_split_without_hold_out_has_nothing_new(folder, options):
    scene, fitted, held_out = split_views(folder, options)
    assert fitted == tuple(range(len(scene.views))) and held_out == ()


def test_split_of_a_folder_that_changed_is_refused(folder):
    options = {"hold_out": 4}
    used = names_of(read_described_scene(folder, options))
    (folder / "image" / "000001.png").unlink()
    with pytest.raises(SceneError, match="other views than the run used"):
        split_views(folder, options, used)


def test_held_out_view_needs_no_mask(folder):
    (folder / "mask" / "000004.png").unlink()
    options = {"masks": True, "hold_out": 4}
    assert all(view.mask_path for view in read_described_scene(folder, options).views)
    assert [view.name for view in split_views(folder, options)[0].views if view.mask_path is None] == ["000004.png"]


def test_descriptions_from_before_the_option_are_still_the_same(folder):
    scene = read_described_scene(folder, {"masks": True})
    before = describe_scene(scene, {"masks": True})
    assert changed_inputs(before, describe_scene(scene, {"masks": True, "hold_out": None})) == []
    held = describe_scene(read_described_scene(folder, {"hold_out": 4}), {"hold_out": 4})
    assert "option hold_out" in changed_inputs(before, held)
    assert not [path for path in held["inputs"] if "000004" in path or "000008" in path]
