"""Atlases: no overlaps, padding, every face has its place, and when xatlas does not deliver the triangles step in."""

import sys
import time

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.unwrapping import atlas, atlas_process
from dvr_cli.surfaces.unwrapping.atlas import make_atlas, overlapping_faces
from dvr_cli.surfaces.unwrapping.texels import claimed_texels


def sphere(rows, columns, centre=(0, 0, 0), radius=1.0):
    """A closed sphere of 2 columns (rows - 1) faces."""
    polar, around = np.linspace(0, np.pi, rows + 1)[1:-1], np.arange(columns) * 2 * np.pi / columns
    ring = np.stack(
        np.broadcast_arrays(
            np.sin(polar)[:, None] * np.cos(around), np.sin(polar)[:, None] * np.sin(around), np.cos(polar)[:, None]
        ),
        axis=-1,
    )
    vertices = np.concatenate([ring.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    index = np.arange((rows - 1) * columns).reshape(rows - 1, columns)
    a, b, c, d = index[:-1], index[1:], np.roll(index, -1, axis=1)[1:], np.roll(index, -1, axis=1)[:-1]
    top, bottom = np.full(columns, len(vertices) - 2), np.full(columns, len(vertices) - 1)
    faces = [np.stack(three, axis=-1).reshape(-1, 3) for three in ((a, b, c), (a, c, d))]
    faces += [np.stack([top, index[0], np.roll(index[0], -1)], axis=1)]
    faces += [np.stack([bottom, np.roll(index[-1], -1), index[-1]], axis=1)]
    return Mesh(vertices * radius + np.asarray(centre), np.concatenate(faces))


def noisy_sphere():
    mesh = sphere(30, 60)
    return Mesh(mesh.vertices * np.random.default_rng(0).normal(1, 0.02, (len(mesh.vertices), 1)), mesh.faces)


def chart_of_faces(mesh, corners):
    """Faces are in one chart when they share a vertex at the same place of the image."""
    key = np.concatenate([mesh.faces.reshape(-1, 1), corners.reshape(-1, 2)], axis=1)
    vertex = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1, 3)
    start, end = vertex[:, [0, 1]].ravel(), vertex[:, [1, 2]].ravel()
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(vertex.max() + 1,) * 2)
    return connected_components(graph, directed=False)[1][vertex[:, 0]]


def check(mesh, found):
    """Every face in the image and the right way round, no texel in two faces."""
    assert found.corners.shape == (len(mesh.faces), 3, 2)
    assert np.isfinite(found.corners).all() and found.corners.min() >= 0 and found.corners.max() <= 1
    first, second = found.corners[:, 1] - found.corners[:, 0], found.corners[:, 2] - found.corners[:, 0]
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] > 0).all()
    texels = claimed_texels(found.corners, found.size)
    assert np.bincount(texels.row.astype(np.int64) * found.size + texels.column, minlength=1).max() == 1
    assert 0 < found.coverage <= 1
    return texels


@pytest.mark.parametrize("mesh", [sphere(20, 40), noisy_sphere()], ids=["smooth", "noisy"])
@pytest.mark.parametrize("padding", [2, 4])
def test_charts_do_not_overlap_and_lie_apart_by_the_padding(mesh, padding):
    found = make_atlas(mesh, 512, padding)
    assert found.method == "xatlas" and found.padding == padding
    texels = check(mesh, found)
    chart = chart_of_faces(mesh, found.corners)
    owner = np.full((512, 512), -1)
    owner[texels.row, texels.column] = chart[texels.face]
    assert len(np.unique(chart)) < len(mesh.faces) / 10
    for one in np.unique(owner[owner >= 0]):
        others = (owner >= 0) & (owner != one)
        assert distance_transform_edt(owner != one)[others].min() >= padding + 1


