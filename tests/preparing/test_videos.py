"""Frames out of videos: the sharp ones, spread over what moves; streams that end early are refused."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from dvr_cli.errors import SceneError
from dvr_cli.preparing import videos
from dvr_cli.preparing.frames import FrameMeasures, choose_frames, measure_frames, motion, sharpness_of
from dvr_cli.preparing.stages import Stopped, WorkFolder
from dvr_cli.preparing.video_frames import extract_frames
from dvr_cli.preparing.videos import chosen_frames, small_frames

HEIGHT, WIDTH = 240, 320


def noise(seed=0, height=HEIGHT + 200, width=WIDTH + 800):
    values = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 1.5)
    return np.clip(128 + 50 * values / values.std(), 0, 255)


def window(wall, left, top=0.0):
    """The part of the wall that a camera at this place sees, to whole pixels."""
    return wall[round(top) : round(top) + HEIGHT, round(left) : round(left) + WIDTH]


def grey(frame):
    return frame.round().astype(np.uint8)


def measured(frames):
    return measure_frames(iter(frames), lambda count: None)


@pytest.fixture(scope="module")
def pan(tmp_path_factory):
    """A video of 60 frames that moves 5 pixels each; of every five, the third is sharp. pan.mp4 and its frames."""
    pytest.importorskip("imageio_ffmpeg")
    from dvr_cli.viewing.animation import write_animation

    wall = noise()
    frames = []
    for index in range(60):
        seen = window(wall, 5 * index)
        seen = seen if index % 5 == 2 else gaussian_filter(seen, 2.5)
        frames.append(np.repeat(grey(seen)[:, :, None], 3, axis=2))
    path = tmp_path_factory.mktemp("videos") / "pan around.mp4"
    write_animation(path, iter(frames), 25)
    return path, frames


def test_motion_is_the_shift():
    wall = noise()
    for shift in (0, 1, 3, 7):
        assert motion(window(wall, 100), window(wall, 100 + shift)) == shift
    # The window that fades tiles out at their borders favours small shifts a little.
    assert motion(window(wall, 100), window(wall, 100 + 11)) == pytest.approx(11, abs=1)
    assert motion(window(wall, 100), window(wall, 100 + 3, 4)) == 5
    assert motion(np.full((64, 64), 9.0), window(wall, 0)[:64, :64]) is None


def test_path_adds_slow_motion_up_and_rests_with_the_camera():
    wall = noise()
    places = [*range(0, 40, 1), *[40] * 20, *range(40, 80, 4)]
    measures = measured([grey(window(wall, place)) for place in places])
    assert measures.path[39] == pytest.approx(39 / WIDTH, abs=2 / WIDTH)
    assert measures.path[59] == measures.path[40]
    assert measures.path[-1] == pytest.approx(76 / WIDTH, abs=6 / WIDTH)
    assert (np.diff(measures.path) >= 0).all()


def test_sharpness_falls_with_blur_and_not_with_contrast():
    picture = window(noise(), 0)
    sharp = sharpness_of(grey(picture))
    values = [sharpness_of(grey(gaussian_filter(picture, blur))) for blur in (1, 2, 4)]
    assert [sharp, *values] == sorted([sharp, *values], reverse=True)
    assert sharpness_of(grey(64 + picture / 2)) == pytest.approx(sharp, rel=0.05)
    assert sharpness_of(np.zeros((9, 9), dtype=np.uint8)) == 0


def test_sharpest_of_each_stretch_is_chosen():
    generator = np.random.default_rng(3)
    path = np.sort(generator.uniform(0, 4, 500))
    sharpness = generator.uniform(size=500)
    measures = FrameMeasures(path - path[0], sharpness)
    chosen = choose_frames(measures, 25)
    stretch = np.minimum((measures.path / measures.path[-1] * 25).astype(int), 24)
    assert len(chosen) == 25 and (np.diff(chosen) > 0).all()
    for number in chosen:
        assert sharpness[number] == sharpness[stretch == stretch[number]].max()
    # By itself: one for every 5 % of the picture, 4 widths of it.
    assert len(choose_frames(measures, None)) == 80
    assert choose_frames(FrameMeasures(np.zeros(9), np.arange(9.0)), None).tolist() == [8]
    assert choose_frames(FrameMeasures(np.zeros(0), np.zeros(0)), 5).tolist() == []


def test_sharp_frames_of_a_video_are_chosen(pan, tmp_path):
    video, frames = pan
    with WorkFolder(tmp_path) as work:
        folder, notes = extract_frames(video, 12, work, lambda *told: None, lambda: False)
        names = sorted(path.name for path in folder.iterdir())
        numbers = [int(name[6:12]) for name in names]
        # Stretches end within a pixel or two of the true ones, so that a border may cut off the sharp frame of one.
        assert len(names) == 12 and sum(number % 5 == 2 for number in numbers) >= 11
        assert max(np.diff(numbers)) <= 10
        assert "12 of 60 frames" in notes[0]
        for index, name in zip(numbers, names, strict=True):
            with Image.open(folder / name) as image:
                difference = np.abs(np.asarray(image).astype(float) - frames[index])
            assert difference.mean() < 4
        # Once more nothing is decoded.
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        extract_frames(video, 12, work, lambda *told: None, lambda: pytest.fail("asked"))
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_frames_come_one_at_a_time_and_in_order(pan):
    video, frames = pan
    stream = small_frames(video)
    assert next(stream).shape == (HEIGHT, WIDTH)
    stream.close()
    counted = sum(1 for _ in small_frames(video))
    assert counted == 60
    picked = list(chosen_frames(video, np.array([0, 7, 59])))
    assert len(picked) == 3
    for frame, index in zip(picked, (0, 7, 59), strict=True):
        assert np.abs(frame.astype(float) - frames[index]).mean() < 4


def test_stop_ends_decoding(pan, tmp_path):
    video, _ = pan
    with WorkFolder(tmp_path) as work, pytest.raises(Stopped):
        extract_frames(video, None, work, lambda *told: None, lambda: True)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"ffconcat version 1.0\nfile '/etc/passwd'\n"])
def test_what_is_no_video_is_refused(tmp_path, content):
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with WorkFolder(tmp_path / "out") as work, pytest.raises(SceneError, match=r"broken\.mp4 cannot be decoded"):
        extract_frames(path, None, work, lambda *told: None, lambda: False)


def test_cut_video_is_refused(pan, tmp_path):
    video, _ = pan
    path = tmp_path / "cut.mp4"
    # The index of an mp4 that was cut off is missing, or points beyond its end.
    path.write_bytes(video.read_bytes()[:2000])
    with WorkFolder(tmp_path / "out") as work, pytest.raises(SceneError):
        extract_frames(path, None, work, lambda *told: None, lambda: False)


def test_camera_that_does_not_move_is_refused(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    from dvr_cli.viewing.animation import write_animation

    still = np.repeat(grey(window(noise(), 0))[:, :, None], 3, axis=2)
    write_animation(tmp_path / "still.mp4", iter([still] * 6), 25)
    with WorkFolder(tmp_path / "out") as work, pytest.raises(SceneError, match="6 frames, of which 1 differ"):
        extract_frames(tmp_path / "still.mp4", None, work, lambda *told: None, lambda: False)


def test_missing_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(videos, "import_module", missing)
    with pytest.raises(SceneError, match=r"pip install 'dvr-cli\[video\]'"):
        videos.ffmpeg()
