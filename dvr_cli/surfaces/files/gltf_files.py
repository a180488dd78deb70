"""A mesh as a binary glTF 2.0 file (.glb): one mesh, one material, at most one texture.

Written here and not by trimesh, which encodes every image again, stores vertex colours in 8 bits and does not take them
to the linear scale that glTF wants. Section numbers are those of the glTF 2.0 specification. Axes and units are the
caller's: see placement.py.
"""

import json
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.files.srgb import linear_from_srgb
from dvr_cli.surfaces.files.texture_images import EncodedImage
from dvr_cli.surfaces.mesh import Mesh

GENERATOR = "dvr"

# Numbers that stand for types and uses in glTF (sections 3.6.2.2, 3.6.2.4, 3.8.3).
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071
NUMPY_TYPES = {FLOAT: "<f4", UNSIGNED_SHORT: "<u2", UNSIGNED_INT: "<u4"}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def encode_glb(mesh: Mesh, image: EncodedImage | None, name: str) -> bytes:
    """The file's content; `image` is the mesh's texture as a file, `name` the object's name in viewers.

    Vertices are split where texture coordinates differ, and only there: copies follow behind the mesh's own vertices,
    which keep their order. With a texture no vertex colours are written, since viewers would multiply the two.
    ExportError when the file would pass the format's 4 GiB.
    """
    buffer = _Buffer()
    attributes: dict[str, int] = {}
    if mesh.texture is None or image is None:
        vertex, faces, coordinates = np.arange(len(mesh.vertices)), mesh.faces, None
    else:
        vertex, faces, coordinates = split_at_seams(len(mesh.vertices), mesh.faces, mesh.texture.corners)
    attributes["POSITION"] = buffer.add(mesh.vertices[vertex], FLOAT, ARRAY_BUFFER, bounds=True)
    if mesh.normals is not None:
        attributes["NORMAL"] = buffer.add(_unit(mesh.normals)[vertex], FLOAT, ARRAY_BUFFER)
    if coordinates is not None:
        # In glTF v runs downwards from the top of the image (section 3.8.3).
        attributes["TEXCOORD_0"] = buffer.add(coordinates * [1, -1] + [0, 1], FLOAT, ARRAY_BUFFER)
    elif mesh.colors is not None:
        attributes["COLOR_0"] = buffer.add(_light(mesh.colors), UNSIGNED_SHORT, ARRAY_BUFFER, normalized=True)
    # The largest number of a type is reserved: it restarts a primitive (section 3.7.2.1).
    index_type = UNSIGNED_SHORT if len(vertex) < 65535 else UNSIGNED_INT
    indices = buffer.add(faces.reshape(-1, 1), index_type, ELEMENT_ARRAY_BUFFER)

    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": GENERATOR},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        # Without these two factors a material is polished metal.
        "materials": [{"name": name, "pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
    }
    if coordinates is not None and image is not None:
        tree |= _texture(image, buffer.append(image.content), name)
        tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    tree |= buffer.description()
    return _container(tree, buffer)


def split_at_seams(
    count: int, faces: Int[np.ndarray, "f 3"], corners: Float[np.ndarray, "f 3 2"]
) -> tuple[Int[np.ndarray, "p"], Int[np.ndarray, "f 3"], Float[np.ndarray, "p 2"]]:
    """One vertex for each pair of a vertex and texture coordinates (single precision).

    Returns the vertex that each is a copy of, the faces, and the texture coordinates. The first `count` are the
    vertices themselves, in order; one that no face uses gets (0, 0).
    """
    values, place = unique_coordinates(corners)
    keys, corner_key = np.unique(faces.reshape(-1) * len(values) + place, return_inverse=True)
    key_vertex = keys // len(values)
    is_first = np.diff(key_vertex, prepend=-1) > 0
    number = np.where(is_first, key_vertex, 0)
    number[~is_first] = count + np.arange(np.count_nonzero(~is_first))
    coordinates = np.zeros((count + np.count_nonzero(~is_first), 2))
    coordinates[number] = values[keys % len(values)]
    vertex = np.concatenate([np.arange(count), key_vertex[~is_first]])
    return vertex, number[corner_key].reshape(-1, 3), coordinates


def unique_coordinates(
    corners: Float[np.ndarray, "f 3 2"],
) -> tuple[Float[np.ndarray, "t 2"], Int[np.ndarray, "n"]]:
    """The different texture coordinates in single precision, and which of them each corner (three a face) has."""
    # A pair of floats read as one 64-bit number sorts many times faster than rows do. Adding 0 makes -0 a 0.
    pairs = np.ascontiguousarray(corners, dtype=np.float32).reshape(-1, 2) + np.float32(0)
    bits, place = np.unique(pairs.view(np.uint64)[:, 0], return_inverse=True)
    return bits.view(np.float32).reshape(-1, 2).astype(np.float64), place


def with_materials(content: bytes) -> bytes:
    """A .glb file in which coloured primitives without a material have one, so that trimesh keeps the colours' digits.

    It takes colours without a material to 8 bits, those of 16 bits (Blender writes them) by dropping the upper 8. The
    same object comes back when nothing is to be done, or when it is no such file: the reader will say so.
    """
    if content[:4] != b"glTF" or content[16:20] != b"JSON":
        return content
    end = 20 + int.from_bytes(content[12:16], "little")
    tree = json.loads(content[20:end])
    primitives = [primitive for mesh in tree.get("meshes", []) for primitive in mesh["primitives"]]
    bare = [one for one in primitives if "COLOR_0" in one["attributes"] and "material" not in one]
    if not bare:
        return content
    tree["materials"] = [*tree.get("materials", []), {"name": "none"}]
    for primitive in bare:
        primitive["material"] = len(tree["materials"]) - 1
    text = _padded(json.dumps(tree).encode(), b" ")
    head = np.array([20 + len(text) + len(content) - end, len(text)], dtype="<u4").tobytes()
    return b"".join([content[:8], head, b"JSON", text, content[end:]])


def _padded(content: bytes, filler: bytes) -> bytes:
    """Bytes filled up to a multiple of four."""
    return content + filler * (-len(content) % 4)


class _Buffer:
    """The binary chunk and the description of what lies where in it."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.length = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def append(self, content: bytes, **about: Any) -> int:
        """Add bytes and return the index of their view; views begin at multiples of four (section 3.6.2.4)."""
        padding = bytes(-len(content) % 4)
        self._views.append({"buffer": 0, "byteOffset": self.length, "byteLength": len(content), **about})
        self.chunks += [content, padding]
        self.length += len(content) + len(padding)
        return len(self._views) - 1

    def add(self, values: np.ndarray, kind: int, target: int, bounds: bool = False, normalized: bool = False) -> int:
        """Add an array (rows, columns) and return the index of its accessor."""
        stored = np.ascontiguousarray(values, dtype=NUMPY_TYPES[kind])
        accessor: dict[str, Any] = {"componentType": kind, "count": len(stored), "type": SHAPES[stored.shape[1]]}
        if bounds:
            accessor |= {"min": stored.min(axis=0).tolist(), "max": stored.max(axis=0).tolist()}
        if normalized:
            accessor["normalized"] = True
        accessor["bufferView"] = self.append(stored.tobytes(), target=target)
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def description(self) -> dict[str, Any]:
        """The entries of the file's tree that describe the buffer."""
        return {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self.length}],
        }


