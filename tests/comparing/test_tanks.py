"""The protocol of Tanks and Temples: thresholds, crop volumes and alignment."""

import json

import numpy as np
import open3d
import pytest

from dvr_cli.comparing.alignment import align
from dvr_cli.comparing.crop_volume import CropVolume, read_crop_volume
from dvr_cli.comparing.metrics import sample_surface
from dvr_cli.comparing.tanks import moved, tanks
from dvr_cli.errors import CompareError
from dvr_cli.scenes.synthetic import random_similarity
from dvr_cli.scenes.synthetic_shapes import demo_shape
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.extraction import extract
from tests.comparing.exact_shapes import along_normals, ball, together, upper_half

WORLD_FROM_SHAPE = random_similarity(np.random.default_rng(5))


@pytest.fixture(scope="module")
def statue():
    """A shape without any symmetry."""
    shape = demo_shape()
    return extract(shape.value, shape.gradient, resolution=40)


def measure(shape, reference, threshold=0.05, **options):
    return tanks(shape, reference, threshold, workers=1, **options)


def test_identity():
    found = measure(ball(), ball())
    assert found.value("f") == found.value("precision") == found.value("recall") == 1


@pytest.mark.parametrize(("offset", "expected"), [(0.02, 1), (0.08, 0)])
def test_offset_is_judged_by_the_threshold(offset, expected):
    found = measure(along_normals(ball(), offset), ball())
    assert found.value("f") == found.value("precision") == found.value("recall") == expected


def test_missing_half_costs_recall_only():
    found = measure(upper_half(ball()), ball())
    assert found.value("precision") == 1
    # What lies just below the edge is within the threshold of it.
    assert found.value("recall") == pytest.approx(0.5 + 0.05 / 2, abs=0.02)
    assert found.value("f") == pytest.approx(2 * found.value("recall") / (1 + found.value("recall")))


def test_swapping_swaps_precision_and_recall():
    forth, back = measure(upper_half(ball()), ball()), measure(ball(), upper_half(ball()))
    assert forth.value("precision") == pytest.approx(back.value("recall"), abs=0.01)
    assert forth.value("recall") == pytest.approx(back.value("precision"), abs=0.01)


def test_clouds_agree_with_a_slow_twin():
    generator = np.random.default_rng(0)
    shape, reference = generator.uniform(size=(2, 300, 3))
    found = measure(PointCloud(shape), PointCloud(reference), 0.08)
    thinned = []
    for points in (shape, reference):
        cells = np.floor((points - points.min(axis=0) + 0.02) / 0.04)
        thinned.append(
            np.array([points[(cells == cell).all(axis=1)].mean(axis=0) for cell in np.unique(cells, axis=0)])
        )
    pairs = np.linalg.norm(thinned[0][:, None] - thinned[1][None], axis=2)
    assert found.value("precision") == pytest.approx((pairs.min(axis=1) < 0.08).mean())
    assert found.value("recall") == pytest.approx((pairs.min(axis=0) < 0.08).mean())


def test_scale_changes_nothing():
    bigger = np.diag([50.0, 50.0, 50.0, 1.0])
    here = measure(upper_half(ball(1.01)), ball())
    there = measure(moved(upper_half(ball(1.01)), bigger), moved(ball(), bigger), 50 * 0.05)
    assert there.value("f") == pytest.approx(here.value("f"), abs=1e-3)
    assert there.value("accuracy_mean") == pytest.approx(50 * here.value("accuracy_mean"), rel=0.01)


def square(half=1.0, low=0.0, high=2.0):
    corners = half * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    return CropVolume(2, low, high, corners)


def test_what_is_cropped_away_does_not_count():
    wrong_below = together(upper_half(ball()), ball(0.1, (0.0, 0.0, -3.0)))
    assert measure(wrong_below, ball()).value("precision") < 1
    found = measure(wrong_below, ball(), crop=square(1.5, 0.1))
    assert found.value("f") == 1 and found.settings["cropped"]


def test_empty_crop_is_refused():
    with pytest.raises(CompareError, match="Nothing of the mesh lies in the crop volume: it spans"):
        measure(ball(0.1, (5.0, 5.0, 5.0)), ball(), crop=square())


