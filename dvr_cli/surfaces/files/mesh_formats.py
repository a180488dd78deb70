"""The mesh formats by suffix: what each can hold, and which image files."""

from pathlib import Path

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.files.texture_images import ImageKind
from dvr_cli.surfaces.files.usd_files import check_library

FORMATS = {
    ".ply": "binary; normals and vertex colours",
    ".obj": "text; normals and a texture or vertex colours",
    ".stl": "binary; shape only",
    ".glb": "binary glTF; normals and a texture or vertex colours",
}
"""What can be written and read, by suffix, and what it holds."""

WRITTEN_ONLY = {".usdz": "USD package; normals and a texture or vertex colours; needs dvr-cli[usd]"}
"""What can be written but not read."""

CONTENT = {
    ".ply": frozenset({"normals", "colors"}),
    ".obj": frozenset({"normals", "colors", "texture"}),
    ".stl": frozenset[str](),
    ".glb": frozenset({"normals", "colors", "texture"}),
    ".usdz": frozenset({"normals", "colors", "texture"}),
}
"""Fields of `Mesh` that a format can hold beside the shape. A texture goes before colours; no file gets both."""

IMAGE_KINDS: dict[str, tuple[ImageKind, ...]] = {
    ".obj": ("png", "jpeg"),
    ".glb": ("png", "jpeg", "webp"),
    ".usdz": ("png", "jpeg"),
}
"""Kinds of image files that the readers of a format with textures must understand; for .glb WebP is an extension."""


def holds(path: Path) -> frozenset[str]:
    """The fields of `Mesh` that the format of this file can hold; `check_path` says whether there is such a format."""
    return CONTENT[path.suffix.lower()]


def check_path(path: Path) -> None:
    """Raise ExportError unless `write_mesh` could write there: the suffix is known and the folder is one."""
    suffix = path.suffix.lower()
    if suffix not in CONTENT:
        known = ", ".join(f"{known} ({about})" for known, about in (FORMATS | WRITTEN_ONLY).items())
        raise ExportError(f"{path}: unknown mesh format '{path.suffix}'. Supported: {known}.")
    if suffix == ".usdz":
        check_library(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder: expected the name of a file to write.")
    if path.parent.exists() and not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder: choose another place for {path.name}.")
