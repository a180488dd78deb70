"""SIFT features, matches between them, and the known cameras as COLMAP wants them, through pycolmap.

COLMAP's defaults hold, with three differences that favour it: the contrast threshold is lower, so that surfaces with
little texture give features at all; only pairs of views are matched whose directions differ by less than 60 degrees;
matches are checked against the known cameras, not against an epipolar geometry estimated from the matches themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import DepthError
from dvr_cli.matching.quiet import silent_libraries
from dvr_cli.processors import available_threads
from dvr_cli.scenes.views import Camera, LoadedView

MOST_FEATURES = 8192
"""Per photograph, COLMAP's default."""
CONTRAST_THRESHOLD = 0.002
"""COLMAP's default is 0.0067. On a matte statue the lower one gives three times as many points, as exact as before."""
LONGEST_SIDE = 1600
"""Pixels; larger photographs are shrunk for the features."""
LARGEST_PICTURE = 1_200_000
"""Pixels of a photograph up to which features are also looked for in a picture twice as large, when it must be fast:
there are the finest ones, a good half of all and the most exact, for four fifths of the time. COLMAP always does."""
LARGEST_ANGLE = np.deg2rad(60.0)
"""Between viewing directions; SIFT matches hardly anything beyond half of it."""
FEW_VIEWS = 60
MOST_NEIGHBOURS = 20
"""Views that each is matched with when there are more than `FEW_VIEWS`."""
VIEWS_AT_A_TIME = 4
"""And thread, between reports of how far extraction is."""
PAIRS_AT_A_TIME = 100
"""Between reports of how far matching is."""
SHARE_OF_EXTRACTION = 60
"""Hundredths of the whole that are done when features are there; measured with 49 photographs at 1600 pixels ..."""
SHARE_OF_MATCHES = 90
"""... and when they are matched."""


@dataclass(frozen=True)
class Matched:
    """What triangulation starts from."""

    reconstruction: Any
    """A `pycolmap.Reconstruction` with the known cameras and no points."""
    database: Path
    images: Path
    view_of_image: dict[int, int]
    """View index by COLMAP's image id."""
    cameras: tuple[Camera, ...]
    """Of the views, in their order."""
    features: int
    matches: int
    """That agree with the cameras."""


