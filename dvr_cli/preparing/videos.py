"""Frames out of a video, one at a time, through the ffmpeg that the extra `video` brings.

Strangers' videos: ffmpeg may read no other file than the one named, nothing from the network, and only the formats that
cameras write. Phones' rotations are applied by ffmpeg, so that frames are upright.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8

from dvr_cli.errors import SceneError

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts"),
    *(".3gp", ".wmv", ".gif"),
)
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,asf,gif"
MEASURING_SIZE = 640
"""Longest side of the grey frames that motion and sharpness are measured in, pixels."""
LARGEST_SIDE = 20_000
"""Pixels that a frame may have a side: what ffmpeg says is checked before memory is taken."""


def is_video(path: Path) -> bool:
    """True for a name that a video has."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def ffmpeg() -> str:
    """Path of ffmpeg; SceneError when the extra that brings it is not installed."""
    try:
        return str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise SceneError(
            "Reading videos needs the extra video: pip install 'dvr-cli[video]'\n"
            "A folder of photographs needs nothing more."
        ) from error


def small_frames(video: Path) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """All frames in order, grey, the longest side at most 640 pixels."""
    side = MEASURING_SIZE
    scale = f"scale='min({side},iw)':'min({side},ih)':force_original_aspect_ratio=decrease"
    with _decoder(video, scale, "pgm") as stream:
        while (frame := _read_frame(stream, b"P5", 1)) is not None:
            yield frame[:, :, 0]


def chosen_frames(video: Path, numbers: "np.ndarray") -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames of these numbers (increasing, counted from 0 as `small_frames` does) at full size."""
    wanted = "+".join(f"eq(n,{int(number)})" for number in numbers)
    with _decoder(video, f"select='{wanted}'", "ppm") as stream:
        while (frame := _read_frame(stream, b"P6", 3)) is not None:
            yield frame


@contextmanager
def _decoder(video: Path, filters: str, codec: str) -> Iterator[IO[bytes]]:
    """ffmpeg writing one image after another; SceneError with its own words when it fails."""
    command = [
        ffmpeg(), "-nostdin", "-v", "error", "-protocol_whitelist", "file", "-format_whitelist", FORMATS,
        "-i", f"file:{video}", "-map", "0:v:0", "-vf", filters, "-fps_mode", "passthrough",
        "-f", "image2pipe", "-c:v", codec, "-",
    ]  # fmt: skip
    # What it says goes to a file, since a pipe that nobody reads would fill up. It has a session of its own, so that
    # Ctrl-C reaches this program alone, which then ends the other.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, start_new_session=True)
        assert process.stdout is not None
        try:
            yield process.stdout
            if process.wait() != 0:
                said.seek(0)
                raise SceneError(_undecodable(video, said.read(1 << 16).decode(errors="replace")))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _read_frame(stream: IO[bytes], magic: bytes, channels: int) -> UInt8[np.ndarray, "h w c"] | None:
    """The next PGM or PPM image, None at the end."""
    header = stream.readline(64)
    if not header:
        return None
    size = stream.readline(64).split()
    depth = stream.readline(64).strip()
    if header.strip() != magic or len(size) != 2 or depth != b"255":
        raise SceneError(f"The decoder of the video wrote {header[:20]!r}: expected an image.\nConvert it to mp4.")
    width, height = int(size[0]), int(size[1])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise SceneError(f"The video has frames of {width}x{height} pixels: at most {LARGEST_SIDE} a side are read.")
    content = stream.read(width * height * channels)
    if len(content) < width * height * channels:
        return None
    return np.frombuffer(content, dtype=np.uint8).reshape(height, width, channels)


def _undecodable(video: Path, said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = lines[-1][:200] if lines else "ffmpeg failed"
    return (
        f"{video} cannot be decoded: {reason}.\n"
        "Expected a video as cameras write it (mp4, mov, mkv, avi, webm); play it, or convert it to mp4."
    )
