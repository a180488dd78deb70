"""Sparse points as a binary PLY cloud, which every viewer opens; `sparse_depth` reads it back."""

from pathlib import Path

import numpy as np

from dvr_cli.files import replacing
from dvr_cli.scenes.views import SparseDepth

HEADER = """ply
format binary_little_endian 1.0
element vertex {count}
property double x
property double y
property double z
property uchar red
property uchar green
property uchar blue
end_header
"""


def write_ply_points(path: Path, sparse: SparseDepth) -> None:
    """Write positions (64 bits: world coordinates may be large) and colours, grey where there are none."""
    colors = np.full((len(sparse.points), 3), 0.5) if sparse.colors is None else sparse.colors
    vertices = np.zeros(len(sparse.points), dtype=[("position", "<f8", 3), ("color", "u1", 3)])
    vertices["position"] = sparse.points
    vertices["color"] = np.round(255 * np.clip(colors, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(HEADER.format(count=len(vertices)).encode() + vertices.tobytes())
