"""`dvr export` writes the surface of a run: where it is told to, in world units, without what the masks contradict.

The field of these runs is an analytic shape, so that the mesh is known; runs and scenes are real folders.
"""

import json
import shutil

import numpy as np
import pytest
import typer
from analytic_run import SCALE, WORLD_FROM_UNIT, make_run, write_ball_scene
from typer.testing import CliRunner

from dvr_cli.commands.arguments import Command
from dvr_cli.commands.export import export_command
from dvr_cli.errors import RunError
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.surfaces.export import read_mesh


@pytest.fixture
def scene_folder(tmp_path):
    folder = tmp_path / "ball"
    write_ball_scene(folder)
    return folder


@pytest.fixture
def run_folder(tmp_path, scene_folder, monkeypatch):
    """runs/ball in the current folder, finished; its field is the ball and the blob."""
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs" / "ball", scene_folder, monkeypatch)


def invoke(*arguments):
    app = typer.Typer()
    app.command(cls=Command)(export_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def export(*arguments):
    result = invoke(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result


def test_latest_run_is_exported_in_world_units(run_folder, tmp_path):
    result = export("a.ply", "--resolution", "64")
    mesh = read_mesh(tmp_path / "a.ply")
    from_centre = np.linalg.norm(mesh.vertices - WORLD_FROM_UNIT[:3, 3], axis=1)
    np.testing.assert_allclose(from_centre, 0.5 * SCALE, rtol=2e-3)
    assert "Wrote a.ply" in result.stdout and "watertight" in result.stdout and "Next:" in result.stdout
    assert "runs/ball" in result.stderr


def test_blob_beside_the_masks_goes_unless_all_is_asked_for(run_folder, tmp_path):
    assert "1 unsupported part" in export("a.ply", "--resolution", "64").stderr
    export("b.ply", "--resolution", "64", "--components", "all")
    export("c.ply", "--resolution", "64", "--components", "largest")
    supported, everything, largest = (len(read_mesh(tmp_path / f"{name}.ply").faces) for name in "abc")
    assert supported == largest < everything


def test_scene_that_is_gone_keeps_the_blob_and_says_so(run_folder, scene_folder, tmp_path):
    shutil.rmtree(scene_folder)
    assert "masks cannot be read" in export("a.ply", "--resolution", "64").stderr
    export("b.ply", "--resolution", "64", "--components", "all")
    assert len(read_mesh(tmp_path / "a.ply").faces) == len(read_mesh(tmp_path / "b.ply").faces)


def test_several_files_hold_the_same_shape_and_json_describes_it(run_folder, tmp_path):
    result = export(
        "a.ply",
        "new/b.obj",
        "c.stl",
        "d.glb",
        "--run",
        run_folder,
        "--resolution",
        "40",
        "--texture-size",
        "256",
        "--json",
        "-q",
    )
    values = json.loads(result.stdout)
    assert result.stderr == ""
    assert values["files"] == ["a.ply", "new/b.obj", "c.stl", "d.glb"]
    assert values["watertight"] and values["outward"]
    assert values["volume"] == pytest.approx(4 / 3 * np.pi * (0.5 * SCALE) ** 3, rel=0.02)
    np.testing.assert_allclose(values["extent"], SCALE, rtol=0.01)
    for name in values["files"]:
        assert len(read_mesh(tmp_path / name).faces) == values["faces"]


def test_colours_are_those_seen_from_outside(run_folder, tmp_path):
    export("a.ply", "--resolution", "40")
    mesh = read_mesh(tmp_path / "a.ply")
    unit_normals = mesh.normals @ WORLD_FROM_UNIT[:3, :3] / SCALE
    np.testing.assert_allclose(mesh.colors, 0.5 + 0.5 * unit_normals, atol=0.01)


def test_unknown_format_is_refused_before_anything_is_written(run_folder, tmp_path):
    result = invoke("a.ply", "b.docx")
    assert result.exit_code == 2 and "no mesh format '.docx'" in result.stderr and ".glb" in result.stderr
    assert not (tmp_path / "a.ply").exists()


def test_missing_run_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="dvr reconstruct"):
        export("a.ply")
    with pytest.raises(RunError, match="nowhere"):
        export("a.ply", "--run", "nowhere")


def test_unfinished_run_is_exported_with_a_note(run_folder):
    (run_folder / "summary.json").unlink()
    assert "last checkpoint" in export("a.ply", "--resolution", "24").stderr


@pytest.mark.parametrize(("resolution", "expected"), [("7", "8 or more"), ("5000", "1024 or less")])
def test_resolution_out_of_range(run_folder, resolution, expected):
    result = invoke("a.ply", "--resolution", resolution)
    assert result.exit_code == 2 and f"expected {expected}" in " ".join(result.stderr.replace("│", " ").split())


def test_a_damaged_summary_keeps_nothing_from_being_exported(run_folder):
    (run_folder / "summary.json").write_text('{"finished"')
    assert "has not come to its end" in export("m.ply", "--resolution", "48").stderr


def test_a_damaged_checkpoint_is_passed_over_with_a_note(run_folder):
    checkpoints = RunFolder.open(run_folder).checkpoints
    (step,) = checkpoints.steps()
    checkpoints.path_of(step + 1).write_bytes(b"PK damaged")
    said = export("m.ply", "--resolution", "48").stderr
    assert f"{checkpoints.path_of(step + 1).name} cannot be used and is passed over: it is cut short or damaged" in said
