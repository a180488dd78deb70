"""A mesh as Wavefront OBJ with a material file (MTL).

Vertices, texture coordinates and normals are numbered apart in OBJ, so vertices stay shared across texture seams and a
closed mesh stays closed. trimesh's writer splits them. Lines are formatted thousands at a time, since Python takes as
long for one as for a few.
"""

import re
from collections.abc import Iterator

import numpy as np

from dvr_cli.surfaces.files.gltf_files import unique_coordinates
from dvr_cli.surfaces.mesh import Mesh

MATERIAL = "surface"
ROWS = 20_000


def obj_chunks(mesh: Mesh, library: str | None) -> Iterator[bytes]:
    """The text of the OBJ file in pieces; `library` is the name of the MTL file when the mesh has a texture.

    Coordinates have nine significant digits. With a texture no vertex colours are written, since some viewers would
    multiply the two. Normals of a vertex have the vertex's number.
    """
    yield b"# dvr\n"
    if mesh.texture is not None and library is not None:
        yield f"mtllib {library}\n".encode()
    if mesh.texture is None and mesh.colors is not None:
        colors = np.clip(np.nan_to_num(mesh.colors), 0, 1)
        yield from _lines("v %.9g %.9g %.9g %.6g %.6g %.6g\n", np.concatenate([mesh.vertices, colors], axis=1))
    else:
        yield from _lines("v %.9g %.9g %.9g\n", mesh.vertices)
    if mesh.normals is not None:
        yield from _lines("vn %.7g %.7g %.7g\n", mesh.normals)
    corner = mesh.faces[:, :, None] + 1
    parts, pattern = [corner], "%d"
    if mesh.texture is not None:
        coordinates, place = unique_coordinates(mesh.texture.corners)
        yield from _lines("vt %.8g %.8g\n", coordinates)
        if library is not None:
            yield f"usemtl {MATERIAL}\n".encode()
        parts, pattern = [*parts, place.reshape(-1, 3, 1) + 1], "%d/%d"
    if mesh.normals is not None:
        parts, pattern = [*parts, corner], pattern + ("/%d" if mesh.texture is not None else "//%d")
    rows = np.concatenate(parts, axis=2).reshape(len(mesh.faces), -1)
    yield from _lines(f"f {pattern} {pattern} {pattern}\n", rows)


def material_library(image_name: str) -> bytes:
    """The MTL file: a matt white surface under the texture `image_name`, which lies beside it."""
    lines = [f"newmtl {MATERIAL}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "d 1", "illum 1", f"map_Kd {image_name}"]
    return "\n".join(["# dvr", *lines, ""]).encode()


def companion_stem(stem: str) -> str:
    """The stem of the material's and texture's names: that of the OBJ file, without what breaks readers.

    Several programs end a name at the first blank, or read a leading minus as an option.

    >>> companion_stem("the mug (2)")
    'the_mug__2_'
    """
    return re.sub(r"^-|[^\w.+-]", "_", stem)


def _lines(pattern: str, rows: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(rows), ROWS):
        piece = rows[start : start + ROWS]
        yield (pattern * len(piece) % tuple(piece.reshape(-1).tolist())).encode()
