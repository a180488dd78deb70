"""SIFT features of every photograph, each in a file of its own, and how sharp the photograph is.

A feature is a position (pixels of the full-size upright photograph, (0, 0) is the corner), a scale, an angle and 128
bytes. The file's name says what it was made from, so that photographs can be added later and only theirs are computed.
Source: Lowe 2004, through COLMAP's extractor (Schönberger and Frahm 2016) on the CPU.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.preparing.libraries import quiet_decoders, quiet_logs
from dvr_cli.preparing.photographs import Photograph, upright_pixels
from dvr_cli.preparing.stages import SPACE_ADVICE, Report, Stop, Stopped, fingerprint
from dvr_cli.scenes.arrays import read_npz

MOST_FEATURES = 8192
"""Per photograph, COLMAP's default."""
LONGEST_SIDE = 1600
"""Pixels; larger photographs are shrunk for the features."""
CONTRAST_THRESHOLD = 0.0067
"""COLMAP's default ..."""
LOW_CONTRAST_THRESHOLD = 0.002
"""... and what a photograph is searched with again when that finds fewer than `FEW_FEATURES`."""
FEW_FEATURES = 3000
PIXELS_PER_FEATURE = 60
"""A small photograph cannot have so many: one for so many pixels is enough."""
BLUR_WINDOW = 11
"""Pixels, of the re-blurring that tells how blurred a photograph is already."""
VERSION = 1
"""Raised when features of earlier versions are to be found again."""


@dataclass(frozen=True)
class Features:
    """Of one photograph."""

    keypoints: Float32[np.ndarray, "k 4"]
    """x, y, scale (pixels of the full-size upright photograph) and angle (radians)."""
    descriptors: UInt8[np.ndarray, "k 128"]
    blur: float
    """0 for sharp, 1 for blurred: the measure of Crete et al. 2007, at the size of the features."""


def feature_file(photograph: Photograph, folder: Path) -> Path:
    """Where the features of a photograph belong."""
    settings = (MOST_FEATURES, LONGEST_SIDE, CONTRAST_THRESHOLD, LOW_CONTRAST_THRESHOLD, FEW_FEATURES, VERSION)
    return folder / f"{fingerprint(photograph.digest, *settings)}.npz"


def extract_features(
    photographs: Sequence[Photograph], folder: Path, threads: int, report: Report, stop: Stop
) -> dict[str, str]:
    """Make the files that do not exist yet; returns the reason by name for photographs that cannot be decoded.

    Raises Stopped when `stop` says so; what is made by then stays.
    """
    with disk_errors(folder, SceneError, SPACE_ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
    unreadable: dict[str, str] = {}

    def make(photograph: Photograph) -> str | None:
        if stop():
            raise Stopped
        path = feature_file(photograph, folder)
        if path.is_file():
            return None
        try:
            found = find_features(photograph)
        except SceneError as error:
            return str(error).splitlines()[0]
        with disk_errors(path, SceneError, SPACE_ADVICE), replacing(path) as temporary:
            arrays = {"keypoints": found.keypoints, "descriptors": found.descriptors, "blur": np.array(found.blur)}
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
        return None

    with quiet_logs(), quiet_decoders(), ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(make, photograph) for photograph in photographs]
        try:
            for index, (photograph, future) in enumerate(zip(photographs, futures, strict=True)):
                reason = future.result()
                if reason is not None:
                    unreadable[photograph.name] = reason
                report("features", index + 1, len(photographs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return unreadable


def find_features(photograph: Photograph) -> Features:
    """Features and blur of one photograph; SceneError when it cannot be decoded."""
    from PIL import Image
    from skimage.measure import blur_effect

    pixels = upright_pixels(photograph, LONGEST_SIDE)
    grey = np.ascontiguousarray(np.asarray(Image.fromarray(pixels).convert("L")))
    keypoints, descriptors = _sift(grey, CONTRAST_THRESHOLD)
    if len(keypoints) < min(FEW_FEATURES, grey.size // PIXELS_PER_FEATURE):
        keypoints, descriptors = _sift(grey, LOW_CONTRAST_THRESHOLD)
    scale = np.array([photograph.width / grey.shape[1], photograph.height / grey.shape[0]], dtype=np.float32)
    keypoints[:, :2] *= scale
    keypoints[:, 2] *= scale.mean()
    # An even picture has no edges to judge by.
    blur = float(blur_effect(grey, h_size=BLUR_WINDOW)) if grey.std() > 1 else 1.0
    return Features(keypoints, descriptors, blur if np.isfinite(blur) else 1.0)


def read_features(path: Path) -> Features:
    """What `extract_features` wrote."""
    arrays = read_npz(path, SceneError)
    return Features(arrays["keypoints"], arrays["descriptors"], float(arrays["blur"]))


class StoredFeatures(Sequence[Features]):
    """Features of many photographs, read one at a time as they are asked for: together they may not fit the memory."""

    def __init__(self, photographs: Sequence[Photograph], folder: Path) -> None:
        self._files = [feature_file(photograph, folder) for photograph in photographs]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:
        return read_features(self._files[index])


def _sift(grey: UInt8[np.ndarray, "h w"], threshold: float) -> tuple[Any, Any]:
    """Keypoints and descriptors, largest scales first where there are more than wanted."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions(num_threads=1, use_gpu=False, max_image_size=LONGEST_SIDE)
    options.sift.max_num_features = MOST_FEATURES
    options.sift.peak_threshold = threshold
    extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    keypoints, descriptors = extractor.extract_from_uint8_array(grey)
    matrix = np.array(pycolmap.keypoints_to_matrix(keypoints), dtype=np.float32).reshape(-1, 4)
    return matrix, np.array(descriptors.data, dtype=np.uint8).reshape(-1, 128)
