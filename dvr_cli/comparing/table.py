"""Tables of text for the terminal: a row per mesh, the measures that matter most as columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from dvr_cli.comparing.comparison import Comparison

HEADLINES = (
    ("plain", "chamfer_percent", "Chamfer", "%"),
    ("plain", "f_at_0.5_percent", "F at 0.5 %", ""),
    ("dtu", "overall_mean", "overall", "mm"),
    ("dtu", "accuracy_mean", "accuracy", "mm"),
    ("dtu", "completeness_mean", "completeness", "mm"),
    ("tanks", "precision", "precision", ""),
    ("tanks", "recall", "recall", ""),
    ("tanks", "f", "F", ""),
    ("rephotography", "psnr", "rephoto", "dB"),
    ("rephotography", "ncc", "NCC", ""),
    ("rephotography", "covered", "covered", ""),
    ("silhouettes", "iou", "IoU", ""),
    ("images", "psnr", "colours", "dB"),
    ("images", "ssim", "SSIM", ""),
)
"""Protocol, measure, heading and unit; the report has the others."""

GAP = "–"


def comparison_table(comparison: Comparison) -> str:
    """One line per column of the comparison."""
    rows = []
    for column in comparison.columns:
        evaluations = [evaluation.as_json() for evaluation in column.evaluations]
        rows.append(([column.name], column.seconds, column.peak_memory_gb, evaluations))
    return _table(["mesh"], rows)


def suite_table(results: Sequence[Any]) -> str:
    """One line per scene and preset (`bench_runs.SuiteResult`), and the mean of each preset below."""
    rows = [
        ([result.scene, result.preset], result.seconds, result.peak_memory_gb, result.evaluations) for result in results
    ]
    presets = dict.fromkeys(result.preset for result in results)
    means: list[tuple[list[str], float | None, float | None, list[dict[str, Any]]]] = []
    for preset in presets:
        done = [result for result in results if result.preset == preset and result.status == "done"]
        if len(done) > 1:
            seconds = _mean([result.seconds for result in done])
            memory = _mean([result.peak_memory_gb for result in done])
            means.append(([f"mean of {len(done)}", preset], seconds, memory, mean_evaluations(done)))
    return _table(["scene", "preset"], rows + means)


def mean_evaluations(results: Sequence[Any]) -> list[dict[str, Any]]:
    """The headline measures averaged over results, in the form of `Evaluation.as_json`; gaps where one has none."""
    found: dict[str, dict[str, Any]] = {}
    for protocol, name, _, unit in HEADLINES:
        value = _mean([_value(result.evaluations, protocol, name) for result in results])
        if value is not None:
            found.setdefault(protocol, {"protocol": protocol, "measures": {}})
            found[protocol]["measures"][name] = {"value": value, "unit": unit}
    return list(found.values())


def _table(
    names: list[str], rows: Sequence[tuple[list[str], float | None, float | None, Sequence[Mapping[str, Any]]]]
) -> str:
    """Right-aligned numbers below their headings; measures that no row has are left out."""
    shown = [
        (protocol, name, heading, unit)
        for protocol, name, heading, unit in HEADLINES
        if any(_value(evaluations, protocol, name) is not None for _, _, _, evaluations in rows)
    ]
    lines = [[*names, *(heading for _, _, heading, _ in shown), "time", "memory"]]
    lines.append([*("" for _ in names), *(unit for _, _, _, unit in shown), "s", "GB"])
    for labels, seconds, memory, evaluations in rows:
        values = [_value(evaluations, protocol, name) for protocol, name, _, _ in shown]
        cells = [_number(value, unit) for value, (_, _, _, unit) in zip(values, shown, strict=True)]
        lines.append([*labels, *cells, GAP if seconds is None else f"{seconds:.0f}", _number(memory, "GB")])
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < len(names) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _value(evaluations: Sequence[Mapping[str, Any]], protocol: str, name: str) -> float | None:
    """A measure of the protocol; where there are two evaluations of one, held-out views count, they stand last."""
    values = [
        evaluation["measures"][name]["value"]
        for evaluation in evaluations
        if evaluation["protocol"] == protocol and name in evaluation["measures"]
    ]
    return values[-1] if values else None


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return GAP
    return f"{value:.2f}" if unit in ("dB", "GB") else f"{value:.4f}" if unit in ("%", "") else f"{value:.3f}"


def _mean(values: Sequence[float | None]) -> float | None:
    """Of all values; None when one is missing, since a mean over other scenes cannot be compared."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
