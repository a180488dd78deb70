"""Animations come back from their files: as many frames, as long, in about the same colours; or there is no file."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import ExportError
from dvr_cli.viewing.animation import MOST_PIXELS, check_animation, check_size, delays, write_animation

COUNT, HEIGHT, WIDTH = 7, 48, 64


def frames(channels=3):
    """A bright disk that wanders over a smooth ground."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    for index in range(COUNT):
        inside = (rows - 24) ** 2 + (columns - 8 * index - 8) ** 2 < 100
        picture = np.stack([3 * columns + 20, 4 * rows + 20, np.full_like(rows, 90)], axis=-1)
        picture[inside] = (250, 240, 30)
        picture = picture.astype(np.uint8)
        yield picture if channels == 3 else np.dstack([picture, np.where(inside, 255, 0).astype(np.uint8)])


def needs_ffmpeg():
    return pytest.importorskip("imageio_ffmpeg", reason="video needs imageio-ffmpeg, the extra `video`")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_durations_and_colours_come_back(tmp_path, suffix):
    write_animation(tmp_path / f"a{suffix}", frames(), 12.5)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.n_frames == COUNT and image.size == (WIDTH, HEIGHT) and image.info["loop"] == 0
        for index, expected in enumerate(frames()):
            image.seek(index)
            found = np.asarray(image.convert("RGB")).astype(float)
            assert image.info["duration"] == 80
            assert np.abs(found - expected).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_is_transparent_stays_so(tmp_path, suffix):
    write_animation(tmp_path / f"a{suffix}", frames(4), 10)
    with Image.open(tmp_path / f"a{suffix}") as image:
        for index, expected in enumerate(frames(4)):
            image.seek(index)
            found = np.asarray(image.convert("RGBA"))
            np.testing.assert_array_equal(found[..., 3] > 127, expected[..., 3] > 127)
            assert np.abs(found[found[..., 3] > 127][:, :3].astype(float) - (250, 240, 30)).mean() < 8


def test_a_plain_background_stays_plain_in_a_gif(tmp_path):
    ground = (247, 247, 245)
    pictures = [np.where((np.arange(WIDTH) < 5 + 4 * k)[None, :, None], p, ground) for k, p in enumerate(frames())]
    write_animation(tmp_path / "a.gif", [picture.astype(np.uint8) for picture in pictures], 10)
    with Image.open(tmp_path / "a.gif") as image:
        image.seek(2)
        np.testing.assert_array_equal(
            np.unique(np.asarray(image.convert("RGB"))[:, 20:].reshape(-1, 3), axis=0), [ground]
        )


def test_one_colour_and_nothing_at_all(tmp_path):
    black = [np.zeros((8, 8, 3), dtype=np.uint8)] * 3
    nothing = [np.zeros((8, 8, 4), dtype=np.uint8)] * 3
    for name, pictures in (("b.gif", black), ("n.gif", nothing), ("n.webp", nothing)):
        write_animation(tmp_path / name, pictures, 10)
        with Image.open(tmp_path / name) as image:
            assert not np.asarray(image.convert("RGBA"))[..., :3].any() or name.startswith("n")


def test_delays_add_up():
    for rate in (7, 12.5, 24, 30, 48):
        assert sum(delays(100, rate, 0.01)) == round(100 / rate / 0.01)
    assert set(delays(100, 30, 0.01)) == {3, 4}


def test_video_comes_back(tmp_path):
    ffmpeg = needs_ffmpeg()
    write_animation(tmp_path / "a.mp4", frames(), 25)
    command = [ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "a.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    about = read.stderr.decode()
    assert f"{WIDTH}x{HEIGHT}" in about and "25 fps" in about and "yuv420p" in about
    found = np.frombuffer(read.stdout, dtype=np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    assert len(found) == COUNT
    for one, expected in zip(found, frames(), strict=True):
        assert np.abs(one.astype(float) - expected).mean() < 8
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_video_without_its_extra_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ExportError, match=r"pip install 'dvr-cli\[video\]'"):
        check_animation(tmp_path / "a.mp4")
    check_animation(tmp_path / "a.gif")


def test_a_video_that_cannot_be_written_leaves_nothing(tmp_path):
    needs_ffmpeg()
    odd = [frame[:, :-1] for frame in frames()]
    (tmp_path / "a.mp4").write_text("the old one")
    with pytest.raises(ExportError, match="ffmpeg failed"):
        write_animation(tmp_path / "a.mp4", odd, 25)
    assert (tmp_path / "a.mp4").read_text() == "the old one" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_full_disk(tmp_path, monkeypatch, suffix):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dvr_cli.files.os.fsync", full)
    with pytest.raises(ExportError, match="no space left on the disk"):
        write_animation(tmp_path / f"a{suffix}", frames(), 10)
    assert not list(tmp_path.iterdir())


def test_places_and_sizes_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.gif").mkdir()
    for name, reason in (("a.avi", "unknown format"), ("folder.gif", "is a folder"), ("file/a.gif", "not a folder")):
        with pytest.raises(ExportError, match=reason):
            check_animation(tmp_path / name)
    needs_ffmpeg()
    with pytest.raises(ExportError, match="cannot be transparent"):
        check_animation(tmp_path / "a.mp4", transparent=True)
    with pytest.raises(ExportError, match="50 frames per second"):
        check_size(tmp_path / "a.gif", 10, 10, 10, 60)
    with pytest.raises(ExportError, match="do not fit the memory"):
        check_size(tmp_path / "a.webp", 1000, 1000, MOST_PIXELS // 10**6 + 1, 10)
    check_size(tmp_path / "a.mp4", 10**6, 1000, 1000, 60)
