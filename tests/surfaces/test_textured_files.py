"""A textured file shows its image the right way up in other programs, stays closed, and is written whole or not."""

import errno
import os
import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from textured_mesh import asymmetric_image, colour_at, points_on, textured_sphere, without_texture

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.export import FileOptions, check_path, holds, read_mesh, write_mesh
from dvr_cli.surfaces.files.texture_images import encode_image
from dvr_cli.surfaces.topology import faces_outward, is_watertight

TEXTURED = (".obj", ".glb")


@pytest.fixture(scope="module")
def mesh():
    return textured_sphere()


@pytest.mark.parametrize("suffix", TEXTURED)
def test_everything_survives(mesh, tmp_path, suffix):
    write_mesh(mesh, tmp_path / f"a{suffix}")
    notes = []
    again = read_mesh(tmp_path / f"a{suffix}", notes.append)
    np.testing.assert_array_equal(again.faces, mesh.faces)
    np.testing.assert_allclose(again.vertices, mesh.vertices, atol=2e-5)
    np.testing.assert_allclose(again.normals, mesh.normals, atol=1e-6)
    np.testing.assert_array_equal(again.texture.image, mesh.texture.image)
    np.testing.assert_allclose(again.texture.corners, mesh.texture.corners, atol=1e-7)
    assert again.colors is None and not notes


