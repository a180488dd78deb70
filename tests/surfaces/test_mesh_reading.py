"""Mesh files of strangers: parts and transformations become one mesh, and nothing outside their folder is opened."""

import json
import struct
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from textured_mesh import points_on, textured_sphere

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.export import read_mesh, write_mesh
from dvr_cli.surfaces.topology import faces_outward, is_watertight, signed_volume

PLAIN = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\n"


@pytest.fixture(scope="module")
def mesh():
    return textured_sphere()


def image_file(colour: tuple[int, int, int], height: int = 4, width: int = 8) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, "PNG")
    return stream.getvalue()


def read_with_notes(path):
    notes: list[str] = []
    return read_mesh(path, notes.append), notes


@pytest.mark.parametrize("way", ["../secret.png", "absolute", "link.png", "folder/../../secret.png"])
def test_material_may_not_name_images_outside_the_folder(mesh, tmp_path, way):
    folder = tmp_path / "mesh"
    write_mesh(mesh, folder / "a.obj")
    secret = tmp_path / "secret.png"
    secret.write_bytes(image_file((1, 2, 3)))
    (folder / "link.png").symlink_to(secret)
    named = str(secret) if way == "absolute" else way
    (folder / "a.mtl").write_text(f"newmtl surface\nmap_Kd {named}\n")
    again, notes = read_with_notes(folder / "a.obj")
    assert again.texture is None and is_watertight(again)
    assert len(notes) == 1 and f"'{named}' lies outside its folder and is not opened" in notes[0]


def test_material_file_itself_may_not_lie_outside(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "mesh" / "a.obj")
    (tmp_path / "mesh" / "a.mtl").rename(tmp_path / "a.mtl")
    text = (tmp_path / "mesh" / "a.obj").read_text().replace("mtllib a.mtl", "mtllib ../a.mtl")
    (tmp_path / "mesh" / "a.obj").write_text(text)
    again, notes = read_with_notes(tmp_path / "mesh" / "a.obj")
    assert again.texture is None and "'../a.mtl' lies outside" in notes[0]


