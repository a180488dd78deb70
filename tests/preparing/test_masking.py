"""When masks are made by default, and whose masks may be removed."""

import numpy as np
from PIL import Image

from dvr_cli.preparing.masking import MADE_IF_GOOD, MADE_NEVER, has_solid_background, mask_scene, place_masks
from dvr_cli.preparing.masking import remove_own_masks as remove
from dvr_cli.preparing.photographs import list_photographs
from dvr_cli.preparing.stages import WorkFolder


def photographs(folder, solid):
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(4):
        pixels = generator.integers(0, 256, (90, 120, 3), dtype=np.uint8)
        if solid:
            around = np.ones((90, 120), dtype=bool)
            around[25:65, 40 + index : 80 + index] = False
            pixels[around] = (20, 60, 200)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return list_photographs(folder).photographs


def test_background_of_one_colour_is_told_from_others(tmp_path):
    assert has_solid_background(photographs(tmp_path / "blue", True), 1)
    assert not has_solid_background(photographs(tmp_path / "noise", False), 1)


def test_no_masks_where_they_are_not_wanted_or_not_likely_to_be_good(tmp_path):
    def never(*told):
        raise AssertionError("nothing is to be made")

    found = photographs(tmp_path / "noise", False)
    with WorkFolder(tmp_path / "out") as work:
        for wish in (MADE_NEVER, MADE_IF_GOOD):
            assert mask_scene(tmp_path / "out", work, found, wish, 1, 0, never, lambda: False) is None
    assert not (tmp_path / "out" / "masks").exists()


def test_only_masks_made_here_are_removed(tmp_path):
    made = tmp_path / "made" / "a"
    made.mkdir(parents=True)
    Image.new("L", (4, 4)).save(made / "1.jpg.png")
    with WorkFolder(tmp_path / "out") as work:
        masks = tmp_path / "out" / "masks"
        assert remove(tmp_path / "out", work)
        place_masks(tmp_path / "made", masks, ["a/1.jpg"])
        assert (masks / "a" / "1.jpg.png").is_file()
        assert not remove(tmp_path / "out", work) and masks.is_dir()
        work.finish("masks", "x", {"masks": None})
        assert not remove(tmp_path / "out", work) and masks.is_dir()
        work.finish("masks", "x", {"masks": {"kept": True}})
        assert remove(tmp_path / "out", work) and not masks.exists()
