"""Listing photographs and reading what cameras write beside the pixels."""

import math

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.preparing.exif import DIAGONAL_35MM, lens_prior
from dvr_cli.preparing.photographs import lens_groups, list_photographs, natural_key, read_photograph, upright_pixels
from dvr_cli.preparing.undistorting import output_names

WIDTH, HEIGHT = 120, 80
EXIF_IFD = 0x8769


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def save(path, seed=0, orientation=None, main=(), details=(), pixels=None):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    for tag, value in dict(main).items():
        exif[tag] = value
    for tag, value in dict(details).items():
        exif.get_ifd(EXIF_IFD)[tag] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed) if pixels is None else pixels).save(path, exif=exif)
    return path


def prior(path):
    with Image.open(path) as image:
        return lens_prior(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_as_exif_says(tmp_path, orientation):
    """EXIF's own definition: where the first row and the first column of the stored pixels belong in the picture."""
    upright = picture()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, 3),
    }[orientation]
    path = save(tmp_path / "a.png", orientation=orientation, pixels=np.ascontiguousarray(stored))
    photograph = read_photograph(path, "a.png")
    assert (photograph.height, photograph.width) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(upright_pixels(photograph), upright)
    assert upright_pixels(photograph, 60).shape == (40, 60, 3)


def test_focal_length_of_35_mm_film_compares_diagonals(tmp_path):
    path = save(tmp_path / "a.jpg", details={0xA405: 28, 0x920A: 4.25}, main={0x010F: "Maker", 0x0110: "Phone 3"})
    found = prior(path)
    assert found.focal_length == pytest.approx(28 / DIAGONAL_35MM * math.hypot(WIDTH, HEIGHT))
    assert found.name == "Maker Phone 3 4.25 mm"


def test_focal_length_of_the_sensor_counts_in_its_pixels(tmp_path):
    """50 mm at 6000 pixels over 36 mm, made smaller to 120 pixels since."""
    per_inch = 6000 / 36 * 25.4
    path = save(tmp_path / "a.jpg", details={0x920A: 50.0, 0xA20E: per_inch, 0xA210: 2, 0xA002: 6000, 0xA003: 4000})
    assert prior(path).focal_length == pytest.approx(50 / 36 * WIDTH, rel=1e-3)


@pytest.mark.parametrize("details", [{}, {0xA405: 0}, {0xA405: 60000}, {0x920A: 50.0, 0xA20E: 100.0, 0xA210: 9}])
def test_impossible_focal_lengths_are_unknown(tmp_path, details):
    assert prior(save(tmp_path / "a.jpg", details=details)).focal_length is None


def test_damaged_exif_is_unknown(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(path, exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff" + b"\x07" * 40)
    (photograph,) = list_photographs(tmp_path).photographs
    assert photograph.focal_length is None and photograph.orientation == 1


def test_one_camera_per_lens_zoom_and_size(tmp_path):
    for index, zoom in enumerate((24, 24, 50)):
        save(tmp_path / f"{index}.jpg", index, details={0xA405: zoom})
    save(tmp_path / "3.jpg", 3, orientation=6, details={0xA405: 24})
    listing = list_photographs(tmp_path)
    assert lens_groups(listing.photographs) == [[0, 1], [2], [3]]


def test_names_are_sorted_by_their_numbers_and_relative():
    names = ["b/10.jpg", "b/9.jpg", "a 2.png", "ä.png", "a 11.png"]
    assert sorted(names, key=natural_key) == ["a 2.png", "a 11.png", "b/9.jpg", "b/10.jpg", "ä.png"]


def test_hidden_files_masks_and_other_formats_are_passed_over(tmp_path):
    save(tmp_path / "in ner" / "ö 1.JPG", 1)
    save(tmp_path / "2.tif", 2)
    save(tmp_path / "._2.jpg", 3)
    save(tmp_path / ".thumbnails" / "2.jpg", 4)
    save(tmp_path / "masks" / "2.png", 5)
    (tmp_path / "raw.CR2").write_text("")
    (tmp_path / "clip.txt").write_text("")
    listing = list_photographs(tmp_path, threads=2)
    assert [photograph.name for photograph in listing.photographs] == ["2.tif", "in ner/ö 1.JPG"]
    assert [photograph.lossless for photograph in listing.photographs] == [True, False]
    assert len(listing.notes) == 2


def test_only_phones_photographs_say_how_to_convert(tmp_path):
    for index in range(3):
        (tmp_path / f"IMG_{index}.HEIC").write_text("")
    with pytest.raises(SceneError, match=r"3 HEIC files are not read; convert to jpg or png with heif-convert"):
        list_photographs(tmp_path)


def test_tiny_pictures_are_named_and_left_out(tmp_path):
    Image.new("RGB", (40, 300)).save(tmp_path / "a.png")
    listing = list_photographs(tmp_path)
    assert not listing.photographs and "40x300" in listing.unreadable["a.png"]


def test_sixteen_bits_and_grey_become_eight_bits_of_three_colours(tmp_path):
    grey = picture()[:, :, 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    for name in ("deep.png", "grey.png"):
        np.testing.assert_array_equal(
            upright_pixels(read_photograph(tmp_path / name, name)), np.repeat(grey[:, :, None], 3, axis=2)
        )


def test_output_names_stay_apart(tmp_path):
    for index, name in enumerate(("a.jpg", "a.png", "a.tif", "b.tif", "b.tiff", "c/b.tif")):
        save(tmp_path / name, index)
    names = output_names(list_photographs(tmp_path).photographs)
    assert names == ["a.jpg", "a.png", "a.tif.png", "b.png", "b.tiff.png", "c/b.png"]
