"""`dvr compare`: who takes part, what is refused, and what the report holds.

The scene is a ball photographed by a ring of cameras; its runs are those of the tests of bad input: tiny, but real.
"""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dvr_cli import app
from dvr_cli.commands.compare import parse_trims
from dvr_cli.config import Level, Settings, Start
from dvr_cli.config_io import write_settings
from dvr_cli.reporting import report as reporting
from dvr_cli.scenes.synthetic import make_views, sphere, write_scene
from dvr_cli.surfaces.export import read_mesh, write_mesh
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh
from tests.fitting.test_network_runs import TINY_PAPER, TINY_SMALL
from tests.scenes.tiny_scenes import world_from_unit

TINY = Settings(
    preset="fast",
    levels=(Level(voxels=16, image_size=48, steps=4), Level(voxels=24, steps=4)),
    start=Start(voxels=24, image_size=48, planes=16, pixel_step=2),
    rays_per_step=512,
    device="cpu",
    threads=1,
)
BALL = sphere(0.6)


def dvr(*arguments) -> int:
    """Run a command line within this process; returns the exit code."""
    with pytest.raises(SystemExit) as exited:
        app.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


def compare(*arguments) -> int:
    return dvr("compare", *arguments, "--threads", "1", "--every", "4", "--samples", "2000")


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A folder with a scene, two finished runs of it (one with views held out), and the exact surface."""
    folder = tmp_path_factory.mktemp("compare")
    write_scene(folder / "ball", make_views(BALL, 12, 64, 0, world_from_unit()), world_from_unit())
    exact = extract(BALL.value, BALL.gradient, resolution=48)
    write_mesh(to_world(exact, world_from_unit()), folder / "exact.ply")
    write_settings(TINY, folder / "tiny.toml")
    before = Path.cwd()
    os.chdir(folder)
    try:
        common = ("reconstruct", "ball", "--masks", "--config", "tiny.toml", "--quiet")
        assert dvr(*common, "--out", "runs/ball") == 0
        assert dvr(*common, "--out", "held", "--hold-out", "4") == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(tmp_path, template, monkeypatch):
    """A copy of the template, as the current folder; reports have small pictures, which saves most of the time."""
    monkeypatch.setattr(reporting, "write_report", partial(reporting.write_report, picture_size=96))
    folder = tmp_path / "place"
    shutil.copytree(template, folder)
    # The scene of a run is where it was; here it has moved along.
    for run in (folder / "runs" / "ball", folder / "held"):
        description = json.loads((run / "scene.json").read_text())
        (run / "scene.json").write_text(json.dumps({**description, "root": str(folder / "ball")}))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(place, capsys):
    """A function that gives the command, expects an exit code and each of the phrases in its message."""

    def check(code, arguments, *phrases):
        capsys.readouterr()
        assert compare(*arguments) == code
        message = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert "Traceback" not in message
        for phrase in phrases:
            assert phrase in message
        assert not (place / "compare").exists()

    return check


def columns_of(report: Path) -> dict:
    return {column["name"]: column for column in json.loads(report.read_text())["columns"]}


def measure(column, protocol, name):
    found = [evaluation for evaluation in column["evaluations"] if evaluation["protocol"] == protocol]
    return found[0]["measures"][name]["value"]


def test_latest_run_beside_hull_and_file(place, capsys):
    arguments = ("--baseline", "visual-hull", "--baseline", "exact.ply", "--reference", "exact.ply")
    assert compare(*arguments) == 0
    said = capsys.readouterr()
    assert [line.split("  ")[0] for line in said.out.splitlines()[2:5]] == ["dvr (fast)", "exact.ply", "visual hull"]
    assert "Next: open" in said.out and "Baseline visual-hull" in said.err
    columns = columns_of(place / "compare" / "ball" / "report.json")
    assert measure(columns["exact.ply"], "plain", "chamfer_percent") < 1e-4
    assert 1e-4 < measure(columns["visual hull"], "plain", "chamfer_percent") < 5
    # The hull contains the object, and its silhouettes are the masks up to the size of its voxels.
    assert measure(columns["visual hull"], "silhouettes", "iou") > 0.93
    assert columns["dvr (fast)"]["seconds"] > 0 and columns["visual hull"]["peak_memory_gb"] > 0.01
    page = (place / "compare" / "ball" / "report.html").read_text()
    assert "visual hull" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_kinds_of_fields_stand_in_columns_of_one_scene(place):
    for settings in (TINY_PAPER, TINY_SMALL):
        write_settings(settings, place / "network.toml")
        assert dvr("reconstruct", "ball", "--config", "network.toml", "--out", settings.preset, "--quiet") == 0
    assert compare("runs/ball", "paper", "mlp-small", "--reference", "exact.ply", "--out", "out") == 0
    columns = columns_of(place / "out" / "report.json")
    assert list(columns) == ["dvr (fast)", "dvr (paper)", "dvr (mlp-small)"]
    for column in columns.values():
        assert measure(column, "plain", "chamfer_percent") > 0 and column["seconds"] > 0
    assert measure(columns["dvr (mlp-small)"], "silhouettes", "iou") > 0.8


def test_baselines_are_kept_for_the_next_time(place, capsys):
    assert compare("--baseline", "visual-hull") == 0
    mesh = place / "compare" / "ball" / "baselines" / "visual-hull" / "0.ply"
    before = mesh.stat().st_mtime_ns
    capsys.readouterr()
    assert compare("--baseline", "visual-hull", "--json") == 0
    said = capsys.readouterr()
    assert mesh.stat().st_mtime_ns == before and "made before from the same input" in said.err
    values = json.loads(said.out)
    assert [column["name"] for column in values["columns"]] == ["dvr (fast)", "visual hull"] and not values["missing"]


def test_held_out_views_judge_and_are_not_given_to_baselines(place):
    assert compare("held", "--baseline", "visual-hull", "--out", "out") == 0
    report = json.loads((place / "out" / "report.json").read_text())
    assert report["settings"]["judged_views"] == [0, 4, 8] and report["settings"]["held_out_views"] == 3
    assert compare("runs/ball", "--baseline", "visual-hull", "--out", "all") == 0
    hulls = [read_mesh(place / name / "baselines" / "visual-hull" / "0.ply") for name in ("out", "all")]
    # Fewer masks cut away less.
    assert np.ptp(hulls[0].vertices, axis=0).prod() > np.ptp(hulls[1].vertices, axis=0).prod()


def test_runs_of_other_views_are_not_mixed(refused):
    refused(1, ["runs/ball", "held"], "held is a run of another scene or other views", "--scene")


def test_a_scene_without_runs(place):
    assert compare("--scene", "ball", "--masks", "--baseline", "exact.ply", "--out", "out") == 0
    assert list(columns_of(place / "out" / "report.json")) == ["exact.ply"]


def test_what_cannot_be_made_is_a_gap_and_no_end(place, capsys):
    far = read_mesh(place / "exact.ply")
    write_mesh(Mesh(far.vertices + 1e4, far.faces), place / "far.ply")
    assert compare("--baseline", "far.ply", "--reference", "exact.ply", "--out", "out") == 0
    assert "far.ply is left out" in capsys.readouterr().err
    report = json.loads((place / "out" / "report.json").read_text())
    assert [column["name"] for column in report["columns"]] == ["dvr (fast)"]
    assert [missing["name"] for missing in report["missing"]] == ["far.ply"]


def test_unfinished_run_is_compared_and_named(place, capsys):
    summary = place / "runs" / "ball" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "finished": False}))
    assert compare() == 0
    assert "has not come to its end" in capsys.readouterr().err


def test_bad_input_is_named(refused, place):
    write_mesh(to_world(extract(BALL.value, BALL.gradient, resolution=16), 1000 * np.eye(4)), place / "large.ply")
    (place / "empty.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    refused(2, ["--baseline", "nonsense"], "colmap, mvs, visual-hull")
    refused(2, ["--trims", "deep"], "octree depths from 0 to 20")
    refused(2, ["--masks"], "a run knows its scene")
    refused(2, ["--plane", "plane.mat"], "--plane belongs to the protocol dtu")
    refused(2, ["--reference", "large.ply", "--protocol", "tanks"], "--protocol tanks needs --threshold")
    refused(2, ["--reference", "large.ply", "--protocol", "tanks", "--threshold", "-1"], "expected a length above 0")
    refused(2, ["--protocol", "dtu"], "--samples means nothing to the lattice")
    refused(
        2, ["--protocol", "tanks", "--threshold", "1"], "--protocol tanks says how distances to --reference are taken"
    )
    refused(1, ["missing"], "missing does not exist")
    refused(1, ["ball"], "ball is not a run")
    refused(1, ["--reference", "empty.ply"], "empty.ply")
    refused(1, ["--reference", "missing.ply"], "missing.ply does not exist")
    refused(1, ["--out", "exact.ply"], "exact.ply is a file")
    refused(1, ["--out", "exact.ply/deeper"], "exact.ply is a file")
    shutil.rmtree("runs")
    refused(1, [], "No run in")


@pytest.mark.parametrize(("text", "trims"), [("0,5,7,10", (0, 5, 7, 10)), ("7, 5,7", (5, 7)), ("6.5", (6.5,))])
def test_trims_are_sorted_numbers(text, trims):
    assert parse_trims(text) == trims
