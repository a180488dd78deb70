"""Point clouds as PLY files with normals and colours: what COLMAP calls fused.ply."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import CompareError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.surfaces.cloud import PointCloud

HEADER_BYTES = 65536


def read_ply_cloud(path: Path) -> PointCloud:
    """Points, and normals and colours where the file has them; normals get unit length, a zero one stays zero.

    Points that are not finite are left out. Raises CompareError for a file that is missing, damaged or empty.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CompareError(f"{path} {what}: expected a PLY file with points, such as COLMAP's fused.ply.")
    _check_header(path)
    points, raw_normals, colors = ply_columns(path)
    normals = None if raw_normals is None else _normals(raw_normals, len(points))
    kept = np.isfinite(points).all(axis=1)
    if not kept.any():
        raise CompareError(f"{path} holds no points with finite coordinates.\nGive another cloud.")
    return PointCloud(
        points[kept], None if normals is None else normals[kept], None if colors is None else colors[kept]
    )


def write_ply_cloud(cloud: PointCloud, path: Path) -> None:
    """Write a binary PLY file under a temporary name first: coordinates and normals in single precision, 8-bit colours.

    Raises CompareError when it cannot be written.
    """
    fields: list[tuple[str, str, np.ndarray]] = [
        (name, "<f4", column) for name, column in zip("xyz", cloud.points.T, strict=True)
    ]
    if cloud.normals is not None:
        fields += [(name, "<f4", column) for name, column in zip(("nx", "ny", "nz"), cloud.normals.T, strict=True)]
    if cloud.colors is not None:
        rgb = np.round(np.clip(cloud.colors, 0, 1) * 255)
        fields += [(name, "u1", column) for name, column in zip(("red", "green", "blue"), rgb.T, strict=True)]
    rows = np.empty(len(cloud.points), dtype=[(name, kind) for name, kind, _ in fields])
    for name, _, column in fields:
        rows[name] = column
    properties = "".join(f"property {'float' if kind == '<f4' else 'uchar'} {name}\n" for name, kind, _ in fields)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}end_header\n"
    with disk_errors(path, CompareError, "Free some space, or choose another place."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(header.encode() + rows.tobytes())


def ply_columns(
    path: Path,
) -> tuple[Float[np.ndarray, "p 3"], Float[np.ndarray, "n 3"] | None, Float[np.ndarray, "p 3"] | None]:
    """Positions, normals and colours in [0, 1] as the file holds them; None for what it lacks.

    The caller has checked the header, and decides what to make of bad values. CompareError for a damaged file.
    """
    import trimesh

    try:
        with path.open("rb") as stream:
            # Given a stream instead of a path, trimesh cannot follow texture names to other files.
            loaded = trimesh.load(stream, file_type="ply", process=False)
        points = np.array(getattr(loaded, "vertices", np.zeros((0, 3))), dtype=np.float64).reshape(-1, 3)
        raw = loaded.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
        names = getattr(getattr(raw, "dtype", None), "names", None) or (raw if isinstance(raw, dict) else ())
        normals = None
        if all(name in names for name in ("nx", "ny", "nz")):
            columns = [np.ravel(raw[name]) for name in ("nx", "ny", "nz")]
            normals = np.stack(columns, axis=1).astype(np.float64)
        stored = getattr(loaded, "colors", None)
        usable = stored is not None and len(stored) == len(points)
        colors = np.asarray(stored)[:, :3].astype(np.float64) / 255 if usable else None
    except Exception as cause:  # a hostile file fails in as many ways as the parser has lines
        raise CompareError(f"{path} cannot be read as PLY: {cause}.\nWrite the cloud again.") from cause
    return points, normals, colors


def _normals(normals: Float[np.ndarray, "n 3"], count: int) -> Float[np.ndarray, "p 3"] | None:
    """Unit normals, or None where the file's are unusable."""
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 1e-12)
    if len(normals) != count or not usable.any():
        return None
    return np.where(usable, normals / np.where(usable, lengths, 1.0), 0.0)


def _check_header(path: Path) -> None:
    """The header must not claim more elements than the file has bytes, or reading it would fill the memory."""
    with path.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    body = header.find(b"end_header")
    if not header.startswith(b"ply") or body < 0:
        raise CompareError(f"{path} has no PLY header.\nExpected an ascii or binary PLY file; write it again.")
    size = path.stat().st_size
    for line in header[:body].splitlines():
        words = line.split()
        if words[:1] != [b"element"]:
            continue
        claimed = int(words[2]) if len(words) == 3 and words[2].isdigit() else -1
        if not 0 <= claimed <= size:
            raise CompareError(
                f"{path} claims {words[-1].decode(errors='replace')} elements in a file of {size} bytes.\n"
                "The file is damaged; write the cloud again."
            )
