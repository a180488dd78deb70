"""Binary COLMAP models, read record by record: counts are compared with what the file holds before memory is reserved.

All numbers are little endian. Format: https://colmap.github.io/format.html
"""

import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dvr_cli.scenes.readers.colmap_model import (
    IDENTITY,
    Frame,
    ImageRecord,
    ModelCamera,
    ModelFiles,
    ModelPoints,
    Pose,
    damaged,
    parameter_counts,
    points_in_order,
)

MAX_BYTES = 4 << 30
"""Of one file; it is mapped, not loaded."""
MAX_NAME = 4096
SMALLEST_IMAGE = 73
"""Bytes of an image without a name and key points."""
CAMERA_SENSOR = 0
"""Rigs may hold other sensors (1: an IMU), which take no images."""
# Id, position, colour, error; the length of the track follows.
POINT = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8")])
TRACK_ELEMENT = np.dtype([("image", "<u4"), ("point2D", "<u4")])

Bytes = bytes | mmap.mmap
Record = TypeVar("Record")


def read_binary_model(folder: Path) -> ModelFiles:
    """The model in cameras.bin, images.bin, points3D.bin and, where there are any, rigs.bin and frames.bin.

    SceneError unless each file ends exactly where its last record does.
    """
    cameras = dict(_records(folder / "cameras.bin", _camera))
    images = _records(folder / "images.bin", _image)
    rigs = _records(folder / "rigs.bin", _rig) if (folder / "rigs.bin").is_file() else []
    frames = _records(folder / "frames.bin", _frame) if (folder / "frames.bin").is_file() else []
    # Rigs without frames say nothing about poses; the images have their own.
    by_id = dict(rigs) if (folder / "frames.bin").is_file() else {}
    return ModelFiles(cameras, images, _points(folder / "points3D.bin"), by_id, frames)


def binary_image_count(folder: Path) -> int | None:
    """How many images a model says that it has, without reading them; None where that cannot be."""
    path = folder / "images.bin"
    try:
        with path.open("rb") as stream:
            count = int(struct.unpack("<Q", stream.read(8))[0])
        return count if 8 + SMALLEST_IMAGE * count <= path.stat().st_size else None
    except (OSError, struct.error):
        return None


def _records(path: Path, read: Callable[[Bytes, int], tuple[Record, int]]) -> list[Record]:
    """All records of a file; `read` takes a position and returns a record and the position after it."""
    with _mapped(path) as data:
        (count,) = struct.unpack_from("<Q", data, 0)
        records: list[Record] = []
        position = 8
        while len(records) < count and position < len(data):
            record, position = read(data, position)
            records.append(record)
        if len(records) < count or position != len(data):
            raise damaged(path, f"{len(records)} of {count} records in {len(data)} bytes")
    return records


@contextmanager
def _mapped(path: Path) -> Iterator[Bytes]:
    """The bytes of a file; whatever goes wrong while its records are read becomes a SceneError."""
    try:
        size = path.stat().st_size
        if not 8 <= size <= MAX_BYTES:
            raise damaged(path, f"{size} bytes, expected 8 to {MAX_BYTES}")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except FileNotFoundError:
        raise damaged(path, "there is no such file") from None
    except (OSError, ValueError, IndexError, struct.error) as cause:
        raise damaged(path, str(cause)) from cause


def _camera(data: Bytes, position: int) -> tuple[tuple[int, ModelCamera], int]:
    camera_id, model, width, height = struct.unpack_from("<IiQQ", data, position)
    if model not in parameter_counts():
        raise ValueError(f"camera {camera_id} has the unknown model {model}")
    name, count = parameter_counts()[model]
    parameters = struct.unpack_from(f"<{count}d", data, position + 24)
    return (camera_id, ModelCamera(name, width, height, parameters)), position + 24 + 8 * count


def _image(data: Bytes, position: int) -> tuple[ImageRecord, int]:
    image_id, *pose, camera_id = struct.unpack_from("<I7dI", data, position)
    name_end = data.find(b"\0", position + 64, position + 64 + MAX_NAME)
    if name_end < 0:
        raise ValueError(f"the name of image {image_id} has no end")
    name = data[position + 64 : name_end].decode("utf-8")
    # The key points are skipped: the tracks of the points say the same.
    (points,) = struct.unpack_from("<Q", data, name_end + 1)
    return ImageRecord(image_id, tuple(pose), camera_id, name), name_end + 9 + 24 * points


def _rig(data: Bytes, position: int) -> tuple[tuple[int, dict[int, Pose | None]], int]:
    rig_id, count = struct.unpack_from("<II", data, position)
    position += 8
    sensors: dict[int, Pose | None] = {}
    for number in range(count):
        kind, sensor_id = struct.unpack_from("<iI", data, position)
        position += 8
        # The first sensor is the rig's own frame.
        pose: Pose | None = IDENTITY
        if number > 0:
            has_pose = data[position] != 0
            pose = struct.unpack_from("<7d", data, position + 1) if has_pose else None
            position += 57 if has_pose else 1
        if kind == CAMERA_SENSOR:
            sensors[sensor_id] = pose
    return (rig_id, sensors), position


def _frame(data: Bytes, position: int) -> tuple[Frame, int]:
    _, rig_id, *pose, count = struct.unpack_from("<II7dI", data, position)
    position += 68
    images = []
    for _ in range(count):
        kind, sensor_id, image_id = struct.unpack_from("<iIQ", data, position)
        position += 16
        if kind == CAMERA_SENSOR:
            images.append((sensor_id, image_id))
    return Frame(rig_id, tuple(pose), tuple(images)), position


def _points(path: Path) -> ModelPoints:
    """All points; heads and tracks are collected as bytes and turned into arrays at once."""
    records = _records(path, _point)
    heads = np.frombuffer(b"".join(head for head, _ in records), POINT)
    tracks = [np.frombuffer(track, TRACK_ELEMENT)["image"].astype(np.int64) for _, track in records]
    return points_in_order(
        heads["id"].astype(np.uint64), heads["xyz"].astype(float), heads["rgb"], heads["error"].astype(float), tracks
    )


def _point(data: Any, position: int) -> tuple[tuple[bytes, bytes], int]:
    (length,) = struct.unpack_from("<Q", data, position + POINT.itemsize)
    start = position + POINT.itemsize + 8
    end = start + TRACK_ELEMENT.itemsize * length
    if end > len(data):
        raise ValueError(f"a track claims {length} images")
    return (data[position : position + POINT.itemsize], data[start:end]), end