def rewritten(content: bytes, change) -> bytes:
    """A .glb file with another tree."""
    length = int.from_bytes(content[12:16], "little")
    tree = json.loads(content[20 : 20 + length])
    change(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    return content[:8] + struct.pack("<II", 20 + len(text) + len(rest), len(text)) + b"JSON" + text + rest


def test_glb_may_not_name_images_outside_the_folder(mesh, tmp_path):
    path = tmp_path / "mesh" / "a.glb"
    write_mesh(mesh, path)
    (tmp_path / "secret.png").write_bytes(image_file((1, 2, 3)))
    path.write_bytes(rewritten(path.read_bytes(), lambda tree: tree.update(images=[{"uri": "../secret.png"}])))
    again, notes = read_with_notes(path)
    assert again.texture is None and "'../secret.png' lies outside" in notes[0]


@pytest.mark.parametrize("missing", ["a.mtl", "a.png"])
def test_missing_companion_leaves_the_shape(mesh, tmp_path, missing):
    write_mesh(mesh, tmp_path / "a.obj")
    (tmp_path / missing).unlink()
    again, notes = read_with_notes(tmp_path / "a.obj")
    np.testing.assert_array_equal(again.faces, mesh.faces)
    assert again.texture is None and is_watertight(again)
    assert notes == [f"a.obj is read without its texture: '{missing}' is not there and no image of it can be opened."]


def claimed(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_image_of_absurd_size_is_not_decoded(mesh, tmp_path, side):
    """The smaller one is below the limit, and its missing pixels are an error; the larger one is not opened at all."""
    write_mesh(mesh, tmp_path / "a.obj")
    (tmp_path / "a.png").write_bytes(claimed(side, side))
    if side == 12_000:
        with pytest.raises(ExportError, match="cannot be decoded"):
            read_mesh(tmp_path / "a.obj")
    else:
        again, notes = read_with_notes(tmp_path / "a.obj")
        assert again.texture is None and "no image of it can be opened" in notes[0]


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_truncated_image_is_an_error_that_says_so(mesh, tmp_path, suffix):
    write_mesh(mesh, tmp_path / f"a{suffix}")
    content = bytearray((tmp_path / f"a{suffix}").read_bytes())
    if suffix == ".obj":
        image = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(image[: len(image) // 2])
    else:
        start = content.index(b"IDAT") + 20
        content[start : start + 60] = bytes(60)
        (tmp_path / "a.glb").write_bytes(content)
    with pytest.raises(ExportError, match=rf"a\{suffix} has a texture that cannot be decoded"):
        read_mesh(tmp_path / f"a{suffix}")


def two_materials(folder, faces: str, second: bool = True):
    (folder / "red.png").write_bytes(image_file((200, 10, 20), 4, 8))
    (folder / "blue.png").write_bytes(image_file((10, 20, 200), 6, 2))
    image = "map_Kd blue.png" if second else "Kd 0 0 1"
    (folder / "a.mtl").write_text(f"newmtl one\nmap_Kd red.png\nnewmtl two\n{image}\n")
    (folder / "a.obj").write_text(f"mtllib a.mtl\n{PLAIN}{faces}")
    return folder / "a.obj"


def test_two_images_become_one(tmp_path):
    path = two_materials(tmp_path, "usemtl one\nf 1/1 2/2 3/3\nusemtl two\nf 2/2 4/4 3/3\n")
    mesh, notes = read_with_notes(path)
    assert mesh.texture.image.shape == (10, 8, 3) and not notes
    assert len(mesh.vertices) == 4
    # The face at the origin is the red one.
    red = int(np.argmin(mesh.vertices[mesh.faces].sum(axis=(1, 2))))
    middle = np.full((1, 3), 1 / 3)
    np.testing.assert_allclose(mesh.texture.colours(np.array([red]), middle) * 255, [[200, 10, 20]])
    np.testing.assert_allclose(mesh.texture.colours(np.array([1 - red]), middle) * 255, [[10, 20, 200]])


def test_parts_without_an_image_mean_no_texture(tmp_path):
    path = two_materials(tmp_path, "usemtl one\nf 1/1 2/2 3/3\nusemtl two\nf 2/2 4/4 3/3\n", second=False)
    mesh, notes = read_with_notes(path)
    assert mesh.texture is None and len(mesh.faces) == 2
    assert notes == ["a.obj is read without its texture: only some of its parts have one."]


@pytest.mark.parametrize(("offset", "honoured"), [("3", True), ("-2", True), ("0.5", False)])
def test_image_goes_on_by_repetition(tmp_path, offset, honoured):
    """A face that lies in a repetition as a whole is moved back; one across an edge is not guessed."""
    base = float(offset)
    (tmp_path / "a.png").write_bytes(image_file((9, 9, 9)))
    (tmp_path / "a.mtl").write_text("newmtl one\nmap_Kd a.png\n")
    corners = "".join(f"vt {base + u} {v}\n" for u, v in ((0.1, 0.2), (0.9, 0.2), (0.1, 0.7)))
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\n{corners}usemtl one\nf 1/1 2/2 3/3\n")
    mesh, notes = read_with_notes(tmp_path / "a.obj")
    if honoured:
        np.testing.assert_allclose(mesh.texture.corners[0], [[0.1, 0.2], [0.9, 0.2], [0.1, 0.7]], atol=1e-6)
    else:
        assert mesh.texture is None and "repeats the image within a face" in notes[0]


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_seams_close_without_normals_too(mesh, tmp_path, suffix):
    write_mesh(replace(mesh, normals=None), tmp_path / f"a{suffix}")
    again = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.faces, mesh.faces)
    assert is_watertight(again)
    np.testing.assert_allclose(np.einsum("vc,vc->v", again.normals, mesh.normals), 1, atol=0.02)


def test_hard_edges_stay(tmp_path):
    """Vertices at one place with normals of their own are two."""
    (tmp_path / "a.png").write_bytes(image_file((9, 9, 9)))
    (tmp_path / "a.mtl").write_text("newmtl one\nmap_Kd a.png\n")
    normals, faces = "vn 0 0 1\nvn 0.6 0 0.8\n", "usemtl one\nf 1/1/1 2/2/1 3/3/1\nf 2/2/2 4/4/2 3/3/2\n"
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{PLAIN}{normals}{faces}")
    mesh = read_mesh(tmp_path / "a.obj")
    assert len(mesh.vertices) == 6
    assert sorted(np.round(mesh.normals[:, 2], 6)) == [0.8] * 3 + [1.0] * 3


MIRROR = [-2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]


def test_transformed_and_mirrored_part(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "a.glb")
    content = (tmp_path / "a.glb").read_bytes()
    (tmp_path / "a.glb").write_bytes(rewritten(content, lambda tree: tree["nodes"][0].update(matrix=MIRROR)))
    again = read_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(again.vertices, mesh.vertices * [-2, 1, 1] + [5, 0, 0], atol=1e-4)
    assert is_watertight(again) and faces_outward(again)
    assert signed_volume(again) == pytest.approx(2 * signed_volume(mesh), rel=1e-5)
    # Exact normals of an ellipsoid with half axes 2 r, r, r.
    offset = again.vertices - (again.vertices.min(axis=0) + again.vertices.max(axis=0)) / 2
    expected = offset / [4, 1, 1]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.einsum("vc,vc->v", again.normals, expected).min() > 0.99
    faces, weights = points_on(mesh)
    np.testing.assert_allclose(
        again.texture.colours(faces, weights[:, ::-1]), mesh.texture.colours(faces, weights), atol=1e-5
    )


def test_part_that_appears_twice(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "a.glb")

    def twice(tree):
        tree["nodes"].append({"mesh": 0, "translation": [100, 0, 0]})
        tree["scenes"][0]["nodes"] = [0, 1]

    (tmp_path / "a.glb").write_bytes(rewritten((tmp_path / "a.glb").read_bytes(), twice))
    again = read_mesh(tmp_path / "a.glb")
    assert len(again.faces) == 2 * len(mesh.faces) == len(again.texture.corners)
    assert again.texture.image.shape == mesh.texture.image.shape
    assert is_watertight(again) and signed_volume(again) == pytest.approx(2 * signed_volume(mesh), rel=1e-5)


def test_usdz_is_not_read(tmp_path):
    (tmp_path / "a.usdz").write_bytes(b"PK")
    with pytest.raises(ExportError, match="written but not read"):
        read_mesh(tmp_path / "a.usdz")


def test_index_of_a_vertex_that_is_not_there(tmp_path):
    (tmp_path / "a.obj").write_text(PLAIN + "f 1/1 2/2 9/3\n")
    with pytest.raises(ExportError, match=r"a\.obj"):
        read_mesh(tmp_path / "a.obj")


@pytest.mark.parametrize("index", [99, -50])
def test_index_of_a_coordinate_that_is_not_there(tmp_path, index):
    path = two_materials(tmp_path, f"usemtl one\nf 1/1 2/2 3/{index}\n")
    mesh, notes = read_with_notes(path)
    assert mesh.texture is None and len(mesh.faces) == 1
    assert notes == ["a.obj is read without its texture: it has no coordinates in its image."]
