"""`dvr reconstruct` stopped for real: killed, it resumes from its last checkpoint; interrupted, it saves first."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvr_cli import app
from dvr_cli.config import Level, Settings, Start
from dvr_cli.config_io import write_settings
from dvr_cli.fitting.run_folder import RunFolder
from tests.scenes.tiny_scenes import write_sphere

ENDLESS = Settings(
    preset="fast",
    levels=(Level(voxels=16, image_size=48, steps=20), Level(voxels=24, steps=10**6)),
    start=Start(voxels=24, image_size=48, planes=16, pixel_step=2),
    rays_per_step=512,
    device="cpu",
    threads=1,
)
OPTIONS = ["--masks", "--config", "endless.toml", "--out", "run"]
SAVES_OFTEN = """
from dvr_cli.fitting import levels
levels.SECONDS_BETWEEN_CHECKPOINTS = 0.05
from dvr_cli.app import main
main()
"""
PATIENCE = 120.0
"""Seconds after which a process that has not got anywhere counts as stuck."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A scene and settings in the current folder."""
    write_sphere(tmp_path / "ball")
    write_settings(ENDLESS, tmp_path / "endless.toml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start():
    """A function that starts `dvr reconstruct ball` in a process of its own, which ends with the test at the latest."""
    processes = []

    def run(*options: str) -> subprocess.Popen:
        command = [sys.executable, "-c", SAVES_OFTEN, "reconstruct", "ball", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_step(process: subprocess.Popen, run: Path, step: int) -> None:
    """Until the run has a checkpoint of that step or a later one."""
    deadline = time.monotonic() + PATIENCE
    while max(RunFolder(run).checkpoints.steps(), default=0) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run does not get anywhere"
        time.sleep(0.01)


def test_killed_run_resumes_from_its_last_checkpoint(place, start, capsys):
    """Twice: in the first level or soon after it, and later."""
    run = RunFolder(place / "run")
    process = start(*OPTIONS)
    wait_for_step(process, run.path, 5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reached = max(run.checkpoints.steps())
    process = start("--out", "run", "--resume")
    wait_for_step(process, run.path, reached + 30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run.summary is None
    reached = max(run.checkpoints.steps())

    with pytest.raises(SystemExit) as exited:
        app.main(["reconstruct", "ball", "--out", "run", "--resume", "--time", "1s", "--json", "--quiet"])
    assert exited.value.code == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["finished"] and summary["resumed_from"] == reached <= summary["steps"]
    steps = [line["step"] for line in run.read_metrics()]
    assert steps == sorted(set(steps)) and run.settings.levels == ENDLESS.levels


def test_interrupted_run_saves_and_exits_with_130(place, start):
    run = RunFolder(place / "run")
    process = start(*OPTIONS)
    wait_for_step(process, run.path, 5)
    process.send_signal(signal.SIGINT)
    output, notes = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert output.splitlines()[-1] == "Go on with: dvr reconstruct ball --out run --resume"
    assert "Stopping and saving" in notes and "Traceback" not in notes
    assert run.summary is not None and not run.finished and run.summary["steps"] == max(run.checkpoints.steps())


def test_finished_run_is_left_as_it_is(place, capsys):
    with pytest.raises(SystemExit) as exited:
        app.main(["reconstruct", "ball", *OPTIONS, "--steps", "8"])
    assert exited.value.code == 0
    before = {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(SystemExit) as exited:
        app.main(["reconstruct", "ball", "--out", "run", "--resume"])
    assert exited.value.code == 0 and "nothing left to do" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
