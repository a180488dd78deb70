"""Laws of the protocol plain: identity, offset, symmetry, scale, slow twin, and that hidden parts do not count."""

import numpy as np
import pytest

from dvr_cli.comparing.plain import plain
from dvr_cli.errors import CompareError
from dvr_cli.scenes.synthetic import random_similarity
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.extraction import to_world
from dvr_cli.surfaces.mesh import Mesh
from tests.comparing.exact_shapes import along_normals, ball, cameras_of, together, upper_half

NOTHING = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


def measure(shape, reference, **options):
    return plain(shape, reference, **{"samples": 20_000, "workers": 1, **options})


def values_of(evaluation):
    return {measure.name: measure.value for measure in evaluation.measures}


def random_cloud(seed, count=300, normals=False):
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return PointCloud(generator.uniform(size=(count, 3)), directions if normals else None)


def test_identity():
    found = values_of(measure(ball(), ball()))
    for name, value in found.items():
        share = name.startswith(("precision", "recall", "f_at", "normal"))
        assert value == pytest.approx(1 if share else 0, abs=1e-5), name
    assert {"f_at_0.25_percent", "f_at_0.5_percent", "f_at_1_percent", "hausdorff_max"} <= set(found)


@pytest.mark.parametrize("moved", [1.0, -1.0])
def test_mesh_moved_along_its_normals(moved):
    """A ball of 90 mm moved by 1 mm."""
    found = measure(along_normals(ball(90), moved), ball(90), thresholds=(0.2, 0.5))
    for name in ("accuracy", "completeness", "chamfer", "hausdorff_90", "hausdorff_max"):
        assert found.value(name) == pytest.approx(1, rel=0.01), name
    assert found.value("chamfer_percent") == pytest.approx(100 / (180 * np.sqrt(3)), rel=0.01)
    # 0.2 % of the diagonal is 0.62 mm, 0.5 % is 1.56 mm.
    assert found.value("f_at_0.2_percent") == 0 and found.value("f_at_0.5_percent") == 1
    assert found.value("normal_consistency") == pytest.approx(1, abs=1e-3)


def test_swapping_swaps_accuracy_and_completeness():
    shape, reference = upper_half(ball(1.02)), ball()
    forth, back = measure(shape, reference), measure(reference, shape)
    assert forth.value("accuracy") == pytest.approx(back.value("completeness"), rel=0.01)
    assert forth.value("completeness") == pytest.approx(back.value("accuracy"), rel=0.01)
    assert forth.value("chamfer") == pytest.approx(back.value("chamfer"), rel=0.01)
    assert forth.value("hausdorff_95") == pytest.approx(back.value("hausdorff_95"), rel=0.02)
    assert forth.value("normal_consistency") == pytest.approx(back.value("normal_consistency"), abs=0.01)


def test_scale_and_motion_change_lengths_only():
    matrix = np.diag([7.0, 7.0, 7.0, 1.0])
    matrix[:3, 3] = 3, -100, 20
    here = values_of(measure(upper_half(ball(1.01)), ball()))
    there = values_of(measure(to_world(upper_half(ball(1.01)), matrix), to_world(ball(), matrix)))
    for name, value in here.items():
        is_length = name in ("accuracy", "completeness", "chamfer") or name.startswith("hausdorff")
        assert there[name] == pytest.approx(7 * value if is_length else value, rel=1e-3), name


def test_rotation_changes_no_length():
    matrix = random_similarity(np.random.default_rng(1))
    matrix[:3, :3] /= np.cbrt(np.linalg.det(matrix[:3, :3]))
    here = measure(ball(1.05), ball())
    there = measure(to_world(ball(1.05), matrix), to_world(ball(), matrix))
    assert there.value("chamfer") == pytest.approx(here.value("chamfer"), rel=1e-3)


