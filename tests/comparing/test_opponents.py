"""Baselines are made once for the same inputs, anew for others, and never trusted when what lies there is not whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dvr_cli.baselines.apart import Measured
from dvr_cli.comparing import opponents
from dvr_cli.comparing.opponents import MadeMesh, Task, make_baseline
from dvr_cli.errors import CompareError
from dvr_cli.surfaces.export import read_mesh, write_mesh
from dvr_cli.surfaces.mesh import Mesh

TASK = Task("scene", {"masks": True}, 64, (0.0, 7.0), None, "cpu", 1, 0, quiet=True)
INPUTS = {"inputs": {"cameras": "a"}, "views": ["0.png"]}


def octahedron():
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    return Mesh(corners, np.array(faces))


def make_octahedron(task, folder):
    """A baseline that counts how often it is made, beside its own folder."""
    with open(folder.parent / "count", "a") as file:
        file.write("x")
    write_mesh(octahedron(), folder / "0.ply")
    meshes = (
        MadeMesh("octahedron", 0.0, "0.ply", "", 1.5, ("A note.",)),
        MadeMesh("gap", 7.0, None, "nothing is left"),
    )
    return meshes, {"corners": 6, "seed": task.seed}


def make_nothing(task, folder):
    raise CompareError("no photographs match")


@pytest.fixture
def make_apart(tmp_path, monkeypatch):
    """A function that makes the baseline `octahedron` in a temporary folder."""
    monkeypatch.setattr(opponents, "BASELINES", {"octahedron": make_octahedron, "nothing": make_nothing})

    def call(name="octahedron", task=TASK, inputs=INPUTS, fresh=False):
        return make_baseline(name, task, tmp_path / name, inputs, fresh)

    return call


@pytest.fixture
def make(make_apart, monkeypatch):
    """The same without a process of its own, whose start takes two seconds."""

    def here(what, work, *arguments):
        return Measured(work(*arguments), 1.0, 0.5)

    monkeypatch.setattr(opponents, "run_apart", here)
    return make_apart


def times_made(folder):
    return len((folder / "count").read_text())


def test_baseline_is_measured_and_kept(make_apart, tmp_path):
    made = make_apart()
    assert not made.reused and made.peak_memory_gb > 0.01 and made.settings == {"corners": 6, "seed": 0}
    assert [mesh.name for mesh in made.meshes] == ["octahedron", "gap"]
    assert len(read_mesh(tmp_path / "octahedron" / made.meshes[0].file).faces) == 8
    again = make_apart()
    assert again == replace(made, reused=True) and times_made(tmp_path) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"task": replace(TASK, seed=1)},
        {"task": replace(TASK, image_size=128)},
        {"task": replace(TASK, trims=(5.0,))},
        {"inputs": {**INPUTS, "inputs": {"cameras": "b"}}},
        {"fresh": True},
    ],
)
def test_other_inputs_make_it_anew(make, tmp_path, change):
    make()
    assert not make(**change).reused and times_made(tmp_path) == 2


def test_place_and_threads_change_nothing(make, tmp_path):
    make()
    assert make(task=replace(TASK, root="moved", threads=8, quiet=False)).reused and times_made(tmp_path) == 1


@pytest.mark.parametrize("damage", ["missing mesh", "half a file", "another shape"])
def test_what_is_not_whole_is_made_anew(make, tmp_path, damage):
    make()
    folder = tmp_path / "octahedron"
    if damage == "missing mesh":
        (folder / "0.ply").unlink()
    elif damage == "half a file":
        (folder / "made.json").write_text((folder / "made.json").read_text()[:50])
    else:
        (folder / "made.json").write_text("[]")
    assert not make().reused and times_made(tmp_path) == 2


def test_a_failure_is_told_and_not_kept(make_apart, tmp_path):
    for _ in range(2):
        with pytest.raises(CompareError, match="no photographs match"):
            make_apart("nothing")
    assert not (tmp_path / "nothing" / "made.json").exists()


def test_every_baseline_has_a_name_for_the_command_line():
    assert set(opponents.BASELINES) == {"colmap", "mvs", "visual-hull"}
    assert Path("runs/x").name not in opponents.BASELINES
