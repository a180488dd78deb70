"""Pictures one after another in a file: GIF and WebP through Pillow, MP4 (H.264) through ffmpeg.

A GIF has one palette of its own and lasts whole hundredths of a second per frame, so that frames may differ by one; it
is dithered by a fixed pattern, because error diffusion crawls from frame to frame and does not compress.
"""

import errno
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from dvr_cli.errors import ExportError
from dvr_cli.files import disk_errors, replacing

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".mp4", ".gif", ".webp")
DEFAULT_RATE = {".mp4": 25.0, ".gif": 12.5, ".webp": 25.0}
"""Frames per second: a GIF of 25 would be twice as large, and it is large already."""
MOST_PIXELS = 1 << 29
"""Of all frames of a GIF or WebP together, which are held in memory: about 2 GB."""
FASTEST_GIF = 50.0
_ADVICE = "Free some space, or choose another place."
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 15 / 32

Frame = UInt8[np.ndarray, "h w c"]


def check_animation(path: Path, transparent: bool = False) -> None:
    """Raise ExportError unless an animation could be written there: known suffix, a folder, ffmpeg for .mp4."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ExportError(f"{path}: unknown format '{path.suffix}' of an animation. Expected {', '.join(SUFFIXES)}.")
    if path.is_dir():
        raise ExportError(f"{path} is a folder: expected the name of a file to write.")
    if path.parent.exists() and not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder: choose another place for {path.name}.")
    if suffix == ".mp4":
        _ffmpeg()
        if transparent:
            raise ExportError(f"{path}: H.264 video cannot be transparent. Name a .webp or .gif, or a background.")


def check_size(path: Path, frames: int, height: int, width: int, rate: float) -> None:
    """Raise ExportError for more pixels than memory may hold, and for a GIF that no viewer plays so fast."""
    if path.suffix.lower() == ".gif" and rate > FASTEST_GIF:
        raise ExportError(f"{path}: viewers play a GIF at {FASTEST_GIF:g} frames per second at most, not at {rate:g}.")
    if path.suffix.lower() != ".mp4" and frames * height * width > MOST_PIXELS:
        raise ExportError(
            f"{path}: {frames} frames of {width}x{height} pixels do not fit the memory that a {path.suffix} may take.\n"
            "Make fewer or smaller ones, or an .mp4, which is written as it is drawn."
        )


def write_animation(path: Path, frames: Iterable[Frame], rate: float) -> None:
    """Write frames (RGB, or RGBA where the format can hold it, all of one size) that repeat for ever.

    `frames` may be a generator; `rate` is in frames per second. The file takes its place when it is complete. Raises
    ExportError when it cannot be written.
    """
    check_animation(path)
    writers: dict[str, Callable[[Path, Iterable[Frame], float], None]] = {
        ".mp4": _write_mp4,
        ".gif": _write_gif,
        ".webp": _write_webp,
    }
    with disk_errors(path, ExportError, _ADVICE):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            writers[path.suffix.lower()](temporary, frames, rate)


def delays(count: int, rate: float, unit: float) -> list[int]:
    """How long each frame lasts in whole units of so many seconds, at least 1, so that the sum is right.

    >>> delays(4, 30, 0.01)
    [3, 4, 3, 3]
    """
    ends = [round(index / rate / unit) for index in range(count + 1)]
    return [max(1, end - start) for start, end in pairwise(ends)]


def _write_webp(path: Path, frames: Iterable[Frame], rate: float) -> None:
    from PIL import Image

    first, *others = [Image.fromarray(frame) for frame in frames]
    durations = delays(1 + len(others), rate, 0.001)
    first.save(path, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, quality=85, method=3)


def _write_gif(path: Path, frames: Iterable[Frame], rate: float) -> None:
    """Colours are chosen from all frames together; the most frequent one, a plain background, is not dithered."""
    found = list(frames)
    palette, plain = _palette(found)
    spread = _step_of(palette, found)
    images = [_with_palette(frame, palette, plain, spread) for frame in found]
    # Hundredths of a second, which Pillow takes in thousandths.
    options = {"transparency": 255, "disposal": 2} if found[0].shape[2] == 4 else {}
    images[0].save(
        path, "GIF", save_all=True, append_images=images[1:], loop=0, optimize=False,
        duration=[10 * delay for delay in delays(len(found), rate, 0.01)], **options,
    )  # fmt: skip


def _palette(frames: list[Frame]) -> tuple["UInt8[np.ndarray, 'n 3']", "UInt8[np.ndarray, '3']"]:
    """At most 255 colours out of a sample of the frames, and the colour that most of its pixels have, which is one."""
    from PIL import Image

    some = frames[:: max(1, len(frames) // 12)]
    pixels = np.concatenate([_opaque(frame)[::5] for frame in some])
    if not len(pixels):
        pixels = np.zeros((1, 3), dtype=np.uint8)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    plain = colours[np.argmax(counts)]
    varied = pixels[(pixels != plain).any(axis=1)]
    if not len(varied):
        return plain[None], plain
    image = Image.fromarray(np.ascontiguousarray(varied[None]))
    quantised = image.quantize(254, Image.Quantize.MEDIANCUT, kmeans=1)
    listed = np.array(quantised.getpalette(), dtype=np.uint8).reshape(-1, 3)[: len(np.unique(np.asarray(quantised)))]
    return np.concatenate([plain[None], listed]), plain


def _opaque(frame: Frame) -> "UInt8[np.ndarray, 'n 3']":
    return frame[..., :3].reshape(-1, 3) if frame.shape[2] == 3 else frame[frame[..., 3] >= 128][:, :3]


def _step_of(palette: "UInt8[np.ndarray, 'n 3']", frames: list[Frame]) -> float:
    """Twice the mean distance per channel from a pixel to its colour in the palette: what dithering has to bridge."""
    frame = frames[len(frames) // 2]
    quantised = _with_palette(frame, palette, palette[0], 0.0)
    shown = palette[np.minimum(np.asarray(quantised), len(palette) - 1)]
    opaque = np.ones(frame.shape[:2], dtype=bool) if frame.shape[2] == 3 else frame[..., 3] >= 128
    difference = np.abs(shown.astype(np.float64) - frame[..., :3])[opaque]
    return 2 * float(difference[difference.any(axis=1)].mean()) if difference.any() else 0.0


def _with_palette(
    frame: Frame, palette: "UInt8[np.ndarray, 'n 3']", plain: "UInt8[np.ndarray, '3']", spread: float
) -> "Image":
    """A frame in the colours of a palette, with an ordered pattern of +-`spread` / 2; 255 where it is transparent."""
    from PIL import Image

    height, width = frame.shape[:2]
    pattern = np.tile(_BAYER, (-(-height // 4), -(-width // 4)))[:height, :width, None] * spread
    colour = frame[..., :3]
    varied = (colour != plain).any(axis=-1, keepdims=True)
    dithered = np.clip(np.round(colour + pattern * varied), 0, 255).astype(np.uint8)
    table = Image.new("P", (1, 1))
    table.putpalette(np.concatenate([palette, np.repeat(palette[:1], 256 - len(palette), axis=0)]).tobytes())
    quantised = Image.fromarray(dithered).quantize(palette=table, dither=Image.Dither.NONE)
    if frame.shape[2] == 3:
        return quantised
    indices = np.where(frame[..., 3] >= 128, np.minimum(np.asarray(quantised), 254), 255).astype(np.uint8)
    result = Image.fromarray(indices)
    result.putpalette(table.getpalette() or [])
    return result


def _write_mp4(path: Path, frames: Iterable[Frame], rate: float) -> None:
    """H.264 in yuv420p with the matrix of BT.709, which every browser and player understands."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    with _encoder(path, height, width, rate) as send:
        send(first)
        for frame in frames:
            send(frame)


