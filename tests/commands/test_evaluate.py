"""`dvr evaluate` through the command line: what it measures, how it says it, and every kind of bad input.

The scene is a textured ball on the disk, the run a reconstruction of it that held out every fourth view.
"""

import json
import shutil

import numpy as np
import pytest
import scipy.io

from dvr_cli import app
from dvr_cli.fitting.reconstruct import reconstruct
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
from dvr_cli.scenes.synthetic import sphere, synthetic_scene, write_scene
from dvr_cli.surfaces.export import read_mesh, write_mesh
from dvr_cli.surfaces.mesh import Mesh
from tests.comparing.exact_shapes import ball, together
from tests.fitting.tiny_runs import TINY, exact_mesh

READING = {"masks": True, "hold_out": 4}
SIZE = 96


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """scene/, run/ (finished), exact.ply (the true surface, coloured) and cloud.ply."""
    folder = tmp_path_factory.mktemp("evaluate")
    shape = sphere(0.6)
    made, photographs, _ = synthetic_scene(shape, views=12, image_size=SIZE)
    write_scene(folder / "scene", photographs, made.world_from_unit)
    scene = read_described_scene(folder / "scene", READING)
    with RunFolder.create(folder / "run", TINY, describe_scene(scene, READING)) as run:
        summary = reconstruct(scene, TINY, run, lambda event: None, lambda: False)
        run.write_summary({"finished": summary.finished})
    exact = exact_mesh(shape, scene)
    write_mesh(exact, folder / "exact.ply")
    np.savetxt(folder / "cloud.xyz", exact.vertices)
    return folder


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    """A copy of the template, as the current folder; the run knows its scene by the folder of the template."""
    folder = tmp_path / "place"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def evaluate(place, capsys):
    """Runs `dvr evaluate` with few samples; returns its JSON, or the text that it refuses with."""

    def run(*arguments, code=0):
        words = [str(argument) for argument in arguments]
        with pytest.raises(SystemExit) as exited:
            app.main(["evaluate", *words, *(["--json"] if code == 0 else [])])
        shown = capsys.readouterr()
        assert int(exited.value.code or 0) == code, shown.err
        assert not any(word in shown.err for word in ("Traceback", "Internal error"))
        if code:
            assert shown.out == ""
            return " ".join(shown.err.replace("│", " ").split())
        return json.loads(shown.out)

    return run


def measures_of(result, protocol, view_set=None):
    """The values of one evaluation of a result."""
    (found,) = [
        evaluation
        for evaluation in result["evaluations"]
        if evaluation["protocol"] == protocol and evaluation["settings"].get("view_set") == view_set
    ]
    return {name: measure["value"] for name, measure in found["measures"].items()}


def test_mesh_against_itself(evaluate):
    result = evaluate("exact.ply", "--reference", "exact.ply", "--samples", 2000)
    assert result["mesh"] == result["reference"] == "exact.ply" and result["scene"] is None
    (evaluation,) = result["evaluations"]
    assert evaluation["protocol"] == "plain" and evaluation["settings"]["samples"] == 2000
    assert evaluation["measures"]["chamfer"]["unit"] == "world units"
    assert evaluation["measures"]["f_at_0.5_percent"] == {"value": 1.0, "unit": "", "better": "higher"}
    assert measures_of(result, "plain")["chamfer_percent"] < 1e-4


def test_cloud_as_either_side(evaluate):
    for pair in (("cloud.xyz", "exact.ply"), ("exact.ply", "cloud.xyz")):
        result = evaluate(pair[0], "--reference", pair[1], "--samples", 5000, "--thresholds", "1.5")
        assert measures_of(result, "plain")["f_at_1.5_percent"] == 1


def test_run_is_judged_by_its_scene_on_both_kinds_of_views(evaluate):
    result = evaluate("run", "--reference", "exact.ply", "--samples", 5000, "--every", 3)
    assert result["scene"].endswith("scene")
    assert measures_of(result, "plain")["chamfer_percent"] < 2
    sets = [evaluation["settings"].get("view_set") for evaluation in result["evaluations"]]
    assert sets == [None] + 3 * ["fitted"] + 3 * ["held out"]
    views = {e["settings"]["view_set"]: e["settings"]["views"] for e in result["evaluations"][1:]}
    # Every fourth of twelve was held out; of the nine others every third is judged.
    assert views["held out"] == ["000.png", "004.png", "008.png"]
    assert views["fitted"] == ["001.png", "005.png", "009.png"]
    for view_set in ("fitted", "held out"):
        assert measures_of(result, "silhouettes", view_set)["iou"] > 0.85
        assert measures_of(result, "images", view_set)["psnr"] > 15
        assert measures_of(result, "rephotography", view_set)["covered"] > 0.5


def test_mesh_with_a_scene(evaluate):
    result = evaluate("exact.ply", "--scene", "scene", "--masks", "--every", 4)
    assert result["reference"] is None
    assert measures_of(result, "silhouettes", "fitted")["iou"] > 0.97
    without = evaluate("exact.ply", "--scene", "scene", "--no-masks", "--every", 6)
    assert "silhouettes" not in {evaluation["protocol"] for evaluation in without["evaluations"]}
    assert any("without masks" in note for note in without["notes"])


