"""DTU's protocol: its arithmetic against a slow twin, its rules one by one, and its files."""

import numpy as np
import pytest
import scipy.io

from dvr_cli.comparing.dtu import dtu
from dvr_cli.comparing.dtu_files import ObservedVolume, read_observed_volume, read_plane
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh
from tests.comparing.exact_shapes import along_normals, ball, together

ABOVE_ZERO = np.array([0.0, 0.0, 1.0, 0.0])
"""The plane z = 0."""


def volume(lower=(-40, -40, -40), upper=(40, 40, 40), observed=lambda x, y, z: np.ones_like(x, dtype=bool), side=1.0):
    """Voxels whose centre fulfils a condition."""
    lower, upper = np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64)
    counts = np.round((upper - lower) / side).astype(int) + 1
    axes = [lower[axis] + side * np.arange(counts[axis]) for axis in range(3)]
    return ObservedVolume(observed(*np.meshgrid(*axes, indexing="ij")), lower, upper, side)


def measure(shape, reference, observed=None, plane=None, **options):
    return dtu(shape, reference, observed, plane, **{"thin_to": 0.5, "workers": 1, **options})


def cloud(*points):
    return PointCloud(np.array(points, dtype=np.float64))


def test_identity():
    found = measure(ball(20), ball(20), volume(), ABOVE_ZERO)
    for name in ("accuracy", "completeness", "overall"):
        # Both are thinned, each in its own order: points lie beside those of the other, never off the surface.
        assert found.value(f"{name}_mean") < 0.3
    same = cloud(*ball(20).vertices)
    found = measure(same, same, volume(), thin_to=1e-6)
    assert found.value("overall_mean") == found.value("overall_median") == found.value("accuracy_dropped") == 0


@pytest.mark.parametrize("sampling", ["lattice", "uniform"])
def test_mesh_moved_by_a_millimetre(sampling):
    """With the protocol's 0.2 mm, the points of two surfaces 1 mm apart are at most sqrt(1 + 0.2^2) apart."""
    found = measure(along_normals(ball(15), 1.0), ball(15), volume(), thin_to=0.2, sampling=sampling)
    for name in ("accuracy", "completeness", "overall"):
        assert found.value(f"{name}_mean") == pytest.approx(1, rel=0.01)
        assert found.value(f"{name}_median") == pytest.approx(1, rel=0.01)
    assert found.settings["sampling"] == sampling and found.settings["thin"] == 0.2


def test_thinning_leaves_means_unchanged():
    shape, reference = ball(25, subdivisions=3), ball(20, subdivisions=3)
    fine, coarse = (measure(shape, reference, volume(), thin_to=length) for length in (0.3, 0.6))
    assert coarse.settings["points"] < 0.4 * fine.settings["points"]
    for name in ("accuracy_mean", "completeness_mean", "overall_median"):
        assert coarse.value(name) == pytest.approx(fine.value(name), rel=0.01)


def by_loops(points, reference, observed, plane):
    """The protocol after thinning, as MATLAB writes it: voxels counted from one, distances one by one."""
    forth = []
    for point in points:
        index = np.floor((point - observed.lower) / observed.side + 1 + 0.5).astype(int)
        if (index < 1).any() or (index > observed.voxels.shape).any() or not observed.voxels[tuple(index - 1)]:
            continue
        forth.append(np.linalg.norm(reference - point, axis=1).min())
    back = [np.linalg.norm(points - point, axis=1).min() for point in reference if plane[:3] @ point + plane[3] > 0]
    forth, back = np.array(forth), np.array(back)
    return forth[forth < 20], back[back < 20], (forth >= 20).sum(), (back >= 20).sum()


