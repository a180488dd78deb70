"""Photographs of several sizes: resized ones whose cameras were left as they were, and rigs that are what they seem."""

import pytest
from PIL import Image

from tests.diagnosis.good_scene import (
    IMAGE_SIZE,
    VIEWS,
    bad_names,
    change_bounds,
    change_cameras,
    found_in,
    image_path,
    mask_path,
    named,
)

FULL = f"{IMAGE_SIZE}x{IMAGE_SIZE * 3 // 4}"
HALF = f"{IMAGE_SIZE // 2}x{IMAGE_SIZE * 3 // 8}"


def resize(folder, indices, factor=0.5):
    """Photographs and masks at another size; the camera file stays as it is."""
    for index in indices:
        for path in (image_path(folder, index), mask_path(folder, index)):
            with Image.open(path) as image:
                image.load()
            image.resize((round(image.width * factor), round(image.height * factor))).save(path)


def names(indices):
    return tuple(f"{index:03d}.png" for index in indices)


@pytest.mark.parametrize("bounds", ["given", "found"])
@pytest.mark.parametrize("step", [4, 2])
def test_some_photographs_resized_are_named_and_nothing_else_is_blamed(folder, step, bounds):
    if bounds == "found":
        change_bounds(folder, lambda matrix: None)
    resized = range(1, VIEWS, step)
    resize(folder, resized)
    diagnosis = found_in(folder, quick=True)
    finding = named(diagnosis, "intrinsics-size")
    assert finding.severity == "fatal" and finding.views == names(resized)
    assert f"{VIEWS // step} are {HALF}" in finding.text
    assert f"made for {FULL}" in finding.text and "intrinsics by 0.5;" in finding.advice
    assert bad_names(diagnosis) == {"intrinsics-size"}


def test_most_photographs_resized_and_the_cameras_made_for_the_few(folder):
    resized = [index for index in range(VIEWS) if index % 4]
    resize(folder, resized, 0.8)
    finding = named(found_in(folder, quick=True), "intrinsics-size")
    assert finding.views == names(resized) and f"made for {FULL}" in finding.text


def test_one_photograph_resized_is_a_warning(folder):
    resize(folder, [5])
    diagnosis = found_in(folder, quick=True)
    finding = named(diagnosis, "intrinsics-size")
    assert finding.views == ("005.png",) and finding.severity == "warning" and f"1 is {HALF}" in finding.text
    assert bad_names(diagnosis) == {"intrinsics-size"}


def test_principal_points_tell_without_masks(folder):
    resize(folder, [1, 5, 9])
    finding = named(found_in(folder, quick=True, masks=False), "intrinsics-size")
    assert finding.views == names([1, 5, 9]) and finding.severity == "warning" and "principal points" in finding.text


@pytest.mark.parametrize("masks", ["any", False])
def test_a_rig_of_two_sizes_with_cameras_of_their_own_is_no_mistake(folder, masks):
    resize(folder, range(0, VIEWS, 4))

    def halve(matrix, index):
        matrix[:2] *= 0.5
        return matrix

    change_cameras(folder, halve, range(0, VIEWS, 4))
    assert not bad_names(found_in(folder, quick=True, masks=masks))
