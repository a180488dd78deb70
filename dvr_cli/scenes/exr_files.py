"""Depth out of OpenEXR files, with sizes checked before anything is decoded.

The library `OpenEXR` (its own wheels, 2 MB) decodes every compression; it is asked for only when such a file is read.
"""

import contextlib
import importlib
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import DepthError

DEPTH_CHANNELS = ("Z", "depth", "Depth", "Y", "V", "R")
"""Names of the channel that holds depth, the surest first: Z by OpenEXR's own rules, Y of grey images, V as Blender
writes a single value, R of those who write three channels alike."""
LARGEST_EXR = 1 << 30
"""Bytes of a file."""
MOST_PIXELS = 178_000_000
"""As for photographs."""
MOST_PIXELS_A_BYTE = 2000
"""Of the file: even a picture of one value is not packed so well, so more are not there."""
MOST_CHANNELS = 64
_ONE_AT_A_TIME = threading.Lock()
"""Views are loaded in threads, and standard output is theirs in common."""


def read_exr_depth(path: Path) -> Float[np.ndarray, "h w"]:
    """The depth channel of the file's first part, for the whole picture, NaN where the file has no data; float64.

    Scanlines or tiles, half or float, any compression. DepthError for anything else, for a file that is damaged, and
    when the library is missing.
    """
    openexr = _library(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_EXR:
            raise DepthError(f"{path} is larger than {LARGEST_EXR >> 30} GiB.\nExpected a depth map; write it smaller.")
        header = openexr.File(str(path), separate_channels=True, header_only=True, num_threads=0).header()
        channel, window, display = _checked(header, min(MOST_PIXELS, size * MOST_PIXELS_A_BYTE), openexr, path)
        # The library prints what it finds damaged, and standard output is for results.
        with _ONE_AT_A_TIME, contextlib.redirect_stdout(io.StringIO()):
            found = openexr.File(str(path), separate_channels=True, num_threads=0).channels()
        values = np.asarray(found[channel].pixels, dtype=np.float64)
    except DepthError:
        raise
    except FileNotFoundError:
        raise DepthError(f"{path} does not exist.\nCheck the path given to --depth.") from None
    except Exception as cause:
        # A damaged file makes the library raise nearly anything.
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise DepthError(f"{path} cannot be read as OpenEXR: {reason}.\nWrite the depth map again.") from cause
    return _on_display(values, window, display, path)


def _library(path: Path) -> Any:
    try:
        return importlib.import_module("OpenEXR")
    except ImportError:
        raise DepthError(
            f"{path} needs the library OpenEXR, which is not installed.\n"
            "Install it with: pip install 'dvr-cli[exr]'; or write the depth maps as .npy."
        ) from None


Window = tuple[int, int, int, int]
"""Left, top, right and bottom pixel, all inside."""


def _checked(header: dict[str, Any], most_pixels: int, openexr: Any, path: Path) -> tuple[str, Window, Window]:
    """The name of the depth channel, the data window and the display window of a file that can be read."""
    if header.get("type", openexr.scanlineimage) not in (openexr.scanlineimage, openexr.tiledimage):
        raise DepthError(f"{path} holds deep data: expected one value per pixel.\nWrite it as a flat image.")
    windows = []
    for name in ("dataWindow", "displayWindow"):
        (left, top), (right, bottom) = ((int(corner[0]), int(corner[1])) for corner in header[name])
        width, height = right - left + 1, bottom - top + 1
        if width < 1 or height < 1 or width * height > most_pixels:
            raise DepthError(
                f"{path}: {name} is {width}x{height} pixels: expected 1 to {most_pixels} pixels.\nThe file is damaged; "
                "write it again."
            )
        windows.append((left, top, right, bottom))
    channels = {channel.name: channel for channel in header["channels"]}
    name = _depth_channel(list(channels), path)
    sampled = channels[name].xSampling, channels[name].ySampling
    if len(channels) > MOST_CHANNELS or sampled != (1, 1):
        raise DepthError(
            f"{path} has {len(channels)} channels, and {name} every {sampled[0]}x{sampled[1]} pixels: expected at most "
            f"{MOST_CHANNELS}, one value per pixel.\nWrite the depth alone."
        )
    return name, windows[0], windows[1]


def _depth_channel(names: list[str], path: Path) -> str:
    """The channel that holds depth: by its name, or by the last part of it (`ViewLayer.Depth.Z`), if just one fits."""
    for wanted in DEPTH_CHANNELS:
        fitting = [name for name in names if name == wanted] or [name for name in names if name.endswith(f".{wanted}")]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise DepthError(
                f"{path}: {', '.join(fitting)} could all be depth.\nWrite one of them alone, under the name Z."
            )
    if len(names) == 1:
        return names[0]
    raise DepthError(
        f"{path} has no channel for depth: found {', '.join(sorted(names)[:8]) or 'none'}.\n"
        f"Expected one of {', '.join(DEPTH_CHANNELS)}, or a single channel."
    )


def _on_display(
    values: Float[np.ndarray, "rows columns"], window: Window, display: Window, path: Path
) -> Float[np.ndarray, "h w"]:
    """The data where it lies in the picture; unknown around it."""
    left, top, right, bottom = window
    if values.shape != (bottom - top + 1, right - left + 1):
        raise DepthError(f"{path}: its data are not of the size that its header says.\nWrite the depth map again.")
    if window == display:
        return values
    whole = np.full((display[3] - display[1] + 1, display[2] - display[0] + 1), np.nan)
    rows = slice(max(top, display[1]), min(bottom, display[3]) + 1)
    columns = slice(max(left, display[0]), min(right, display[2]) + 1)
    if rows.start < rows.stop and columns.start < columns.stop:
        whole[
            rows.start - display[1] : rows.stop - display[1], columns.start - display[0] : columns.stop - display[0]
        ] = values[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return whole
