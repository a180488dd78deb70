"""Holes that one mask has and nearly all others refute are filled; true holes and few views are left alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from dvr_cli.scenes import mask_repair
from dvr_cli.scenes.mask_repair import with_holes_filled
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import sphere

VIEWS = 24


@pytest.fixture(scope="module")
def photographed():
    return synthetic_scene(sphere(), views=VIEWS, image_size=96)


def with_hole(view, half_width):
    rows, columns = np.nonzero(view.mask)
    row, column = int(rows.mean()), int(columns.mean())
    mask = view.mask.copy()
    mask[row - half_width : row + half_width, column - half_width : column + half_width] = False
    return replace(view, mask=mask)


def test_a_hole_in_one_mask_is_filled(photographed):
    scene, views = photographed[0], list(photographed[1])
    spoiled = [with_hole(views[0], 9), *views[1:]]
    repaired, names = with_holes_filled(spoiled, scene.unit_from_world)
    assert names == [views[0].name]
    missing, wrong = views[0].mask & ~repaired[0].mask, repaired[0].mask & ~views[0].mask
    assert missing.sum() < 0.05 * 18**2
    assert wrong.sum() < 0.02 * views[0].mask.sum()
    for before, after in zip(views[1:], repaired[1:], strict=True):
        assert after is before


def test_a_hole_that_shows_the_background_stays(photographed):
    scene, views = photographed[0], list(photographed[1])
    bored = with_hole(views[0], 9)
    image = bored.image.copy()
    image[views[0].mask & ~bored.mask] = np.median(image[~views[0].mask], axis=0)
    repaired, names = with_holes_filled([replace(bored, image=image), *views[1:]], scene.unit_from_world)
    assert names == []
    assert not (repaired[0].mask & ~bored.mask).any()


def test_masks_that_agree_are_left_alone(photographed):
    scene, views = photographed[0], list(photographed[1])
    repaired, names = with_holes_filled(views, scene.unit_from_world)
    assert names == []
    assert all(after is before for before, after in zip(views, repaired, strict=True))


def test_a_narrow_hole_stays(photographed):
    scene, views = photographed[0], list(photographed[1])
    assert with_holes_filled([with_hole(views[0], 1), *views[1:]], scene.unit_from_world)[1] == []


def test_few_views_prove_nothing(photographed):
    scene, views = photographed[0], list(photographed[1][:12])
    assert with_holes_filled([with_hole(views[0], 9), *views[1:]], scene.unit_from_world)[1] == []


def test_views_without_masks_pass(photographed):
    scene, views = photographed[0], [replace(view, mask=None) for view in photographed[1]]
    assert with_holes_filled(views, scene.unit_from_world) == (views, [])


def test_what_the_mask_calls_object_is_no_hole(photographed, monkeypatch):
    """Wrong places may all be seen past the edge; what is left of a hole then need not be in the mask."""
    scene, views = photographed[0], list(photographed[1])
    monkeypatch.setattr(
        mask_repair, "_holes", lambda found: [binary_erosion(each.mask, iterations=3) for each in found]
    )
    repaired, names = with_holes_filled([views[0]], scene.unit_from_world)
    assert names == []
    assert repaired[0] is views[0]