def test_what_no_camera_sees_counts_without_a_scene_only(evaluate, place):
    exact = read_mesh(place / "exact.ply")
    centre, size = exact.vertices.mean(axis=0), np.ptp(exact.vertices, axis=0).max()
    write_mesh(together(exact, ball(0.25 * size, centre)), place / "hollow.ply")
    options = ("--reference", "exact.ply", "--samples", 5000)
    assert measures_of(evaluate("hollow.ply", *options), "plain")["accuracy_percent"] > 1
    seen = evaluate("hollow.ply", *options, "--scene", "scene", "--every", 12)
    assert measures_of(seen, "plain")["accuracy_percent"] < 1e-3
    assert any("12 cameras" in note for note in seen["evaluations"][0]["notes"])


def test_culling_is_done_and_told(evaluate, place):
    exact = read_mesh(place / "exact.ply")
    centre, size = exact.vertices.mean(axis=0), np.ptp(exact.vertices, axis=0).max()
    write_mesh(together(exact, ball(0.1 * size, centre + 0.8 * size * np.eye(3)[2])), place / "debris.ply")
    options = ("--reference", "exact.ply", "--protocol", "tanks", "--threshold", 0.02 * size)
    assert measures_of(evaluate("debris.ply", *options), "tanks")["precision"] < 0.99
    result = evaluate("debris.ply", *options, "--scene", "scene", "--masks", "--cull", 3, "--every", 12)
    assert measures_of(result, "tanks")["precision"] == 1
    for evaluation in result["evaluations"]:
        assert evaluation["settings"]["cull"] == {"pixels": 3, "masks": 12, "mask_sizes": [f"{SIZE}x{SIZE * 3 // 4}"]}
    assert any("cut away by the masks, dilated by 3 pixels" in note for note in result["notes"])


def test_dtu_with_its_files(evaluate, place):
    exact = read_mesh(place / "exact.ply")
    lower, upper = np.floor(exact.vertices.min(axis=0)) - 1, np.ceil(exact.vertices.max(axis=0)) + 1
    voxels = np.ones((upper - lower + 1).astype(int), dtype=np.uint8)
    scipy.io.savemat("ObsMask.mat", {"ObsMask": voxels, "BB": np.stack([lower, upper]), "Res": 1.0})
    scipy.io.savemat("Plane.mat", {"P": np.array([[0.0], [0.0], [1.0], [-exact.vertices[:, 2].mean()]])})
    files = ("--protocol", "dtu", "--obs-mask", "ObsMask.mat", "--plane", "Plane.mat")
    result = evaluate("exact.ply", "--reference", "cloud.xyz", *files, "--thin", 0.05)
    assert measures_of(result, "dtu")["overall_mean"] < 0.1
    settings = result["evaluations"][0]["settings"]
    assert settings["observation_mask"] and settings["plane"] and not result["evaluations"][0]["notes"]
    assert settings["judged_reference_points"] == pytest.approx(0.5 * settings["reference_points"], rel=0.1)


def test_result_is_written_and_printed(evaluate, place, capsys):
    result = evaluate("exact.ply", "--reference", "exact.ply", "--samples", 2000, "--out", "result.json")
    assert json.loads((place / "result.json").read_text()) == result
    with pytest.raises(SystemExit):
        app.main(["evaluate", "run", "--reference", "exact.ply", "--samples", "2000", "--every", "9"])
    shown = capsys.readouterr()
    for phrase in (
        "protocol plain",
        "world units",
        "% of diagonal",
        "at 0.5 %",
        "PSNR (dB)",
        "views never used",
        "Next:",
    ):
        assert phrase in shown.out
    assert "Judging by" in shown.err and "Judging by" not in shown.out
    assert shown.out.splitlines()[-1].startswith("Next: dvr compare run")


def test_unfinished_run_is_measured_and_said(evaluate, place):
    (place / "run" / "summary.json").unlink()
    result = evaluate("run", "--reference", "exact.ply", "--samples", 2000, "--every", 12)
    assert any("not come to its end" in note for note in result["notes"])


def test_run_without_a_checkpoint_is_refused(evaluate, place):
    shutil.rmtree(place / "run" / "checkpoints")
    assert "no checkpoint" in evaluate("run", "--reference", "exact.ply", code=1)


def change_root(place, root):
    description = json.loads((place / "run" / "scene.json").read_text())
    (place / "run" / "scene.json").write_text(json.dumps({**description, "root": str(root)}))


def test_run_whose_scene_is_gone(evaluate, place):
    """With a reference distances remain; the scene may be named at its new place, and is read as before."""
    change_root(place, place / "gone")
    result = evaluate("run", "--reference", "exact.ply", "--samples", 2000)
    assert [evaluation["protocol"] for evaluation in result["evaluations"]] == ["plain"]
    assert any("scene cannot be read" in note for note in result["notes"])
    assert "gone" in evaluate("run", code=1)
    assert "--scene" in evaluate("run", "--reference", "exact.ply", "--cull", 3, code=1)
    again = evaluate("run", "--scene", "scene", "--every", 9)
    assert {evaluation["settings"]["view_set"] for evaluation in again["evaluations"]} == {"fitted", "held out"}
    assert "silhouettes" in {evaluation["protocol"] for evaluation in again["evaluations"]}


