"""`dvr prepare` through the command line: what it prints, JSON, and misuse."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dvr_cli.commands.prepare import prepare_command
from dvr_cli.errors import DvrError
from dvr_cli.scenes.readers import read_scene
from tests.preparing.corner import tour

APP = typer.Typer()
APP.command()(prepare_command)


def run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def wait_for(process, path):
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepare")
    tour(views=6, width=224, height=168, span=35).save(folder / "photographs", "{:d}.jpg", quality=95)
    result = run(folder / "photographs", folder / "scene", "--threads", "1", "--masks", "none")
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, result


def test_says_what_came_out_and_what_is_next(place):
    folder, result = place
    assert "6 of 6 have a pose" in result.stdout and "verdict" in result.stdout
    last = result.stdout.strip().splitlines()[-1]
    assert last.startswith("Next: dvr inspect ") and f"dvr reconstruct {folder / 'scene'}" in last
    assert "poses" in result.stderr and "I2" not in result.stderr
    assert [path.name for path in sorted((folder / "scene").iterdir())] == ["images", "prepare.json", "sparse", "work"]
    assert len(read_scene(folder / "scene").views) == 6


def test_json_is_what_the_file_holds(place):
    folder, _ = place
    result = run(folder / "photographs", folder / "scene", "--threads", "1", "--masks", "none", "--json", "--quiet")
    assert result.stderr == ""
    printed = json.loads(result.stdout)
    written = json.loads((folder / "scene" / "prepare.json").read_text())
    assert {key: printed[key] for key in written} == written
    assert printed["next"].startswith("dvr reconstruct")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--camera", "BOX"], "is no camera model: expected auto, SIMPLE_PINHOLE"),
        (["--frames", "40"], "--frames is about videos"),
        (["--image-size", "huge"], "is no size"),
        (["--masks", "best"], "best"),
    ],
)
def test_misuse_is_said(place, options, message):
    folder, _ = place
    result = run(folder / "photographs", folder / "scene", *options)
    assert result.exit_code == 2 and message in " ".join(result.output.replace("│", "").split())


def test_bad_places_are_errors_of_the_input(place):
    folder, _ = place
    result = run(folder / "photographs", folder / "photographs" / "scene")
    assert isinstance(result.exception, DvrError) and "lies in" in str(result.exception)


def test_lens_that_is_asked_for_is_given(place, tmp_path):
    folder, _ = place
    shutil.copytree(folder / "scene", tmp_path / "scene")
    for camera in ("opencv", "SIMPLE_PINHOLE"):
        result = run(folder / "photographs", tmp_path / "scene", "--camera", camera, "--json", "--threads", "1")
        assert result.exit_code == 0, (result.output, result.exception)
        lens = json.loads(result.stdout)["cameras"][0]
        assert lens["model"] == camera.upper()
        assert lens["parameters"][0] == pytest.approx(1.15 * 224, rel=0.03)
    # A pinhole photograph is not resampled: it is the same file.
    for path in (folder / "photographs").iterdir():
        assert (tmp_path / "scene" / "images" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_says_how_to_go_on(place, tmp_path, number, code):
    folder, _ = place
    command = [
        sys.executable,
        "-m",
        "dvr_cli",
        "prepare",
        str(folder / "photographs"),
        str(tmp_path / "scene"),
        "--threads",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(process, tmp_path / "scene" / "work" / "features")
    process.send_signal(number)
    out, said = process.communicate(timeout=120)
    assert process.returncode == code and "go on by giving the same command again" in said and out == ""
    assert "Traceback" not in said and "@" not in said
    result = run(folder / "photographs", tmp_path / "scene", "--threads", "1", "--masks", "none")
    assert result.exit_code == 0
    poses = [
        np.stack([view.camera.camera_from_world for view in read_scene(root / "scene").views])
        for root in (folder, tmp_path)
    ]
    np.testing.assert_array_equal(*poses)


def test_killed_it_goes_on(place, tmp_path):
    folder, _ = place
    command = [
        sys.executable,
        "-m",
        "dvr_cli",
        "prepare",
        str(folder / "photographs"),
        str(tmp_path / "scene"),
        "--threads",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(process, tmp_path / "scene" / "work" / "database.json")
    process.kill()
    process.wait()
    result = run(folder / "photographs", tmp_path / "scene", "--threads", "2", "--masks", "none")
    assert result.exit_code == 0
    first, second = (read_scene(root / "scene") for root in (folder, tmp_path))
    np.testing.assert_array_equal(first.sparse_depth.points, second.sparse_depth.points)
