"""A mesh file holds what was written into it, and a file that cannot be written or read says why."""

import numpy as np
import pytest

from dvr_cli.errors import ExportError
from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.surfaces.export import FORMATS, check_path, read_mesh, write_mesh
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import faces_outward, is_watertight

WITH_COLOUR = (".ply", ".obj", ".glb")


@pytest.fixture(scope="module")
def mesh():
    """A coloured sphere in world units far from one."""
    shape = Sphere(0.6)
    unit = extract(shape.value, shape.gradient, lambda points, _: 0.5 + 0.5 * points, resolution=20)
    return Mesh(unit.vertices * 37.0 + 200.0, unit.faces, unit.normals, unit.colors)


@pytest.mark.parametrize("suffix", FORMATS)
def test_shape_survives_every_format(mesh, tmp_path, suffix):
    write_mesh(mesh, tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    assert len(again.faces) == len(mesh.faces)
    np.testing.assert_allclose(again.vertices[again.faces], mesh.vertices[mesh.faces], atol=2e-5)
    assert faces_outward(again)


@pytest.mark.parametrize("suffix", WITH_COLOUR)
def test_order_normals_and_colours_survive(mesh, tmp_path, suffix):
    write_mesh(mesh, tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.faces, mesh.faces)
    np.testing.assert_allclose(again.vertices, mesh.vertices, atol=2e-5)
    np.testing.assert_allclose(again.normals, mesh.normals, atol=1e-6)
    np.testing.assert_allclose(again.colors, mesh.colors, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("suffix", FORMATS)
def test_mesh_without_normals_and_colours(mesh, tmp_path, suffix):
    write_mesh(Mesh(mesh.vertices, mesh.faces), tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    assert is_watertight(again)
    assert again.colors is None


def test_writing_replaces_and_leaves_nothing_else(mesh, tmp_path):
    path = tmp_path / "new folder" / "a.PLY"
    write_mesh(mesh, path)
    write_mesh(mesh, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.PLY"]


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.ply.gz"])
def test_unknown_format_lists_the_known_ones(mesh, tmp_path, name):
    with pytest.raises(ExportError, match=r"\.ply.*\.obj.*\.stl.*\.glb"):
        write_mesh(mesh, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_folder_in_the_way_and_file_for_a_folder(mesh, tmp_path):
    (tmp_path / "a.ply").mkdir()
    with pytest.raises(ExportError, match="is a folder"):
        check_path(tmp_path / "a.ply")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is not a folder"):
        write_mesh(mesh, tmp_path / "file" / "a.ply")


def test_failure_while_writing_leaves_the_old_file_alone(mesh, tmp_path, monkeypatch):
    path = tmp_path / "a.ply"
    path.write_bytes(b"old")

    def no_space(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(ExportError, match="no space left"):
        write_mesh(mesh, path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ply"]


def test_empty_mesh_is_refused(tmp_path):
    with pytest.raises(ExportError, match="no faces"):
        write_mesh(Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)), tmp_path / "a.ply")


@pytest.mark.parametrize("content", [b"", b"ply\nformat binary", b"\x00" * 300])
@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_file_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"a\."):
        read_mesh(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ExportError, match="does not exist"):
        read_mesh(tmp_path / "a.ply")
