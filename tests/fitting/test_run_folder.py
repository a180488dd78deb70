"""Laws of a run folder: nothing saved is lost, whatever happens, and nothing is removed that was not asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dvr_cli.config import FAST
from dvr_cli.errors import RunError
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import changed_inputs, changed_photographs, describe_scene
from dvr_cli.scenes.views import Camera, Scene, SparseDepth, View

DESCRIPTION = {
    "root": "scene",
    "format": "idr",
    "options": {"masks": True},
    "views": ["a"],
    "unit_from_world": np.eye(4).tolist(),
    "inputs": {"image/a": "1"},
}


def new_run(path: Path) -> RunFolder:
    return RunFolder.create(path, FAST, DESCRIPTION)


def state(step: int) -> dict:
    return {"step": step, "sdf": torch.full((50, 50), float(step)), "schedule": {"level": 1, "seed": None}}


def run_with_checkpoints(path: Path, *steps: int) -> RunFolder:
    with new_run(path) as run:
        for step in steps:
            run.save_checkpoint(state(step), step)
    return run


def test_checkpoint_gives_back_the_state(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10)
    loaded = RunFolder.open(run.path).load_checkpoint()
    assert loaded is not None and loaded["step"] == 10 and loaded["schedule"] == {"level": 1, "seed": None}
    assert torch.equal(loaded["sdf"], state(10)["sdf"])


def test_run_without_checkpoint_loads_none(tmp_path):
    with new_run(tmp_path / "run") as run:
        assert run.load_checkpoint() is None


def test_last_two_checkpoints_are_kept(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10, 20, 30, 1_000_000)
    assert run.checkpoints.steps() == [30, 1_000_000]


@pytest.mark.parametrize("damage", ["cut short", "empty", "one bit", "text"])
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    run = run_with_checkpoints(tmp_path / "run", 10, 20)
    newest = run.checkpoints.path_of(20)
    content = newest.read_bytes()
    middle = len(content) // 2
    newest.write_bytes(
        {
            "cut short": content[: middle * 3 // 2],
            "empty": b"",
            "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "text": b"not a checkpoint",
        }[damage]
    )
    notes = []
    loaded = run.load_checkpoint(notes.append)
    assert loaded is not None and loaded["step"] == 10
    assert len(notes) == 1 and "checkpoint_000020.pt" in notes[0].text


def test_damaged_checkpoint_never_displaces_a_good_one(tmp_path):
    run_with_checkpoints(tmp_path / "run", 10, 20).checkpoints.path_of(20).write_bytes(b"")
    with RunFolder.create(tmp_path / "run", FAST, DESCRIPTION, resume=True) as run:
        assert run.load_checkpoint()["step"] == 10
        run.save_checkpoint(state(30), 30)
        assert run.checkpoints.steps() == [10, 30]


def test_all_checkpoints_damaged_is_an_error(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10, 20)
    for step in (10, 20):
        run.checkpoints.path_of(step).write_bytes(b"")
    with pytest.raises(RunError, match=r"steps 10, 20.*--overwrite"):
        run.load_checkpoint()


def test_checkpoint_with_code_is_refused(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10)
    torch.save({"step": Path("anything but plain values")}, run.checkpoints.path_of(10))
    with pytest.raises(RunError, match="can be used"):
        run.load_checkpoint()


KILLED_WHILE_SAVING = """
import json, sys, torch
from pathlib import Path
from dvr_cli.config import FAST
from dvr_cli.fitting.run_folder import RunFolder
run = RunFolder.create(Path(sys.argv[1]), FAST, json.loads(sys.argv[2]))
for step in range(1, 100000):
    run.save_checkpoint({"step": step, "sdf": torch.full((1_000_000,), float(step))}, step)
    print(step, flush=True)
