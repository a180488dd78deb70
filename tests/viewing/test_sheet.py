"""A contact sheet holds every picture unchanged, and a picture is written whole or not at all."""

import imageio.v3 as imageio
import numpy as np
import pytest

from dvr_cli.viewing.sheet import contact_sheet, write_picture


def found_in(sheet, colour):
    return int((sheet == np.array(colour, dtype=np.uint8)).all(axis=-1).sum())


@pytest.mark.parametrize("columns", [None, 1, 2, 9])
def test_every_pixel_of_every_picture_is_there(columns):
    pictures = [
        ("red", np.broadcast_to([1.0, 0, 0], (20, 30, 3))),
        ("green", np.broadcast_to([0, 1.0, 0], (10, 40, 3))),
        ("blue", np.broadcast_to([0, 0, 1.0], (5, 5, 3))),
    ]
    sheet = contact_sheet(pictures, columns)
    assert found_in(sheet, (255, 0, 0)) == 600
    assert found_in(sheet, (0, 255, 0)) == 400
    assert found_in(sheet, (0, 0, 255)) == 25


def test_labels_leave_ink():
    picture = np.ones((10, 80, 3))
    with_label, without = contact_sheet([("label", picture)]), contact_sheet([("", picture)])
    assert (with_label != without).sum() > 50


def test_nan_and_out_of_range_are_shown_not_wrapped():
    sheet = contact_sheet([("", np.full((4, 4, 3), 7.0)), ("", np.full((4, 4, 3), np.nan))])
    assert found_in(sheet, (255, 255, 255)) == 16 and found_in(sheet, (0, 0, 0)) == 16


def test_no_pictures_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_written_picture_reads_back(tmp_path):
    picture = np.random.default_rng(0).uniform(size=(6, 7, 3))
    write_picture(tmp_path / "new" / "a.png", picture)
    np.testing.assert_allclose(imageio.imread(tmp_path / "new" / "a.png") / 255, picture, atol=0.5 / 255 + 1e-9)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["a.png"]