def crop_file(folder, **changes):
    values = {
        "class_name": "SelectionPolygonVolume", "version_major": 1, "version_minor": 0, "orthogonal_axis": "Y",
        "axis_min": -0.5, "axis_max": 0.7,
        "bounding_polygon": [[-0.9, 0, -0.8], [0.8, 0, -0.9], [0.1, 0, 0.0], [0.9, 0, 0.7], [-0.7, 0, 0.9]],
    }  # fmt: skip
    path = folder / "crop.json"
    path.write_text(json.dumps({key: value for key, value in (values | changes).items() if value is not None}))
    return path


@pytest.mark.parametrize("axis", ["X", "Y", "Z"])
def test_crop_is_that_of_open3d(tmp_path, axis):
    """A polygon that is not convex, along each of the axes."""
    order = {"X": [1, 0, 2], "Y": [0, 1, 2], "Z": [0, 2, 1]}[axis]
    corners = np.array([[-0.9, 0, -0.8], [0.8, 0, -0.9], [0.1, 0, 0.0], [0.9, 0, 0.7], [-0.7, 0, 0.9]])[:, order]
    path = crop_file(tmp_path, orthogonal_axis=axis, bounding_polygon=corners.tolist())
    points = np.random.default_rng(0).uniform(-1, 1, size=(5000, 3))
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    expected = open3d.visualization.read_selection_polygon_volume(str(path)).crop_point_cloud(cloud)
    found = read_crop_volume(path)
    np.testing.assert_array_equal(points[found.contains(points)], np.asarray(expected.points))
    lower, upper = found.box()
    assert ((np.asarray(expected.points) >= lower) & (np.asarray(expected.points) <= upper)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orthogonal_axis": "W"}, "not X, Y or Z"),
        ({"orthogonal_axis": ""}, "not X, Y or Z"),
        ({"axis_min": 2}, "axis_min is not below axis_max"),
        ({"axis_max": "high"}, "no crop volume"),
        ({"axis_max": float("nan")}, "not finite"),
        ({"bounding_polygon": [[0, 0, 0], [1, 0, 0]]}, "at least three points"),
        ({"bounding_polygon": [[0, 0], [1, 0], [1, 1]]}, "at least three points"),
        ({"bounding_polygon": [[0, 0, 0], [1, 0], [1, 1, 1]]}, "no crop volume"),
        ({"bounding_polygon": None}, "no key 'bounding_polygon'"),
        ({"class_name": "Other"}, "of class SelectionPolygonVolume"),
    ],
)
def test_bad_crop_files(tmp_path, changes, message):
    with pytest.raises(CompareError, match=message):
        read_crop_volume(crop_file(tmp_path, **changes))


def test_crop_files_that_are_none(tmp_path):
    path = tmp_path / "crop.json"
    with pytest.raises(CompareError, match="does not exist"):
        read_crop_volume(path)
    for content in ("", "[]", "{", "[" * 100_000):
        path.write_text(content)
        with pytest.raises(CompareError, match="no crop volume"):
            read_crop_volume(path)


def test_alignment_finds_the_similarity(statue):
    """From any rotation, scale and place, and back to far below the threshold."""
    diagonal = np.linalg.norm(np.ptp(statue.vertices, axis=0))
    found = measure(moved(statue, WORLD_FROM_SHAPE), statue, 0.01 * diagonal, alignment=True)
    assert found.value("f") > 0.999
    described = found.settings["alignment"]
    np.testing.assert_allclose(
        np.array(described["reference_from_mesh"]) @ WORLD_FROM_SHAPE, np.eye(4), atol=0.005 * diagonal
    )
    assert described["scale"] == pytest.approx(1 / np.cbrt(np.linalg.det(WORLD_FROM_SHAPE[:3, :3])), rel=0.002)
    assert any("scale" in note and "degrees" in note for note in found.notes)


def test_alignment_leaves_what_lies_right(statue):
    generator = np.random.default_rng(0)
    first, second = (sample_surface(statue, 20_000, generator)[0] for _ in range(2))
    found = align(first, second, (0.05,), generator)
    np.testing.assert_allclose(found.reference_from_shape, np.eye(4), atol=2e-3)
    assert found.degrees < 0.1 and found.scale == pytest.approx(1, abs=1e-3) and found.fitness == 1


def test_nothing_can_be_aligned_with_a_point():
    with pytest.raises(CompareError, match="at least four points"):
        align(np.zeros((10, 3)), ball().vertices, (0.1,), np.random.default_rng(0))
