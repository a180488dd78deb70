"""A .glb file passes the Khronos validator, holds light and not stored colours, and splits vertices at seams only."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from gltf_validator import issues
from textured_mesh import textured_sphere, without_texture

from dvr_cli.surfaces.export import FileOptions, read_mesh, write_mesh
from dvr_cli.surfaces.files.gltf_files import encode_glb, split_at_seams
from dvr_cli.surfaces.files.placement import Placement
from dvr_cli.surfaces.files.srgb import linear_from_srgb, srgb_from_linear
from dvr_cli.surfaces.files.texture_images import encode_image
from dvr_cli.surfaces.mesh import Mesh


@pytest.fixture(scope="module")
def mesh():
    return textured_sphere()


def plain(mesh):
    return Mesh(mesh.vertices, mesh.faces)


def large(_):
    """More vertices than 16-bit indices can name."""
    across, along = np.meshgrid(np.arange(300.0), np.arange(300.0))
    vertices = np.stack([across.ravel(), along.ravel(), np.zeros(across.size)], axis=1)
    first = (np.arange(299)[:, None] * 300 + np.arange(299)).ravel()
    return Mesh(vertices, np.stack([first, first + 1, first + 300], axis=1))


def with_unusable_normals(mesh):
    normals = mesh.normals * 3
    normals[0], normals[1] = 0, np.nan
    return replace(mesh, normals=normals)


@pytest.mark.parametrize("change", [plain, without_texture, lambda mesh: mesh, large, with_unusable_normals])
def test_validator_finds_nothing(mesh, tmp_path, change):
    write_mesh(change(mesh), tmp_path / "a.glb", FileOptions(Placement("z", "mm", True)))
    assert not issues(tmp_path / "a.glb")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_validator_accepts_every_kind_of_image(mesh, tmp_path, kind):
    write_mesh(mesh, tmp_path / "a.glb", FileOptions(image=encode_image(mesh.texture.image, kind)))
    assert not issues(tmp_path / "a.glb")


def test_validator_sees_an_error(mesh, tmp_path):
    content = encode_glb(plain(mesh), None, "a").replace(b'"count"', b'"cuont"', 1)
    (tmp_path / "a.glb").write_bytes(content)
    assert any("error" in issue for issue in issues(tmp_path / "a.glb"))


def parsed(content: bytes) -> tuple[dict, bytes]:
    """The tree and the binary chunk of a .glb file."""
    length = int.from_bytes(content[12:16], "little")
    assert content[:4] == b"glTF" and int.from_bytes(content[8:12], "little") == len(content)
    return json.loads(content[20 : 20 + length]), content[20 + length + 8 :]


def test_image_is_stored_as_it_was_encoded(mesh):
    image = encode_image(mesh.texture.image, "jpeg")
    tree, binary = parsed(encode_glb(mesh, image, "mug"))
    view = tree["bufferViews"][tree["images"][0]["bufferView"]]
    assert binary[view["byteOffset"] :][: view["byteLength"]] == image.content
    assert tree["asset"]["generator"] == "dvr" and tree["images"][0]["mimeType"] == "image/jpeg"
    assert tree["nodes"][0]["name"] == "mug"
    assert tree["materials"][0]["pbrMetallicRoughness"] == {
        "metallicFactor": 0,
        "roughnessFactor": 1,
        "baseColorTexture": {"index": 0},
    }


def test_texture_or_colours_but_not_both(mesh):
    """Viewers multiply the two."""
    for one, expected in ((mesh, "TEXCOORD_0"), (without_texture(mesh), "COLOR_0")):
        image = None if one.texture is None else encode_image(one.texture.image)
        attributes = parsed(encode_glb(one, image, "a"))[0]["meshes"][0]["primitives"][0]["attributes"]
        assert set(attributes) == {"POSITION", "NORMAL", expected}


def test_vertex_colours_are_light_in_the_file_and_survive_reading(mesh, tmp_path):
    grey = np.linspace(0, 1, len(mesh.vertices))[:, None].repeat(3, axis=1)
    content = encode_glb(Mesh(mesh.vertices, mesh.faces, None, grey), None, "a")
    tree, binary = parsed(content)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = tree["bufferViews"][accessor["bufferView"]]["byteOffset"]
    stored = np.frombuffer(binary, "<u2", 4 * len(grey), start).reshape(-1, 4) / 65535
    np.testing.assert_allclose(stored[:, :3], linear_from_srgb(grey), atol=0.5 / 65535)
    (tmp_path / "a.glb").write_bytes(content)
    # Finer than 8 bits everywhere: the curve is steepest at black, 12.92.
    np.testing.assert_allclose(read_mesh(tmp_path / "a.glb").colors, grey, atol=12.92 * 0.5 / 65535 + 1e-9)


def test_vertex_colours_of_other_programs_are_light_too(mesh, tmp_path):
    import trimesh

    stored = np.tile(np.array([[55, 128, 255, 255]], dtype=np.uint8), (len(mesh.vertices), 1))
    trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=stored, process=False).export(tmp_path / "a.glb")
    expected = srgb_from_linear(np.array([55, 128, 255]) / 255)
    np.testing.assert_allclose(read_mesh(tmp_path / "a.glb").colors[0], expected, atol=1e-6)


def test_sixteen_bit_colours_without_a_material_are_read_in_full(mesh, tmp_path):
    """As Blender writes an object that has colours and no material."""
    tree, binary = parsed(encode_glb(without_texture(mesh), None, "a"))
    del tree["materials"], tree["meshes"][0]["primitives"][0]["material"]
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I", len(text)) + b"JSON" + text + struct.pack("<I", len(binary)) + b"BIN\0" + binary
    (tmp_path / "a.glb").write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
    np.testing.assert_allclose(read_mesh(tmp_path / "a.glb").colors, mesh.colors, atol=2e-4)


@pytest.mark.parametrize(("stored", "light"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.21404), (0.04045, 0.00313)])
def test_transfer_curve(stored, light):
    assert linear_from_srgb(np.array(stored)) == pytest.approx(light, abs=1e-5)
    assert srgb_from_linear(linear_from_srgb(np.array(stored))) == pytest.approx(stored, abs=1e-6)


def test_split_vertices_are_copies_and_faces_say_the_same(mesh):
    corners = mesh.texture.corners
    vertex, faces, coordinates = split_at_seams(len(mesh.vertices), mesh.faces, corners)
    np.testing.assert_array_equal(vertex[: len(mesh.vertices)], np.arange(len(mesh.vertices)))
    np.testing.assert_array_equal(vertex[faces], mesh.faces)
    np.testing.assert_array_equal(coordinates[faces], corners.astype(np.float32))
    pairs = np.concatenate([vertex[:, None], coordinates], axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert len(mesh.vertices) < len(vertex) < 1.5 * len(mesh.vertices)


def test_no_seam_no_split(mesh):
    per_vertex = np.random.default_rng(0).random((len(mesh.vertices), 2))
    vertex, faces, coordinates = split_at_seams(len(mesh.vertices), mesh.faces, per_vertex[mesh.faces])
    np.testing.assert_array_equal(vertex, np.arange(len(mesh.vertices)))
    np.testing.assert_array_equal(faces, mesh.faces)
    np.testing.assert_array_equal(coordinates, per_vertex.astype(np.float32))


def test_vertices_without_faces_and_signed_zeros():
    faces = np.array([[1, 2, 4], [4, 2, 1]])
    corners = np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, -0.0], [-0.0, 0.0]]])
    vertex, split, coordinates = split_at_seams(6, faces, corners)
    np.testing.assert_array_equal(vertex, np.arange(6))
    np.testing.assert_array_equal(split, faces)
    np.testing.assert_array_equal(coordinates[[0, 3, 5]], 0)