def _texture(image: EncodedImage, view: int, name: str) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "images": [{"bufferView": view, "mimeType": image.mime_type, "name": name}],
        "samplers": [
            {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
        ],
    }
    if image.kind == "webp":
        # WebP is no part of glTF itself, and there is no second image for viewers without the extension.
        texture: dict[str, Any] = {"extensions": {"EXT_texture_webp": {"source": 0}}}
        tree |= {"extensionsUsed": ["EXT_texture_webp"], "extensionsRequired": ["EXT_texture_webp"]}
    else:
        texture = {"source": 0}
    return tree | {"textures": [{"sampler": 0, "name": name, **texture}]}


def _container(tree: dict[str, Any], buffer: _Buffer) -> bytes:
    """Header, JSON chunk and binary chunk (section 4.4)."""
    text = _padded(json.dumps(tree, separators=(",", ":"), allow_nan=False).encode(), b" ")
    total = 12 + 8 + len(text) + 8 + buffer.length
    if total >= 1 << 32:
        raise ExportError(
            f"{tree['nodes'][0]['name']}.glb would have {total >> 20} MiB; the format ends at 4096 MiB.\n"
            "Reduce the mesh with --faces, or write .ply or .obj."
        )
    head = np.array([total, len(text)], dtype="<u4").tobytes()
    parts = [b"glTF\x02\0\0\0", head, b"JSON", text, np.uint32(buffer.length).tobytes(), b"BIN\0", *buffer.chunks]
    return b"".join(parts)


def _unit(normals: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
    """Normals of length 1, as the format demands (section 3.7.2.1); z where there is no direction."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 1e-30)
    return np.where(usable, normals / np.where(usable, length, 1), [0.0, 0.0, 1.0])


def _light(colors: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 4"]:
    """RGBA for COLOR_0: linear in light (section 3.7.2.1), 16 bits, opaque. 8 bits would leave five steps of shade
    where sRGB has fifty."""
    light = linear_from_srgb(np.clip(np.nan_to_num(colors), 0, 1))
    return np.round(np.concatenate([light, np.ones((len(light), 1))], axis=1) * 65535)