"""


def test_kill_while_saving_leaves_a_loadable_checkpoint(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path / "run"), json.dumps(DESCRIPTION)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        announced = int(process.stdout.readline())
        # Wait for a temporary file: then the process is in the middle of a save.
        deadline = time.monotonic() + 30
        while not list((tmp_path / "run/checkpoints").glob(".*.part.pt")) and time.monotonic() < deadline:
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        announced = max([announced, *map(int, process.communicate()[0].split())])
    run = RunFolder.create(tmp_path / "run", FAST, DESCRIPTION, resume=True)
    loaded = run.load_checkpoint()
    assert loaded is not None and loaded["step"] >= announced
    assert torch.all(loaded["sdf"] == loaded["step"])
    run.save_checkpoint(state(loaded["step"] + 1), loaded["step"] + 1)
    assert not list(run.checkpoints.folder.glob(".*")), "the killed process's temporary file is cleared away"
    run.close()


def test_full_disk_keeps_earlier_checkpoints(tmp_path, monkeypatch):
    def full_disk(_state, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with new_run(tmp_path / "run") as run:
        run.save_checkpoint(state(10), 10)
        monkeypatch.setattr(torch, "save", full_disk)
        with pytest.raises(RunError, match="no space left on the disk"):
            run.save_checkpoint(state(20), 20)
        assert run.load_checkpoint()["step"] == 10
        assert [path.name for path in run.checkpoints.folder.iterdir()] == ["checkpoint_000010.pt"]


FILE_SIZE_LIMIT = """
import json, resource, signal, sys, torch
from pathlib import Path
from dvr_cli.config import FAST
from dvr_cli.errors import RunError
from dvr_cli.fitting.run_folder import RunFolder
run = RunFolder.create(Path(sys.argv[1]), FAST, json.loads(sys.argv[2]))
run.save_checkpoint({"step": 1}, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
try:
    run.save_checkpoint({"step": 2, "sdf": torch.zeros(1_000_000)}, 2)
except RunError as error:
    print(error)
"""


def test_write_that_fails_within_torch_is_a_run_error(tmp_path):
    # A limit on the size of files makes the real writer fail half-way, as a full disk does.
    result = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, str(tmp_path / "run"), json.dumps(DESCRIPTION)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no space left on the disk" in result.stdout
    assert RunFolder.open(tmp_path / "run").load_checkpoint() == {"step": 1}


def test_two_runs_in_one_folder_are_refused_naming_the_process(tmp_path):
    with new_run(tmp_path / "run"), pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
        new_run(tmp_path / "run")
    new_run(tmp_path / "run").close()


HOLDS_THE_LOCK = """
import json, sys, time
from pathlib import Path
from dvr_cli.config import FAST
from dvr_cli.fitting.run_folder import RunFolder
run = RunFolder.create(Path(sys.argv[1]), FAST, json.loads(sys.argv[2]))
print("locked", flush=True)
time.sleep(60)
"""


def test_killed_process_frees_the_lock(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path / "run"), json.dumps(DESCRIPTION)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    with pytest.raises(RunError, match=f"in use by process {process.pid}"):
        new_run(tmp_path / "run")
    process.kill()
    process.communicate()
    new_run(tmp_path / "run").close()


def test_existing_run_is_neither_overwritten_nor_resumed_unasked(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10)
    with pytest.raises(RunError, match=r"unfinished run.*--resume.*--overwrite.*--out"):
        new_run(run.path)
    assert run.load_checkpoint()["step"] == 10


def test_overwrite_removes_results_and_nothing_else(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10)
    run.append_metrics({"step": 10})
    run.preview_path("level_1").write_bytes(b"png")
    run.write_summary({"finished": True})
    (run.path / "mesh.ply").write_bytes(b"exported")
    with RunFolder.create(run.path, FAST, DESCRIPTION, overwrite=True) as again:
        again.save_checkpoint(state(5), 5)
        assert again.load_checkpoint()["step"] == 5 and again.read_metrics() == [] and again.summary is None
    left = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert left == {"lock", "scene.json", "config.toml", "mesh.ply", "checkpoints/checkpoint_000005.pt"}


def test_overwrite_removes_nothing_before_there_is_something_to_save(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10)
    run.write_summary({"finished": True})
    settings = FAST.model_copy(update={"seed": 1})
    with RunFolder.create(run.path, settings, DESCRIPTION, overwrite=True) as again:
        assert again.load_checkpoint() is None and again.untouched
        again.write_summary({"finished": False})
    assert run.load_checkpoint()["step"] == 10 and run.finished and run.settings == FAST
    with RunFolder.create(run.path, settings, DESCRIPTION, overwrite=True) as again:
        again.append_metrics({"step": 1})
        assert not again.untouched
    assert run.load_checkpoint() is None and not run.finished and run.settings == settings


def test_run_that_saved_nothing_is_started_anew(tmp_path):
    new_run(tmp_path / "run").close()
    new_run(tmp_path / "run").close()


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="not empty and not a run"):
            RunFolder.create(tmp_path, FAST, DESCRIPTION, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(RunError, match="holds no run to resume"):
        RunFolder.create(tmp_path / "run", FAST, DESCRIPTION, resume=True)


@pytest.mark.parametrize("change", [{"seed": 1}, {"image_size": None}, {"rays_per_step": 5}])
def test_resume_names_the_setting_that_changed(tmp_path, change):
    run_with_checkpoints(tmp_path / "run", 10)
    settings = FAST.model_copy(update=change)
    with pytest.raises(RunError, match=f"settings {next(iter(change))}"):
        RunFolder.create(tmp_path / "run", settings, DESCRIPTION, resume=True)


def test_resume_on_another_device_with_more_time_is_allowed(tmp_path):
    run_with_checkpoints(tmp_path / "run", 10)
    settings = FAST.model_copy(update={"device": "cuda", "threads": 3, "time_limit": 120.0})
    with RunFolder.create(tmp_path / "run", settings, DESCRIPTION, resume=True) as run:
        assert run.load_checkpoint()["step"] == 10 and run.settings == settings


def test_resume_names_the_input_that_changed(tmp_path):
    run_with_checkpoints(tmp_path / "run", 10)
    changed = DESCRIPTION | {"inputs": {"image/a": "2"}}
    with pytest.raises(RunError, match="inputs image/a"):
        RunFolder.create(tmp_path / "run", FAST, changed, resume=True)


def test_what_is_no_run_is_called_what_it_is(tmp_path):
    (tmp_path / "mesh.ply").write_text("ply")
    for path, words in {"mesh.ply": "is a file", ".": "has no scene.json", "gone": "does not exist"}.items():
        with pytest.raises(RunError, match=words):
            RunFolder.open(tmp_path / path)


def test_latest_is_the_run_saved_last(tmp_path):
    with pytest.raises(RunError, match="there is none"):
        RunFolder.latest(tmp_path)
    new_run(tmp_path / "empty").close()
    with pytest.raises(RunError, match="no checkpoint"):
        RunFolder.latest(tmp_path)
    older = run_with_checkpoints(tmp_path / "b", 10)
    newer = run_with_checkpoints(tmp_path / "a", 10)
    os.utime(older.checkpoints.path_of(10), (1000, 1000))
    assert RunFolder.latest(tmp_path).path == newer.path


WRONG = {"root": 5, "options": [], "views": ["a", 5], "unit_from_world": [[1, 2], "a"], "inputs": None}


@pytest.mark.parametrize("key", WRONG)
def test_scene_file_without_what_is_needed_is_a_run_error(tmp_path, key):
    run = run_with_checkpoints(tmp_path / "run", 10)
    description = run.scene_description
    for damaged in (
        {name: value for name, value in description.items() if name != key},
        {**description, key: WRONG[key]},
    ):
        (run.path / "scene.json").write_text(json.dumps(damaged))
        with pytest.raises(RunError, match=rf"scene\.json lacks {key},"):
            _ = run.scene_description


@pytest.mark.parametrize("content", ["", "[]", '{"half": '])
def test_a_damaged_summary_says_nothing_about_the_end(tmp_path, content):
    run = run_with_checkpoints(tmp_path / "run", 10)
    run.write_summary({"finished": True})
    assert run.finished
    (run.path / "summary.json").write_text(content)
    assert not run.finished


@pytest.mark.parametrize("content", [None, "", "[]", '{"half": '])
def test_damaged_scene_file_is_a_run_error(tmp_path, content):
    run = run_with_checkpoints(tmp_path / "run", 10)
    if content is None:
        (run.path / "scene.json").unlink()
    else:
        (run.path / "scene.json").write_text(content)
    with pytest.raises(RunError, match=r"scene\.json"):
        _ = RunFolder.open(run.path).scene_description


def test_metrics_survive_a_line_cut_short(tmp_path):
    run = run_with_checkpoints(tmp_path / "run", 10)
    run.append_metrics({"step": 1, "psnr": float("inf")})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "ps')
    assert run.read_metrics() == [{"step": 1, "psnr": None}]
    with RunFolder.create(run.path, FAST, DESCRIPTION, resume=True) as resumed:
        resumed.append_metrics({"step": 2, "psnr": 20.0})
    assert run.read_metrics() == [{"step": 1, "psnr": None}, {"step": 2, "psnr": 20.0}]


def test_metrics_of_lost_work_are_superseded(tmp_path):
    with new_run(tmp_path / "run") as run:
        for step in (10, 20, 30, 20, 40):
            run.append_metrics({"step": step})
        run.append_metrics({"stage": "done"})
    assert run.read_metrics() == [{"step": 10}, {"step": 20}, {"step": 40}, {"stage": "done"}]


@pytest.mark.parametrize("name", ["../out", "a/b", "", "/tmp/x"])
def test_preview_cannot_leave_its_folder(tmp_path, name):
    with new_run(tmp_path / "run") as run, pytest.raises(ValueError, match="preview"):
        run.preview_path(name)


def test_changed_photographs_are_those_that_the_run_has_seen(tmp_path):
    scene = tiny_scene(tmp_path)
    description = json.loads(json.dumps(describe_scene(scene, {})))
    assert changed_photographs(scene, description, tmp_path / "run") == []
    (tmp_path / "b.png").write_bytes(b"another")
    assert changed_photographs(scene, description, tmp_path / "run") == ["b.png"]
    description["views"] = ["a.png"]
    described = describe_scene(replace(scene, views=scene.views[:1]), {})
    assert changed_photographs(scene, {**described, "unit_from_world": np.eye(4).tolist()}, tmp_path) == []
    turned = replace(scene, views=(replace(scene.views[0], camera=Camera(2 * np.eye(3), np.eye(4), 4, 4)),))
    assert changed_photographs(turned, described, tmp_path) == ["cameras"]


def tiny_scene(root: Path) -> Scene:
    camera = Camera(np.eye(3), np.eye(4), 4, 4)
    views = []
    for name in ("a.png", "b.png"):
        (root / name).write_bytes(name.encode() * 100)
        views.append(View(name, camera, root / name))
    points = SparseDepth(np.arange(6.0).reshape(2, 3))
    return Scene("tiny", root, "idr", tuple(views), np.eye(4), "told", points)


def test_scene_description_is_json_and_stable(tmp_path):
    scene = tiny_scene(tmp_path)
    description = json.loads(json.dumps(describe_scene(scene, {"masks": None})))
    assert changed_inputs(description, describe_scene(scene, {"masks": None})) == []


def test_every_change_of_an_input_is_noticed(tmp_path):
    scene = tiny_scene(tmp_path)
    before = describe_scene(scene, {"masks": None})
    assert changed_inputs(before, describe_scene(scene, {"masks": True})) == ["option masks"]
    moved = Camera(np.eye(3), np.diag([1.0, -1, -1, 1]), 4, 4)
    views = (View("a.png", moved, tmp_path / "a.png"), scene.views[1])
    assert changed_inputs(
        before, describe_scene(Scene("t", tmp_path, "idr", views, np.eye(4), "", scene.sparse_depth), {"masks": None})
    ) == ["cameras"]
    assert changed_inputs(
        before, describe_scene(Scene("t", tmp_path, "idr", scene.views, np.eye(4), ""), {"masks": None})
    ) == ["sparse depth"]
    content = bytearray((tmp_path / "b.png").read_bytes())
    content[7] ^= 1
    (tmp_path / "b.png").write_bytes(content)
    assert changed_inputs(before, describe_scene(scene, {"masks": None})) == ["b.png"]