def test_chosen_views_are_held_out_only_if_the_run_never_saw_them(evaluate):
    """Views 2 to 8: of these the run held out 4 and 8, and not every fourth of seven."""
    result = evaluate("run", "--scene", "scene", "--views", "2-8", "--every", 1)
    views = {e["settings"]["view_set"]: e["settings"]["views"] for e in result["evaluations"]}
    assert views["held out"] == ["004.png", "008.png"]
    assert views["fitted"] == ["002.png", "003.png", "005.png", "006.png", "007.png"]


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["exact.ply"], "nothing to measure by"),
        (["exact.ply", "--protocol", "dtu", "--scene", "scene"], "--reference"),
        (["exact.ply", "--reference", "exact.ply", "--obs-mask", "m.mat"], "belongs to the protocol dtu"),
        (["exact.ply", "--reference", "exact.ply", "--align"], "belongs to the protocol tanks"),
        (["exact.ply", "--reference", "exact.ply", "--protocol", "tanks"], "needs --threshold"),
        (["exact.ply", "--reference", "exact.ply", "--protocol", "tanks", "--threshold", "0"], "above 0"),
        (["exact.ply", "--reference", "exact.ply", "--protocol", "dtu", "--thin", "nan"], "above 0"),
        (["exact.ply", "--reference", "exact.ply", "--protocol", "dtu", "--samples", "500"], "--sampling uniform"),
        (["exact.ply", "--reference", "exact.ply", "--thresholds", "1,x"], "no thresholds"),
        (["exact.ply", "--reference", "exact.ply", "--thresholds", "0"], "no thresholds"),
        (["exact.ply", "--reference", "exact.ply", "--masks"], "pass --scene"),
        (["exact.ply", "--reference", "exact.ply", "--cull", "3"], "pass --scene"),
        (["exact.ply", "--reference", "exact.ply", "--lpips"], "pass --scene"),
        (["exact.ply", "--reference", "exact.ply", "--protocol", "other"], "other"),
        (["exact.ply", "--reference", "exact.ply", "--out", "scene"], "name of a file"),
        (["exact.ply", "--reference", "exact.ply", "--out", "absent/x.json"], "folder that exists"),
    ],
)
def test_misuse(evaluate, arguments, phrase):
    assert phrase in evaluate(*arguments, code=2)


def scaled(mesh, factor, shift=0.0):
    return Mesh(factor * mesh.vertices + shift, mesh.faces)


def test_bad_input(evaluate, place):
    exact = read_mesh(place / "exact.ply")
    write_mesh(scaled(exact, 1000), place / "millimetres.ply")
    write_mesh(scaled(exact, 1, 500.0), place / "far.ply")
    (place / "empty.xyz").write_text("")
    (place / "points.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    (place / "crop.json").write_text("{}")
    (place / "folder").mkdir()
    dtu = ("--protocol", "dtu", "--obs-mask", "exact.ply")
    refusals = {
        ("absent.ply", "--reference", "exact.ply"): "absent.ply does not exist",
        ("exact.ply", "--reference", "absent.ply"): "absent.ply does not exist",
        ("exact.ply", "--reference", "millimetres.ply"): "ratio 0.001",
        ("far.ply", "--reference", "exact.ply"): "(500, 500, 500) = 866 apart",
        ("far.ply", "--scene", "scene"): "None of 12 cameras has any of the mesh",
        ("exact.ply", "--reference", "far.ply", "--scene", "scene"): "any of the reference in its picture",
        ("exact.ply", "--reference", "empty.xyz"): "empty cloud",
        ("points.obj", "--reference", "exact.ply"): "points.obj",
        ("folder", "--reference", "exact.ply"): "is not a run",
        ("exact.ply", "--reference", "folder"): "folder",
        ("exact.ply", "--reference", "exact.ply", *dtu): "MATLAB file",
        ("exact.ply", "--scene", "folder"): "folder",
        ("exact.ply", "--scene", "nowhere"): "does not exist",
        ("exact.ply", "--scene", "scene", "--no-masks", "--cull", "3"): "mask",
        ("exact.ply", "--scene", "scene", "--views", "0-99"): "99",
        (
            "exact.ply", "--reference", "exact.ply", "--protocol", "tanks", "--threshold", "1", "--crop", "crop.json",
        ): "no crop volume",
    }  # fmt: skip
    for arguments, phrase in refusals.items():
        assert phrase in evaluate(*arguments, code=1), arguments


def test_cloud_is_not_judged_by_photographs(evaluate):
    result = evaluate("cloud.xyz", "--reference", "exact.ply", "--scene", "scene", "--samples", 2000)
    assert [evaluation["protocol"] for evaluation in result["evaluations"]] == ["plain"]
    assert any("photographs cannot judge it" in note for note in result["notes"])
    alone = evaluate("cloud.xyz", "--scene", "scene", code=1)
    assert "cloud" in alone and "--reference" in alone
