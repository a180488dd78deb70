"""Depth in OpenEXR files: every compression comes back, and files that lie about themselves are refused."""

import importlib

import numpy as np
import pytest

from dvr_cli.errors import DepthError
from dvr_cli.scenes.exr_files import read_exr_depth
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from tests.scenes.tiny_scenes import ring

OpenEXR = pytest.importorskip("OpenEXR")
DEPTH = np.random.default_rng(0).uniform(1, 5, (20, 30))


def write(path, channels, compression="ZIP", **header):
    compression = getattr(OpenEXR, f"{compression}_COMPRESSION")
    header = {"compression": compression, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(header, channels).write(str(path))
    return path


@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ"])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_depth_comes_back(tmp_path, compression, kind):
    values = DEPTH.astype(kind)
    found = read_exr_depth(write(tmp_path / "a.exr", {"Z": values}, compression))
    assert found.dtype == np.float64 and np.array_equal(found, values.astype(np.float64))


def test_tiles_come_back(tmp_path):
    header = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    found = read_exr_depth(write(tmp_path / "a.exr", {"Z": DEPTH.astype(np.float32)}, **header))
    assert np.allclose(found, DEPTH, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Z"], 0),
        (["R", "G", "B", "Z"], 3),
        (["B", "G", "R"], 2),
        (["Y"], 0),
        (["V"], 0),
        (["ViewLayer.Combined.R", "ViewLayer.Depth.Z"], 1),
        (["anything"], 0),
    ],
)
def test_channel_of_depth_is_found_by_name(tmp_path, names, expected):
    channels = {name: DEPTH.astype(np.float32) + index for index, name in enumerate(names)}
    assert np.allclose(read_exr_depth(write(tmp_path / "a.exr", channels)), DEPTH + expected, atol=1e-6)


@pytest.mark.parametrize("names", [["left.Z", "right.Z"], ["X", "Q"]])
def test_no_guess_between_channels(tmp_path, names):
    path = write(tmp_path / "a.exr", {name: DEPTH.astype(np.float32) for name in names})
    with pytest.raises(DepthError, match=r"could all be depth|no channel for depth"):
        read_exr_depth(path)


def test_data_that_fill_a_part_of_the_picture(tmp_path):
    window = {
        "dataWindow": (np.array([3, -2], np.int32), np.array([32, 17], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([39, 24], np.int32)),
    }
    found = read_exr_depth(write(tmp_path / "a.exr", {"Z": DEPTH.astype(np.float32)}, **window))
    assert found.shape == (25, 40)
    assert np.allclose(found[:18, 3:33], DEPTH[2:], atol=1e-6)
    assert np.isnan(found[18:]).all() and np.isnan(found[:, :3]).all() and np.isnan(found[:, 33:]).all()


def test_a_window_that_is_not_in_the_file_is_refused_before_memory_is_taken(tmp_path):
    path = write(tmp_path / "a.exr", {"Z": DEPTH.astype(np.float32)})
    content = bytearray(path.read_bytes())
    place = content.index(b"dataWindow\x00box2i\x00") + len(b"dataWindow\x00box2i\x00") + 4
    content[place + 8 : place + 16] = np.array([12_000, 12_000], "<i4").tobytes()
    path.write_bytes(content)
    with pytest.raises(DepthError, match=r"dataWindow is 12001x12001 pixels|cannot be read"):
        read_exr_depth(path)


def test_damaged_files_are_refused(tmp_path):
    whole = write(tmp_path / "a.exr", {"Z": DEPTH.astype(np.float32)}).read_bytes()
    generator = np.random.default_rng(1)
    for index in range(200):
        content = bytearray(whole[: generator.integers(len(whole))] if index % 2 else whole)
        for place in generator.integers(min(400, len(content) or 1), size=3):
            content[place : place + 1] = bytes([generator.integers(256)])
        (tmp_path / "b.exr").write_bytes(content)
        try:
            assert read_exr_depth(tmp_path / "b.exr").ndim == 2
        except DepthError as error:
            assert "b.exr" in str(error)


def test_missing_file_and_missing_library(tmp_path, monkeypatch):
    with pytest.raises(DepthError, match="does not exist"):
        read_exr_depth(tmp_path / "none.exr")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DepthError, match=r"dvr-cli\[exr\]"):
        read_exr_depth(tmp_path / "none.exr")


def test_maps_of_a_scene_may_be_exr(folder):
    (folder / "depth").mkdir()
    camera = ring()[0]
    depth = np.arange(1, camera.height * camera.width + 1, dtype=np.float32).reshape(camera.height, camera.width)
    depth[0, :3] = [0, np.inf, -1]
    write(folder / "depth" / "000000.exr", {"Z": depth})
    loaded = load_views(read_scene(folder, depth=folder / "depth"), None)
    assert np.isnan(loaded[0].depth[0, :3]).all()
    assert np.array_equal(loaded[0].depth[1:], depth[1:]) and loaded[1].depth is None


def test_damage_is_an_error_and_nothing_on_standard_output(tmp_path, capsys):
    path = write(tmp_path / "a.exr", {"Z": np.linspace(1, 2, 64, dtype=np.float32).reshape(8, 8)})
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DepthError, match="cannot be read as OpenEXR"):
        read_exr_depth(path)
    assert capsys.readouterr().out == ""
