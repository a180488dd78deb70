"""Which frames of a video to use: spread evenly over what moves in the picture, the sharpest of each stretch.

The path of a video is how far the picture has moved, in widths of the image, as the median over tiles that have
texture, each compared with a reference frame by phase correlation (Kuglin and Hines 1975). Where the camera stands
still nothing is added, so that stretches of equal length overlap equally.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

TILE = 32
"""Pixels a side, of the frames below."""
MOTION_WIDTH = 320
"""Pixels; width at which motion is measured."""
WHITENING = 0.7
"""Power of the spectrum that is divided out: 1 is phase correlation, which fails between a sharp and a blurred frame;
0 is plain correlation, which a slow change of brightness leads astray."""
NEW_REFERENCE = 6.0
"""Pixels of motion after which the reference frame is replaced."""
LEAST_CONTRAST = 4.0
"""Standard deviation of the grey values (0 to 255) of a tile that has texture."""
STRIDE = 0.05
"""Widths of the image that the picture moves between frames that are used: 95 % of it overlap."""
FEWEST_FRAMES, MOST_FRAMES = 20, 200
"""Bounds of the number of frames that is chosen when none is asked for."""
SECONDS_AT_REST = 1.0


@dataclass(frozen=True)
class FrameMeasures:
    """Of every frame of a video, in order."""

    path: Float[np.ndarray, "f"]
    """How far the picture has moved since the first frame, widths of the image; never decreases."""
    sharpness: Float[np.ndarray, "f"]
    """Variance of the Laplacian over the variance of the grey values; larger is sharper."""


def measure_frames(frames: Iterable[UInt8[np.ndarray, "h w"]], counted: Callable[[int], None]) -> FrameMeasures:
    """Motion and sharpness of grey frames of one size, one at a time; `counted` is told after each."""
    path: list[float] = []
    sharpness: list[float] = []
    reference: np.ndarray | None = None
    travelled = 0.0
    for frame in frames:
        small = _shrunk(frame)
        sharpness.append(sharpness_of(frame))
        if reference is None:
            reference = small
        moved = motion(reference, small)
        # A frame that cannot be compared with the reference counts as a whole tile's motion.
        here = travelled + (moved if moved is not None else TILE / 2) / small.shape[1]
        path.append(max(here, path[-1]) if path else here)
        if moved is None or moved > NEW_REFERENCE:
            reference, travelled = small, path[-1]
        counted(len(path))
    return FrameMeasures(np.array(path, dtype=np.float64), np.array(sharpness, dtype=np.float64))


def choose_frames(measures: FrameMeasures, wanted: int | None) -> Int[np.ndarray, "n"]:
    """Numbers of the frames to use, increasing: the sharpest of each of `wanted` stretches of equal path.

    Without `wanted` a stretch is `STRIDE` long, within bounds. Fewer come back where a stretch holds no frame.
    """
    count = len(measures.path)
    length = float(measures.path[-1]) if count else 0.0
    stretches = wanted if wanted is not None else int(np.clip(round(length / STRIDE), FEWEST_FRAMES, MOST_FRAMES))
    stretches = min(stretches, count)
    if stretches == 0:
        return np.zeros(0, dtype=np.int64)
    if length == 0:
        return np.array([int(np.argmax(measures.sharpness))])
    stretch = np.minimum((measures.path / length * stretches).astype(np.int64), stretches - 1)
    chosen = []
    for number in range(stretches):
        inside = np.flatnonzero(stretch == number)
        if len(inside):
            chosen.append(inside[np.argmax(measures.sharpness[inside])])
    return np.array(chosen, dtype=np.int64)


def sharpness_of(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) over that of the grey values; 0 for an even picture."""
    values = grey.astype(np.float32)
    centre = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * centre
    spread = float(values.var())
    return float(laplacian.var()) / spread if spread > 0 else 0.0


def motion(reference: Float[np.ndarray, "h w"], frame: Float[np.ndarray, "h w"]) -> float | None:
    """Median motion of the tiles with texture, pixels; None where there is nothing to compare.

    A picture that only moves to the side has the same shift in all tiles; one of a turning object has it where the
    object is.
    """
    first, second = _tiles(reference), _tiles(frame)
    textured = (first.std(axis=(1, 2)) > LEAST_CONTRAST) & (second.std(axis=(1, 2)) > LEAST_CONTRAST)
    if not textured.any():
        return None
    return float(np.median(_shifts(first[textured], second[textured])))


def _shifts(
    first: Float[np.ndarray, "t side side"], second: Float[np.ndarray, "t side side"]
) -> Float[np.ndarray, "t"]:
    """Length of the shift of each tile, pixels, to the nearest whole pixel in x and y."""
    window = np.hanning(TILE)[:, None] * np.hanning(TILE)[None]
    spectra = [np.fft.rfft2((tiles - tiles.mean(axis=(1, 2), keepdims=True)) * window) for tiles in (first, second)]
    cross = spectra[0] * spectra[1].conj()
    correlation = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6) ** WHITENING, s=(TILE, TILE))
    rows, columns = np.divmod(correlation.reshape(len(first), -1).argmax(axis=1), TILE)
    signed = [np.where(shift > TILE // 2, shift - TILE, shift) for shift in (rows, columns)]
    return np.hypot(signed[0], signed[1])


def _tiles(frame: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "t side side"]:
    """The whole tiles of a frame, from its top left corner."""
    rows, columns = frame.shape[0] // TILE, frame.shape[1] // TILE
    cut = frame[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE)
    return cut.transpose(0, 2, 1, 3).reshape(-1, TILE, TILE)


def _shrunk(frame: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h2 w2"]:
    """Averages of whole blocks, so that the width is near `MOTION_WIDTH`."""
    factor = max(1, round(max(frame.shape) / MOTION_WIDTH))
    rows, columns = frame.shape[0] // factor, frame.shape[1] // factor
    cut = frame[: rows * factor, : columns * factor].astype(np.float64)
    return cut.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