@contextmanager
def _encoder(path: Path, height: int, width: int, rate: float) -> Iterator[Callable[[Frame], None]]:
    """ffmpeg, waiting for frames; OSError with its own words when it fails."""
    command = [
        _ffmpeg(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
        "-r", f"{rate:.6g}", "-i", "-", "-an", "-c:v", "libx264", "-crf", "18", "-preset", "medium",
        "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p", "-colorspace", "bt709",
        "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv",
        "-movflags", "+faststart", str(path),
    ]  # fmt: skip
    # Of its own session, so that Ctrl-C reaches this program alone, which then ends the other.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None

    def send(frame: Frame) -> None:
        assert process.stdin is not None
        process.stdin.write(np.ascontiguousarray(frame).tobytes())

    try:
        # A pipe that breaks is a symptom; ffmpeg says the reason.
        with suppress(BrokenPipeError):
            yield send
        with suppress(BrokenPipeError):
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        if process.wait() != 0:
            full = "No space left" in said or "File too large" in said
            raise OSError(errno.ENOSPC if full else errno.EIO, os.strerror(errno.ENOSPC) if full else _last_line(said))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stderr):
            with suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return f"ffmpeg failed: {lines[-1].strip()}" if lines else "ffmpeg failed"


def _ffmpeg() -> str:
    """Path of ffmpeg; ExportError when the extra that brings it is not installed."""
    try:
        return str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise ExportError(
            "Video files (.mp4) need the extra video: pip install 'dvr-cli[video]'\nA .webp or .gif needs nothing more."
        ) from error
