"""Reading of mesh files, with textures, through trimesh: PLY, OBJ, STL, GLB, those of strangers included.

A file may have several parts, placed by transformations and with materials of their own; they become one mesh. Vertices
that the file repeats along texture seams are joined again.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.files.gltf_files import with_materials
from dvr_cli.surfaces.files.mesh_formats import FORMATS, WRITTEN_ONLY
from dvr_cli.surfaces.files.srgb import srgb_from_linear
from dvr_cli.surfaces.files.texture_images import MOST_PIXELS, pixels_of
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.normals import vertex_normals
from dvr_cli.surfaces.texture import Texture

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_COMPANION = 1 << 29
"""Bytes of a material or image file beside the mesh that are read at most."""

# Texture coordinates this far outside the image are rounding, and not a repetition of the image.
ROUNDING = 1e-4


@dataclass(frozen=True)
class _Part:
    """One object of a file in its place."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    normals: Float[np.ndarray, "v 3"]
    stores_normals: bool
    """Whether they are the file's; otherwise they are computed."""
    colors: Float[np.ndarray, "v 3"] | None
    corners: Float[np.ndarray, "f 3 2"] | None
    image: "Image | None"


def read_mesh(path: Path, note: Callable[[str], None] | None = None) -> Mesh:
    """Read shape, normals (computed where the file has none), colours and texture of any of `FORMATS`.

    STL stores every face's corners apart; corners at the same place are merged. Files that the mesh names are looked
    for in its own folder and below, nowhere else. `note` is told, in a sentence, when there is a texture that cannot be
    honoured: the file is missing or elsewhere, or only some parts have one. Raises ExportError for a file that is
    missing, not a mesh, or has a texture that is damaged or too large.
    """
    if path.suffix.lower() in WRITTEN_ONLY:
        known = ", ".join(FORMATS)
        raise ExportError(f"{path}: {path.suffix} files are written but not read. Expected one of {known}.")
    if not path.is_file():
        raise ExportError(f"{path} does not exist: expected a mesh file ({', '.join(FORMATS)}).")
    beside = FilesBeside(path)
    try:
        parts = _parts(path, beside)
        mesh = _joined(parts)
    except Exception as error:  # a hostile file fails in as many ways as the parser has lines
        known = ", ".join(FORMATS)
        raise ExportError(f"{path} is not a mesh that can be read: {error}. Expected one of {known}.") from error
    faces, vertices = mesh.faces, mesh.vertices
    if not len(faces) or not np.isfinite(vertices).all() or faces.min() < 0 or faces.max() >= len(vertices):
        raise ExportError(f"{path} is damaged: it has no faces, NaN coordinates or faces that name missing vertices.")
    if all(part.corners is None and part.image is None for part in parts):
        return mesh
    texture, reason = _texture(parts, path.name)
    if reason and note:
        note(f"{path.name} is read without its texture: {' and '.join([*beside.left_out, reason])}.")
    # Normals that are not in the file were computed of vertices that it repeats: they differ across a seam.
    normals = mesh.normals if all(part.stores_normals for part in parts) else None
    welded = _welded(Mesh(vertices, faces, normals, None if texture else mesh.colors, texture))
    return welded if normals is not None else replace(welded, normals=vertex_normals(welded))


