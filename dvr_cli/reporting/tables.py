"""Tables as the templates draw them: meshes (or scenes) are rows, measures are columns grouped by protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dvr_cli.reporting.definitions import measure_definition, protocol_definition
from dvr_cli.reporting.drawing import FAMILY_COLOURS, marker
from dvr_cli.reporting.json_values import json_ready
from dvr_cli.reporting.measured import MeasuredProtocol, MeasuredRow

_ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}
_LONGEST_TEXT = 600


@dataclass(frozen=True)
class Mark:
    """The sign of a family."""

    colour: int
    path: str


@dataclass(frozen=True)
class Heading:
    text: str
    unit: str
    better: str
    arrow: str
    definition: str


@dataclass(frozen=True)
class Group:
    title: str
    span: int


@dataclass(frozen=True)
class Cell:
    text: str
    kind: str = ""
    """Class of the cell: "", "best", "none" or "words"."""


@dataclass(frozen=True)
class TableRow:
    name: str
    cells: tuple[Cell, ...]
    mark: Mark | None = None
    begins: bool = False
    """True for the first row of a family."""
    notes: str = ""
    """Identifier of the row's notes in the page."""
    tooltip: str = ""


@dataclass(frozen=True)
class Table:
    caption: str
    first: str
    """Heading of the names."""
    headings: tuple[Heading, ...]
    rows: tuple[TableRow, ...]
    groups: tuple[Group, ...] = ()
    foot: tuple[TableRow, ...] = ()


@dataclass(frozen=True)
class RowHead:
    """What stands at the head of a row, the same in every table."""

    name: str
    mark: Mark | None = None
    begins: bool = False
    notes: str = ""
    tooltip: str = ""


@dataclass(frozen=True)
class ProtocolSection:
    """Everything about one protocol."""

    title: str
    definition: str
    table: Table
    settings: list[tuple[str, str]]
    notes: list[str]
    definitions: list[tuple[str, str]]


def family_mark(families: Sequence[str], family: str) -> Mark:
    """Colour and marker of a family, by its place among all."""
    index = families.index(family)
    return Mark(index % FAMILY_COLOURS, marker(index))


def heading_of(row: MeasuredRow) -> Heading:
    """A measure's heading."""
    return Heading(row.short_heading or row.heading, row.unit, row.better, _ARROWS[row.better], row.definition)


def table_of(
    caption: str,
    heads: Sequence[RowHead],
    groups: Sequence[tuple[str, Sequence[MeasuredRow]]],
    first: str = "mesh",
    mark_best: bool = True,
) -> Table:
    """A table of measures; with one group its title is left out."""
    measures = [row for _, rows in groups for row in rows]
    rows = tuple(
        TableRow(
            head.name,
            tuple(_cell(row, index, mark_best) for row in measures),
            *(head.mark, head.begins, head.notes, head.tooltip),
        )
        for index, head in enumerate(heads)
    )
    titles = tuple(Group(title, len(rows)) for title, rows in groups if rows) if len(groups) > 1 else ()
    return Table(caption, first, tuple(heading_of(row) for row in measures), rows, titles)


def protocol_section(
    protocol: MeasuredProtocol, heads: Sequence[RowHead], first: str = "mesh", mark_best: bool = True
) -> ProtocolSection:
    """A protocol's table with what its numbers depend on."""
    own = {head.name: protocol.own_settings(index) for index, head in enumerate(heads)}
    settings = flattened(protocol.shared_settings)
    settings += [(f"{name}: {key}", text) for name, values in own.items() for key, text in flattened(values)]
    known = {row.heading: measure_definition(row.name) for row in protocol.rows}
    return ProtocolSection(
        protocol.title,
        protocol_definition(protocol.protocol),
        table_of(protocol.title, heads, [(protocol.title, protocol.rows)], first, mark_best),
        settings,
        _shared_notes(protocol, heads),
        [(heading, text) for heading, text in known.items() if text],
    )


def flattened(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names with dots and texts, for a list of facts.

    >>> flattened({"mvs": {"trims": [0, 7], "depth": None}})
    [('mvs.trims', '0, 7'), ('mvs.depth', '–')]
    """
    pairs: list[tuple[str, str]] = []
    for key, value in json_ready(settings).items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            pairs += flattened(value, name + ".")
        else:
            pairs.append((name, _plain_text(value)))
    return pairs


def _plain_text(value: Any) -> str:
    if value is None or value in ({}, []):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ", ".join(map(_plain_text, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"


def _cell(row: MeasuredRow, index: int, mark_best: bool) -> Cell:
    kind = "none" if row.values[index] is None else "best" if mark_best and index in row.best else ""
    return Cell(row.text(index), kind)


def _shared_notes(protocol: MeasuredProtocol, heads: Sequence[RowHead]) -> list[str]:
    """Every note once; with the names of those it holds for, unless it holds for all that were judged."""
    of: dict[str, list[str]] = {}
    judged = [(head.name, found) for head, found in zip(heads, protocol.evaluations, strict=True) if found is not None]
    for name, evaluation in judged:
        for note in dict.fromkeys(evaluation.notes):
            of.setdefault(note, []).append(name)
    return [note if len(names) == len(judged) else f"{', '.join(names)}: {note}" for note, names in of.items()]
