"""COLMAP models as text. Format: https://colmap.github.io/format.html

Each file is a list of lines of words; `#` starts a comment. The name of an image is the rest of its line, so it may
hold spaces. The line after an image holds its key points, which the tracks of the points repeat, and is skipped.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dvr_cli.errors import SceneError
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

MAX_BYTES = 1 << 30


def read_text_model(folder: Path) -> ModelFiles:
    """The model in cameras.txt, images.txt, points3D.txt and, where there are any, rigs.txt and frames.txt."""
    cameras = {}
    for path, words in _lines(folder / "cameras.txt"):
        camera_id, camera = _Words(path, words).camera()
        cameras[camera_id] = camera
    frames, rigs = [], {}
    if (folder / "frames.txt").is_file():
        frames = [_Words(path, words).frame() for path, words in _lines(folder / "frames.txt")]
        if (folder / "rigs.txt").is_file():
            rigs = dict(_Words(path, words).rig() for path, words in _lines(folder / "rigs.txt"))
    return ModelFiles(cameras, _images(folder / "images.txt"), _points(folder / "points3D.txt"), rigs, frames)


def text_image_count(folder: Path) -> int | None:
    """How many images a model lists; None where that cannot be read."""
    try:
        # The second line of each image has its key points, and may be empty.
        return sum(1 for _ in _lines(folder / "images.txt", then_skip=1))
    except SceneError:
        return None


def _lines(path: Path, then_skip: int = 0, most_words: int = -1) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands, for messages, and its words; `then_skip` lines are left out after each."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise damaged(path, f"{size} bytes, expected at most {MAX_BYTES}")
        with path.open("rb") as stream:
            skip = 0
            for number, line in enumerate(stream, start=1):
                stripped = line.strip()
                if skip:
                    skip -= 1
                elif stripped and not stripped.startswith(b"#"):
                    skip = then_skip
                    yield f"{path}, line {number}", stripped.decode("utf-8").split(None, most_words)
    except FileNotFoundError:
        raise damaged(path, "there is no such file") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise damaged(path, str(cause)) from cause


class _Words:
    """The words of one line, taken one after the other; SceneError where one is missing or is not what it should be."""

    def __init__(self, where: str, words: list[str]) -> None:
        self._where = where
        self._words = iter(words)

    def word(self, expected: str) -> str:
        word = next(self._words, None)
        if word is None:
            raise self.error(f"the line ends where {expected} should be")
        return word

    def error(self, what: str) -> SceneError:
        return SceneError(
            f"{self._where}: {what}.\nExpected a COLMAP model as text (docs/formats.md); export the model again."
        )

    def whole(self, expected: str, limit: int = 2**32) -> int:
        word = self.word(expected)
        try:
            value = int(word)
        except ValueError:
            value = -1
        if not 0 <= value < limit:
            raise self.error(f"{word[:50]!r} is not {expected}, a whole number from 0 to {limit - 1}")
        return value

    def number(self, expected: str) -> float:
        word = self.word(expected)
        try:
            return float(word)
        except ValueError:
            raise self.error(f"{word[:50]!r} is not {expected}, a number") from None

    def pose(self) -> Pose:
        return tuple(self.number("a number of the pose QW QX QY QZ TX TY TZ") for _ in range(7))

    def camera(self) -> tuple[int, ModelCamera]:
        camera_id, model = self.whole("the id of a camera"), self.word("the model of a camera")
        counts = dict(parameter_counts().values())
        if model not in counts:
            raise self.error(f"there is no camera model {model[:50]!r}")
        width, height = self.whole("the width", 2**63), self.whole("the height", 2**63)
        parameters = tuple(self.number("a parameter of the camera") for _ in range(counts[model]))
        return camera_id, ModelCamera(model, width, height, parameters)

    def image(self) -> ImageRecord:
        image_id, pose = self.whole("the id of an image"), self.pose()
        return ImageRecord(image_id, pose, self.whole("the id of a camera"), self.word("the name of an image"))

    def rig(self) -> tuple[int, dict[int, Pose | None]]:
        rig_id, count = self.whole("the id of a rig"), self.whole("the number of sensors")
        sensors: dict[int, Pose | None] = {}
        for number in range(count):
            kind, sensor_id = self.word("the kind of a sensor"), self.whole("the id of a sensor")
            # The first sensor is the rig's own frame.
            pose = IDENTITY if number == 0 else self.pose() if self.word("whether there is a pose") == "1" else None
            if kind == "CAMERA":
                sensors[sensor_id] = pose
        return rig_id, sensors

    def frame(self) -> Frame:
        self.whole("the id of a frame")
        rig_id, pose, count = self.whole("the id of a rig"), self.pose(), self.whole("the number of images")
        images = []
        for _ in range(count):
            kind, sensor_id = self.word("the kind of a sensor"), self.whole("the id of a sensor")
            image_id = self.whole("the id of an image", 2**64)
            if kind == "CAMERA":
                images.append((sensor_id, image_id))
        return Frame(rig_id, pose, tuple(images))

    def point(self) -> tuple[int, list[float], list[int], float, list[int]]:
        point_id = self.whole("the id of a point", 2**64)
        position = [self.number("a coordinate") for _ in range(3)]
        color = [self.whole("a colour", 256) for _ in range(3)]
        error = self.number("the error")
        track = []
        for word in self._words:
            track.append(_Words(self._where, [word]).whole("the id of an image"))
            self.whole("the number of a key point")
        return point_id, position, color, error, track


def _images(path: Path) -> list[ImageRecord]:
    return [_Words(where, words).image() for where, words in _lines(path, then_skip=1, most_words=9)]


def _points(path: Path) -> ModelPoints:
    records = [_Words(where, words).point() for where, words in _lines(path)]
    return points_in_order(
        np.array([record[0] for record in records], dtype=np.uint64),
        np.array([record[1] for record in records], dtype=np.float64).reshape(-1, 3),
        np.array([record[2] for record in records], dtype=np.uint8).reshape(-1, 3),
        np.array([record[3] for record in records], dtype=np.float64),
        [np.array(record[4], dtype=np.int64) for record in records],
    )
