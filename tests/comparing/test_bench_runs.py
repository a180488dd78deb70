"""A suite goes on where it stopped, tells failures apart from interruptions, and gives the commands it says it gives.

The commands are replaced by a stand-in; what they do themselves is tested with them.
"""

import json
import subprocess

import pytest

from dvr_cli.comparing import bench_runs
from dvr_cli.comparing.bench_runs import BenchInterruptedError, BenchPlace, run_scene
from dvr_cli.comparing.suite import SuiteScene, Synthetic
from dvr_cli.comparing.table import suite_table
from dvr_cli.scenes.readers import read_scene
from dvr_cli.surfaces.export import read_mesh

SCENE = SuiteScene(
    name="old vase", path="photos/vase", masks=True, hold_out=8, reference="truth.ply", protocol="tanks", threshold=0.1
)
EVALUATION = {"protocol": "plain", "settings": {}, "measures": {"chamfer_percent": {"value": 0.25}}, "notes": []}


class StandIn:
    """Takes the place of `_dvr`: remembers the commands, leaves behind what they would, fails where it is told to."""

    def __init__(self):
        self.commands = []
        self.failures = {}

    def __call__(self, arguments, quiet):
        self.commands.append(arguments)
        code = self.failures.get(arguments[0], 0)
        if arguments[0] == "reconstruct":
            run = arguments[arguments.index("--out") + 1]
            subprocess.run(["mkdir", "-p", run], check=True)
            with open(f"{run}/scene.json", "w") as file:
                file.write("{}")
            if code in bench_runs.INTERRUPTED:
                raise BenchInterruptedError(code)
            with open(f"{run}/summary.json", "w") as file:
                resumed = 5 if "--resume" in arguments else None
                json.dump({"seconds": 60.0, "peak_memory_gb": 1.5, "resumed_from": resumed}, file)
        printed = json.dumps({"evaluations": [EVALUATION]})
        return subprocess.CompletedProcess(arguments, code, printed, "a note\nError: it is broken\n" if code else "")


@pytest.fixture
def stand_in(monkeypatch):
    made = StandIn()
    monkeypatch.setattr(bench_runs, "_dvr", made)
    return made


@pytest.fixture
def place(tmp_path):
    return BenchPlace(tmp_path / "bench", ("--threads", "1"))


def run(place, scene=SCENE):
    return run_scene(scene, "fast", place, lambda text: None)


def test_commands_are_those_of_a_user(stand_in, place):
    result = run(place)
    folder = str(place.folder / "runs" / "old-vase-fast")
    assert [command[0] for command in stand_in.commands] == ["reconstruct", "export", "evaluate"]
    assert stand_in.commands[0] == [
        *("reconstruct", "photos/vase", "--out", folder, "--preset", "fast", "--threads", "1"),
        *("--masks", "--hold-out", "8"),
    ]
    assert stand_in.commands[1] == ["export", f"{folder}/mesh.ply", "--run", folder]
    assert stand_in.commands[2] == [
        *("evaluate", folder, "--json", "--reference", "truth.ply", "--protocol", "tanks", "--threshold", "0.1")
    ]
    assert result.commands[1] == f"dvr export {folder}/mesh.ply --run {folder}"
    assert (result.status, result.seconds, result.peak_memory_gb) == ("done", 60.0, 1.5)
    assert result.evaluations == [EVALUATION] and not result.reused


def test_finished_work_is_not_done_again(stand_in, place):
    first = run(place)
    again = run(place)
    assert len(stand_in.commands) == 3 and again.reused
    assert (again.evaluations, again.commands) == (first.evaluations, first.commands)


def test_another_entry_is_done_anew(stand_in, place):
    run(place)
    run(place, SCENE.model_copy(update={"threshold": 0.2}))
    assert len(stand_in.commands) == 6


def test_failure_is_a_result_and_is_tried_again(stand_in, place):
    stand_in.failures = {"export": 1}
    failed = run(place)
    assert failed.status == "failed" and failed.error.endswith("Error: it is broken") and len(failed.commands) == 2
    stand_in.failures = {}
    assert run(place).status == "done"


def test_interrupted_reconstruction_is_resumed(stand_in, place):
    stand_in.failures = {"reconstruct": 130}
    with pytest.raises(BenchInterruptedError) as stopped:
        run(place)
    assert stopped.value.exit_code == 130
    stand_in.failures = {}
    result = run(place)
    assert "--resume" in stand_in.commands[-3] and result.status == "done"
    assert result.seconds is None, "the time of a part is not the time of the whole"
    assert "--resume" not in result.commands[0]


def test_signals_become_exit_codes():
    assert [BenchInterruptedError(code).exit_code for code in (130, -2, -15, 143)] == [130, 130, 143, 143]


def test_synthetic_scene_is_made_once_with_its_reference(stand_in, place):
    scene = SuiteScene(name="ball", synthetic=Synthetic(shape="sphere", views=6, image_size=32), masks=True)
    assert run(place, scene).status == "done"
    folder = place.folder / "scenes" / "ball"
    assert len(read_scene(folder, masks=True).views) == 6
    reference = read_mesh(folder / "reference.ply")
    assert stand_in.commands[0][1] == str(folder)
    assert stand_in.commands[2][3:5] == ["--reference", str(folder / "reference.ply")]
    before = (folder / "reference.ply").stat().st_mtime_ns
    run(place, scene.model_copy(update={"every": 2}))
    assert (folder / "reference.ply").stat().st_mtime_ns == before and len(reference.faces) > 1000


def test_real_command_passes_on_what_it_says(capfd):
    done = bench_runs._dvr(["evaluate"], quiet=False)
    assert done.returncode == 2 and "Usage" in done.stderr
    assert "Usage" in capfd.readouterr().err


def test_what_a_command_says_is_read_in_any_locale(monkeypatch, capfd):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    done = bench_runs._dvr(["inspect", "/nowhere/caf\u00e9"], quiet=True)
    assert done.returncode == 1
    assert "caf\u00e9" in done.stderr


def test_table_has_a_row_for_each_and_means_of_what_all_have(stand_in, place):
    results = [run(place), run(place, SCENE.model_copy(update={"name": "bowl", "threshold": 0.3}))]
    lines = suite_table(results).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["scene", "", "old vase", "bowl", "mean of 2"]
    assert all("0.2500" in line and line.endswith("1.50") for line in lines[2:])
    stand_in.failures = {"evaluate": 1}
    results.append(run(place, SCENE.model_copy(update={"name": "cup"})))
    table = suite_table(results).splitlines()
    assert "–" in table[4] and table[5].startswith("mean of 2")