class FilesBeside:
    """The files that a mesh names, in its own folder and below; trimesh asks for them one by one."""

    def __init__(self, path: Path) -> None:
        self.folder, self.file_name = path.parent.resolve(), path.name
        self.left_out: list[str] = []
        """Why files were not opened, as parts of a sentence."""

    def get(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError when it is not there, too large or outside the folder."""
        # Resolving follows links, so that none of them leads out either.
        file = (self.folder / name.strip()).resolve()
        if not file.is_relative_to(self.folder):
            self._refuse(f"'{name}' lies outside its folder and is not opened")
        if not file.is_file():
            self._refuse(f"'{name}' is not there")
        if file.stat().st_size > LARGEST_COMPANION:
            self._refuse(f"'{name}' has more than {LARGEST_COMPANION >> 20} MiB")
        return file.read_bytes()

    __getitem__ = get

    def _refuse(self, reason: str) -> None:
        self.left_out.append(reason)
        raise FileNotFoundError(reason)


def _parts(path: Path, beside: FilesBeside) -> list[_Part]:
    import trimesh
    from PIL import Image

    suffix = path.suffix.lower()
    with _opened(path) as stream, warnings.catch_warnings():
        # Pillow warns of large images when it opens them; how large one may be is decided here, in `pixels_of`.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        scene = trimesh.load_scene(stream, file_type=suffix[1:], resolver=beside, process=suffix == ".stl")
        parts = []
        for node in scene.graph.nodes_geometry:
            matrix, name = scene.graph[node]
            if isinstance(scene.geometry[name], trimesh.Trimesh):
                parts.append(_part(scene.geometry[name], np.asarray(matrix), linear=suffix == ".glb"))
    if not parts:
        raise ValueError("it has no faces")
    return parts


def _opened(path: Path) -> BinaryIO:
    return BytesIO(with_materials(path.read_bytes())) if path.suffix.lower() == ".glb" else path.open("rb")


def _part(loaded: Any, matrix: Float[np.ndarray, "4 4"], linear: bool) -> _Part:
    """An object of trimesh in its place; colours are `linear` in light in glTF."""
    vertices = np.asarray(loaded.vertices, dtype=np.float64)
    # trimesh keeps the normals of a file where it would keep those it has computed, and says it in no other way.
    stores_normals = "vertex_normals" in getattr(loaded, "_cache", ())
    normals = np.array(loaded.vertex_normals, dtype=np.float64)
    faces = np.asarray(loaded.faces, dtype=np.int64)
    visual = loaded.visual
    coordinates = getattr(visual, "uv", None)
    corners = None
    if coordinates is not None and np.shape(coordinates) == (len(vertices), 2):
        corners = np.asarray(coordinates, dtype=np.float64)[faces]
    stored = visual.vertex_colors if visual.kind == "vertex" else getattr(visual, "vertex_attributes", {}).get("color")
    colors = None
    if stored is not None and len(stored) == len(vertices):
        whole = np.issubdtype(stored.dtype, np.integer)
        colors = np.asarray(stored[:, :3], dtype=np.float64) / (np.iinfo(stored.dtype).max if whole else 1)
        colors = srgb_from_linear(np.clip(colors, 0, 1)) if linear else colors
    material = getattr(visual, "material", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if image is not None and image.format is None:  # made up by trimesh, not read from a file
        image = None
    if not np.array_equal(matrix, np.eye(4)):
        vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        # Normals are planes: they take the inverse transposed, which the cofactors are up to a positive factor.
        cofactors = np.linalg.det(matrix[:3, :3]) * np.linalg.inv(matrix[:3, :3])
        normals = normals @ cofactors
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
        if np.linalg.det(matrix[:3, :3]) < 0:  # a mirror turns faces inside out
            faces, normals = faces[:, ::-1], -normals
            corners = None if corners is None else corners[:, ::-1]
    return _Part(vertices, faces, normals, stores_normals, colors, corners, image)


def _joined(parts: list[_Part]) -> Mesh:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts[:-1], strict=True)])
    colors = [part.colors for part in parts if part.colors is not None]
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        faces,
        np.concatenate([part.normals for part in parts]),
        np.concatenate(colors) if len(colors) == len(parts) else None,
    )


def _texture(parts: list[_Part], name: str) -> tuple[Texture | None, str]:
    """The texture of all parts together; None and the reason when there is none that covers them all.

    Several images are put on top of each other in one.
    """
    corners: list[np.ndarray] = []
    for part in parts:
        if part.image is None or part.corners is None:
            return None, _what_is_missing(parts)
        inside = _inside(part.corners)
        if inside is None:
            return None, "it repeats the image within a face"
        corners.append(inside)
    opened = {id(part.image): part.image for part in parts if part.image is not None}
    width = max(image.width for image in opened.values())
    height = sum(image.height for image in opened.values())
    if len(opened) > 1 and width * height > MOST_PIXELS:
        return None, f"its {len(opened)} images have more than {MOST_PIXELS / 1e6:.0f} megapixels together"
    pixels, tops, top = [], {}, 0
    for key, image in opened.items():
        decoded = pixels_of(image, name)
        pixels.append(np.pad(decoded, ((0, 0), (0, width - image.width), (0, 0)), mode="edge"))
        tops[key], top = top, top + image.height
    for number, part in enumerate(parts):
        assert part.image is not None
        size = np.array([part.image.width, part.image.height])
        lowest = np.array([0, height - tops[id(part.image)] - part.image.height])
        corners[number] = (corners[number] * size + lowest) / [width, height]
    return Texture(np.concatenate(pixels), np.concatenate(corners)), ""


def _what_is_missing(parts: list[_Part]) -> str:
    if all(part.image is None for part in parts):
        return "no image of it can be opened"
    if all(part.corners is None for part in parts):
        return "it has no coordinates in its image"
    return "only some of its parts have one"


def _inside(corners: Float[np.ndarray, "f 3 2"]) -> Float[np.ndarray, "f 3 2"] | None:
    """Texture coordinates in [0, 1]: beyond its edges an image is repeated. None when a face spans an edge."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    if not np.isfinite(corners).all():
        return None
    outside = (low < -ROUNDING) | (high > 1 + ROUNDING)
    moved = np.where(outside[:, None], corners - np.floor(low + ROUNDING)[:, None], corners)
    return None if (moved > 1 + ROUNDING).any() else np.clip(moved, 0, 1)


def _welded(mesh: Mesh) -> Mesh:
    """The mesh with vertices of the same position, and normal if any, joined, in the order of the first of each."""
    columns = [mesh.vertices] if mesh.normals is None else [mesh.vertices, mesh.normals]
    rows = np.ascontiguousarray(np.concatenate(columns, axis=1) + 0.0)
    keys = rows.view(np.dtype((np.void, rows.shape[1] * 8)))[:, 0]
    _, first, member = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    kept = first[order]
    return Mesh(
        mesh.vertices[kept],
        number[member][mesh.faces],
        None if mesh.normals is None else mesh.normals[kept],
        None if mesh.colors is None else mesh.colors[kept],
        mesh.texture,
    )