def test_clouds_agree_with_a_slow_twin():
    shape, reference = random_cloud(0, normals=True), random_cloud(1, 400, normals=True)
    found = measure(shape, reference, thresholds=(2.0,))
    pairs = np.linalg.norm(shape.points[:, None] - reference.points[None], axis=2)
    forth, back = pairs.min(axis=1), pairs.min(axis=0)
    limit = 0.02 * np.linalg.norm(np.ptp(reference.points, axis=0))
    precision, recall = (forth < limit).mean(), (back < limit).mean()
    cosines = np.abs(shape.normals @ reference.normals.T)
    forth_cosine = cosines[np.arange(len(forth)), pairs.argmin(axis=1)].mean()
    back_cosine = cosines[pairs.argmin(axis=0), np.arange(len(back))].mean()
    assert found.value("accuracy") == pytest.approx(forth.mean())
    assert found.value("completeness") == pytest.approx(back.mean())
    assert found.value("precision_at_2_percent") == precision and found.value("recall_at_2_percent") == recall
    assert found.value("f_at_2_percent") == pytest.approx(2 * precision * recall / (precision + recall))
    assert found.value("normal_consistency") == pytest.approx((forth_cosine + back_cosine) / 2)
    assert found.value("hausdorff_max") == pytest.approx(max(forth.max(), back.max()))
    assert found.value("hausdorff_90") == pytest.approx(max(np.percentile(forth, 90), np.percentile(back, 90)))


def test_cloud_against_mesh_measures_to_the_triangles():
    directions = ball(subdivisions=5).vertices
    found = measure(PointCloud(1.1 * directions), ball(subdivisions=5))
    assert found.value("accuracy") == pytest.approx(0.1, rel=0.01)
    assert found.value("normal_consistency") is None
    assert any("no normals" in note for note in found.notes)
    swapped = measure(ball(subdivisions=5), PointCloud(1.1 * directions))
    assert swapped.value("completeness") == pytest.approx(0.1, rel=0.01)


def test_large_clouds_are_sampled():
    cloud = random_cloud(0, 5000)
    found = measure(cloud, cloud, samples=500)
    assert found.settings["points"] == 500 and found.value("hausdorff_max") == 0


def test_what_no_camera_sees_does_not_count():
    """A second surface within the first is wrong, but no photograph could tell."""
    shape = together(ball(), ball(0.5))
    cameras = cameras_of()
    without, with_cameras = measure(shape, ball()), measure(shape, ball(), cameras=cameras)
    assert without.value("accuracy") > 0.05
    # The polyhedra of the visible surface are the same.
    assert with_cameras.value("accuracy") < 1e-5 and with_cameras.value("f_at_0.25_percent") == 1
    assert with_cameras.settings["points"] < without.settings["points"]
    assert "2 of 12 cameras" in with_cameras.notes[0]


def test_a_half_that_cameras_do_not_see_costs_nothing():
    # From 3.5 radii away a camera sees 73 degrees of the ball around itself: these see the upper half only.
    above = [camera for camera in cameras_of(count=200) if camera.centre[2] > 0.96 * np.linalg.norm(camera.centre)]
    assert len(above) >= 2
    half, whole = upper_half(ball()), ball()
    assert measure(half, whole).value("completeness") > 0.05
    assert measure(half, whole, cameras=above).value("completeness") < 1e-5


def test_only_what_two_cameras_see_counts():
    with pytest.raises(CompareError, match="No part of the mesh is seen by 2 of the 1 cameras"):
        measure(ball(), ball(), cameras=cameras_of()[:1])


def test_mesh_turned_inside_out_is_not_seen():
    inside_out = Mesh(ball().vertices, ball().faces[:, ::-1].copy())
    with pytest.raises(CompareError, match="inside out"):
        measure(inside_out, ball(), cameras=cameras_of())


def test_seed_decides():
    shape, reference = upper_half(ball(1.02)), ball()
    assert measure(shape, reference, seed=3) == measure(shape, reference, seed=3)
    assert measure(shape, reference, seed=3) != measure(shape, reference, seed=4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (NOTHING, "without faces"),
        (PointCloud(np.zeros((0, 3))), "empty cloud"),
        (PointCloud(np.full((2, 3), np.nan)), "NaN"),
    ],
)
def test_nothing_cannot_be_measured(shape, message):
    for pair in ((shape, ball()), (ball(), shape)):
        with pytest.raises(CompareError, match=message):
            measure(*pair)


def test_single_point_is_no_reference():
    with pytest.raises(CompareError, match="single point"):
        measure(ball(), PointCloud(np.ones((1, 3))))
