"""Pairs to match, coverage of viewing directions, and what is advised."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.preparing.advice import advice, verdict
from dvr_cli.preparing.features import Features
from dvr_cli.preparing.outcome import Coverage, Outcome, RegisteredPhotograph, blurred, coverage_of
from dvr_cli.preparing.pairs import FEW_PHOTOGRAPHS, neighbours, pairs_to_match, quick_matches
from dvr_cli.scenes.views import Camera
from tests.preparing.corner import look_at

GOOD = Outcome(
    photographs=20,
    registered=tuple(RegisteredPhotograph(f"{index:02d}.jpg", 900, 0.6) for index in range(20)),
    unregistered=(),
    groups=(20,),
    points=5000,
    reprojection_error=0.6,
    track_length=5.0,
    cameras=(),
    coverage=Coverage(345.0, 5.0, 50.0, 18.0, ("03.jpg", "04.jpg"), True, True),
)
NAMES = [f"{index:02d}.jpg" for index in range(20)]
NONE = np.zeros((20, 20), dtype=np.int64)


def without(*indices):
    kept = tuple(photograph for index, photograph in enumerate(GOOD.registered) if index not in indices)
    return replace(GOOD, registered=kept, unregistered=tuple(NAMES[index] for index in indices))


def features(seed, count=400, shared=None):
    generator = np.random.default_rng(seed)
    descriptors = generator.integers(0, 120, (count, 128), dtype=np.uint8)
    if shared is not None:
        descriptors[: len(shared)] = shared
    keypoints = np.zeros((count, 4), dtype=np.float32)
    # The largest come last, so that the order of the file does not decide.
    keypoints[:, 2] = np.linspace(9, 1, count)
    return Features(keypoints, descriptors, 0.3)


def test_few_photographs_are_matched_all_with_all():
    pairs = pairs_to_match([features(index, 4) for index in range(5)], in_sequence=False)
    assert pairs == [(first, second) for first in range(5) for second in range(first + 1, 5)]


def test_many_are_matched_with_neighbours_and_with_what_looks_alike():
    count = FEW_PHOTOGRAPHS + 10
    shared = np.random.default_rng(99).integers(0, 120, (30, 128), dtype=np.uint8)
    looks = [features(index, 60, shared if index in (5, 60) else None) for index in range(count)]
    for in_sequence in (False, True):
        pairs = pairs_to_match(looks, in_sequence)
        assert (5, 60) in pairs and set(pairs) - {(5, 60)} == neighbours(count, in_sequence)
    assert (0, 64) in neighbours(count, True) and (0, 64) not in neighbours(count, False)
    assert all(0 <= first < second < count for first, second in neighbours(count, True))


def test_quick_matches_count_what_is_shared():
    shared = np.random.default_rng(7).integers(0, 120, (25, 128), dtype=np.uint8)
    common = quick_matches([features(index, 100, shared).descriptors for index in range(2)])
    assert common.tolist() == [[0, 25], [25, 0]]
    assert quick_matches([np.zeros((0, 128), dtype=np.uint8), shared]).sum() == 0


def looking(centres, targets):
    intrinsics = np.array([[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]])
    return [
        Camera(intrinsics, look_at(centre, target), 240, 320) for centre, target in zip(centres, targets, strict=True)
    ]


def ring(azimuths, height=0.0):
    angles = np.radians(azimuths)
    centres = np.stack([4 * np.cos(angles), 4 * np.sin(angles), np.full(len(angles), 4 * height)], axis=1)
    cameras = looking(centres, np.zeros_like(centres))
    return coverage_of(cameras, np.zeros(3), [f"{azimuth:g}" for azimuth in azimuths])


def test_coverage_of_a_ring_and_of_an_arc():
    whole = ring(np.arange(0, 360, 15))
    assert whole.around == pytest.approx(345) and whole.largest_step == pytest.approx(15)
    assert whole.lowest == pytest.approx(0) and whole.highest == pytest.approx(0) and whole.inwards
    arc = ring([350, 0, 10, 50, 60], height=1.0)
    assert arc.around == pytest.approx(70) and arc.highest == pytest.approx(45) and arc.level
    # At 45 degrees of height a chord is 0.71 of that on the equator.
    assert arc.largest_step == pytest.approx(2 * np.degrees(np.arcsin(np.sqrt(0.5) * np.sin(np.radians(20)))))
    assert arc.beside_step == ("10", "50")
    assert ring([20]).around == 0 and ring([20]).beside_step is None


def test_cameras_held_anyhow_say_nothing_about_up_and_around():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(12, 3))
    cameras = looking(centres, np.zeros((12, 3)))
    turned = []
    for camera in cameras:
        angle = generator.uniform(0, 2 * np.pi)
        roll = np.eye(4)
        roll[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turned.append(replace(camera, camera_from_world=roll @ camera.camera_from_world))
    found = coverage_of(turned, np.zeros(3), ["a"] * 12)
    assert not found.level and found.inwards
    sentences = advice(replace(GOOD, coverage=replace(found, largest_step=10.0)), NAMES, NONE, [])
    assert sentences == []


def test_turning_on_the_spot_does_not_look_inwards():
    azimuths = np.radians(np.arange(0, 360, 30))
    outwards = np.stack([np.cos(azimuths), np.sin(azimuths), 0 * azimuths], axis=1)
    cameras = looking(0.1 * outwards, outwards)
    assert not coverage_of(cameras, np.zeros(3), ["a"] * 12).inwards


def test_good_photographs_need_no_advice():
    assert verdict(GOOD) == "good" and advice(GOOD, NAMES, NONE, []) == []


@pytest.mark.parametrize(
    ("outcome", "level", "words"),
    [
        (without(12, 13, 14, 15, 16), "usable", ["5 photographs, 12.jpg to 16.jpg,", "between 11.jpg and 12.jpg"]),
        (without(*range(9)), "poor", ["9 photographs, 00.jpg to 08.jpg,", "between 08.jpg and 09.jpg"]),
        (replace(GOOD, reprojection_error=1.7), "usable", ["reprojection error of 1.70", "--camera"]),
        (replace(GOOD, reprojection_error=2.7), "poor", ["reprojection error of 2.70"]),
        (replace(GOOD, track_length=2.6), "usable", ["seen in 2.6 photographs"]),
        (replace(GOOD, groups=(20, 7)), "good", ["groups of 20 and 7"]),
        (replace(GOOD, coverage=replace(GOOD.coverage, around=140)), "good", ["140 of 360 degrees"]),
        (
            replace(GOOD, coverage=replace(GOOD.coverage, largest_step=42)),
            "good",
            ["42 degrees between 03.jpg and 04.jpg"],
        ),
        (replace(GOOD, coverage=replace(GOOD.coverage, highest=9)), "good", ["from one height"]),
        (
            replace(GOOD, registered=(RegisteredPhotograph("00.jpg", 20, 0.5), *GOOD.registered[1:])),
            "good",
            ["00.jpg sees fewer than 60 points"],
        ),
    ],
)
def test_each_weakness_is_named(outcome, level, words):
    assert verdict(outcome) == level
    sentences = advice(outcome, NAMES, NONE, [])
    assert all(word in sentences[0] for word in words)
    # Fewer than 15 photographs are a weakness of their own.
    assert len(sentences) == (1 if len(outcome.registered) >= 15 else 2)


def test_unconnected_photograph_names_its_best_overlap():
    inliers = NONE.copy()
    inliers[4, 9] = inliers[9, 4] = 40
    (sentence,) = advice(without(4), NAMES, inliers, [])
    assert "04.jpg could not be connected (the best overlap is 40 features, with 09.jpg)" in sentence
    assert "between 03.jpg and 04.jpg" in sentence


def test_many_unconnected_runs_are_not_all_listed():
    sentences = advice(without(*range(0, 16, 2)), NAMES, NONE, [])
    assert len([sentence for sentence in sentences if "could not be connected" in sentence]) == 6
    assert any(sentence.startswith("3 more runs") for sentence in sentences)


def test_cameras_that_do_not_look_at_one_thing_get_no_advice_about_sides():
    turned = replace(GOOD, coverage=Coverage(90, 0, 3, 80, ("03.jpg", "04.jpg"), False, True))
    assert advice(turned, NAMES, NONE, []) == []


def test_blurred_photographs_stand_out():
    values = np.array([0.30, 0.31, 0.29, 0.32, 0.55, 0.30])
    assert blurred(values).tolist() == [4]
    assert blurred(np.full(6, 0.6)).tolist() == [] and blurred(values[:2]).tolist() == []
    (sentence,) = advice(GOOD, NAMES, NONE, ["07.jpg"])
    assert "07.jpg is more blurred than the others" in sentence
