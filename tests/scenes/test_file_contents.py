"""Files that are no readable photographs: what they are is said, and photographs in other formats are counted."""

import io

import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.file_contents import unread_text, why_no_image
from dvr_cli.scenes.image_files import image_shape
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import ring, write_colmap, write_sphere


def encoded(kind):
    with io.BytesIO() as stream:
        Image.new("RGB", (8, 6), "red").save(stream, format=kind)
        return stream.getvalue()


CASES = [
    (b"", "it is empty"),
    (encoded("WEBP"), "its content is WebP, not PNG"),
    (encoded("BMP"), "its content is BMP, not PNG"),
    (encoded("GIF"), "its content is GIF, not PNG"),
    (b"\0\0\0\x18ftypheic" + bytes(50), "its content is HEIC, not PNG"),
    (b"\n<!DOCTYPE html>\n<html>404</html>", "its content is an HTML page"),
    ("Nicht gefunden: äöü".encode() * 100, "its content is text"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
    (bytes(1000), "nothing but zeros"),
    (b"\x01\x02\xfe\xff" * 200, "it is no png, jpg or tif image"),
]


@pytest.mark.parametrize(("content", "said"), CASES, ids=[said for _, said in CASES])
def test_what_a_file_is_instead_of_an_image(tmp_path, content, said):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(SceneError) as error:
        image_shape(path)
    first, advice = str(error.value).splitlines()
    assert first.startswith(f"{path} cannot be decoded: ") and said in first and first.count("a.png") == 1
    assert "--views" in advice


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_what_is_an_image_by_its_first_bytes_may_be_one_whatever_its_name(tmp_path, kind):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(kind))
    assert why_no_image(path) is None and image_shape(path) == (6, 8)
    assert why_no_image(tmp_path / "missing.png") is None


def rename(folder, names, suffix):
    for name in names:
        (folder / name).rename((folder / name).with_suffix(suffix))


@pytest.mark.parametrize("layout", ["idr", "colmap"])
def test_photographs_in_other_formats_are_counted_when_there_are_none_to_read(tmp_path, layout):
    if layout == "idr":
        write_sphere(tmp_path)
        rename(tmp_path / "image", [f"{index:06d}.png" for index in range(12)], ".webp")
        message = (
            r"no photographs: looked for .*\.\nThere are 12 \.webp files in image/, which are not read: convert them"
        )
    else:
        write_colmap(tmp_path, ring()[:2])
        rename(tmp_path / "images", ["000000.png", "000001.png"], ".heic")
        message = r"none of them is in .*images: 000000\.png \(there is 000000\.heic\)"
    with pytest.raises(SceneError, match=message):
        read_scene(tmp_path)


def test_photographs_in_other_formats_among_others_are_noted(tmp_path):
    write_sphere(tmp_path)
    rename(tmp_path / "image", ["000003.png"], ".HEIC")
    notes = read_scene(tmp_path).notes
    assert "1 of 12 photographs" in notes[0]
    assert notes[1] == "there is 1 .heic file in image/, which is not read: convert it to png or jpg"
    assert unread_text([tmp_path / "mask", tmp_path / "nowhere"]) == ""
