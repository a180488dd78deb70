"""What was measured on several meshes, side by side: one `Protocol` per kind of evaluation, one `Row` per measure.

A column may hold several evaluations by one protocol, e.g. images of training views and of views held out; the first of
each column stand together, then the second of each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from dvr_cli.comparing.measures import Better, Evaluation, Measure
from dvr_cli.reporting.definitions import measure_definition, protocol_titles

_KEY_MEASURES = {
    "dtu": ("accuracy", "completeness", "overall"),
    "tanks": ("precision", "recall", "f_score|f1|f"),
    "plain": ("accuracy", "completeness", "chamfer_percent|chamfer", "f_at_0.5_percent|f_score|f1|f"),
    "images": ("psnr", "ssim"),
    "silhouettes": ("iou",),
    "rephotography": ("ncc", "covered"),
}
"""Prefixes of the measures that an overview shows; the first measure with a prefix counts, `a|b` is a or else b."""

_SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True)
class MeasuredRow:
    """One measure of all meshes."""

    name: str
    heading: str
    """In full, as a sentence would name it."""
    unit: str
    better: Better
    values: tuple[float | None, ...]
    """In the order of the meshes; None where it was not measured, is not defined or is not finite."""
    short_heading: str = ""
    """Where the protocol stands above it anyway; the heading when empty."""

    @property
    def definition(self) -> str:
        """In a sentence; may be empty."""
        return measure_definition(self.name)

    @property
    def decimals(self) -> int:
        """Digits after the point with which the values are shown: four significant ones of the median."""
        sizes = sorted(abs(value) for value in self.values if value)
        if not sizes or all(value is None or float(value).is_integer() for value in self.values):
            return 0
        middle = sizes[len(sizes) // 2]
        return min(max(_SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(middle)), 0), 8)

    def text(self, index: int) -> str:
        """How the value of a mesh is shown; an en dash where there is none."""
        value = self.values[index]
        return "–" if value is None else self.shown(value)

    def shown(self, value: float) -> str:
        """A number with as many digits as those of the meshes."""
        return f"{value:,.{self.decimals}f}".replace(",", "\u202f")

    @property
    def best(self) -> tuple[int, ...]:
        """Meshes whose shown value is the best; empty where no direction is better or fewer than two have a value."""
        known = [index for index, value in enumerate(self.values) if value is not None]
        if self.better == "neither" or len(known) < 2:
            return ()
        choose = min if self.better == "lower" else max
        winner = choose(known, key=lambda index: self.values[index])  # type: ignore[arg-type, return-value]
        return tuple(index for index in known if self.text(index) == self.text(winner))


@dataclass(frozen=True)
class MeasuredProtocol:
    """All measures that one protocol gave."""

    protocol: str
    title: str
    short_title: str
    rows: tuple[MeasuredRow, ...]
    evaluations: tuple[Evaluation | None, ...]
    """In the order of the meshes; None for one that was not judged so."""

    @property
    def shared_settings(self) -> dict[str, Any]:
        """Settings that are the same for every mesh that was judged."""
        settings = [evaluation.settings for evaluation in self.evaluations if evaluation is not None]
        first = settings[0] if settings else {}
        return {key: value for key, value in first.items() if all(_same(other, key, value) for other in settings)}

    def own_settings(self, index: int) -> dict[str, Any]:
        """Settings of one mesh that differ from those of others."""
        evaluation, shared = self.evaluations[index], self.shared_settings
        return {} if evaluation is None else {k: v for k, v in evaluation.settings.items() if k not in shared}

    @property
    def key_rows(self) -> tuple[MeasuredRow, ...]:
        """Those an overview shows: by name where the protocol is known, else the first with a direction."""
        directed = [row for row in self.rows if row.better != "neither"]
        chosen = []
        for prefixes in _KEY_MEASURES.get(self.protocol, ()):
            found = [row for prefix in prefixes.split("|") for row in directed if row.name.startswith(prefix)]
            chosen += found[:1]
        return tuple(chosen) or tuple(directed[:1])


def side_by_side(evaluations: Sequence[Sequence[Evaluation]]) -> tuple[MeasuredProtocol, ...]:
    """The evaluations of several meshes, in the order in which protocols and measures first appear."""
    keyed = [_numbered(of_one_mesh) for of_one_mesh in evaluations]
    keys = list(dict.fromkeys(key for of_one_mesh in keyed for key in of_one_mesh))
    return tuple(_gathered(key, [of_one_mesh.get(key) for of_one_mesh in keyed], keys) for key in keys)


def finite(value: float | None) -> float | None:
    """None for what is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def _numbered(evaluations: Sequence[Evaluation]) -> dict[tuple[str, int], Evaluation]:
    counters: dict[str, Any] = {}
    return {
        (evaluation.protocol, next(counters.setdefault(evaluation.protocol, count()))): evaluation
        for evaluation in evaluations
    }


def _gathered(
    key: tuple[str, int], evaluations: list[Evaluation | None], keys: list[tuple[str, int]]
) -> MeasuredProtocol:
    protocol, number = key
    by_name: list[dict[str, Measure]] = [
        {measure.name: measure for measure in evaluation.measures} if evaluation else {} for evaluation in evaluations
    ]
    first = {name: measure for measures in reversed(by_name) for name, measure in measures.items()}
    names = dict.fromkeys(name for measures in by_name for name in measures)
    rows = []
    for name in names:
        values = tuple(finite(measures[name].value) if name in measures else None for measures in by_name)
        heading = first[name].heading
        short = _without_protocol(heading, protocol)
        rows.append(MeasuredRow(name, heading, first[name].unit, first[name].better, values, short))
    several = sum(other == protocol for other, _ in keys) > 1
    long_title, short_title = (title + (f" ({number + 1})" if several else "") for title in protocol_titles(protocol))
    return MeasuredProtocol(protocol, long_title, short_title, tuple(rows), tuple(evaluations))


def _without_protocol(heading: str, protocol: str) -> str:
    """Under the title of rephotography "rephotography NCC" is just "NCC"."""
    for start in (protocol, protocol.removesuffix("s")):
        if heading.startswith(start + " "):
            return heading.removeprefix(start + " ")
    return heading


def _same(settings: dict[str, Any], key: str, value: Any) -> bool:
    return key in settings and str(settings[key]) == str(value)