def test_texels_are_about_equally_large_everywhere():
    mesh = sphere(30, 60, radius=7.0)
    found = make_atlas(mesh, 1024)
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    first, second = found.corners[:, 1] - found.corners[:, 0], found.corners[:, 2] - found.corners[:, 0]
    density = 1024 * np.sqrt((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / area)
    np.testing.assert_allclose(np.sqrt(np.average(density**2, weights=area)), found.texels_per_unit, rtol=1e-9)
    assert np.quantile(density, 0.02) / found.texels_per_unit > 0.7
    assert np.quantile(density, 0.98) / found.texels_per_unit < 1.4


def test_the_same_mesh_gives_the_same_atlas_wherever_it_lies():
    mesh = sphere(12, 24)
    first, second = make_atlas(mesh, 256), make_atlas(mesh, 256)
    np.testing.assert_array_equal(first.corners, second.corners)
    moved = make_atlas(Mesh(mesh.vertices * 1024, mesh.faces), 256)
    np.testing.assert_allclose(moved.corners, first.corners, atol=1e-6)
    assert moved.texels_per_unit == pytest.approx(first.texels_per_unit / 1024)


def test_a_mesh_larger_than_a_part_is_covered_whole(monkeypatch):
    parts = atlas_process.split(noisy_sphere().vertices)
    assert len(parts) == 1
    monkeypatch.setattr(atlas_process, "FACES_PER_PART", 100)
    mesh = noisy_sphere()
    parts = atlas_process.split(mesh.vertices[mesh.faces].mean(axis=1))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(mesh.faces)))
    assert max(len(part) for part in parts) <= 100
    corners, width, height = atlas_process.charts(mesh.vertices, mesh.faces, 512, 2)
    assert len(overlapping_faces(corners / max(width, height), 512)) <= 5


def test_smoothing_for_charts_flattens_noise_and_keeps_planes():
    mesh = noisy_sphere()
    radii = [np.linalg.norm(v, axis=1) for v in (mesh.vertices, atlas_process.smoothed(mesh.vertices, mesh.faces))]
    assert radii[1].std() < radii[0].std() / 2 and abs(radii[1].mean() - radii[0].mean()) < 0.02
    line = np.arange(6.0)
    plane = np.stack([*np.meshgrid(line, line), np.zeros((6, 6))], axis=-1).reshape(-1, 3)
    index = np.arange(36).reshape(6, 6)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack(three, axis=-1).reshape(-1, 3) for three in ((a, b, c), (a, c, d))])
    found = atlas_process.smoothed(np.vstack([plane, [[9.0, 9, 9]]]), faces)
    assert (found[:-1, 2] == 0).all() and (found[-1] == 9).all()
    inner = index[2:-2, 2:-2].ravel()
    np.testing.assert_allclose(found[inner], plane[inner], atol=1e-12)


def test_ten_thousand_tiny_components():
    rng = np.random.default_rng(1)
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    vertices = (rng.normal(size=(10_000, 1, 3)) * 50 + corner * rng.uniform(0.5, 1, (10_000, 1, 1))).reshape(-1, 3)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]) + 4 * np.arange(10_000)[:, None, None]
    mesh = Mesh(vertices, faces.reshape(-1, 3))
    found = make_atlas(mesh, 2048, 1, time_limit=30)
    check(mesh, found)
    crowded = make_atlas(mesh, 512, 4, time_limit=30)
    check(mesh, crowded)
    assert crowded.method == "xatlas" and "between charts" in crowded.notes[-1]


@pytest.mark.parametrize(
    "faces",
    [
        [[0, 1, 2]],
        [[0, 1, 2], [0, 0, 1], [1, 1, 1]],
        [[0, 1, 4], [0, 4, 1]],
        [[0, 1, 2], [0, 1, 2], [0, 2, 1]],
        [[0, 1, 2], [0, 1, 3], [0, 1, 5], [1, 0, 6]],
        [[0, 1, 2], [1, 2, 7]],
    ],
    ids=["one", "collapsed", "line", "thrice", "many at an edge", "not a number"],
)
def test_degenerate_meshes(faces):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [2, 0, 0], [0, 0, 1], [0, 0, -1], [np.nan] * 3])
    mesh = Mesh(vertices, np.array(faces))
    check(mesh, make_atlas(mesh, 64, time_limit=20))


def test_no_faces():
    found = make_atlas(Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)), 64)
    assert found.corners.shape == (0, 3, 2) and found.texels_per_unit == 0


@pytest.mark.parametrize("size", [1, 2, 3, 9, 50])
def test_tiny_textures(size):
    check(Mesh(np.eye(3), np.array([[0, 1, 2]])), make_atlas(Mesh(np.eye(3), np.array([[0, 1, 2]])), size))
    if size >= 9:
        check(sphere(6, 8), make_atlas(sphere(6, 8), size))


def test_sizes_out_of_range():
    for size in (0, -4, atlas.LARGEST_SIZE + 1):
        with pytest.raises(ExportError, match="a texture of"):
            make_atlas(sphere(4, 6), size)


