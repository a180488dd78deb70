"""COLMAP's database: photographs, cameras, features, and matches that agree with an epipolar geometry.

Photographs are numbered from 1 in their order and called by that number within COLMAP, whose lists of names allow no
spaces. The same photographs give the same database, whatever the number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from dvr_cli.files import write_text
from dvr_cli.preparing.features import Features
from dvr_cli.preparing.libraries import quiet_logs, stoppable
from dvr_cli.preparing.photographs import Photograph, lens_groups
from dvr_cli.preparing.stages import Report, Stop, Stopped

DEFAULT_FOCAL_LENGTH = 1.2
"""Longest sides of the image, COLMAP's guess where the file says nothing; about 45 degrees."""
PAIRS_AT_A_TIME = 60
"""Between reports of how far matching is."""
FIRST_MODEL = {
    "auto": "SIMPLE_RADIAL",
    "OPENCV": "SIMPLE_RADIAL",
    "RADIAL": "SIMPLE_RADIAL",
    "PINHOLE": "SIMPLE_PINHOLE",
}
"""The model that poses are solved with before the one asked for is refined: few photographs cannot tell many parameters
apart, and a wrong lens leads the first steps astray."""


@dataclass(frozen=True)
class Connections:
    """What matching found."""

    inliers: Int[np.ndarray, "v v"]
    """Matches between each two photographs that agree with one epipolar geometry; symmetric."""


def colmap_name(index: int) -> str:
    """What photograph `index` is called within COLMAP."""
    return f"{index:06d}"


def first_camera(photograph: Photograph, model: str) -> Any:
    """A `pycolmap.Camera` with the focal length of the file, or the usual guess."""
    import pycolmap

    guess = DEFAULT_FOCAL_LENGTH * max(photograph.width, photograph.height)
    camera = pycolmap.Camera.create_from_model_name(
        1, FIRST_MODEL.get(model, model), photograph.focal_length or guess, photograph.width, photograph.height
    )
    camera.has_prior_focal_length = photograph.focal_length is not None
    return camera


def write_database(path: Path, photographs: Sequence[Photograph], features: Sequence[Features], model: str) -> None:
    """A new database without matches, in place of any earlier one; image i has the id i + 1."""
    import pycolmap

    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()
    with quiet_logs(), pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        for members in lens_groups(photographs):
            camera = first_camera(photographs[members[0]], model)
            camera.camera_id = database.write_camera(camera)
            rig = pycolmap.Rig()
            rig.add_ref_sensor(camera.sensor_id)
            rig_id = database.write_rig(rig)
            for index in members:
                _write_photograph(database, index, camera, rig_id, features[index])


def _write_photograph(database: Any, index: int, camera: Any, rig_id: int, features: Features) -> None:
    import pycolmap

    image = pycolmap.Image(name=colmap_name(index), camera_id=camera.camera_id, image_id=index + 1)
    database.write_image(image, use_image_id=True)
    frame = pycolmap.Frame(frame_id=index + 1, rig_id=rig_id)
    frame.add_data_id(image.data_id)
    database.write_frame(frame, use_frame_id=True)
    database.write_keypoints(index + 1, features.keypoints)
    descriptors = pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, features.descriptors)
    database.write_descriptors(index + 1, descriptors)


def match_pairs(
    path: Path, pairs: Sequence[tuple[int, int]], threads: int, seed: int, report: Report, stop: Stop
) -> None:
    """Match the pairs that are not matched yet and check them; Stopped leaves the others for the next time."""
    import pycolmap

    with quiet_logs(), pycolmap.Database.open(path) as database:
        pending = [
            (first, second) for first, second in pairs if not database.exists_two_view_geometry(first + 1, second + 1)
        ]
    matching = pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False)
    checking = pycolmap.TwoViewGeometryOptions()
    checking.ransac.random_seed = seed
    listed = path.parent / "pairs.txt"
    pairing = pycolmap.ImportedPairingOptions(match_list_path=str(listed))
    done = len(pairs) - len(pending)
    for start in range(0, len(pending), PAIRS_AT_A_TIME):
        if stop():
            raise Stopped
        some = pending[start : start + PAIRS_AT_A_TIME]
        write_text(listed, "".join(f"{colmap_name(first)} {colmap_name(second)}\n" for first, second in some))
        stoppable(
            lambda token: pycolmap.match_image_pairs(
                path, matching, pairing, checking, pycolmap.Device.cpu, cancellation_token=token
            ),
            stop,
        )
        done += len(some)
        report("matching", done, len(pairs))


def read_connections(path: Path, count: int) -> Connections:
    """How many checked matches each two of `count` photographs have."""
    import pycolmap

    inliers = np.zeros((count, count), dtype=np.int64)
    with quiet_logs(), pycolmap.Database.open(path) as database:
        for pair, number in zip(*database.read_two_view_geometry_num_inliers(), strict=True):
            first, second = pycolmap.pair_id_to_image_pair(pair)
            inliers[first - 1, second - 1] = inliers[second - 1, first - 1] = number
    return Connections(inliers)
