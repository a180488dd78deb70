"""Dense depth maps: camera z in world units, one file per view.

`NAME.npy` holds the values themselves; `NAME.png` (16 bits, grey) holds whole numbers that the one number in
`scale.txt` beside it turns into world units. 0, negative, NaN and infinite mean unknown.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError
from dvr_cli.scenes.arrays import read_npy
from dvr_cli.scenes.image_files import open_image
from dvr_cli.scenes.views import View

SCALE_FILE = "scale.txt"


def find_depth_maps(folder: Path, views: tuple[View, ...]) -> tuple[Path | None, ...]:
    """The depth map of each view, by the view's stem; DepthError if no view has one, or the views are distorted."""
    paths: list[Path | None] = []
    for view in views:
        candidates = (folder / Path(view.name).with_suffix(suffix) for suffix in (".npy", ".png"))
        paths.append(next((path for path in candidates if path.is_file()), None))
    if not any(paths):
        raise DepthError(
            f"{folder} has no depth map for any view: looked for {Path(views[0].name).stem}.npy and .png, and so on.\n"
            "Name depth maps like the photographs, or pass sparse.npz, a .ply file or a COLMAP model (docs/formats.md)."
        )
    if any(view.distorted is not None for view in views):
        raise DepthError(
            "Depth maps cannot be used with photographs that have lens distortion.\n"
            "Undistort the photographs first (colmap image_undistorter) and use the undistorted scene."
        )
    return tuple(paths)


def load_depth_map(path: Path, height: int, width: int) -> Float[np.ndarray, "h w"]:
    """Camera z in world units, NaN = unknown, float32, at the given size.

    Values are picked from the nearest pixel: an average across an edge would be a depth that nothing has.
    """
    values = _read(path)
    rows, columns = values.shape
    if abs(columns * height - rows * width) > max(height, width, rows, columns):
        raise DepthError(
            f"{path} is {columns}x{rows} pixels and its photograph has another aspect ratio ({width}x{height} in "
            "use).\n"
            "Expected a depth map of the whole photograph, of any size."
        )
    row_index = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
    column_index = ((np.arange(width) + 0.5) * columns / width).astype(np.intp)
    picked = values[row_index[:, None], column_index[None, :]]
    return np.where(np.isfinite(picked) & (picked > 0), picked, np.nan).astype(np.float32)


def _read(path: Path) -> Float[np.ndarray, "h w"]:
    if path.suffix == ".npy":
        values = read_npy(path, DepthError)
    else:
        with open_image(path) as image:
            if image.mode not in ("I", "I;16", "I;16B", "I;16L"):
                raise DepthError(
                    f"{path} is not a 16-bit grey image (mode {image.mode}).\nWrite it again, or use .npy."
                )
            values = np.asarray(image).astype(np.float64) * _scale(path.with_name(SCALE_FILE))
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.size == 0:
        raise DepthError(
            f"{path} has shape {values.shape} and type {values.dtype}: expected one number per pixel, (height, "
            "width).\n"
            "Write camera z in world units, 0 where it is unknown."
        )
    return values.astype(np.float64, copy=False)


def _scale(path: Path) -> float:
    try:
        scale = float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        scale = 0.0
    if not 0 < scale < np.inf:
        raise DepthError(
            f"{path} does not hold one positive number, the world units of one step of the 16-bit depth maps.\n"
            "Write it there, for example 0.001 for millimetres in a world of metres."
        )
    return scale
