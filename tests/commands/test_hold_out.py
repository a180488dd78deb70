"""`dvr reconstruct --hold-out`: the views kept out are not looked at, the run remembers them, and refuses a change."""

import json
from pathlib import Path

import pytest

from dvr_cli import app
from dvr_cli.config import Level, Settings, Start
from dvr_cli.config_io import write_settings
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import split_views
from tests.scenes.tiny_scenes import write_sphere

TINY = Settings(
    preset="fast",
    levels=(Level(voxels=16, image_size=48, steps=4),),
    start=Start(voxels=24, image_size=48, planes=16, pixel_step=2),
    rays_per_step=512,
    device="cpu",
    threads=1,
)
HELD_OUT = [f"{index:06d}.png" for index in (0, 4, 8)]


def reconstruct(*options) -> int:
    """Reconstruct the scene `ball` into the folder `run` of the current folder."""
    arguments = ["reconstruct", "ball", "--masks", "--out", "run", "--config", "tiny.toml", *options]
    with pytest.raises(SystemExit) as exited:
        app.main(arguments)
    return int(exited.value.code or 0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A scene and settings in the current folder."""
    write_sphere(tmp_path / "ball")
    write_settings(TINY, tmp_path / "tiny.toml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(path: Path) -> None:
    """Cut a photograph off behind its header, which readers look at for the size."""
    path.write_bytes(path.read_bytes()[:100])


def test_views_held_out_are_neither_decoded_nor_hashed(place, capsys):
    for name in HELD_OUT:
        spoil(place / "ball" / "image" / name)
        (place / "ball" / "mask" / name).write_bytes(b"no picture")
    assert reconstruct("--hold-out", "4") == 0
    assert "9 views (idr), besides those that --hold-out 4 keeps for judging" in capsys.readouterr().err
    description = RunFolder.open(place / "run").scene_description
    assert description["options"]["hold_out"] == 4
    assert len(description["views"]) == 9 and not set(HELD_OUT) & set(description["views"])
    assert not [path for path in description["inputs"] if Path(path).name in HELD_OUT]
    # Without the option, the same files stop the reconstruction.
    assert reconstruct("--overwrite") == 1
    assert "000000.png cannot be decoded" in capsys.readouterr().err


def test_run_knows_which_views_are_new_to_it(place):
    assert reconstruct("--hold-out", "4") == 0
    description = RunFolder.open(place / "run").scene_description
    scene, fitted, held_out = split_views(place / "ball", description["options"], description["views"])
    assert held_out == (0, 4, 8) and [scene.views[index].name for index in held_out] == HELD_OUT
    assert [scene.views[index].name for index in fitted] == description["views"]


def test_resuming_needs_no_word_of_it_and_allows_no_other(place, capsys):
    assert reconstruct("--hold-out", "4") == 0
    assert reconstruct("--resume") == 0
    assert RunFolder.open(place / "run").scene_description["options"]["hold_out"] == 4
    capsys.readouterr()
    assert reconstruct("--resume", "--hold-out", "3") == 1
    assert "option hold_out" in capsys.readouterr().err


def test_runs_from_before_the_option_go_on(place, capsys):
    assert reconstruct() == 0
    path = place / "run" / "scene.json"
    description = json.loads(path.read_text())
    del description["options"]["hold_out"]
    path.write_text(json.dumps(description))
    assert reconstruct("--resume") == 0
    assert reconstruct("--resume", "--hold-out", "4") == 1
    assert "option hold_out" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["1", "0", "-4", "2.5", "all"])
def test_numbers_below_two_are_wrong_usage(place, number):
    assert reconstruct("--hold-out", number) == 2
    assert not (place / "run").exists()


def test_too_few_views_left_are_an_error_that_says_how_many(place, capsys):
    assert reconstruct("--hold-out", "2", "--views", "0-2") == 1
    assert "--hold-out 2 leaves 1 of 3 views" in capsys.readouterr().err
    assert not (place / "run").exists()


def test_number_in_scene_json_that_cannot_be_is_an_error(place, capsys):
    assert reconstruct() == 0
    path = place / "run" / "scene.json"
    description = json.loads(path.read_text())
    description["options"]["hold_out"] = "every"
    path.write_text(json.dumps(description))
    assert reconstruct("--resume") == 1
    shown = capsys.readouterr().err
    assert "whole number of at least 2" in shown and "Traceback" not in shown
