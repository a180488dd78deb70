"""Dense depth maps: camera z in world units, one file per view.

`NAME.npy` and `NAME.exr` hold the values themselves; `NAME.png` (16 bits, grey) holds whole numbers that the one number
in `scale.txt` beside it turns into world units. 0, negative, NaN and infinite mean unknown. Of a photograph with lens
distortion the map shows the pixels of the photograph, and is undistorted with it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError
from dvr_cli.scenes.arrays import read_npy
from dvr_cli.scenes.exr_files import read_exr_depth
from dvr_cli.scenes.image_files import open_image
from dvr_cli.scenes.undistortion import picked_undistorted
from dvr_cli.scenes.views import DepthScale, View

SCALE_FILE = "scale.txt"
SUFFIXES = (".npy", ".exr", ".png")
"""Of depth maps, in the order in which they are looked for."""


def find_depth_maps(folder: Path, views: tuple[View, ...]) -> tuple[Path | None, ...]:
    """The depth map of each view, by the view's stem; DepthError if no view has one."""
    paths: list[Path | None] = []
    for view in views:
        candidates = (folder / Path(view.name).with_suffix(suffix) for suffix in SUFFIXES)
        paths.append(next((path for path in candidates if path.is_file()), None))
    if not any(paths):
        looked_for = ", ".join(SUFFIXES)
        raise DepthError(
            f"{folder} has no depth map for any view: looked for {Path(views[0].name).stem} with {looked_for}, and so "
            "on.\n"
            "Name depth maps like the photographs, or pass sparse.npz, a .ply file or a COLMAP model (docs/formats.md)."
        )
    return tuple(paths)


def load_depth_map(
    path: Path, view: View, height: int, width: int, scale: DepthScale | None = None
) -> Float[np.ndarray, "h w"]:
    """Camera z in world units, NaN = unknown, float32, of the view's pinhole image at the given size.

    Values are picked from the nearest pixel: an average across an edge would be a depth that nothing has. `scale` turns
    what the file holds into camera z.
    """
    values = _read(path, needs_scale=scale is None)
    rows, columns = values.shape
    camera: Any = view.camera if view.distorted is None else view.distorted
    if abs(columns * camera.height - rows * camera.width) > max(camera.height, camera.width, rows, columns):
        raise DepthError(
            f"{path} is {columns}x{rows} pixels and its photograph has another aspect ratio "
            f"({camera.width}x{camera.height}).\n"
            "Expected a depth map of the whole photograph, of any size."
        )
    if view.distorted is None:
        row_index = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
        column_index = ((np.arange(width) + 0.5) * columns / width).astype(np.intp)
        picked = values[row_index[:, None], column_index[None, :]]
    else:
        picked = picked_undistorted(values, view.distorted, view.camera, height, width)
    known = np.isfinite(picked) & (picked > 0)
    depth = picked if scale is None else scale.depth(np.where(known, picked, np.nan))
    with np.errstate(invalid="ignore"):
        return np.where(known & np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)


def _read(path: Path, needs_scale: bool) -> Float[np.ndarray, "h w"]:
    """What the file holds; with `needs_scale` whole numbers have to come with the length of their steps."""
    if path.suffix == ".npy":
        values = read_npy(path, DepthError)
    elif path.suffix == ".exr":
        values = read_exr_depth(path)
    else:
        with open_image(path) as image:
            if image.mode not in ("I", "I;16", "I;16B", "I;16L"):
                raise DepthError(
                    f"{path} is not a 16-bit grey image (mode {image.mode}).\nWrite it again, or use .npy."
                )
            values = np.asarray(image).astype(np.float64) * _scale(path.with_name(SCALE_FILE), needs_scale)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.size == 0:
        raise DepthError(
            f"{path} has shape {values.shape} and type {values.dtype}: expected one number per pixel, (height, "
            "width).\n"
            "Write camera z in world units, 0 where it is unknown."
        )
    return values.astype(np.float64, copy=False)


def _scale(path: Path, needed: bool) -> float:
    if not needed and not path.exists():
        return 1.0
    try:
        scale = float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        scale = 0.0
    if not 0 < scale < np.inf:
        raise DepthError(
            f"{path} does not hold one positive number, the world units of one step of the 16-bit depth maps.\n"
            "Write it there, for example 0.001 for millimetres in a world of metres; or pass --depth-scale."
        )
    return scale
