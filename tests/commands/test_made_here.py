"""What is made of a scene before a run begins: masks and points, kept, used again, and remembered."""

import numpy as np
import pytest

from dvr_cli.app import main
from dvr_cli.commands.made_here import checked, needs_points, read_and_make
from dvr_cli.commands.reading import FOUND, Reading, reading_options
from dvr_cli.config import FAST, Level, Settings, Surroundings
from dvr_cli.config_io import write_settings
from dvr_cli.console import Output
from dvr_cli.errors import DepthError, SceneError
from dvr_cli.fitting import scene_description
from dvr_cli.fitting.scene_description import MASKS_FOLDER, POINTS_FILE, describe_scene, located, read_described_scene
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers.idr import write_idr
from dvr_cli.scenes.synthetic import sphere, synthetic_scene
from dvr_cli.scenes.writing import save_png

RADIUS = 0.6
TINY = Settings(
    preset="fast",
    levels=(Level(voxels=24, image_size=160, steps=4),),
    surroundings=Surroundings(image_size=80, voxels=32),
    rays_per_step=512,
    device="cpu",
    threads=1,
)
SETTINGS = FAST.model_copy(update={"threads": 1})


@pytest.fixture(scope="module")
def ball():
    """A ball before black: its views, and where it is."""
    scene, views, _ = synthetic_scene(sphere(RADIUS, shortest_wave=0.05), views=24, image_size=160)
    return views, scene.world_from_unit


@pytest.fixture
def place(tmp_path, ball):
    """The ball as a scene without masks and without a region of interest."""
    views, _ = ball
    write_idr(tmp_path / "ball", [v.camera for v in views], [v.image for v in views], [None] * len(views))
    return tmp_path


def exit_code(*arguments):
    with pytest.raises(SystemExit) as exited:
        main(list(arguments))
    return int(exited.value.code or 0)


def made(place, **options):
    reading = reading_options(place / "ball", Reading(**options))
    return read_and_make(place / "ball", reading, place / "run", SETTINGS, Output(quiet=True))


def test_points_say_where_the_object_is_when_nothing_else_does(place, ball):
    scene, reading = made(place)
    assert reading["depth"] == "auto" and reading["masks"] is None
    assert (place / "run" / POINTS_FILE).is_file()
    assert "sparse points" in scene.bounds_source and not needs_points(scene)
    centre = ball[1][:3, 3]
    radius = RADIUS * np.linalg.norm(ball[1][:3, 0])
    assert np.linalg.norm(scene.world_from_unit[:3, 3] - centre) < 0.2 * radius
    assert 0.9 < np.linalg.norm(scene.world_from_unit[:3, 0]) / radius < 1.5


def test_masks_are_made_kept_and_used_again(place, ball):
    scene, reading = made(place, masks="auto")
    assert reading["masks"] == "auto"
    for view, exact in zip(load_views(scene, None), ball[0], strict=True):
        union = (view.mask | exact.mask).sum()
        assert (view.mask & exact.mask).sum() > 0.95 * union
    first = {path: path.stat().st_mtime_ns for path in (place / "run" / MASKS_FOLDER).rglob("*.png")}
    assert len(first) == len(ball[0])
    made(place, masks="auto")
    assert {path: path.stat().st_mtime_ns for path in first} == first


@pytest.mark.parametrize("asked", [FOUND, None])
def test_a_scene_for_which_nothing_is_made_is_read_once(tmp_path, ball, monkeypatch, asked):
    """And it is the one that reading it again would give."""
    views, world_from_unit = ball
    masks = [v.mask for v in views]
    write_idr(tmp_path / "ball", [v.camera for v in views], [v.image for v in views], masks, world_from_unit)
    read = []
    monkeypatch.setattr(
        scene_description,
        "read_described_scene",
        lambda *a, **k: read.append(read_described_scene(*a, **k)) or read[-1],
    )
    scene, reading = made(tmp_path, masks=asked)
    assert len(read) == 1 and scene is read[0]
    again = read_described_scene(tmp_path / "ball", located(reading, tmp_path / "run"), guess_bounds=True)
    assert describe_scene(scene, reading, tmp_path) == describe_scene(again, reading, tmp_path)
    assert scene.notes == again.notes and scene.bounds_source == again.bounds_source
    assert [view.mask_path for view in scene.views] == [view.mask_path for view in again.views]