def fall_back(monkeypatch, tmp_path, script, **options):
    """The atlas when this is the process's program."""
    path = tmp_path / "program.py"
    path.write_text("import os, sys, time\nfolder = sys.argv[1]\n" + script)
    monkeypatch.setattr(atlas, "SCRIPT", path)
    mesh = sphere(6, 8)
    found = make_atlas(mesh, 128, **options)
    check(mesh, found)
    assert found.method == "triangles" and len(found.notes) == 1
    return found.notes[0]


def test_a_process_that_takes_too_long_is_ended(monkeypatch, tmp_path):
    told = []
    start = time.monotonic()
    note = fall_back(monkeypatch, tmp_path, "time.sleep(600)", time_limit=0.3, report=lambda *both: told.append(both))
    assert "did not end within 0.3 s" in note
    assert time.monotonic() - start < 300
    assert told and all(0 <= elapsed < limit == 0.3 for elapsed, limit in told)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("os.abort()", "signal 6"),
        ("sys.exit(9)", "code 9"),
        (f"sys.exit({atlas_process.NO_XATLAS})", "not installed"),
        ("pass", "nothing that can be read"),
        ("open(folder + '/corners.npz', 'wb').write(b'PK no archive')", "nothing that can be read"),
        ("import numpy; numpy.savez(folder + '/corners.npz', corners=numpy.zeros((3, 3, 2)), width=9, height=9)",
         "no coordinates"),
        ("import numpy; numpy.savez(folder + '/corners.npz', corners=numpy.full((80, 3, 2), 1e999), width=9, height=9)",
         "no place for 80 of 80"),
    ],
    ids=["crash", "failure", "missing", "silence", "damaged", "too few", "not numbers"],
)  # fmt: skip
def test_what_cannot_be_used_is_replaced(monkeypatch, tmp_path, script, reason):
    assert reason in fall_back(monkeypatch, tmp_path, script)


def test_overlapping_charts_are_found_and_replaced(monkeypatch, tmp_path):
    triangle = np.array([[0.1, 0.1], [0.6, 0.1], [0.1, 0.6]])
    assert overlapping_faces(np.stack([triangle, triangle + 0.05, triangle[::-1] + 0.36]), 64).tolist() == [1]
    script = (
        "import numpy; numpy.savez(folder + '/corners.npz', width=9, height=9, "
        "corners=numpy.tile(numpy.array([[1, 1], [6, 1], [1, 6.0]]), (80, 1, 1)))"
    )
    assert "79 of 80" in fall_back(monkeypatch, tmp_path, script)


def test_a_face_over_others_gets_a_place_of_its_own(monkeypatch):
    """One sliver laid over its chart and one left out: both go to the strip, the others stay charts."""
    mesh, charts = noisy_sphere(), atlas._from_process

    def with_two_bad(*arguments):
        in_texels, longest = charts(*arguments)
        in_texels[10] = in_texels[900]
        in_texels[20] = 0
        return in_texels, longest

    monkeypatch.setattr(atlas, "_from_process", with_two_bad)
    found = make_atlas(mesh, 512)
    check(mesh, found)
    assert found.method == "xatlas" and "of 3480 faces did not fit" in found.notes[0]


@pytest.mark.parametrize(("count", "verb"), [(1, "lies by itself"), (2, "lie by themselves")])
def test_faces_without_a_chart_are_counted_in_grammar(count, verb):
    (note,) = atlas._notes(np.arange(9) < count, 2, 2.0)
    assert note == f"{count} of 9 faces did not fit into charts and {verb}."


def test_too_many_faces_do_not_even_begin(monkeypatch):
    monkeypatch.setattr(atlas, "MOST_FACES", 10)
    monkeypatch.setattr(atlas, "SCRIPT", None)
    found = make_atlas(sphere(6, 8), 128)
    assert found.method == "triangles" and "too slow for 80 faces" in found.notes[0]


def test_the_process_runs_without_the_package(tmp_path):
    """It starts as a plain script, so it must not need the package on the path."""
    import subprocess

    mesh = sphere(6, 8)
    np.savez(tmp_path / "mesh.npz", vertices=mesh.vertices, faces=mesh.faces, size=64, padding=2)
    subprocess.run([sys.executable, "-P", atlas.SCRIPT, str(tmp_path)], cwd=tmp_path, check=True, capture_output=True)
    assert np.load(tmp_path / "corners.npz")["corners"].shape == (80, 3, 2)
