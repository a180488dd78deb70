"""Writing of mesh files: PLY, OBJ with its material and texture, STL, GLB, USDZ. Reading is in mesh_reading.py.

Coordinates are the scene's world units and axes unless a `Placement` says more about the scene.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dvr_cli.errors import ExportError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.surfaces.files.gltf_files import encode_glb
from dvr_cli.surfaces.files.mesh_formats import FORMATS, IMAGE_KINDS, check_path, holds
from dvr_cli.surfaces.files.mesh_reading import read_mesh
from dvr_cli.surfaces.files.placement import AS_IS, Placement, placed
from dvr_cli.surfaces.files.texture_images import EncodedImage, encode_image
from dvr_cli.surfaces.files.usd_files import write_usdz
from dvr_cli.surfaces.files.wavefront_files import companion_stem, material_library, obj_chunks
from dvr_cli.surfaces.mesh import Mesh

__all__ = ["FORMATS", "FileOptions", "check_options", "check_path", "holds", "read_mesh", "write_mesh"]


@dataclass(frozen=True)
class FileOptions:
    """How a mesh becomes a file."""

    placement: Placement = AS_IS
    """What is known about the scene's axes and units."""
    image: EncodedImage | None = None
    """The mesh's texture as `encode_image` made it, so that several files share one encoding; None: PNG, any size."""


def check_options(path: Path, options: FileOptions) -> None:
    """Raise ExportError when the image is of a kind that readers of this format need not understand."""
    kinds = IMAGE_KINDS.get(path.suffix.lower())
    if kinds and options.image is not None and options.image.kind not in kinds:
        raise ExportError(
            f"{path.name}: a {path.suffix} file cannot have a texture in the format {options.image.kind}.\n"
            f"Expected one of {', '.join(kinds)}."
        )


def write_mesh(mesh: Mesh, path: Path, options: FileOptions = FileOptions()) -> list[Path]:
    """Write a mesh in the format of the suffix and return the files written, `path` first; missing folders are made.

    What the format cannot hold is left out; a texture goes before vertex colours. A textured .obj comes with NAME.mtl
    and NAME.png (or .jpg). All files are written under temporary names first and take their places together, the mesh
    last: a failure leaves the old ones. Coordinates are stored in single precision by .ply, .stl, .glb and .usdz.
    Raises ExportError for an unknown suffix, a mesh that is empty or not finite, or when a file cannot be written.
    """
    check_path(path)
    check_options(path, options)
    _check_mesh(mesh, path)
    mesh = placed(mesh, options.placement, path.suffix)
    image = None
    if mesh.texture is not None and "texture" in holds(path):
        image = options.image or encode_image(mesh.texture.image)
    with disk_errors(path, ExportError, "Free some space, or choose another place."):
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write(mesh, image, path)


def _write(mesh: Mesh, image: EncodedImage | None, path: Path) -> list[Path]:
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return _write_obj(mesh, image, path)
    with replacing(path) as temporary:
        if suffix == ".usdz":
            write_usdz(mesh, image, temporary)
        else:
            content = encode_glb(mesh, image, path.stem) if suffix == ".glb" else _encoded(mesh, suffix[1:])
            temporary.write_bytes(content)
    return [path]


def _write_obj(mesh: Mesh, image: EncodedImage | None, path: Path) -> list[Path]:
    contents: dict[Path, Iterable[bytes]] = {}
    library = None
    if image is not None:
        stem = companion_stem(path.stem)
        library, picture = path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}{image.suffix}")
        contents = {library: [material_library(picture.name)], picture: [image.content]}
    contents = {path: obj_chunks(mesh, library.name if library else None), **contents}
    with ExitStack() as stack:
        # The stack unwinds from the last to the first, so the mesh takes its place when all it names is there.
        for file, chunks in contents.items():
            with open(stack.enter_context(replacing(file)), "wb") as stream:
                stream.writelines(chunks)
    return list(contents)


def _check_mesh(mesh: Mesh, path: Path) -> None:
    if not len(mesh.faces):
        raise ExportError(f"{path}: the mesh has no faces, so there is nothing to write.")
    corners = None if mesh.texture is None else mesh.texture.corners
    if not np.isfinite(mesh.vertices).all() or (corners is not None and not np.isfinite(corners).all()):
        raise ExportError(f"{path}: the mesh has coordinates that are NaN or infinite, which no viewer can show.")


def _encoded(mesh: Mesh, file_type: str) -> bytes:
    import trimesh

    colors = None
    if mesh.colors is not None:
        rgb = np.round(np.clip(mesh.colors, 0, 1) * 255).astype(np.uint8)
        colors = np.concatenate([rgb, np.full((len(rgb), 1), 255, dtype=np.uint8)], axis=1)
    # process=False: nothing is merged, dropped or reordered.
    converted = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=colors, process=False
    )
    options: dict[str, object] = {"file_type": file_type}
    if file_type == "ply":
        options["vertex_normal"] = mesh.normals is not None
    return bytes(converted.export(**options))
