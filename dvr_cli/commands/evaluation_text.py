"""An evaluation as text for the terminal: tables of related numbers, each with its unit, and what they depend on."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvr_cli.comparing.measures import Evaluation, Measure

TITLES = {
    "plain": "Distances to the reference (protocol plain)",
    "dtu": "Distances to the reference (protocol dtu)",
    "tanks": "Distances to the reference (protocol tanks)",
    "rephotography": "Photographs predicted from the others through the shape (virtual rephotography)",
    "silhouettes": "Silhouettes against masks",
    "images": "Colours of the mesh against photographs",
}
VIEW_SETS = {"fitted": "views that the reconstruction may have used", "held out": "views never used"}


def evaluation_text(evaluation: "Evaluation") -> str:
    """Title, tables, settings and notes of one evaluation."""
    title = TITLES.get(evaluation.protocol, evaluation.protocol)
    view_set = evaluation.settings.get("view_set")
    if view_set is not None:
        title += f", {len(evaluation.settings.get('views', []))} {VIEW_SETS.get(view_set, view_set)}"
    lines = [title]
    for block in _blocks(evaluation.measures):
        lines += _aligned(block)
    lines.append(f"  settings: {_settings(evaluation.settings)}")
    lines += [f"  note: {note}" for note in evaluation.notes]
    return "\n".join(lines)


def _blocks(measures: "tuple[Measure, ...]") -> "list[list[list[str]]]":
    """Tables as rows of cells; measures that differ in one word of their name share a row."""
    names = {measure.name for measure in measures}
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for measure in measures:
        name, row, column = _place(measure, names)
        tables.setdefault(name, {}).setdefault(row, {})[column] = _number(measure)
    blocks = []
    for table in tables.values():
        columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
        heading = [["", *columns]] if any(columns) else []
        blocks.append(heading + [[row, *(cells.get(column, "") for column in columns)] for row, cells in table.items()])
    return blocks


def _place(measure: "Measure", names: set[str]) -> tuple[str, str, str]:
    """Table, row and column of a measure."""
    at = re.fullmatch(r"(precision|recall|f)_at_(.+)_percent", measure.name)
    if at is not None:
        return "at", f"at {at[2]} % of diagonal", "F" if at[1] == "f" else at[1]
    statistic = re.fullmatch(r"(accuracy|completeness|overall)_(mean|median|dropped)", measure.name)
    if statistic is not None:
        unit = "points dropped" if statistic[2] == "dropped" else f"{statistic[2]}, {measure.unit}"
        return "statistics", statistic[1], unit
    base = measure.name.removesuffix("_percent")
    if measure.unit == "% of diagonal" and base in names:
        return "lengths", base, measure.unit
    if measure.unit == "world units":
        return "lengths", measure.heading, measure.unit
    unit = f" ({measure.unit})" if measure.unit else ""
    return "single", measure.heading + unit, ""


def _number(measure: "Measure") -> str:
    if measure.value is None:
        return "undefined"
    if measure.unit == "points":
        return f"{measure.value:.0f}"
    if measure.unit == "dB":
        return f"{measure.value:.2f}"
    return f"{measure.value:.4f}" if measure.unit == "" else f"{measure.value:.4g}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  " + "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]  # fmt: skip


def _settings(settings: dict[str, Any]) -> str:
    """Pairs of key and value; long lists by their length."""
    return ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in settings.items() if value is not None)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key.replace('_', ' ')} {_shown(item)}" for key, item in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], (list, tuple)):
            return "[" + "; ".join(" ".join(_shown(item) for item in row) for row in value) + "]"
        return " ".join(_shown(item) for item in value) if len(value) <= 6 else f"{len(value)} ({value[0]} ...)"
    return str(value)