def test_agrees_with_a_slow_twin():
    generator = np.random.default_rng(0)
    points, reference = generator.uniform(-40, 40, size=(2, 400, 3)) * [[[1, 1, 0.3]], [[0.1, 1, 1]]]
    observed = volume((-30, -20, -20), (30, 30, 25), lambda x, y, z: x + y > -10, side=2.5)
    plane = np.array([0.3, -0.2, 1.0, 4.0])
    found = dtu(PointCloud(points), PointCloud(reference), observed, plane, thin_to=1e-9, workers=1)
    accuracy, completeness, far, missed = by_loops(points, reference, observed, plane)
    assert 0 < far < len(accuracy) and 0 < missed < len(completeness)
    assert found.value("accuracy_mean") == pytest.approx(accuracy.mean())
    assert found.value("completeness_mean") == pytest.approx(completeness.mean())
    assert found.value("overall_mean") == pytest.approx((accuracy.mean() + completeness.mean()) / 2)
    assert found.value("accuracy_median") == pytest.approx(np.median(accuracy))
    assert found.value("completeness_median") == pytest.approx(np.median(completeness))
    assert found.value("accuracy_dropped") == far and found.value("completeness_dropped") == missed


def test_twenty_millimetres_are_dropped_and_less_is_not():
    reference = cloud((0, 0, 0))
    found = measure(cloud((0, 0, 1), (20, 0, 0), (0, 19.5, 0)), reference)
    assert found.value("accuracy_mean") == pytest.approx((1 + 19.5) / 2)
    assert found.value("accuracy_dropped") == 1 and found.value("completeness_dropped") == 0
    assert any("1 of 3 judged points of the mesh (33.33%)" in note for note in found.notes)
    assert measure(cloud((0, 0, 1), (20, 0, 0)), reference, max_distance=20.1).value("accuracy_dropped") == 0


def test_nothing_near_leaves_the_mean_undefined():
    found = measure(cloud((25, 0, 0)), cloud((0, 0, 0)))
    assert found.value("accuracy_mean") is None and found.value("overall_mean") is None
    assert found.value("accuracy_dropped") == found.value("completeness_dropped") == 1


def test_observed_volume_bounds_accuracy_alone():
    """A lower half that is unobserved and wrong costs nothing; its points still serve the reference."""
    upper = volume(observed=lambda x, y, z: z > 3)
    shape = cloud((0, 0, 10), (0, 0, -11), (0, 0, -15))
    reference = cloud((0, 0, 10), (0, 0, -10))
    found = measure(shape, reference, upper)
    assert found.value("accuracy_mean") == 0 and found.settings["judged_points"] == 1
    assert found.value("completeness_mean") == pytest.approx(0.5)
    assert measure(shape, reference, volume()).value("accuracy_mean") == pytest.approx((0 + 1 + 5) / 3)


def test_plane_bounds_completeness_alone():
    shape, reference = cloud((0, 0, 10), (0, 0, -12)), cloud((0, 0, 10), (0, 0, -10), (5, 0, 0))
    found = measure(shape, reference, volume(), ABOVE_ZERO)
    # Points on the plane itself are not above it.
    assert found.value("completeness_mean") == 0 and found.settings["judged_reference_points"] == 1
    # What lies below is still there for accuracy.
    assert found.value("accuracy_mean") == pytest.approx(1)


def test_voxels_are_rounded_to_as_matlab_does():
    one = ObservedVolume(np.array([[[False, True]]]), np.zeros(3), np.array([0.0, 0, 1]), 1.0)
    heights = np.array([-0.5, 0.49, 0.5, 1.0, 1.49, 1.5])
    points = np.stack([np.zeros(6), np.zeros(6), heights], axis=1)
    assert one.contains(points).tolist() == [False, False, True, True, True, False]


def test_surroundings_far_from_the_volume_are_not_sampled():
    """A table of a square kilometre would have 10^13 points."""
    table = Mesh(np.array([[1e3, 1e3, 0], [1e6, 1e3, 0], [1e3, 1e6, 0.0]]), np.array([[0, 1, 2]]))
    bare, laid = (measure(shape, ball(20), volume()) for shape in (ball(20), together(ball(20), table)))
    assert laid.value("accuracy_mean") == bare.value("accuracy_mean")
    with pytest.raises(CompareError, match="would have about"):
        measure(together(ball(20), table), ball(20))


def test_vertices_without_a_face_are_no_surface():
    bare = ball(20)
    strewn = Mesh(np.concatenate([bare.vertices, np.random.default_rng(0).normal(size=(50, 3))]), bare.faces)
    assert measure(strewn, ball(21)) == measure(bare, ball(21))


