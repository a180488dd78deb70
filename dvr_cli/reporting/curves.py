"""Which curves a report draws: two measures of one protocol against each other, one line per family with trims."""

from collections.abc import Sequence
from dataclasses import dataclass

from dvr_cli.comparing.comparison import Column
from dvr_cli.reporting.measured import MeasuredProtocol, MeasuredRow

_PAIRS = (("completeness", "accuracy"), ("recall", "precision"), ("covered", "ncc"), ("covered", "psnr"))
"""Prefixes of (x, y)."""

_USUAL_THRESHOLD = "_at_0.5_percent"
"""Ending of the names of measures at the threshold that is shown when there are several."""

_WITH_REFERENCE = 2
"""The first so many pairs need a reference; the others are drawn where no such curve can be."""


@dataclass(frozen=True)
class CurvePoint:
    """One mesh in the plane of two measures."""

    column: int
    """Index of the mesh."""
    label: str
    """The trim for a point on a line, else the mesh's name."""
    x: float
    y: float
    shown: str
    """Name and both values, for a tooltip."""


@dataclass(frozen=True)
class CurveLine:
    """The meshes of one family, in the order of their trims."""

    family: str
    connected: bool
    """True when the points differ by their trims only."""
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Curve:
    """One picture."""

    title: str
    x: MeasuredRow
    y: MeasuredRow
    lines: tuple[CurveLine, ...]


def curves_of(columns: Sequence[Column], protocols: Sequence[MeasuredProtocol]) -> list[Curve]:
    """Accuracy against completeness (or precision against recall) for every protocol that has them.

    Without any, what photographs say stands in: correlation against the share that could be compared.
    """
    curves = _curves_with(columns, protocols, _PAIRS[:_WITH_REFERENCE])
    return curves or _curves_with(columns, protocols, _PAIRS[_WITH_REFERENCE:])


def _curves_with(
    columns: Sequence[Column], protocols: Sequence[MeasuredProtocol], pairs: Sequence[tuple[str, str]]
) -> list[Curve]:
    curves = []
    for protocol in protocols:
        for x_prefix, y_prefix in pairs:
            rows = _pair_of_rows(protocol, x_prefix, y_prefix)
            lines = _lines(columns, *rows) if rows else ()
            if rows and lines:
                curves.append(Curve(protocol.title, *rows, lines))
    return curves


def _pair_of_rows(protocol: MeasuredProtocol, x_prefix: str, y_prefix: str) -> tuple[MeasuredRow, MeasuredRow] | None:
    """A measure with the prefix of x for which there is one of y with the same ending, e.g. `_mean`.

    Of several, the first, or the one at the usual threshold.
    """
    by_name = {row.name: row for row in protocol.rows}
    endings = [name.removeprefix(x_prefix) for name in by_name if name.startswith(x_prefix)]
    common = [ending for ending in endings if y_prefix + ending in by_name]
    if not common:
        return None
    ending = _USUAL_THRESHOLD if _USUAL_THRESHOLD in common else common[0]
    return by_name[x_prefix + ending], by_name[y_prefix + ending]


def _lines(columns: Sequence[Column], x: MeasuredRow, y: MeasuredRow) -> tuple[CurveLine, ...]:
    lines: list[CurveLine] = []
    for family in dict.fromkeys(column.family for column in columns):
        members = [index for index, column in enumerate(columns) if column.family == family]
        members = [index for index in members if x.values[index] is not None and y.values[index] is not None]
        trimmed = [index for index in members if columns[index].trim is not None]
        trimmed.sort(key=lambda index: columns[index].trim or 0.0)
        connected = trimmed if len(trimmed) > 1 else []
        single = [index for index in members if index not in connected]
        for group, is_line in ((connected, True), (single, False)):
            if group:
                points = tuple(_point(columns[index], index, x, y, is_line) for index in group)
                lines.append(CurveLine(family, is_line, points))
    return tuple(lines)


def _point(column: Column, index: int, x: MeasuredRow, y: MeasuredRow, on_line: bool) -> CurvePoint:
    horizontal, vertical = x.values[index], y.values[index]
    assert horizontal is not None and vertical is not None
    label = f"{column.trim:g}" if on_line and column.trim is not None else column.name
    shown = f"{column.name}: {x.heading} {x.text(index)} {x.unit}, {y.heading} {y.text(index)} {y.unit}"
    return CurvePoint(index, label, horizontal, vertical, " ".join(shown.split()))
