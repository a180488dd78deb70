"""What a bundle.out (version 0.3) says: cameras, points, and which camera sees which point where.

    # Bundle file v0.3
    cameras points
    f k1 k2, three rows of R, t             for each camera
    x y z, r g b, n and n times (camera feature x y)   for each point

Only numbers between blanks after the first line; where lines break means nothing. Counts are compared with the numbers
that are there before anything is made of them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import SceneError
from dvr_cli.files import write_text
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.readers.text_files import read_text

HEADER = "# Bundle file v"
VERSION = "0.3"
CAMERA_NUMBERS = 15
POINT_NUMBERS = 7
"""Position, colour, and how many views follow."""
VIEW_NUMBERS = 4


@dataclass(frozen=True)
class Bundle:
    """The content of the file, in its own axes: x right, y up, the camera looks along -z."""

    focal: Float[np.ndarray, "n"]
    """Pixels; 0 for a camera that was not registered."""
    distortion: Float[np.ndarray, "n 2"]
    """k1 and k2: a point p of the plane at distance 1 is imaged at f (1 + k1 |p|^2 + k2 |p|^4) p."""
    camera_from_world: Float[np.ndarray, "n 3 4"]
    points: Float[np.ndarray, "p 3"]
    colors: Float[np.ndarray, "p 3"]
    """RGB, 0 to 255."""
    seen: Int[np.ndarray, "m 2"]
    """Pairs (camera, point)."""
    places: Float[np.ndarray, "m 2"]
    """Where the camera of each pair sees the point: pixels from the middle of the image, y up."""


def read_bundle(path: Path) -> Bundle:
    """Read the file; SceneError for another version, numbers that are not finite, and counts that do not fit."""
    header, _, body = read_text(path).partition("\n")
    if not header.startswith(HEADER) or header[len(HEADER) :].strip() != VERSION:
        raise SceneError(
            f"{path} starts with {header[:40]!r}: expected {HEADER + VERSION!r}.\n"
            "Only this version says where views see points; export it again."
        )
    numbers = _numbers(body, path)
    if len(numbers) < 2:
        raise SceneError(
            f"{path} has no counts of cameras and points after its first line.\nIt is cut off; copy it again."
        )
    cameras, points = _count(numbers[0], path), _count(numbers[1], path)
    start = 2 + CAMERA_NUMBERS * cameras
    if cameras == 0 or start + POINT_NUMBERS * points > len(numbers):
        raise SceneError(
            f"{path} announces {count_of(cameras, 'camera')} and {count_of(points, 'point')} and holds "
            f"{len(numbers)} numbers.\nExpected at least one camera, 15 numbers for each, 7 or more for each "
            "point; it is cut off, copy it again."
        )
    blocks = numbers[2:start].reshape(cameras, CAMERA_NUMBERS)
    rotation, translation = blocks[:, 3:12].reshape(-1, 3, 3), blocks[:, 12:, None]
    starts, views = _point_starts(numbers, start, points, path)
    positions = numbers[starts[:, None] + np.arange(POINT_NUMBERS - 1)]
    # The views of each point follow it: their numbers are found without a loop over them.
    point_of_view = np.repeat(np.arange(points), views)
    within = np.arange(len(point_of_view)) - np.repeat(np.cumsum(views) - views, views)
    first = starts[point_of_view] + POINT_NUMBERS + VIEW_NUMBERS * within
    seen_by = numbers[first]
    if not ((seen_by >= 0) & (seen_by < cameras) & (seen_by == np.floor(seen_by))).all():
        raise SceneError(
            f"{path} names cameras for its points that it does not have: expected 0 to {cameras - 1}.\n"
            "The file is damaged; export it again."
        )
    return Bundle(
        blocks[:, 0],
        blocks[:, 1:3],
        np.concatenate([rotation, translation], axis=2),
        positions[:, :3],
        positions[:, 3:],
        np.stack([seen_by.astype(np.int64), point_of_view], axis=1),
        numbers[first[:, None] + np.array([2, 3])],
    )


def reprojection_errors(bundle: Bundle) -> Float[np.ndarray, "p"] | None:
    """Mean distance between where views see a point and where it is imaged, pixels; None if no place is given.

    Bundler's projection: X = R x + t, p = -(X, Y) / Z, f (1 + k1 |p|^2 + k2 |p|^4) p. A point that no view sees in
    front of it has the largest error of all.
    """
    if not bundle.places.any():
        return None
    sums, counts = np.zeros(len(bundle.points)), np.zeros(len(bundle.points))
    order = np.argsort(bundle.seen[:, 0], kind="stable")
    bounds = np.searchsorted(bundle.seen[order, 0], np.arange(len(bundle.focal) + 1))
    for camera in np.flatnonzero((bundle.focal > 0) & (np.diff(bounds) > 0)).tolist():
        pairs = order[bounds[camera] : bounds[camera + 1]]
        points = bundle.seen[pairs, 1]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            imaged, ahead = _imaged(bundle, camera, bundle.points[points])
            distances = np.linalg.norm(imaged - bundle.places[pairs], axis=1)
            np.add.at(sums, points[ahead], distances[ahead])
        np.add.at(counts, points[ahead], 1)
    if not counts.any() or not np.isfinite(sums).all():
        return None
    errors = sums / np.maximum(counts, 1)
    return np.where(counts > 0, errors, errors[counts > 0].max())


def _imaged(
    bundle: Bundle, camera: int, points: Float[np.ndarray, "p 3"]
) -> tuple[Float[np.ndarray, "p 2"], Bool[np.ndarray, "p"]]:
    """Pixels from the middle of the image, y up, and which points lie in front of the camera."""
    motion, (k1, k2) = bundle.camera_from_world[camera], bundle.distortion[camera]
    in_camera = points @ motion[:, :3].T + motion[:, 3]
    flat = -in_camera[:, :2] / in_camera[:, 2:]
    square = (flat**2).sum(axis=1)
    factor = bundle.focal[camera] * (1 + k1 * square + k2 * square**2)
    return factor[:, None] * flat, in_camera[:, 2] < 0


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write the file, seventeen digits for each number; the features are counted from 0 in each view."""
    lines = [HEADER + VERSION, f"{len(bundle.focal)} {len(bundle.points)}"]
    for focal, distortion, motion in zip(bundle.focal, bundle.distortion, bundle.camera_from_world, strict=True):
        lines.append(_words([focal, *distortion]))
        lines.extend(_words(row) for row in motion[:, :3])
        lines.append(_words(motion[:, 3]))
    order = np.argsort(bundle.seen[:, 1], kind="stable")
    bounds = np.searchsorted(bundle.seen[order, 1], np.arange(len(bundle.points) + 1))
    features = np.zeros(len(bundle.focal), dtype=np.int64)
    for index, (point, color) in enumerate(zip(bundle.points, bundle.colors, strict=True)):
        lines += [_words(point), " ".join(str(int(channel)) for channel in np.round(color))]
        views = [str(bounds[index + 1] - bounds[index])]
        for pair in order[bounds[index] : bounds[index + 1]]:
            camera = bundle.seen[pair, 0]
            views.append(f"{camera} {features[camera]} {_words(bundle.places[pair])}")
            features[camera] += 1
        lines.append(" ".join(views))
    write_text(path, "\n".join([*lines, ""]))


