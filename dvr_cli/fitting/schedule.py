"""When a level ends: after its planned steps, or earlier when the run has a time limit.

With a limit every level gets a share of the time in proportion to what its planned steps would take; how long a step
takes is measured as the level goes, and guessed from the size of the grid before.
"""

import time
from collections.abc import Callable

from dvr_cli.config import Level, Settings

_LEAST_STEPS = 5
"""Steps that are measured before the pace of a level counts."""


class LevelClock:
    """Counts time and steps of one level; one is made when the level begins or is resumed."""

    def __init__(
        self,
        settings: Settings,
        level: int,
        level_step: int,
        seconds_before: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._levels, self._index = settings.levels, level
        self._limit = settings.time_limit
        self._first_step, self._seconds_before = level_step, seconds_before
        self._clock, self._start = clock, clock()
        self._planned = self._levels[level].steps

    @property
    def seconds(self) -> float:
        """Seconds of optimisation of the whole run up to now."""
        return self._seconds_before + self._clock() - self._start

    def planned_steps(self, level_step: int) -> int:
        """Steps that this level will have in all, as far as is known after `level_step` of them."""
        full = self._levels[self._index].steps
        done = level_step - self._first_step
        if self._limit is None:
            return full
        if done >= _LEAST_STEPS:
            left = max(0.0, self._level_end() - self.seconds)
            self._planned = min(full, level_step + int(left / self._pace(level_step)))
        elif self.seconds >= self._limit:
            self._planned = level_step
        return max(self._planned, level_step)

    def later_steps(self, level_step: int) -> int:
        """Steps of the levels after this one, as far as is known: fewer than planned when the time will not do."""
        planned = sum(level.steps for level in self._later)
        if self._limit is None or level_step - self._first_step < _LEAST_STEPS:
            return planned
        left = max(0.0, self._limit - max(self._level_end(), self.seconds))
        return round(planned * min(1.0, left / max(self._later_seconds(level_step), 1e-9)))

    def seconds_left(self, level_step: int, planned_steps: int) -> float | None:
        """Estimate for this level and those after it; None until the pace is known."""
        if level_step - self._first_step < _LEAST_STEPS:
            return None
        left = self._pace(level_step) * (planned_steps - level_step) + self._later_seconds(level_step)
        return left if self._limit is None else min(left, max(0.0, self._limit - self.seconds))

    @property
    def _later(self) -> tuple[Level, ...]:
        return self._levels[self._index + 1 :]

    def _pace(self, level_step: int) -> float:
        """Seconds per step of this level."""
        return (self.seconds - self._seconds_before) / (level_step - self._first_step)

    def _later_seconds(self, level_step: int) -> float:
        """What the planned steps of the levels after this one would take at its pace."""
        here = _cost(self._levels[self._index])
        return sum(self._pace(level_step) * _cost(level) / here * level.steps for level in self._later)

    def _level_end(self) -> float:
        """The second of the run at which this level must end: the time left when it began, shared by planned cost."""
        assert self._limit is not None
        here = self._levels[self._index]
        own = _cost(here) * (here.steps - self._first_step)
        later = sum(_cost(level) * level.steps for level in self._later)
        return self._seconds_before + (self._limit - self._seconds_before) * own / max(own + later, 1e-9)


def _cost(level: Level) -> float:
    """Relative time of a step: the rays, plus the band around the surface, whose vertices grow with the area."""
    return 1.0 + (level.voxels / 160.0) ** 2
