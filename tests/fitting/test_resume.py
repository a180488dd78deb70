"""Interruptions change nothing: the result does not depend on where a run was stopped, nor on the number of threads."""

import pytest
import torch

from dvr_cli.errors import RunError
from dvr_cli.fitting import levels
from dvr_cli.fitting.course import FORMAT, Course
from dvr_cli.fitting.levels import Watch
from dvr_cli.fitting.run_folder import RunFolder
from tests.fitting.tiny_runs import TINY, Observer, assert_same_field, fit, parameters_of


def test_same_seed_gives_the_same_field_with_any_number_of_threads(ball, ball_run, tmp_path):
    fit(ball[0], tmp_path / "run", TINY.model_copy(update={"threads": 3}))
    assert_same_field(ball_run[0], tmp_path / "run")


def test_another_seed_gives_another_field(ball, ball_run, tmp_path):
    fit(ball[0], tmp_path / "run", TINY.model_copy(update={"seed": 1}))
    assert (parameters_of(ball_run[0])["sdf"] != parameters_of(tmp_path / "run")["sdf"]).any()


@pytest.mark.parametrize("stop_at", [10, 15, 35])
def test_stopped_run_goes_on_as_if_it_had_not_been(ball, ball_run, tmp_path, stop_at):
    """Stopped within a level, at its end, and within the last one."""
    stopped = fit(ball[0], tmp_path / "run", observer=Observer(stop_at))
    assert not stopped.finished and stopped.steps == stop_at
    resumed = fit(ball[0], tmp_path / "run", resume=True)
    assert resumed.finished and resumed.resumed_from == stop_at and resumed.steps == ball_run[1].steps
    assert (resumed.psnr, resumed.silhouette_iou) == (ball_run[1].psnr, ball_run[1].silhouette_iou)
    assert_same_field(ball_run[0], tmp_path / "run")


def test_killed_run_goes_on_from_its_last_checkpoint(ball, ball_run, tmp_path, monkeypatch):
    """As after SIGKILL: nothing is saved at the end; checkpoints come every few steps and at odd ones."""
    monkeypatch.setattr(levels, "SECONDS_BETWEEN_CHECKPOINTS", 0.05)
    calls = iter(range(10**6))

    def killed() -> bool:
        if next(calls) > 45:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        fit(ball[0], tmp_path / "run", should_stop=killed)
    assert 0 < RunFolder.open(tmp_path / "run").load_checkpoint()["step"] < ball_run[1].steps
    assert fit(ball[0], tmp_path / "run", resume=True).finished
    assert_same_field(ball_run[0], tmp_path / "run")


def test_resuming_a_finished_run_changes_nothing(ball, ball_run, tmp_path):
    folder = tmp_path / "run"
    first = fit(ball[0], folder)
    observer = Observer()
    again = fit(ball[0], folder, observer=observer, resume=True)
    assert again.finished and again.steps == first.steps and not observer.steps
    assert "already come to its end" in observer.messages[-1]
    assert_same_field(ball_run[0], folder)


def test_checkpoint_holds_everything(ball, tmp_path):
    fit(ball[0], tmp_path / "run", observer=Observer(10))
    state = RunFolder.open(tmp_path / "run").load_checkpoint()
    course = Course.from_checkpoint(state, torch.device("cpu"))
    again = course.to_checkpoint()
    assert again.keys() == state.keys()
    for key, value in _flat(state).items():
        same = torch.equal(value, _flat(again)[key]) if torch.is_tensor(value) else value == _flat(again)[key]
        assert same, key


def test_checkpoint_of_another_version_is_refused(ball, tmp_path):
    folder = tmp_path / "run"
    fit(ball[0], folder, observer=Observer(10))
    run = RunFolder.open(folder)
    state = run.load_checkpoint()
    for damaged, message in (({**state, "format": 99}, "format 99"), ({"format": FORMAT}, "incomplete")):
        with pytest.raises(RunError, match=message):
            Course.from_checkpoint(damaged, torch.device("cpu"))


def test_field_without_numbers_is_not_saved(ball, tmp_path):
    folder = tmp_path / "run"
    fit(ball[0], folder, observer=Observer(10))
    run = RunFolder.open(folder)
    saved = run.load_checkpoint()
    course = Course.from_checkpoint(saved, torch.device("cpu"))
    with torch.no_grad():
        course.field.sdf[1, 2, 3] = torch.nan
    course.step += 1
    with pytest.raises(RunError, match=f"not numbers after step {course.step}"):
        Watch(run, lambda event: None, lambda: False).save(course)
    assert run.load_checkpoint()["step"] == saved["step"]
    with pytest.raises(RunError, match="checkpoint holds values that are not numbers"):
        Course.from_checkpoint(course.to_checkpoint(), torch.device("cpu"))


def _flat(state: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in state.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
