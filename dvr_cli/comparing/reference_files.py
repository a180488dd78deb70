"""Shapes from files that others wrote: meshes (.ply, .obj, .stl, .glb) and clouds (.ply, .xyz).

A .ply without faces is a cloud, as scanners and COLMAP write them. Headers are looked at before anything is read, so
that a damaged or hostile file is refused instead of filling the memory.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dvr_cli.comparing.points import MOST_POINTS
from dvr_cli.comparing.shapes import Shape, check_shape
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.export import FORMATS, read_mesh
from dvr_cli.surfaces.files.cloud_files import ply_columns

KNOWN = (*FORMATS, ".xyz")
LARGEST_TEXT = 8 << 30


def read_shape(path: Path, note: Callable[[str], None] | None = None) -> Shape:
    """The mesh or cloud in a file; colours and textures are read where there are any, normals of a cloud too.

    `note` is told of a texture that cannot be honoured.
    CompareError or ExportError for a file that is missing, unreadable, empty, without faces where its format wants
    some, or with coordinates that are not finite.
    """
    suffix = path.suffix.lower()
    if suffix not in KNOWN:
        raise CompareError(f"{path}: unknown format '{path.suffix}'. Expected a mesh or a cloud: {', '.join(KNOWN)}.")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CompareError(f"{path} {what}: expected a file with a mesh or a cloud ({', '.join(KNOWN)}).")
    shape: Shape
    if suffix == ".xyz":
        shape = _read_xyz(path)
    elif suffix == ".ply" and not (counts := _ply_counts(path)).get("face"):
        shape = _read_ply_cloud(path, counts.get("vertex", 0))
    else:
        shape = read_mesh(path, note)
    return check_shape(shape, str(path))


def _read_xyz(path: Path) -> PointCloud:
    """One point per line; what follows the three coordinates differs between programs and is left out."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise ValueError(f"it has more than {LARGEST_TEXT >> 30} GiB")
        with path.open("rb") as stream:
            beginning = stream.read(1000)
        if not beginning.strip():
            return PointCloud(np.zeros((0, 3)))
        delimiter = "," if b"," in beginning else None
        points = np.loadtxt(path, usecols=(0, 1, 2), ndmin=2, delimiter=delimiter)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise CompareError(f"{path} is no cloud: {error}.\nExpected three numbers on every line.") from error
    return PointCloud(points)


def _read_ply_cloud(path: Path, claimed: int) -> PointCloud:
    points, normals, colors = ply_columns(path)
    if len(points) != claimed:
        raise CompareError(
            f"{path} cannot be read as PLY: it claims {claimed} points and holds {len(points)}.\nWrite the cloud again."
        )
    return PointCloud(points, None if normals is None else _unit(normals, len(points)), colors)


def _unit(normals: np.ndarray, count: int) -> np.ndarray | None:
    """Normals of unit length; None when they are not usable, e.g. all zero."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    usable = normals.shape == (count, 3) and np.isfinite(length).all() and (length > 0).all()
    return normals / length if usable else None


def _ply_counts(path: Path) -> dict[str, int]:
    """Elements by name, as the header claims them; CompareError when there cannot be that many in the file."""
    with path.open("rb") as stream:
        header = stream.read(65536)
    end = header.find(b"end_header")
    if not header.startswith(b"ply") or end < 0:
        raise CompareError(f"{path} has no PLY header.\nExpected an ascii or binary PLY file; write it again.")
    counts: dict[str, int] = {}
    for line in header[:end].splitlines():
        words = line.split()
        if words[:1] != [b"element"]:
            continue
        claimed = int(words[2]) if len(words) == 3 and words[2].isdigit() else -1
        if not 0 <= claimed <= min(path.stat().st_size, MOST_POINTS):
            raise CompareError(
                f"{path} claims {words[-1].decode(errors='replace')} elements and has {path.stat().st_size} bytes: "
                f"expected at most one per byte, and at most {MOST_POINTS:.0e}.\nThe file is damaged or too large."
            )
        counts[words[1].decode(errors="replace")] = claimed
    return counts
