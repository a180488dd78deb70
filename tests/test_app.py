"""Laws of the command line: exit codes, what goes to which stream, stopping, resuming. The engine is replaced by a
stand-in that saves one checkpoint, so that these tests are about the shell alone."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from annotated_types import Ge

from dvr_cli import app
from dvr_cli.commands.options import (
    IMAGE_SIZE_HELP,
    LEAST_IMAGE_SIZE,
    PRESET_HELP,
    parse_duration,
    parse_image_size,
    parse_views,
)
from dvr_cli.commands.reconstruct import with_steps
from dvr_cli.config import PRESET_OF_FIELD, PRESETS, Settings
from dvr_cli.config_io import DEFAULT_PRESET
from dvr_cli.errors import ConfigError, RunError, SceneError
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.scenes.readers.files import selected_indices
from dvr_cli.surfaces.extraction import MAX_RESOLUTION


def unwrapped(panel: str) -> str:
    """What a panel of the command line's library says, on one line."""
    return " ".join(panel.replace("│", " ").split())


def dvr(*arguments: str) -> int:
    """Run a command line within this process; returns the exit code."""
    with pytest.raises(SystemExit) as exited:
        app.main(list(arguments))
    return int(exited.value.code or 0)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder `scan65` with a tiny scene and sparse points, in the current folder."""
    from dvr_cli.scenes.synthetic import synthetic_scene, write_scene
    from dvr_cli.scenes.synthetic_shapes import sphere

    described, views, _ = synthetic_scene(sphere(0.6), views=6, image_size=32)
    folder = tmp_path / "scan65"
    write_scene(folder, views, described.world_from_unit)
    points = np.random.default_rng(0).normal(size=(20, 3))
    points *= 0.6 / np.linalg.norm(points, axis=1, keepdims=True)
    world = points @ described.world_from_unit[:3, :3].T + described.world_from_unit[:3, 3]
    np.savez(folder / "sparse.npz", points=world)
    monkeypatch.chdir(tmp_path)
    return folder


class StandInEngine:
    """Takes the place of `fitting.reconstruct.reconstruct`: remembers its inputs, saves, reports one step."""

    def __init__(self, summary_class):
        self.summary_class = summary_class
        self.calls = []
        self.before_end = lambda should_stop: None
        self.silhouette_iou = 0.9

    def __call__(self, scene, settings, run, report, should_stop):
        self.calls.append((scene, settings))
        earlier = run.load_checkpoint(report)
        report(Message("standing in"))
        self.before_end(should_stop)
        report(StepReport("level 1 of 3", 5, 5, {"rgb": 0.5}, 20.0, 0.9, 0.0))
        step = 5 if earlier is None else earlier["step"] + 5
        run.save_checkpoint({"step": step}, step)
        values = {
            "steps": step,
            "seconds": 61.0,
            "psnr": 20.0,
            "silhouette_iou": self.silhouette_iou,
            "finished": not should_stop(),
            "resumed_from": None if earlier is None else earlier["step"],
            "peak_memory_gb": 1.0,
        }
        return self.summary_class(**values)


@pytest.fixture
def engine(monkeypatch):
    from dvr_cli.commands import fit

    stand_in = StandInEngine(fit.ReconstructionSummary)
    monkeypatch.setattr(fit, "reconstruct", stand_in)
    return stand_in


def test_help_lists_every_command(capsys):
    assert dvr("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("reconstruct", "export", "inspect", "demo"))


@pytest.mark.parametrize("command", ["reconstruct", "export", "inspect", "demo"])
def test_every_command_can_be_quiet_and_explains_itself(command, capsys):
    assert dvr(command, "--help") == 0
    assert "--quiet" in capsys.readouterr().out


def test_help_names_the_presets_as_they_are():
    names, sizes = (
        ", ".join(PRESETS),
        [f"{settings.image_size or 'full'} for {name}" for name, settings in PRESETS.items()],
    )
    assert f"One of: {names}. (default: {DEFAULT_PRESET})" == PRESET_HELP
    assert IMAGE_SIZE_HELP.endswith(f"(default: {', '.join(sizes)})")


def test_help_flows_whatever_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert dvr("export", "--help") == 0
    assert "A texture is baked from the photographs; what none of them shows" in capsys.readouterr().out


def test_version_names_the_program(capsys):
    assert dvr("--version") == 0
    assert capsys.readouterr().out.startswith("dvr ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["reconstruct", "nowhere"], 1, "The scene nowhere does not exist"),
        (["reconstruct", "scan65", "--depth", "none.npz"], 1, "there is no none.npz, nor scan65/none.npz"),
        (["reconstruct", "scan65", "--mask-folder", "none"], 1, "--mask-folder: there is no none"),
        (["reconstruct", "scan65", "--config", "none.toml"], 1, "none.toml"),
        (["reconstruct", "scan65", "--image-size", "0"], 2, "'0' is no size: expected 32 pixels or more"),
        (["reconstruct", "nowhere", "--steps", "1"], 2, "--steps 1 is too small: each of the 3 levels"),
        (["reconstruct", "scan65", "--steps", "1", "--config", "one_level.toml", "--views", "9"], 1, "--views '9'"),
        (["reconstruct", "scan65", "--steps", "1", "--config", "two_levels.toml"], 1, "--steps 1 is too small"),
        (["reconstruct", "scan65", "--resume"], 1, "holds no run to resume"),
        (["reconstruct", "nowhere", "--resume", "--overwrite"], 2, "exclude each other"),
        (["reconstruct", "scan65", "--preset", "nope"], 2, "there is no preset 'nope': expected one of fast, quality"),
        (
            ["reconstruct", "scan65", "--format", "nope"],
            2,
            "there is no format 'nope': expected one of dvr, idr, colmap",
        ),
        (["reconstruct", "scan65", "--format", "colmap"], 1, "in no format that can be read"),
        (["inspect", "scan65", "--format", "nope"], 2, "there is no format 'nope'"),
        (["inspect", "nowhere", "--masks", "--no-masks"], 2, "--no-masks contradicts --masks"),
        (["inspect", "nowhere", "--masks", "a", "--mask-folder", "b"], 2, "both name masks"),
        (["inspect", "nowhere", "--colmap", "a", "--cameras", "b"], 2, "--colmap contradicts --cameras"),
        (["inspect", "nowhere", "--colmap", "a", "--format", "idr"], 2, "--colmap contradicts --format idr"),
        (["inspect", "nowhere", "--masks="], 2, "--masks names nothing"),
        (["reconstruct", "nowhere", "--depth="], 2, "--depth names nothing"),
        (["reconstruct", "scan65", "--views", "abc"], 2, "'abc' is no range of views"),
        (["inspect", "scan65", "--views", "0,3-1"], 2, "'3-1' is no range of views"),
        (["reconstruct", "scan65", "--views", "0-6"], 1, "'0-6' is not a range within 0-5"),
        (["evaluate", "gone.ply", "--scene", "scan65", "--masks", "--no-masks"], 2, "contradicts"),
        (["render", "gone.ply", "--views", "x"], 2, "'x' is no range of views"),
        (["export", "mesh.ply", "--resolution", "0"], 2, "'--resolution'"),
        (["export", "mesh.foo"], 2, "there is no mesh format '.foo': expected .ply, .obj"),
        (["bench", "gone.toml", "--preset", "nope"], 2, "there is no preset 'nope'"),
        (["bench", "synthetic", "--out", "one_level.toml"], 1, "--out one_level.toml: one_level.toml is a file."),
        (["convert", "nowhere", "--to", "foo"], 2, "there is no format 'foo'"),
        (["reconstruct", "scan65", "--time", "soon"], 2, "no duration"),
        (["reconstruct", "scan65", "--device", "gpu"], 2, "no device"),
        (["reconstruct", "scan65", "--frobnicate"], 2, "--frobnicate"),
        (["reconstrukt"], 2, "reconstrukt"),
    ],
)
def test_bad_input_gives_a_message_an_exit_code_and_no_run(scene, capsys, arguments, code, message):
    one, two = ("[[levels]]\nvoxels = 16\nsteps = 1\n" * count for count in (1, 2))
    Path("one_level.toml").write_text(one)
    Path("two_levels.toml").write_text(two)
    assert dvr(*arguments) == code
    captured = capsys.readouterr()
    assert message in unwrapped(captured.err) and "Traceback" not in captured.err and captured.out == ""
    assert not (scene.parent / "runs").exists()


def test_bad_input_is_found_before_torch_is_imported(scene):
    code = "import sys; from dvr_cli.app import main\ntry: main(['reconstruct', 'scan65', '--depth', 'no.npz'])\n"
    code += "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    import subprocess

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "False"]


def test_bug_is_not_called_bad_input(scene, engine, capsys, monkeypatch):
    def fail(should_stop):
        raise ZeroDivisionError("a mistake in the program")

    engine.before_end = fail
    assert dvr("reconstruct", "scan65") == app.EXIT_BUG
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: a mistake in the program" in shown and "bug in dvr" in shown and "Traceback" not in shown
    monkeypatch.setenv("DVR_DEBUG", "1")
    assert dvr("reconstruct", "scan65") == app.EXIT_BUG
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), RunError("x is in use")])
def test_problem_of_the_machine_is_not_a_bug(scene, engine, capsys, error):
    def fail(should_stop):
        raise error

    engine.before_end = fail
    assert dvr("reconstruct", "scan65") == 1
    assert "bug" not in capsys.readouterr().err


def test_reconstruct_writes_a_run_and_says_what_to_do_next(scene, engine, capsys):
    assert dvr("reconstruct", "./scan65", "--masks", "--depth", "sparse.npz") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "Next: dvr export mesh.ply --run runs/scan65"
    assert "standing in" in shown.err and "level 1 of 3" in shown.err
    found, settings = engine.calls[0]
    assert len(found.views) == 6 and all(view.mask_path is not None for view in found.views)
    assert len(found.sparse_depth.points) == 20 and settings == PRESETS["fast"]
    run = RunFolder.latest()
    assert run.finished and run.settings == settings and run.summary["psnr"] == 20.0


def test_options_reach_the_engine(scene, engine):
    options = (
        "--preset quality --time 2m --image-size full --threads 2 --seed 5 --device cpu --views 0-2 --no-masks "
        "--out elsewhere"
    )
    assert dvr("reconstruct", "scan65", *options.split()) == 0
    found, settings = engine.calls[0]
    expected = {"time_limit": 120.0, "image_size": None, "threads": 2, "seed": 5, "device": "cpu"}
    assert settings == PRESETS["quality"].model_copy(update=expected)
    assert len(found.views) == 3 and not any(view.mask_path for view in found.views)
    assert RunFolder.open(scene.parent / "elsewhere").finished


@pytest.mark.parametrize("field", PRESET_OF_FIELD)
def test_kind_of_field_chooses_its_preset(scene, engine, field):
    assert dvr("reconstruct", "scan65", "--field", field) == 0
    assert engine.calls[0][1] == PRESETS[PRESET_OF_FIELD[field]]


def test_kind_of_field_that_contradicts_the_preset_is_a_mistake(scene, engine, capsys):
    assert dvr("reconstruct", "scan65", "--field", "mlp", "--preset", "quality") == 2
    assert "preset quality fits a field of the kind grid" in unwrapped(capsys.readouterr().err)
    assert dvr("reconstruct", "scan65", "--field", "spline") == 2
    assert not engine.calls


def test_json_is_the_only_thing_on_stdout(scene, engine, capsys):
    assert dvr("reconstruct", "scan65", "--json", "--quiet") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["run"] == "runs/scan65" and shown.err == ""


@pytest.mark.parametrize(("masks", "iou", "warned"), [(True, 0.5, True), (True, 0.95, False), (False, 0.5, False)])
def test_surface_that_contradicts_the_masks_is_noted(scene, engine, capsys, masks, iou, warned):
    engine.silhouette_iou = iou
    assert dvr("reconstruct", "scan65", "--masks" if masks else "--no-masks") == 0
    assert ("dvr inspect scan65 --masks" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ([], True),
        (["--masks"], True),
        (["--masks", "mask"], True),
        (["--mask-folder", "mask"], True),
        (["--no-masks"], False),
    ],
)
def test_masks_of_the_scene_are_used_unless_they_are_refused(scene, engine, capsys, options, used):
    assert dvr("reconstruct", "scan65", *options) == 0
    assert all((view.mask_path is not None) == used for view in engine.calls[0][0].views)
    assert ("No masks: everything in the region of interest is reconstructed." in capsys.readouterr().err) != used


@pytest.mark.parametrize("start", ["", "scan65/", "{here}/scan65/", "{here}/link/", "../{name}/scan65/"])
def test_paths_inside_the_scene_are_the_same_however_they_are_named(scene, engine, start):
    Path("link").symlink_to("scan65")
    start = start.format(here=Path.cwd(), name=Path.cwd().name)
    options = ("--masks", f"{start}mask", "--depth", f"{start}sparse.npz")
    assert dvr("reconstruct", "scan65", *options) == 0
    read = RunFolder.latest().scene_description["options"]
    assert (read["masks"], read["depth"]) == ("mask", "sparse.npz")
    assert all(view.mask_path is not None for view in engine.calls[0][0].views)


@pytest.mark.parametrize("words", [["--masks", "scan65"], ["scan65", "--masks"], ["--quiet", "--masks", "scan65"]])
def test_masks_may_stand_without_a_value_anywhere(scene, engine, words):
    assert dvr("reconstruct", *words) == 0
    assert all(view.mask_path is not None for view in engine.calls[0][0].views)


def test_camera_file_stands_for_its_scene(scene, engine):
    assert dvr("reconstruct", "scan65/cameras.npz") == 0
    assert (Path("runs/scan65") / "scene.json").is_file() and len(engine.calls[0][0].views) == 6


def test_masks_and_no_masks_contradict_each_other(scene, engine, capsys):
    assert dvr("reconstruct", "scan65", "--masks", "--no-masks") == 2
    assert dvr("reconstruct", "scan65", "--mask-folder", "mask", "--no-masks") == 2
    assert "contradicts" in capsys.readouterr().err


def test_second_run_needs_a_decision(scene, engine, capsys):
    assert dvr("reconstruct", "scan65", "--seed", "1") == 0
    assert dvr("reconstruct", "scan65") == 1
    message = capsys.readouterr().err
    assert all(option in message for option in ("--resume", "--overwrite", "--out"))
    assert dvr("reconstruct", "scan65", "--overwrite") == 0
    assert engine.calls[-1][1].seed == 0


def test_resume_takes_what_is_not_said_from_the_run(scene, engine, capsys):
    assert dvr("reconstruct", "scan65", "--masks", "--depth", "sparse.npz", "--seed", "1", "--steps", "30") == 0
    assert dvr("reconstruct", "scan65", "--resume", "--threads", "1") == 0
    before, after = engine.calls
    assert after[1] == before[1].model_copy(update={"threads": 1})
    assert [view.mask_path for view in after[0].views] == [view.mask_path for view in before[0].views]
    assert np.array_equal(after[0].sparse_depth.points, before[0].sparse_depth.points)
    assert RunFolder.latest().summary["steps"] == 10
    assert dvr("reconstruct", "scan65", "--resume", "--seed", "2") == 1
    assert "settings seed" in capsys.readouterr().err


def test_moved_scene_can_be_resumed(scene, engine):
    assert dvr("reconstruct", "scan65", "--depth", "sparse.npz", "--out", "run") == 0
    scene.rename(scene.parent / "moved")
    assert dvr("reconstruct", "moved", "--out", "run", "--resume") == 0
    assert len(engine.calls[1][0].sparse_depth.points) == 20


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_first_signal_saves_and_says_how_to_go_on(scene, engine, capsys, number, code):
    def interrupt(should_stop):
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()

    engine.before_end = interrupt
    before = signal.getsignal(number)
    assert dvr("reconstruct", "scan65") == code
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "Go on with: dvr reconstruct scan65 --out runs/scan65 --resume"
    assert shown.err.count("Once more to abort at once") == 1
    assert not RunFolder.latest().finished and signal.getsignal(number) is before
    engine.before_end = lambda should_stop: None
    assert dvr(*shown.out.splitlines()[-1].removeprefix("Go on with: dvr ").split()) == 0
    assert RunFolder.latest().finished


def test_overwriting_run_that_is_stopped_early_leaves_the_old_one(scene, engine, capsys, monkeypatch):
    from dvr_cli.commands import fit

    assert dvr("reconstruct", "scan65", "--seed", "1") == 0

    def stopped_while_loading(scene, settings, run, report, should_stop):
        os.kill(os.getpid(), signal.SIGINT)
        return fit.ReconstructionSummary(0, 1.0, None, None, False, None, 1.0)

    monkeypatch.setattr(fit, "reconstruct", stopped_while_loading)
    capsys.readouterr()
    assert dvr("reconstruct", "scan65", "--overwrite") == 130
    assert "the earlier run in runs/scan65 is as it was" in capsys.readouterr().err
    assert RunFolder.latest().finished and RunFolder.latest().settings.seed == 1


def test_second_signal_aborts_at_once(scene, engine, capsys):
    def interrupt_twice(should_stop):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal must end the engine")

    engine.before_end = interrupt_twice
    assert dvr("reconstruct", "scan65") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Interrupted."
    # The folder is free again.
    engine.before_end = lambda should_stop: None
    assert dvr("reconstruct", "scan65") == 0


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("extra", [0, 1, 4, 100, 2400, 99_999])
def test_steps_are_shared_between_the_levels(preset, extra):
    steps = len(PRESETS[preset].levels) + extra
    settings = with_steps(PRESETS[preset], steps)
    assert sum(level.steps for level in settings.levels) == steps
    assert min(level.steps for level in settings.levels) >= 1
    assert with_steps(settings, steps) == settings


def test_no_level_is_left_without_steps():
    with pytest.raises(ConfigError, match="at least one step"):
        with_steps(PRESETS["fast"], len(PRESETS["fast"].levels) - 1)


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("60s", 60), ("1.5m", 90), ("2M", 120), ("1h", 3600)])
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


def test_image_sizes_begin_where_those_of_the_configuration_do():
    assert Ge(LEAST_IMAGE_SIZE) in Settings.model_fields["image_size"].metadata
    assert parse_image_size(str(LEAST_IMAGE_SIZE)) == LEAST_IMAGE_SIZE and parse_image_size("full") == "none"
    with pytest.raises(typer.BadParameter, match="no size"):
        parse_image_size(str(LEAST_IMAGE_SIZE - 1))


@pytest.mark.parametrize("text", ["0", "0-3", " 1 - 2 , 5", "3,1", "", "a", "2-1", "1-", "-1", "0,,1", "1.5", "0;1"])
def test_ranges_of_views_are_those_that_readers_understand(text):
    try:
        understood = len(selected_indices(text, 9)) > 0
    except SceneError:
        understood = False
    try:
        accepted = parse_views(text) == text
    except typer.BadParameter:
        accepted = False
    assert accepted == understood


@pytest.mark.parametrize("resolution", [7, MAX_RESOLUTION + 1])
def test_resolutions_that_no_extraction_takes_are_a_mistake(resolution, capsys):
    assert dvr("export", "mesh.ply", "--run", "nowhere", "--resolution", str(resolution)) == 2
    assert (
        dvr("export", "mesh.ply", "--run", "nowhere", "--resolution", str(np.clip(resolution, 8, MAX_RESOLUTION))) == 1
    )


def test_module_is_the_program():
    import subprocess

    result = subprocess.run([sys.executable, "-m", "dvr_cli", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("dvr ")
