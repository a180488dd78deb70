"""Whose cameras.npz is it? The IDR layout and that of the original DVR have the same file name and the same keys."""

import io
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

LARGEST_MATRIX = 4096
"""Bytes of a 4x4 matrix with its header, and some to spare."""


def has_camera_mat(path: Path) -> bool:
    """True for an archive with `camera_mat_0`. Never raises."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "camera_mat_0.npy" in archive.namelist()
    except Exception:
        # A damaged archive raises nearly anything; reading it for good will say what is wrong.
        return False


def has_intrinsics_apart(path: Path) -> bool:
    """True for an archive with `camera_mat_0` whose `world_mat_0` is a rigid motion: no pixels come from that alone.

    Never raises and reads one matrix.
    """
    matrix = _matrix(path, "world_mat_0.npy") if has_camera_mat(path) else None
    if matrix is None or not (np.abs(matrix[:3, :3]) < 2).all():
        return False
    return bool(np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() < 1e-2)


def _matrix(path: Path, member: str) -> Float[np.ndarray, "r 4"] | None:
    """A 3x4 or 4x4 matrix of the archive, or None for anything else."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            content = io.BytesIO(stream.read(LARGEST_MATRIX))
        np.lib.format.read_magic(content)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(content)
        if shape not in ((3, 4), (4, 4)) or dtype.kind not in "fiu":
            return None
        numbers = np.frombuffer(content.read(), dtype, shape[0] * shape[1])
        return numbers.reshape(shape, order="F" if fortran else "C").astype(np.float64)
    except Exception:
        # As above.
        return None
