"""Which photographs to match with which.

Few photographs are matched all with all. Of many, each is matched with its neighbours in the order of names and with
those that a quick look finds alike: the largest few hundred features of each, compared by brute force (the preemptive
matching of Wu 2013, "Towards linear-time incremental structure from motion").
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int, UInt8

from dvr_cli.preparing.features import Features

FEW_PHOTOGRAPHS = 60
"""Up to here all pairs are matched: 1,770 of them."""
LARGEST_FEATURES = 300
"""Of each photograph, for the quick look."""
MOST_ALIKE = 16
"""Photographs that each is matched with because they look alike."""
FEWEST_COMMON = 4
"""Features in common, of the quick look, that make two photographs look alike."""
NEIGHBOURS = 3
"""Next photographs in the order of names that each is matched with; of a video `FRAME_NEIGHBOURS`."""
FRAME_NEIGHBOURS = 8
RATIO = 0.85
"""Of the distances to the nearest and the second nearest feature (Lowe 2004); looser than for real matches."""


def pairs_to_match(features: Sequence[Features], in_sequence: bool) -> list[tuple[int, int]]:
    """Pairs (i < j), sorted; `in_sequence`: the photographs are frames of a video, in order."""
    count = len(features)
    if count <= FEW_PHOTOGRAPHS:
        return [(first, second) for first in range(count) for second in range(first + 1, count)]
    common = quick_matches([largest(found, LARGEST_FEATURES) for found in features])
    return sorted(neighbours(count, in_sequence) | alike(common, MOST_ALIKE))


def neighbours(count: int, in_sequence: bool) -> set[tuple[int, int]]:
    """Pairs (i < j) that are near in order; frames of a video also at distances 16, 32, 64 ..."""
    distances = list(range(1, (FRAME_NEIGHBOURS if in_sequence else NEIGHBOURS) + 1))
    if in_sequence:
        distances += [2**power for power in range(4, 20) if 2**power < count]
    return {(first, first + step) for step in distances for first in range(count - step)}


def alike(common: Int[np.ndarray, "v v"], most: int) -> set[tuple[int, int]]:
    """Pairs (i < j) of each photograph with those it has most in common with, at least `FEWEST_COMMON`."""
    order = np.argsort(-common, axis=1, kind="stable")[:, :most]
    return {
        (min(first, int(second)), max(first, int(second)))
        for first in range(len(common))
        for second in order[first]
        if first != second and common[first, second] >= FEWEST_COMMON
    }


def largest(features: Features, most: int) -> UInt8[np.ndarray, "k 128"]:
    """Descriptors of the features of largest scale: those that are seen again from farther away, too."""
    order = np.argsort(-features.keypoints[:, 2], kind="stable")
    return features.descriptors[order[:most]]


def quick_matches(descriptors: Sequence[UInt8[np.ndarray, "_ 128"]]) -> Int[np.ndarray, "v v"]:
    """How many features two photographs have in common: mutual nearest neighbours that pass the ratio test."""
    unit = [_unit(found) for found in descriptors]
    common = np.zeros((len(unit), len(unit)), dtype=np.int64)
    for first in range(len(unit)):
        for second in range(first + 1, len(unit)):
            common[first, second] = common[second, first] = _mutual(unit[first], unit[second])
    return common


def _mutual(first: Float32[np.ndarray, "k d"], second: Float32[np.ndarray, "m d"]) -> int:
    if len(first) < 2 or len(second) < 2:
        return 0
    cosine = first @ second.T
    nearest = np.argmax(cosine, axis=1)
    two = np.partition(cosine, -2, axis=1)[:, -2:]
    distance = np.sqrt(np.maximum(2 - 2 * two, 0))
    clear = distance[:, 1] < RATIO * distance[:, 0]
    back = np.argmax(cosine, axis=0)[nearest] == np.arange(len(first))
    return int((clear & back).sum())


def _unit(descriptors: UInt8[np.ndarray, "k 128"]) -> Float32[np.ndarray, "k 128"]:
    values = descriptors.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(length, 1)