def match_views(
    views: Sequence[LoadedView],
    work_folder: Path,
    threads: int | None,
    seed: int,
    report: Callable[[int, int], None] | None,
    fast: bool = False,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Matched:
    """Features of all views and matches between neighbours; DepthError for fewer than two views.

    `fast` looks for fewer features in large pictures. `pairs`: which views to match, instead of `neighbouring_pairs`;
    their matches are then not held against the cameras, and `Matched.matches` counts all of them. Each view is asked
    for once and not kept, so that a sequence may load them as they are wanted. What `report` raises ends the work.
    """
    import pycolmap

    if len(views) < 2:
        raise DepthError(f"{len(views)} view cannot be matched with others: triangulation needs two at least.")
    count = threads or available_threads()
    images, masks, cameras = _write_pictures(views, work_folder)
    database = work_folder / "database.db"
    for leftover in work_folder.glob("database.db*"):
        leftover.unlink()
    pycolmap.set_random_seed(seed)
    largest = max(camera.height * camera.width for camera in cameras)
    finest = 0 if fast and largest > LARGEST_PICTURE else -1
    _extract(len(cameras), images, masks, database, count, finest, report)
    reconstruction, view_of_image, features = _known_cameras(cameras, database)
    chosen = neighbouring_pairs(cameras) if pairs is None else list(pairs)
    matches = _match(chosen, reconstruction, database, count, report, held_against_cameras=pairs is None)
    return Matched(reconstruction, database, images, view_of_image, tuple(cameras), features, matches)


def neighbouring_pairs(cameras: Sequence[Camera]) -> list[tuple[int, int]]:
    """Pairs (i < j) of views that look the same way, sorted.

    Up to 60 views, all pairs whose viewing directions differ by less than 60 degrees; with more views, each with the 20
    nearest of these, where a distance counts one for the spacing of the cameras and one for every 15 degrees.
    """
    directions = np.stack([camera.camera_from_world[2, :3] for camera in cameras])
    angle = np.arccos(np.clip(directions @ directions.T, -1, 1))
    together = angle < LARGEST_ANGLE
    np.fill_diagonal(together, False)
    if len(cameras) > FEW_VIEWS:
        centres = np.stack([camera.centre for camera in cameras])
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
        spacing = max(float(np.median(np.sort(apart, axis=1)[:, 1])), 1e-300)
        far = np.where(together, apart / spacing + angle / np.deg2rad(15.0), np.inf)
        rank = np.argsort(np.argsort(far, axis=1, kind="stable"), axis=1)
        together &= rank < MOST_NEIGHBOURS
        together |= together.T
    return [(int(first), int(second)) for first, second in np.argwhere(np.triu(together))]


def without_skew(keypoints: Float[np.ndarray, "k c"], intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "k c"]:
    """Features where a camera without skew would see them: COLMAP's pinhole model has none."""
    moved = keypoints.copy()
    moved[:, 0] -= intrinsics[0, 1] / intrinsics[1, 1] * (keypoints[:, 1] - intrinsics[1, 2])
    return moved


def _write_pictures(views: Sequence[LoadedView], work_folder: Path) -> tuple[Path, Path | None, list[Camera]]:
    """Photographs as PNG, and masks under COLMAP's names for them where there are any; the views' cameras."""
    from PIL import Image

    images, masks = work_folder / "images", work_folder / "masks"
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(exist_ok=True)
    cameras, unmasked = [], []
    for index in range(len(views)):
        view = views[index]
        pixels = np.round(np.clip(view.image, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(images / _name(index), compress_level=1)
        if view.mask is not None:
            _write_mask(view.mask, masks, index)
        else:
            unmasked.append((index, view.image.shape[:2]))
        cameras.append(view.camera)
    if len(unmasked) == len(cameras):
        return images, None, cameras
    # COLMAP wants a mask for every photograph or for none.
    for index, shape in unmasked:
        _write_mask(np.ones(shape, dtype=bool), masks, index)
    return images, masks, cameras


def _write_mask(mask: Bool[np.ndarray, "h w"], folder: Path, index: int) -> None:
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{_name(index)}.png", compress_level=1)


def _extract(
    count: int,
    images: Path,
    masks: Path | None,
    database: Path,
    threads: int,
    finest: int,
    report: Callable[[int, int], None] | None,
) -> None:
    """Features of every view into the database, a few views at a time so that it can be told how far it is.

    `finest`: the first octave of sizes, -1 for the picture at twice its size.
    """
    import pycolmap

    extraction = pycolmap.FeatureExtractionOptions(num_threads=threads, use_gpu=False, max_image_size=LONGEST_SIDE)
    extraction.sift.max_num_features = MOST_FEATURES
    extraction.sift.peak_threshold = CONTRAST_THRESHOLD
    extraction.sift.first_octave = finest
    reading = pycolmap.ImageReaderOptions(camera_model="PINHOLE")
    if masks is not None:
        reading.mask_path = str(masks)
    mode, names = pycolmap.CameraMode.PER_IMAGE, [_name(index) for index in range(count)]
    with silent_libraries():
        # COLMAP numbers new photographs as its threads finish, and the numbers decide what is tried first.
        pycolmap.Database.open(database).close()
        pycolmap.import_images(database, images, mode, names, reading)
    for start in range(0, count, VIEWS_AT_A_TIME * threads):
        some = names[start : start + VIEWS_AT_A_TIME * threads]
        with silent_libraries():
            pycolmap.extract_features(database, images, some, mode, reading, extraction, pycolmap.Device.cpu)
        if report:
            report(SHARE_OF_EXTRACTION * (start + len(some)) // count, 100)


def _match(
    pairs: list[tuple[int, int]],
    reconstruction: Any,
    database: Path,
    threads: int,
    report: Callable[[int, int], None] | None,
    held_against_cameras: bool,
) -> int:
    """Matches of these pairs into the database, and how many there are (that agree with the cameras)."""
    import pycolmap

    list_path = database.with_name("pairs.txt")
    options = pycolmap.FeatureMatchingOptions(num_threads=threads, skip_geometric_verification=True, use_gpu=False)
    for start in range(0, len(pairs), PAIRS_AT_A_TIME):
        some = pairs[start : start + PAIRS_AT_A_TIME]
        list_path.write_text("\n".join(f"{_name(first)} {_name(second)}" for first, second in some))
        with silent_libraries():
            pairing = pycolmap.ImportedPairingOptions(match_list_path=str(list_path))
            pycolmap.match_image_pairs(database, options, pairing, device=pycolmap.Device.cpu)
        if report:
            done = (start + len(some)) / len(pairs)
            report(SHARE_OF_EXTRACTION + round((SHARE_OF_MATCHES - SHARE_OF_EXTRACTION) * done), 100)
    if not held_against_cameras:
        with silent_libraries(), pycolmap.Database.open(database) as opened:
            return int(opened.num_matches())
    with silent_libraries():
        pycolmap.guided_geometric_verification(reconstruction, database, num_threads=threads)
        with pycolmap.Database.open(database) as opened:
            return int(opened.num_inlier_matches())


def _known_cameras(cameras: Sequence[Camera], database: Path) -> tuple[Any, dict[int, int], int]:
    """The cameras as a reconstruction without points, the views by image id, and how many features there are.

    The database gets the same cameras: it has guessed them from the photographs.
    """
    import pycolmap

    model = pycolmap.Reconstruction()
    view_of_image: dict[int, int] = {}
    with silent_libraries(), pycolmap.Database.open(database) as opened:
        for stored in sorted(opened.read_all_images(), key=lambda image: image.name):
            index = int(Path(stored.name).stem)
            intrinsics = cameras[index].intrinsics
            camera = opened.read_camera(stored.camera_id)
            camera.params = [*np.diag(intrinsics)[:2], *intrinsics[:2, 2]]
            camera.has_prior_focal_length = True
            opened.update_camera(camera)
            keypoints = without_skew(opened.read_keypoints(stored.image_id), intrinsics)
            opened.update_keypoints(stored.image_id, keypoints)
            image = pycolmap.Image(image_id=stored.image_id, name=stored.name, camera_id=camera.camera_id)
            image.points2D = pycolmap.Point2DList([pycolmap.Point2D(place) for place in keypoints[:, :2]])
            model.add_camera_with_trivial_rig(camera)
            model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(cameras[index].camera_from_world[:3]))
            view_of_image[stored.image_id] = index
        features = int(opened.num_keypoints())
    return model, view_of_image, features


def _name(index: int) -> str:
    return f"{index:06d}.png"
