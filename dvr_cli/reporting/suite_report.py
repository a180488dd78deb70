"""Write the report of a suite: a table with one row per scene and preset, means at its end, and the same as JSON."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dvr_cli import __version__
from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.comparing.suite_rows import SuiteRow
from dvr_cli.errors import CompareError
from dvr_cli.files import disk_errors, write_text
from dvr_cli.reporting.document import evaluation_report, now
from dvr_cli.reporting.machine import describe_machine, package_versions
from dvr_cli.reporting.measured import MeasuredProtocol, MeasuredRow, finite, side_by_side
from dvr_cli.reporting.page import render_page
from dvr_cli.reporting.schema import SuiteMeanReport, SuiteReport, SuiteRowReport
from dvr_cli.reporting.tables import Cell, RowHead, Table, TableRow, family_mark, flattened, protocol_section, table_of


def write_suite_report(
    rows: Sequence[SuiteRow],
    folder: Path,
    *,
    title: str = "Suite",
    command_line: str | None = None,
    settings: Mapping[str, Any] | None = None,
    created: datetime | None = None,
) -> Path:
    """Write `folder/report.json` and `folder/report.html`, each under a temporary name first; returns the page's path.

    CompareError when there is no row or when the files cannot be written.
    """
    if not rows:
        raise CompareError("There is nothing to report on: the suite has no finished scene.")
    report = SuiteReport(
        title=title,
        created=created or now(),
        dvr_version=__version__,
        command_line=command_line,
        settings=dict(settings or {}),
        rows=[_row(row) for row in rows],
        means=[_mean_report(preset, finished) for preset, finished in _finished(rows).items()],
        machine=describe_machine(),
        packages=package_versions(),
    )
    page = render_page("suite.html.j2", report, ["page.js"], _values(rows, report))
    with disk_errors(folder, CompareError, "Free some space, or name another folder with --out."):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "report.json", report.model_dump_json(indent=1))
        write_text(folder / "report.html", page)
    return folder / "report.html"


def mean_evaluations(rows: Sequence[SuiteRow]) -> tuple[Evaluation, ...]:
    """Means over the rows of every measure that all of them have."""
    means = []
    for protocol in side_by_side([row.evaluations for row in rows]):
        measures = tuple(
            Measure(row.name, sum(known) / len(known), row.unit, row.better, row.heading)
            for row in protocol.rows
            if len(known := [value for value in row.values if value is not None]) == len(rows)
        )
        if measures:
            means.append(Evaluation(protocol.protocol, {"scenes": len(rows)}, measures))
    return tuple(means)


def _finished(rows: Sequence[SuiteRow]) -> dict[str, list[SuiteRow]]:
    """The rows that are done, by preset, in the order in which presets appear."""
    presets = dict.fromkeys(row.preset for row in rows)
    finished = {preset: [row for row in rows if row.preset == preset and row.status == "done"] for preset in presets}
    return {preset: done for preset, done in finished.items() if done}


def _row(row: SuiteRow) -> SuiteRowReport:
    return SuiteRowReport(
        scene=row.scene,
        preset=row.preset,
        status=row.status,
        seconds=row.seconds,
        peak_memory_gb=row.peak_memory_gb,
        mesh_path=row.mesh_path,
        error=row.error,
        evaluations=[evaluation_report(evaluation) for evaluation in row.evaluations],
    )


def _mean_report(preset: str, finished: Sequence[SuiteRow]) -> SuiteMeanReport:
    return SuiteMeanReport(
        preset=preset,
        scenes=len(finished),
        seconds=_mean_of([row.seconds for row in finished]),
        peak_memory_gb=_mean_of([row.peak_memory_gb for row in finished]),
        evaluations=[evaluation_report(evaluation) for evaluation in mean_evaluations(finished)],
    )


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in map(finite, values) if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _values(rows: Sequence[SuiteRow], report: SuiteReport) -> dict[str, Any]:
    """Values of the template."""
    presets = list(dict.fromkeys(row.preset for row in rows))
    protocols = side_by_side([row.evaluations for row in rows])
    heads = [
        RowHead(
            f"{row.scene} ({row.preset})" if len(presets) > 1 else row.scene,
            family_mark(presets, row.preset) if len(presets) > 1 else None,
            begins=index > 0 and row.scene != rows[index - 1].scene and len(presets) > 1,
        )
        for index, row in enumerate(rows)
    ]
    done = sum(row.status == "done" for row in rows)
    named = f"preset {presets[0]}" if len(presets) == 1 else f"presets {', '.join(presets)}"
    return {
        "suite_line": f"{done} of {len(rows)} rows done · {named}",
        "overview": _overview(rows, protocols, heads),
        "failures": [
            {"name": head.name, "status": row.status, "error": row.error or "no message was left"}
            for head, row in zip(heads, rows, strict=True)
            if row.status != "done"
        ],
        "protocols": [protocol_section(protocol, heads, "scene", mark_best=False) for protocol in protocols],
        "settings": flattened(report.settings),
    }


def _overview(rows: Sequence[SuiteRow], protocols: Sequence[MeasuredProtocol], heads: Sequence[RowHead]) -> Table:
    cost = (
        MeasuredRow("seconds", "time", "s", "lower", tuple(finite(row.seconds) for row in rows)),
        MeasuredRow("peak_memory_gb", "peak memory", "GB", "lower", tuple(finite(row.peak_memory_gb) for row in rows)),
    )
    groups = [(protocol.short_title, protocol.key_rows) for protocol in protocols if protocol.key_rows]
    groups.append(("Cost", cost))
    table = table_of("The scenes with their main numbers", heads, groups, "scene", mark_best=False)
    measures = [row for _, of_group in groups for row in of_group]
    foot = []
    for preset, finished in _finished(rows).items():
        places = [index for index, row in enumerate(rows) if row in finished]
        cells = tuple(_mean_cell(measure, places) for measure in measures)
        foot.append(TableRow(f"mean of {len(finished)} ({preset})", cells))
    return Table(table.caption, table.first, table.headings, table.rows, table.groups, tuple(foot))


def _mean_cell(measure: MeasuredRow, places: Sequence[int]) -> Cell:
    mean = _mean_of([measure.values[index] for index in places])
    return Cell("–", "none") if mean is None else Cell(measure.shown(mean))
