"""Writing and reading of mesh files through trimesh: PLY, OBJ, STL, GLB.

Coordinates are the scene's world units and axes in every format. glTF viewers take +y for up; no axis is turned for
them, so that all four files of one mesh coincide.
"""

from pathlib import Path

import numpy as np

from dvr_cli.errors import ExportError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.surfaces.mesh import Mesh

FORMATS = {
    ".ply": "binary; normals and vertex colours",
    ".obj": "text; normals and vertex colours",
    ".stl": "binary; shape only",
    ".glb": "binary glTF; normals and vertex colours",
}
"""What can be written, by suffix, and what it holds."""


def check_path(path: Path) -> None:
    """Raise ExportError unless `write_mesh` could write there: the suffix is known and the folder is one."""
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(f"{suffix} ({holds})" for suffix, holds in FORMATS.items())
        raise ExportError(f"{path}: unknown mesh format '{path.suffix}'. Supported: {known}.")
    if path.is_dir():
        raise ExportError(f"{path} is a folder: expected the name of a file to write.")
    if path.parent.exists() and not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder: choose another place for {path.name}.")


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write a mesh in the format of the suffix, under a temporary name first; missing folders are made.

    Coordinates are stored in single precision by .ply, .stl and .glb. Raises ExportError for an unknown suffix, an
    empty mesh, or when the file cannot be written.
    """
    check_path(path)
    if not len(mesh.faces):
        raise ExportError(f"{path}: the mesh has no faces, so there is nothing to write.")
    content = _encoded(mesh, path.suffix.lower()[1:])
    with disk_errors(path, ExportError, "Free some space, or choose another place."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)


def read_mesh(path: Path) -> Mesh:
    """Read shape, normals (computed where the file has none) and colours of any format that `write_mesh` writes.

    STL stores every face's corners apart; corners at the same place are merged. Raises ExportError for a file that is
    missing or not a mesh.
    """
    import trimesh

    if not path.is_file():
        raise ExportError(f"{path} does not exist: expected a mesh file ({', '.join(FORMATS)}).")
    suffix = path.suffix.lower()
    try:
        scene = trimesh.load_scene(path, process=suffix == ".stl")
        parts, nodes = list(scene.geometry.values()), scene.graph.nodes_geometry
        # Baking transforms drops the stored normals: what is a single mesh in place is taken as it is.
        in_place = len(parts) == len(nodes) == 1 and np.array_equal(scene.graph.get(nodes[0])[0], np.eye(4))
        loaded = parts[0] if in_place else scene.to_mesh()
        vertices = np.asarray(loaded.vertices, dtype=np.float64)
        faces = np.asarray(loaded.faces, dtype=np.int64)
        normals = np.array(loaded.vertex_normals, dtype=np.float64)
        colors = np.array(loaded.visual.vertex_colors[:, :3]) / 255 if loaded.visual.kind == "vertex" else None
    except Exception as error:  # a hostile file fails in as many ways as the parser has lines
        known = ", ".join(FORMATS)
        raise ExportError(f"{path} is not a mesh that can be read: {error}. Expected one of {known}.") from error
    if not len(faces) or not np.isfinite(vertices).all() or faces.min() < 0 or faces.max() >= len(vertices):
        raise ExportError(f"{path} is damaged: it has no faces, NaN coordinates or faces that name missing vertices.")
    return Mesh(vertices, faces, normals, colors)


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
    if file_type in ("ply", "obj"):
        options["vertex_normal" if file_type == "ply" else "include_normals"] = mesh.normals is not None
    if file_type == "obj":
        options |= {"digits": 9, "header": "dvr"}
    content = converted.export(**options)
    return content.encode() if isinstance(content, str) else bytes(content)