def _words(values: Float[np.ndarray, "k"] | list[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def _numbers(body: str, path: Path) -> Float[np.ndarray, "k"]:
    # For a text of blanks alone NumPy returns one number.
    try:
        numbers = np.fromstring(body, sep=" ") if body.strip() else np.zeros(0)
    except (ValueError, DeprecationWarning):
        numbers = np.full(1, np.nan)
    if not np.isfinite(numbers).all():
        raise SceneError(
            f"{path} holds something else than finite numbers after its first line.\n"
            "The file is damaged; export it again."
        )
    return numbers


def _count(number: float, path: Path) -> int:
    """A count as a whole number; far beyond what a file can hold is cut to that."""
    if number < 0 or not float(number).is_integer():
        raise SceneError(f"{path}: {number:g} is no count.\nThe file is damaged; export it again.")
    return int(min(number, 1e12))


def _point_starts(
    numbers: Float[np.ndarray, "k"], start: int, points: int, path: Path
) -> tuple[Int[np.ndarray, "p"], Int[np.ndarray, "p"]]:
    """Where each point starts among the numbers, and how many views it has."""
    starts, views = np.zeros(points, dtype=np.int64), np.zeros(points, dtype=np.int64)
    for index in range(points):
        counted = start + POINT_NUMBERS - 1
        count = _count(numbers[counted], path) if counted < len(numbers) else len(numbers)
        starts[index], views[index] = start, count
        start += POINT_NUMBERS + VIEW_NUMBERS * count
        if start > len(numbers):
            raise SceneError(
                f"{path} ends within point {index} of {points}, or that point counts its views wrongly.\n"
                "It is cut off or damaged; copy it again."
            )
    return starts, views