@pytest.mark.parametrize("suffix", TEXTURED)
def test_closed_mesh_stays_closed(mesh, tmp_path, suffix):
    assert is_watertight(mesh)
    write_mesh(mesh, tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    assert is_watertight(again) and faces_outward(again)


def test_obj_shares_vertices_across_seams(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "a.obj")
    lines = (tmp_path / "a.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == len(mesh.vertices)
    assert sum(line.startswith("f ") for line in lines) == len(mesh.faces)
    # Coordinates are repeated only where the charts meet.
    assert len(mesh.vertices) < sum(line.startswith("vt ") for line in lines) < 1.5 * len(mesh.vertices)


@pytest.mark.parametrize("suffix", TEXTURED)
def test_right_way_up_in_trimesh(mesh, tmp_path, suffix):
    import trimesh

    write_mesh(mesh, tmp_path / f"a{suffix}")
    loaded = trimesh.load_mesh(tmp_path / f"a{suffix}", process=False)
    faces, weights = points_on(mesh)
    coordinates = np.einsum("nk,nkc->nc", weights, loaded.visual.uv[loaded.faces[faces]])
    material = loaded.visual.material
    image = material.baseColorTexture if suffix == ".glb" else material.image
    shown = trimesh.visual.color.uv_to_interpolated_color(coordinates, image)[:, :2]
    places = np.einsum("nk,nkc->nc", weights, mesh.vertices[mesh.faces[faces]])
    np.testing.assert_allclose(
        np.einsum("nk,nkc->nc", weights, loaded.vertices[loaded.faces[faces]]), places, atol=2e-5
    )
    expected = colour_at(np.einsum("nk,nkc->nc", weights, mesh.texture.corners[faces]))
    # trimesh places texel centres half a texel off: 2 and 3 units of colour lie between neighbours here.
    np.testing.assert_allclose(shown, expected, atol=3.1)


def test_right_way_up_in_open3d(mesh, tmp_path):
    import open3d

    write_mesh(mesh, tmp_path / "a.obj")
    loaded = open3d.io.read_triangle_mesh(str(tmp_path / "a.obj"))
    # Open3D puts an empty texture first, for faces without a material, and turns images upside down when it reads
    # them, so that v counts their rows from the first one.
    image = next(pixels for pixels in map(np.asarray, loaded.textures) if pixels.size > 1)
    corners = np.asarray(loaded.triangle_uvs).reshape(-1, 3, 2)
    middles = np.asarray(loaded.vertices)[np.asarray(loaded.triangles)].mean(axis=1)
    np.testing.assert_allclose(middles, mesh.vertices[mesh.faces].mean(axis=1), atol=1e-4)
    coordinates = corners.mean(axis=1)
    height, width = image.shape[:2]
    shown = image[(coordinates[:, 1] * height).astype(int), (coordinates[:, 0] * width).astype(int)]
    expected = colour_at(mesh.texture.corners.mean(axis=1))
    np.testing.assert_allclose(shown[:, :2], expected, atol=2.1)  # the nearest texel is up to half a texel away


@pytest.mark.parametrize(("kind", "suffix"), [("jpeg", ".obj"), ("jpeg", ".glb"), ("webp", ".glb")])
def test_other_kinds_of_images(mesh, tmp_path, kind, suffix):
    image = encode_image(mesh.texture.image, kind)
    files = write_mesh(mesh, tmp_path / f"a{suffix}", FileOptions(image=image))
    again = read_mesh(files[0])
    faces, weights = points_on(mesh)
    difference = again.texture.colours(faces, weights) - mesh.texture.colours(faces, weights)
    assert np.sqrt(np.mean(difference**2)) < 0.02


@pytest.mark.parametrize(("kind", "suffix"), [("webp", ".obj"), ("webp", ".usdz")])
def test_kinds_that_readers_need_not_know_are_refused(mesh, tmp_path, kind, suffix):
    pytest.importorskip("pxr")
    with pytest.raises(ExportError, match="png, jpeg"):
        write_mesh(mesh, tmp_path / f"a{suffix}", FileOptions(image=encode_image(mesh.texture.image, kind)))
    assert not list(tmp_path.iterdir())


def test_files_that_are_written(mesh, tmp_path):
    assert write_mesh(mesh, tmp_path / "a.glb") == [tmp_path / "a.glb"]
    assert write_mesh(mesh, tmp_path / "a.obj") == [tmp_path / name for name in ("a.obj", "a.mtl", "a.png")]
    assert write_mesh(without_texture(mesh), tmp_path / "b.obj") == [tmp_path / "b.obj"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.glb", "a.mtl", "a.obj", "a.png", "b.obj"]


def test_names_that_break_readers_are_kept_out_of_the_material(mesh, tmp_path):
    """Open3D's reader, for one, ends a name at the first blank."""
    import open3d

    path = tmp_path / "-my mug (2) é.obj"
    files = write_mesh(mesh, path)
    assert [file.name for file in files] == [path.name, "_my_mug__2__é.mtl", "_my_mug__2__é.png"]
    np.testing.assert_array_equal(read_mesh(path).texture.image, mesh.texture.image)
    assert any(np.asarray(image).size > 1 for image in open3d.io.read_triangle_mesh(str(path)).textures)


@pytest.mark.parametrize("suffix", [".ply", ".stl"])
def test_formats_without_textures_leave_it_out(mesh, tmp_path, suffix):
    assert "texture" not in holds(tmp_path / f"a{suffix}")
    write_mesh(mesh, tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    assert again.texture is None and (again.colors is not None) == ("colors" in holds(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize("suffix", TEXTURED)
def test_one_face_with_a_one_texel_image(mesh, tmp_path, suffix):
    texture = replace(mesh.texture, image=np.full((1, 1, 3), 77, dtype=np.uint8), corners=mesh.texture.corners[:1])
    write_mesh(replace(mesh, faces=mesh.faces[:1], texture=texture), tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    assert len(again.faces) == 1 and np.all(again.texture.image == 77)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb"])
def test_mesh_that_is_not_finite_is_refused(mesh, tmp_path, suffix):
    broken = mesh.vertices.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ExportError, match="NaN"):
        write_mesh(replace(mesh, vertices=broken), tmp_path / f"a{suffix}")
    corners = mesh.texture.corners.copy()
    corners[0, 0, 0] = np.inf
    with pytest.raises(ExportError, match="infinite"):
        write_mesh(replace(mesh, texture=replace(mesh.texture, corners=corners)), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


def old_files(folder) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


@contextmanager
def files_of_at_most(size: int):
    """The system refuses to let any file grow beyond `size` bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb", ".usdz"])
def test_full_disk_leaves_the_old_files(mesh, tmp_path, suffix):
    if suffix == ".usdz":
        pytest.importorskip("pxr")
    path = tmp_path / f"a{suffix}"
    write_mesh(without_texture(mesh), path)
    before = old_files(tmp_path)
    with files_of_at_most(1000), pytest.raises(ExportError, match=rf"Cannot write .*a\{suffix}"):
        write_mesh(mesh, path)
    assert old_files(tmp_path) == before
    write_mesh(mesh, path)
    assert old_files(tmp_path) != before or suffix in (".ply", ".stl")


@pytest.mark.parametrize("failing", ["a.png", "a.mtl", "a.obj"])
def test_failure_between_the_files_of_an_obj(mesh, tmp_path, monkeypatch, failing):
    """The mesh takes its place last: it never names a material or image that is not there."""
    write_mesh(without_texture(mesh), tmp_path / "a.obj")
    before, real = old_files(tmp_path), os.replace

    def replace_or_fail(source, target):
        if target.name == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    with pytest.raises(ExportError, match="no space left"):
        write_mesh(mesh, tmp_path / "a.obj")
    after = old_files(tmp_path)
    assert after["a.obj"] == before["a.obj"]
    assert not any(name.startswith(".") for name in after)
    expected = {"a.png": {"a.obj"}, "a.mtl": {"a.obj", "a.png"}, "a.obj": {"a.obj", "a.png", "a.mtl"}}
    assert set(after) == expected[failing]


def test_usdz_without_its_library_says_what_to_install(mesh, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"pip install 'dvr-cli\[usd\]'"):
        check_path(tmp_path / "a.usdz")


def test_image_is_asymmetric():
    image = asymmetric_image()
    assert not np.array_equal(image, image[::-1]) and not np.array_equal(image, image[:, ::-1])
    assert not np.array_equal(image, image[::-1, ::-1])
