"""Axes of a drawing: from numbers to places, round ticks, logarithmic where numbers span much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LOGARITHMIC_FROM = 25.0
"""Ratio of the largest to the smallest number from which an axis is logarithmic."""
_PADDING = 0.08


@dataclass(frozen=True)
class Axis:
    """Maps [low, high] to [start, end], which may run backwards, as y does in pictures."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def place(self, value: float) -> float:
        """Where a number lies."""
        low, high, value = (
            (math.log(self.low), math.log(self.high), math.log(max(value, 1e-300)))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Places of round numbers within the axis and how they are written."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        else:
            step = round_step((self.high - self.low) / 4)
            first = math.ceil(self.low / step - 1e-9)
            values = [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(self.place(value), f"{value:.6g}") for value in values if self.low <= value <= self.high]


def axis_for(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis that shows all values with some room around them."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= _LOGARITHMIC_FROM:
        room = (high / low) ** _PADDING
        return Axis(low / room, high * room, start, end, True)
    room = _PADDING * (high - low) or 0.05 * abs(high) or 1.0
    # What cannot be negative keeps off negative ticks.
    return Axis(max(low - room, 0.0) if low >= 0 else low - room, high + room, start, end, False)


def round_step(step: float) -> float:
    """The next 1, 2 or 5 times a power of ten that is not below.

    >>> round_step(0.03)
    0.05
    """
    power = 10.0 ** math.floor(math.log10(step))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
    return float(f"{factor * power:.12g}")