def test_missing_files_are_said():
    notes = measure(ball(20), ball(20)).notes
    assert any("No observation mask and no plane" in note for note in notes)
    assert not measure(ball(20), ball(20), volume(), ABOVE_ZERO).notes


def test_seed_decides():
    first, again, other = (measure(ball(22), ball(20), seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert other.value("overall_mean") == pytest.approx(first.value("overall_mean"), rel=1e-3)


def test_shape_outside_the_volume_is_refused():
    with pytest.raises(CompareError, match=r"spans \[-1.0, -1.0, -1.0\].*\[500.0"):
        measure(ball(1), ball(20), volume((500, 500, 500), (600, 600, 600)))
    with pytest.raises(CompareError, match="above the plane"):
        measure(ball(20), ball(20), volume(), np.array([0.0, 0, 1, -100]))


def write_mat(folder, **arrays):
    path = folder / "file.mat"
    scipy.io.savemat(path, arrays)
    return path


def test_files_of_the_official_types(tmp_path):
    """BB is stored as int16 and Res as uint8, in which 300 - (-300) would overflow."""
    voxels = np.zeros((4, 5, 6), dtype=np.uint8)
    voxels[1, 2, 3] = 1
    box = np.array([[-30000, -200, 542], [30000, 227, 826]], dtype=np.int16)
    path = write_mat(tmp_path, ObsMask=voxels, BB=box, Res=np.uint8([[200]]), Margin=10)
    found = read_observed_volume(path)
    np.testing.assert_array_equal(found.voxels, voxels == 1)
    assert found.side == 200 and found.lower.tolist() == [-30000, -200, 542]
    assert found.contains(found.lower + 200.0 * np.array([[1, 2, 3], [1, 2, 4], [3e4, 0, 0]])).tolist() == [
        True, False, False,
    ]  # fmt: skip
    plane = np.array([[0.1], [-0.4], [-0.9], [667.0]])
    np.testing.assert_array_equal(read_plane(write_mat(tmp_path, P=plane)), plane.ravel())
    np.testing.assert_array_equal(read_plane(write_mat(tmp_path, P=plane.T)), plane.ravel())


GOOD = {"ObsMask": np.ones((2, 2, 2), np.uint8), "BB": np.array([[0, 0, 0], [1, 1, 1]], np.int16), "Res": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BB": np.zeros((2, 3))}, "lower and an upper corner"),
        ({"BB": np.zeros((3, 2))}, "BB is 3 x 2, and not 2 x 3"),
        ({"Res": -1.0}, "voxel size"),
        ({"Res": np.nan}, "voxel size"),
        ({"ObsMask": np.ones((2, 2))}, "ObsMask is 2 x 2"),
        ({"ObsMask": np.zeros((0, 2, 2))}, "0 values"),
        ({"ObsMask": np.array([[["a"]]], dtype=object)}, "ObsMask has type object"),
        ({"Res": None}, "it has no array Res, only ObsMask, BB"),
    ],
)
def test_bad_observation_masks(tmp_path, change, message):
    arrays = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(CompareError, match=message):
        read_observed_volume(write_mat(tmp_path, **arrays))
    read_observed_volume(write_mat(tmp_path, **GOOD))


def test_bad_planes(tmp_path):
    for plane in (np.zeros((4, 1)), np.full((4, 1), np.nan), np.ones((3, 1))):
        with pytest.raises(CompareError, match=r"file\.mat"):
            read_plane(write_mat(tmp_path, P=plane))


@pytest.mark.parametrize("content", [b"", b"not a mat file", b"MATLAB 7.3 MAT-file" + bytes(109)])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "file.mat"
    path.write_bytes(content)
    with pytest.raises(CompareError, match=r"file\.mat"):
        read_plane(path)
    with pytest.raises(CompareError, match="does not exist"):
        read_plane(tmp_path / "absent.mat")


def test_files_cut_off(tmp_path):
    path = write_mat(tmp_path, **GOOD)
    whole = path.read_bytes()
    for length in (100, 200, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(CompareError, match=r"file\.mat"):
            read_observed_volume(path)
