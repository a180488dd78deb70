"""A good scene, broken in one way at a time: the finding has the right name, blames the right views, and helps."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.diagnosis.diagnose import quick_diagnosis
from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.sparse_depth import write_sparse_depth
from dvr_cli.scenes.views import SparseDepth
from tests.diagnosis.good_scene import (
    IMAGE_SIZE,
    VIEWS,
    bad_names,
    camera_parts,
    change_bounds,
    change_cameras,
    change_picture,
    found_in,
    good_scene,
    mask_path,
    named,
    shifted,
)


def surface_points(count=400):
    """Points on the object, in the world, with the views that see them (by the true depth) and errors."""
    _, views, _ = good_scene()
    generator = np.random.default_rng(0)
    points = []
    for view in views:
        rows, columns = np.nonzero(view.mask)
        chosen = generator.integers(0, len(rows), count // len(views))
        origins, directions = view.camera.rays(np.stack([columns[chosen] + 0.5, rows[chosen] + 0.5], axis=1))
        scene = good_scene()[0]
        # The middle of the object: near enough to the surface to lie in the region of interest.
        distance = np.linalg.norm(scene.world_from_unit[:3, 3] - origins, axis=1)
        points.append(origins + distance[:, None] * directions)
    return np.concatenate(points)


def test_good_scene_gives_no_warning(folder):
    for quick in (False, True):
        diagnosis = found_in(folder, quick=quick)
        assert not bad_names(diagnosis), [finding.line() for finding in diagnosis.findings]
        assert diagnosis.verdict == "Cameras, masks and bounds agree." and not diagnosis.fatal


def test_good_scene_without_scale_mat_or_masks_gives_no_wrong_alarm(folder):
    change_bounds(folder, lambda matrix: None)
    assert not bad_names(found_in(folder))
    assert bad_names(found_in(folder, masks=False)) == {"bounds-guessed"}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("pair", [(2, 9), (0, 5)])
def test_poses_of_two_views_swapped(folder, pair, quick):
    matrices = {}
    change_cameras(folder, lambda matrix, index: matrices.setdefault(index, matrix))
    change_cameras(folder, lambda matrix, index: matrices[pair[1 - pair.index(index)]], pair)
    finding = named(found_in(folder, quick=quick), "swapped-poses")
    assert set(finding.views) == {f"{index:03d}.png" for index in pair}


def test_one_mask_shifted(folder):
    change_picture(mask_path(folder, 4), lambda pixels: shifted(pixels, 10))
    finding = named(found_in(folder), "mask-shifted")
    assert finding.views == ("004.png",)
    figures = found_in(folder).views[4]
    np.testing.assert_allclose(figures.mask_shift, (10, 0), atol=2.5)


@pytest.mark.parametrize("offset", [(10, 0), (0, -10)])
def test_all_masks_shifted(folder, offset):
    for index in range(VIEWS):
        change_picture(mask_path(folder, index), lambda pixels: shifted(pixels, *offset))
    finding = named(found_in(folder), "mask-shifted")
    assert "all alike" in finding.text and finding.views == ()
    shift = [float(number) for number in re.search(r"\(([+-]\d+), ([+-]\d+)\) pixels", finding.text).groups()]
    np.testing.assert_allclose(shift, offset, atol=4)


def test_one_mask_empty(folder):
    change_picture(mask_path(folder, 7), np.zeros_like)
    assert named(found_in(folder), "mask-empty").views == ("007.png",)


def test_one_mask_full(folder):
    change_picture(mask_path(folder, 7), lambda pixels: np.full_like(pixels, 255))
    assert named(found_in(folder), "mask-full").views == ("007.png",)


def whiten(folder, indices):
    for index in indices:
        change_picture(mask_path(folder, index), lambda pixels: np.full_like(pixels, 255))


@pytest.mark.parametrize("bounds", ["given", "found"])
def test_all_masks_full_say_nothing_and_nothing_else_is_blamed(folder, bounds):
    if bounds == "found":
        change_bounds(folder, lambda matrix: None)
    whiten(folder, range(VIEWS))
    diagnosis = found_in(folder, quick=True)
    finding = named(diagnosis, "mask-full")
    assert finding.severity == "fatal" and f"All {VIEWS} masks are white" in finding.text
    guessed = {"bounds-guessed"} if bounds == "found" else set()
    assert "--no-masks" in finding.advice and bad_names(diagnosis) == {"mask-full"} | guessed


@pytest.mark.parametrize("quick", [False, True])
def test_half_the_masks_full_spoil_nothing(folder, quick):
    change_bounds(folder, lambda matrix: None)
    whiten(folder, range(0, VIEWS, 2))
    diagnosis = found_in(folder, quick=quick)
    assert len(named(diagnosis, "mask-full").views) == VIEWS // 2 and bad_names(diagnosis) == {"mask-full"}
    assert diagnosis.views[0].trusted is None and diagnosis.views[1].trusted


def test_full_masks_are_named_beside_a_mistake_of_all_cameras(folder):
    whiten(folder, [3])
    change_bounds(folder, lambda matrix: np.diag([1000.0, 1000, 1000, 1]) @ matrix)
    diagnosis = found_in(folder, quick=True)
    assert named(diagnosis, "scale-mismatch") and named(diagnosis, "mask-full").views == ("003.png",)


def test_a_single_mask_with_a_background_leaves_the_bounds_a_guess(folder):
    change_bounds(folder, lambda matrix: None)
    whiten(folder, range(1, VIEWS))
    assert "no two masks" in named(found_in(folder, quick=True), "bounds-guessed").text


@pytest.mark.parametrize("quick", [False, True])
def test_one_mask_inverted(folder, quick):
    change_picture(mask_path(folder, 7), lambda pixels: 255 - pixels)
    assert named(found_in(folder, quick=quick), "mask-inverted").views == ("007.png",)


def test_one_mask_with_a_part_cut_off(folder):
    change_picture(mask_path(folder, 3), lambda pixels: np.where(np.arange(IMAGE_SIZE) < 0.45 * IMAGE_SIZE, 0, pixels))
    diagnosis = found_in(folder)
    assert {"mask-disagrees", "mask-shifted"} & bad_names(diagnosis)
    assert "003.png" in diagnosis.culprits()


def test_masks_that_leave_no_hull(folder):
    for index in range(0, VIEWS, 4):
        change_picture(mask_path(folder, index), lambda pixels: shifted(pixels, 60, 40))
    diagnosis = found_in(folder)
    assert diagnosis.fatal and named(diagnosis, "hull-empty").severity == "fatal"


def test_missing_and_unreadable_masks(folder):
    mask_path(folder, 1).unlink()
    mask_path(folder, 2).write_bytes(b"no image")
    with pytest.raises(SceneError, match=r"002\.png cannot be decoded"):
        found_in(folder)
    content = mask_path(folder, 3).read_bytes()
    mask_path(folder, 2).write_bytes(content[: len(content) // 2])
    diagnosis = found_in(folder)
    assert named(diagnosis, "masks-missing").views == ("001.png",)
    assert named(diagnosis, "unreadable-mask").views == ("002.png",) and diagnosis.fatal


@pytest.mark.parametrize("bounds", ["given", "found"])
@pytest.mark.parametrize("masks", ["any", False])
def test_y_up_poses(folder, bounds, masks):
    if bounds == "found":
        change_bounds(folder, lambda matrix: None)
    flip = np.diag([1.0, -1.0, -1.0])

    def turn(matrix, index):
        intrinsics, pose = camera_parts(folder, index)
        matrix[:3] = intrinsics @ flip @ pose[:3]
        return matrix

    change_cameras(folder, turn)
    diagnosis = found_in(folder, masks=masks)
    finding = named(diagnosis, "axis-convention")
    assert finding.severity == "fatal" and "diag(1, -1, -1, 1)" in finding.advice


def test_inverted_poses(folder):
    change_bounds(folder, lambda matrix: None)

    def invert(matrix, index):
        intrinsics, pose = camera_parts(folder, index)
        matrix[:3] = intrinsics @ np.linalg.inv(pose)[:3]
        return matrix

    change_cameras(folder, invert)
    assert "Invert every pose" in named(found_in(folder), "axis-convention").advice


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_intrinsics_of_another_size(folder, factor, quick):
    def scale(matrix, index):
        matrix[:2] *= factor
        return matrix

    change_cameras(folder, scale)
    finding = named(found_in(folder, quick=quick), "intrinsics-size")
    assert finding.severity == "fatal"
    assert named(found_in(folder, masks=False), "intrinsics-size").severity == "warning"


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_region_of_interest_in_other_units(folder, factor):
    change_bounds(folder, lambda matrix: np.diag([factor, factor, factor, 1.0]) @ matrix)
    finding = named(found_in(folder), "scale-mismatch")
    assert finding.severity == "fatal" and f"{1 / factor:g}" in finding.text


def test_everything_in_other_units_is_no_mistake(folder):
    change_bounds(folder, lambda matrix: np.diag([1000.0, 1000, 1000, 1]) @ matrix)

    def scale(matrix, index):
        matrix[:, 3] *= [1000.0, 1000, 1000, 1]
        return matrix

    change_cameras(folder, scale)
    assert not bad_names(found_in(folder))


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_points_in_other_units(folder, factor):
    write_sparse_depth(folder / "sparse.npz", SparseDepth(surface_points()))
    assert not bad_names(found_in(folder, depth=folder / "sparse.npz", quick=True))
    write_sparse_depth(folder / "sparse.npz", SparseDepth(factor * surface_points()))
    finding = named(found_in(folder, depth=folder / "sparse.npz", quick=True), "points-scale")
    assert f"1000 times too {'large' if factor > 1 else 'small'}" in finding.advice


def test_points_of_elsewhere_unseen_and_inexact(folder):
    points = surface_points()
    pairs = np.stack([np.zeros(len(points), np.int64), np.arange(len(points))], axis=1)
    errors = np.full(len(points), 5.0)
    write_sparse_depth(folder / "sparse.npz", SparseDepth(points + 1e4, pairs, errors))
    diagnosis = found_in(folder, depth=folder / "sparse.npz", quick=True)
    assert {"points-outside", "points-unseen", "reprojection-error"} <= bad_names(diagnosis)


def test_points_of_one_view_reproject_badly(folder):
    points = surface_points()
    views = np.repeat(np.arange(VIEWS), len(points) // VIEWS)
    errors = np.where(views == 6, 9.0, 0.5)
    sparse = SparseDepth(points, np.stack([views, np.arange(len(points))], axis=1), errors)
    write_sparse_depth(folder / "sparse.npz", sparse)
    finding = named(found_in(folder, depth=folder / "sparse.npz", quick=True), "reprojection-error")
    assert finding.views == ("006.png",)


def test_one_side_only(folder):
    diagnosis = found_in(folder, view_range="0-5")
    assert "nearest: 00" in named(diagnosis, "coverage-gap").text
    assert named(diagnosis, "few-views").severity == "warning"


def test_neighbours_far_apart(folder):
    assert named(found_in(folder, view_range="0,7,11,15"), "sparse-views")


def test_two_views_do_for_masks_or_points_and_not_without(folder):
    assert named(found_in(folder, view_range="0-1", quick=True), "few-views").severity == "warning"
    for quick in (True, False):
        finding = named(found_in(folder, view_range="0-1", masks=False, quick=quick), "few-views")
        assert finding.severity == "fatal" and "3 views at least" in finding.advice
    assert named(found_in(folder, view_range="0-2", masks=False, quick=True), "few-views").severity == "warning"
    write_sparse_depth(folder / "sparse.npz", SparseDepth(surface_points()))
    known = found_in(folder, view_range="0-1", masks=False, quick=True, depth=folder / "sparse.npz")
    assert named(known, "few-views").severity == "warning"


@pytest.mark.parametrize("scale_mat", [True, False])
def test_one_view(folder, scale_mat):
    if not scale_mat:
        change_bounds(folder, lambda matrix: None)
    for quick in (True, False):
        finding = named(found_in(folder, view_range="0", quick=quick), "one-view")
        assert finding.severity == "fatal"


def test_the_same_pose_twice(folder):
    matrices = {}
    change_cameras(folder, lambda matrix, index: matrices.setdefault(index, matrix))
    change_cameras(folder, lambda matrix, index: matrices[2], [9])
    assert named(found_in(folder), "same-pose").views == ("009.png",)


def test_camera_far_from_the_others_and_one_that_looks_elsewhere(folder):
    def move(matrix, index):
        intrinsics, pose = camera_parts(folder, index)
        if index == 3:
            # Back along its own axis, so that the object stays in the picture.
            pose[2, 3] *= 8
        else:
            pose[:3] = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]) @ pose[:3]
        matrix[:3] = intrinsics @ pose[:3]
        return matrix

    change_cameras(folder, move, [3, 10])
    finding = named(found_in(folder), "pose-outlier")
    assert set(finding.views) == {"003.png", "010.png"}


def test_focal_length_of_one_view(folder):
    def zoom(matrix, index):
        intrinsics, pose = camera_parts(folder, index)
        intrinsics[[0, 1], [0, 1]] *= 1.8
        matrix[:3] = intrinsics @ pose[:3]
        return matrix

    change_cameras(folder, zoom, [3])
    assert named(found_in(folder), "focal-length").views == ("003.png",)


def test_object_outside_the_images(folder):
    change_bounds(folder, lambda matrix: matrix + np.outer([100.0, 50, 20, 0], [0, 0, 0, 1]))
    for masks in ("any", False):
        assert named(found_in(folder, masks=masks), "object-outside").severity == "fatal"


def test_no_masks_and_nothing_that_says_where_the_object_is(folder):
    change_bounds(folder, lambda matrix: None)
    diagnosis = found_in(folder, masks=False)
    assert named(diagnosis, "no-masks").severity == "note"
    finding = named(diagnosis, "bounds-guessed")
    # Which is what `dvr reconstruct` does, and what docs/troubleshooting.md says.
    assert finding.severity == "warning" and "dvr reconstruct triangulates points" in finding.advice


def test_what_the_reader_noted_is_passed_on(folder):
    scene = replace(read_scene(folder), notes=("the folder could be read otherwise",))
    assert named(quick_diagnosis(scene, 1), "reader-note").text == "The folder could be read otherwise"


@pytest.mark.parametrize(
    "note",
    ["the points that transforms.json names are missing: a.ply", "1 depth map that a frame names is missing: a.png",
     "2 depth maps that the frames name are missing: a.png, b.png"],
)  # fmt: skip
def test_depth_that_is_named_and_not_there_is_a_warning(folder, note):
    finding = named(quick_diagnosis(replace(read_scene(folder), notes=(note,)), 1), "missing-depth")
    assert finding.severity == "warning" and finding.text[1:] == note[1:]


def test_damaged_depth_map_is_named(folder):
    (folder / "depth").mkdir()
    for index in range(VIEWS):
        np.save(folder / "depth" / f"{index:03d}.npy", np.ones((IMAGE_SIZE * 3 // 4, IMAGE_SIZE), np.float32))
    assert not bad_names(found_in(folder, depth=folder / "depth"))
    (folder / "depth" / "004.npy").write_bytes(b"no array")
    finding = named(found_in(folder, depth=folder / "depth"), "unreadable-depth")
    assert finding.views == ("004.png",) and finding.severity == "fatal"