def test_run_that_is_moved_finds_what_was_made_for_it(place):
    scene, reading = made(place, masks="auto")
    before = describe_scene(scene, reading, place / "run")
    (place / "run").rename(place / "elsewhere")
    again = read_described_scene(place / "ball", located(reading, place / "elsewhere"))
    assert describe_scene(again, reading, place / "elsewhere")["inputs"] == before["inputs"]


def test_masks_of_the_scene_are_remembered_as_they_were(place, ball):
    views = ball[0]
    write_idr(place / "ball", [v.camera for v in views], [v.image for v in views], [v.mask for v in views])
    assert made(place)[1]["masks"] is True
    assert made(place, masks="found")[1]["masks"] is True
    assert made(place, mask_folder=place / "ball" / "mask")[1]["masks"] == "mask"
    assert made(place, no_masks=True)[1]["masks"] is None


@pytest.mark.parametrize("masks_appear", [False, True])
def test_a_run_without_masks_goes_on_without(tmp_path, ball, monkeypatch, capsys, masks_appear):
    """Whether the scene had masks when the run began or got them since."""
    monkeypatch.chdir(tmp_path)
    write_settings(TINY, tmp_path / "tiny.toml")
    views, world_from_unit = ball
    masks = [None if masks_appear else v.mask for v in views]
    write_idr(tmp_path / "ball", [v.camera for v in views], [v.image for v in views], masks, world_from_unit)
    begin = ["reconstruct", "ball", "--out", "run", "--config", "tiny.toml"]
    assert exit_code(*begin, *([] if masks_appear else ["--no-masks"])) == 0
    for view in views if masks_appear else ():
        save_png(np.uint8(255 * view.mask), tmp_path / "ball" / "mask" / view.name)
    capsys.readouterr()
    assert exit_code("reconstruct", "ball", "--out", "run", "--resume") == 0
    said = capsys.readouterr().err
    assert "already come to its end" in said and "No masks" in said


def test_quick_look_stops_with_advice(place, ball):
    views = ball[0][:1]
    write_idr(place / "one", [v.camera for v in views], [v.image for v in views], [v.mask for v in views])
    reading = reading_options(place / "one", Reading())
    scene, reading = read_and_make(place / "one", reading, place / "run", SETTINGS, Output(quiet=True), False)
    with pytest.raises(SceneError, match="one view"):
        checked(scene, reading, place / "run", SETTINGS, Output(quiet=True))


def test_good_scene_passes_in_silence(place, ball, capsys):
    views = ball[0]
    write_idr(place / "ball", [v.camera for v in views], [v.image for v in views], [v.mask for v in views], ball[1])
    scene, reading = made(place)
    checked(scene, reading, place / "run", SETTINGS, Output())
    assert capsys.readouterr().err == ""


def test_photographs_that_match_nowhere_leave_a_guess(place, ball, capsys):
    blank = [np.full_like(v.image, 0.5) for v in ball[0]]
    write_idr(place / "ball", [v.camera for v in ball[0]], blank, [None] * len(blank))
    reading = reading_options(place / "ball", Reading())
    scene, reading = read_and_make(place / "ball", reading, place / "run", SETTINGS, Output())
    assert reading["depth"] is None and needs_points(scene)
    assert "remains a guess" in capsys.readouterr().err


def test_masks_that_contradict_each_other_are_not_answered_with_points(place, ball):
    """Triangulation takes a minute, and would not mend them."""
    far = [np.roll(v.mask, 60 * (index % 2), axis=1) for index, v in enumerate(ball[0])]
    write_idr(place / "ball", [v.camera for v in ball[0]], [v.image for v in ball[0]], far)
    scene, reading = made(place)
    assert reading["depth"] is None and not (place / "run").exists()
    with pytest.raises(SceneError):
        checked(scene, reading, place / "run", SETTINGS, Output(quiet=True))


@pytest.mark.parametrize(
    "options", [{"depth_scale": "solve"}, {"depth_scale": 2.0}, {"depth_scale": "solve", "depth": "auto"}]
)
def test_scale_without_depth_maps_is_told_before_points_are_made(place, options):
    with pytest.raises(DepthError, match="there are none"):
        made(place, **options)
    assert not (place / "run").exists()
