"""`dvr convert` and `dvr formats` as a user meets them."""

import json

import pytest

from dvr_cli.app import main
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.readers.table import READERS
from tests.scenes.tiny_scenes import write_sphere


def run(capsys, *arguments):
    """Exit code, stdout and stderr of a command line."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return end.value.code or 0, captured.out, captured.err


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A small scene, and a folder beside it to work in."""
    write_sphere(tmp_path / "sphere")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "sphere"


def test_a_scene_becomes_a_folder_here_and_the_next_command_is_named(capsys, scene, tmp_path):
    code, out, _ = run(capsys, "convert", scene, "--to", "transforms")
    assert code == 0 and "Next: dvr inspect sphere-transforms" in out and "it is the same scene" in out
    assert len(read_scene(tmp_path / "work" / "sphere-transforms", masks=True).views) == 12


def test_the_result_as_json(capsys, scene):
    code, out, _ = run(capsys, "convert", scene, "--to", "colmap", "--views", "0-4", "--out", "x", "--json", "-q")
    values = json.loads(out)
    assert code == 0 and values["views"] == values["masks"] == values["copied"] == 5
    assert values["format"] == "colmap" and any("region of interest" in loss for loss in values["losses"])


def test_one_of_a_kind_is_told_as_one(capsys, scene):
    out = run(capsys, "convert", scene, "--to", "plain", "--views", "4", "--out", "x")[1]
    assert "Wrote 1 view in the format plain to x: 1 photograph copied, 0 made anew; 1 mask." in out


def test_masks_are_converted_unless_they_are_not_wanted(capsys, scene, tmp_path):
    run(capsys, "convert", scene, "--to", "plain", "--no-masks", "--out", "bare")
    assert not (tmp_path / "work" / "bare" / "masks").exists()
    run(capsys, "convert", scene, "--to", "plain", "--masks", "--out", "masked")
    assert len(list((tmp_path / "work" / "masked" / "masks").iterdir())) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "plain", "--out", "../sphere/new"), "inside the scene"),
        (("--to", "plain", "--depth", "gone.npz"), "gone.npz"),
        (("--to", "plain", "--format", "colmap"), "in no format"),
    ],
)
def test_what_cannot_be_done_is_said(capsys, scene, arguments, message):
    code, out, err = run(capsys, "convert", scene, *arguments)
    assert code == 1 and not out and message in err and "Traceback" not in err


def test_a_folder_with_something_in_it_is_left_alone(capsys, scene, tmp_path):
    arguments = ("convert", scene, "--to", "plain", "--views", "0-3", "-q")
    assert run(capsys, *arguments)[0] == 0
    code, _, err = run(capsys, *arguments)
    assert code == 1 and "not empty" in err
    assert run(capsys, *arguments, "--overwrite")[0] == 0


def test_formats_lists_every_reader(capsys):
    code, out, _ = run(capsys, "formats")
    assert code == 0 and all(reader.name in out and reader.layout in out for reader in READERS)
    listed = json.loads(run(capsys, "formats", "--json")[1])["formats"]
    assert [row["name"] for row in listed] == [reader.name for reader in READERS]
