"""A time limit shortens every level in proportion, and never lengthens one. Clocks are made up."""

from functools import partial

import numpy as np
import pytest

from dvr_cli.config import Level, Settings
from dvr_cli.fitting import levels as levels_module
from dvr_cli.fitting.events import StepReport
from dvr_cli.fitting.levels import step_generator
from dvr_cli.fitting.schedule import LevelClock
from tests.fitting.tiny_runs import TINY, Observer, fit

THREE_LEVELS = Settings(
    preset="fast",
    levels=tuple(Level(voxels=v, steps=s) for v, s in ((64, 400), (128, 800), (192, 1200))),
)


def play(settings: Settings, pace: list[float], start: tuple[int, int, float] = (0, 0, 0.0)) -> tuple[list[int], float]:
    """(steps of each level, seconds at the end) when a step of each level takes `pace` seconds."""
    now = [100.0]
    first_level, first_step, seconds = start
    steps = []
    for level in range(first_level, len(settings.levels)):
        done = first_step if level == first_level else 0
        clock = LevelClock(settings, level, done, seconds, clock=lambda: now[0])
        planned = clock.planned_steps(done)
        while done < planned:
            now[0] += pace[level]
            done += 1
            if done % 10 == 0 or done >= planned:
                planned = clock.planned_steps(done)
        seconds = clock.seconds
        steps.append(done)
    return steps, seconds


def test_without_limit_the_schedule_is_kept():
    steps, seconds = play(THREE_LEVELS, [0.02, 0.03, 0.04])
    assert steps == [level.steps for level in THREE_LEVELS.levels]
    assert seconds == pytest.approx(sum(n * p for n, p in zip(steps, [0.02, 0.03, 0.04], strict=True)))


def test_ample_limit_changes_nothing():
    limited = THREE_LEVELS.model_copy(update={"time_limit": 1000.0})
    assert play(limited, [0.02, 0.03, 0.04]) == play(THREE_LEVELS, [0.02, 0.03, 0.04])


@pytest.mark.parametrize("limit", [5.0, 20.0, 60.0])
@pytest.mark.parametrize("pace", [[0.02, 0.03, 0.04], [0.1, 0.1, 0.1], [0.01, 0.05, 0.2]])
def test_limit_is_kept_and_every_level_gets_its_share(limit, pace):
    settings = THREE_LEVELS.model_copy(update={"time_limit": limit})
    steps, seconds = play(settings, pace)
    full = sum(level.steps * p for level, p in zip(settings.levels, pace, strict=True))
    # Up to ten steps may pass before the pace of a level is known.
    assert seconds < limit + 10 * max(pace)
    assert seconds > 0.8 * min(limit, full)
    assert all(count >= 5 for count in steps)


def test_resumed_run_counts_the_time_before():
    settings = THREE_LEVELS.model_copy(update={"time_limit": 30.0})
    _, seconds = play(settings, [0.05, 0.05, 0.05], start=(1, 100, 12.0))
    assert 28 < seconds < 31


def test_limit_that_has_passed_leaves_nothing_to_do():
    settings = THREE_LEVELS.model_copy(update={"time_limit": 10.0})
    assert play(settings, [0.05] * 3, start=(2, 300, 10.5))[0] == [300]


class SteppedTime:
    """A clock that goes on by `pace` seconds whenever the run asks whether it should stop, as it does after a step."""

    def __init__(self, pace: float) -> None:
        self.pace, self.now = pace, 0.0

    def __call__(self) -> float:
        return self.now

    def should_stop(self) -> bool:
        self.now += self.pace
        return False


@pytest.mark.parametrize(("pace", "levels_seen"), [(0.02, 2), (0.5, 1)])
def test_limit_ends_a_real_run(ball, tmp_path, monkeypatch, pace, levels_seen):
    time = SteppedTime(pace)
    monkeypatch.setattr(levels_module, "LevelClock", partial(LevelClock, clock=time))
    levels = tuple(level.model_copy(update={"steps": 50_000}) for level in TINY.levels)
    observer = Observer()
    settings = TINY.model_copy(update={"levels": levels, "time_limit": 2.0})
    assert fit(ball[0], tmp_path / "run", settings, observer, should_stop=time.should_stop).finished
    reports: list[StepReport] = observer.steps
    assert reports[-1].step == reports[-1].steps < 50_000
    assert {report.stage for report in reports} == {f"level {1 + index} of 2" for index in range(levels_seen)}
    left = [report.seconds_left for report in reports if report.seconds_left is not None]
    assert max(left) < 2.5 and left[-1] == 0


def test_steps_of_later_levels_are_as_many_as_the_time_will_do_for():
    now = [100.0]
    limited = THREE_LEVELS.model_copy(update={"time_limit": 20.0})
    clock = LevelClock(limited, 0, 0, 0.0, clock=lambda: now[0])
    assert clock.later_steps(0) == 2000
    now[0] += 10 * 0.02
    full = sum(level.steps * 0.02 * (1 + (level.voxels / 160) ** 2) / 1.16 for level in THREE_LEVELS.levels)
    assert clock.later_steps(10) == pytest.approx(2000 * 20 / full, rel=0.01)
    now[0] = 121.0
    assert clock.later_steps(20) == 0
    assert LevelClock(THREE_LEVELS, 0, 0, 0.0, clock=lambda: now[0]).later_steps(10) == 2000


def test_random_numbers_of_a_step_depend_on_its_place_alone():
    draws = {
        (seed, level, step): step_generator(seed, level, step).initial_seed()
        for seed in (-1, 0, 1)
        for level in (0, 1)
        for step in range(50)
    }
    assert len(set(draws.values())) == len(draws)
    assert draws[1, 1, 7] == step_generator(1, 1, 7).initial_seed()
    assert np.all(np.array(list(draws.values())) >= 0)
