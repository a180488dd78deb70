"""Is a binary COLMAP model complete? Its files are walked record by record before the library parses them.

The library takes a file that was cut off for a valid one and fills the rest with whatever was in memory, and it
allocates what the counts in the file claim. Layout: https://colmap.github.io/format.html
"""

import struct
from pathlib import Path

from dvr_cli.errors import SceneError

# Fixed bytes of a record: id, model, width, height | id, quaternion, translation, camera | id, xyz, rgb, error.
CAMERA_RECORD, IMAGE_RECORD, POINT_RECORD = 24, 64, 43


def check_binary_model(folder: Path) -> None:
    """SceneError unless cameras.bin, images.bin and points3D.bin end exactly where their records do."""
    walks = (("cameras.bin", _after_camera), ("images.bin", _after_image), ("points3D.bin", _after_point))
    for name, after_record in walks:
        data = (folder / name).read_bytes() if (folder / name).is_file() else b""
        try:
            (count,) = struct.unpack_from("<Q", data, 0)
            position, record = 8, 0
            while record < count and position < len(data):
                position = after_record(data, position)
                record += 1
            complete = record == count and position == len(data)
        except (struct.error, ValueError):
            complete = False
        if not complete:
            raise SceneError(
                f"{folder / name} is missing, cut off or damaged ({len(data)} bytes).\n"
                "Expected cameras.bin, images.bin and points3D.bin of one COLMAP model; export the model again."
            )


def _after_camera(data: bytes, position: int) -> int:
    import pycolmap

    (model,) = struct.unpack_from("<i", data, position + 4)
    camera = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId(model), 1.0, 1, 1)
    return position + CAMERA_RECORD + 8 * len(camera.params)


def _after_image(data: bytes, position: int) -> int:
    name_end = data.index(b"\0", position + IMAGE_RECORD)
    (points,) = struct.unpack_from("<Q", data, name_end + 1)
    return name_end + 9 + 24 * points


def _after_point(data: bytes, position: int) -> int:
    (track_length,) = struct.unpack_from("<Q", data, position + POINT_RECORD)
    return position + POINT_RECORD + 8 + 8 * track_length
