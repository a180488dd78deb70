"""Laws of tables, summaries and curves: what is best, what is shown, and which meshes a line joins."""

import numpy as np
import pytest

from dvr_cli.comparing.comparison import Column
from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.reporting.axes import axis_for, round_step
from dvr_cli.reporting.curves import curves_of
from dvr_cli.reporting.document import seconds_of
from dvr_cli.reporting.drawing import draw_curve
from dvr_cli.reporting.gallery import further_trims
from dvr_cli.reporting.measured import MeasuredRow, side_by_side
from dvr_cli.reporting.summary import summary_sentences
from dvr_cli.reporting.tables import RowHead, flattened, protocol_section
from dvr_cli.surfaces.mesh import Mesh
from tests.reporting.html_facts import PageFacts

TRIANGLE = Mesh(np.eye(3), np.array([[0, 1, 2]]))


def row(values, better="lower"):
    return MeasuredRow("accuracy", "accuracy", "mm", better, tuple(values))


def evaluation(**values):
    directions = {"accuracy": "lower", "completeness": "lower", "chamfer": "lower", "chamfer_percent": "lower"}
    measures = tuple(Measure(name, value, "", directions.get(name, "higher")) for name, value in values.items())
    return Evaluation("plain", {"seed": 1}, measures)


def column(name, family, evaluations, trim=None, seconds=None):
    return Column(name, family, TRIANGLE, tuple(evaluations), trim, seconds)


@pytest.mark.parametrize(
    ("values", "better", "best"),
    [
        ((3.0, 1.0, 2.0), "lower", (1,)),
        ((3.0, 1.0, 2.0), "higher", (0,)),
        ((3.0, 1.0, 2.0), "neither", ()),
        ((None, 1.0, 2.0), "lower", (1,)),
        ((None, 1.0, None), "lower", ()),
        ((), "lower", ()),
        # What looks equal is level: a difference beyond the digits shown is not a victory.
        ((1.2346, 1.2344, 9.0), "lower", (1,)),
        ((1.2340, 1.23400001, 9.0), "lower", (0, 1)),
    ],
)
def test_best_values(values, better, best):
    assert row(values, better).best == best


def test_numbers_have_four_digits_and_counts_none():
    assert [row((0.123456, 12.3)).text(index) for index in (0, 1)] == ["0.12", "12.30"]
    assert row((0.123456, 0.5)).text(0) == "0.1235"
    assert row((1234567.0, None)).text(0) == "1\u202f234\u202f567" and row((2.0, None)).text(1) == "–"
    assert row((0.0, 0.0)).text(0) == "0" and row((1e-30, 2e-30)).decimals <= 8


def test_sides_are_joined_by_protocol_name_and_occurrence():
    first = [
        evaluation(accuracy=1.0),
        Evaluation("other", {}, (Measure("x", 1.0, "", "neither"),)),
        evaluation(psnr=2.0),
    ]
    second = [evaluation(completeness=5.0, accuracy=float("nan"))]
    protocols = side_by_side([first, second])
    assert [protocol.title for protocol in protocols] == [
        *("Distances to the reference (1)", "other"),
        "Distances to the reference (2)",
    ]
    rows = {measured.name: measured.values for measured in protocols[0].rows}
    assert rows == {"accuracy": (1.0, None), "completeness": (None, 5.0)}
    assert protocols[1].evaluations[1] is None


def test_settings_shared_by_all_stand_apart_from_those_of_one():
    shared = Evaluation("plain", {"seed": 1, "n": 5}, (Measure("accuracy", 1.0, "", "lower"),), ("Both.",))
    other = Evaluation("plain", {"seed": 1, "n": 6}, (Measure("accuracy", 2.0, "", "lower"),), ("Both.", "One."))
    section = protocol_section(side_by_side([[shared], [], [other]])[0], [RowHead("a"), RowHead("b"), RowHead("c")])
    assert section.settings == [("seed", "1"), ("a: n", "5"), ("c: n", "6")]
    assert section.notes == ["Both.", "c: One."]
    assert [cell.kind for table_row in section.table.rows for cell in table_row.cells] == ["best", "none", ""]


def test_settings_are_flattened():
    pairs = flattened({"a": {"b": {"c": [1, 2.5]}, "d": {}}, "e": True, "f": None, "g": 0.1})
    assert pairs == [("a.b.c", "1, 2.5"), ("a.d", "–"), ("e", "yes"), ("f", "–"), ("g", "0.1")]
    assert len(flattened({"long": "x" * 5000})[0][1]) < 700


def summary(columns):
    protocols = side_by_side([one.evaluations for one in columns])
    return summary_sentences([one.name for one in columns], protocols, seconds_of(columns))


def test_summary_says_who_is_best_in_what_whoever_it_is():
    ours = column("ours", "dvr", [evaluation(accuracy=2.0, completeness=1.0)], seconds=60.0)
    theirs = column("theirs", "colmap", [evaluation(accuracy=1.0, completeness=1.0)], seconds=50.0)
    assert summary([ours, theirs]) == [
        "theirs is best in accuracy (1).",
        "ours and theirs are level and best in completeness (1).",
        "The least time was 50 s, which theirs took.",
    ]


def test_summary_of_one_mesh_and_of_nothing_measured():
    assert "nothing to compare" in summary([column("ours", "dvr", [evaluation(accuracy=2.0)])])[0]
    assert "none is best" in summary([column("a", "x", []), column("b", "y", [])])[0]


def trimmed_columns():
    values = {10.0: (0.1, 0.9, 0.5), 0.0: (0.4, 0.1, 0.25), 7.0: (0.2, 0.2, 0.2)}
    columns = [
        column(f"poisson {trim:g}", "poisson", [evaluation(accuracy=a, completeness=c, chamfer=d)], trim)
        for trim, (a, c, d) in values.items()
    ]
    return [*columns, column("ours", "dvr", [evaluation(accuracy=0.2, completeness=0.3, chamfer=0.25)])]


def test_a_line_joins_trims_in_their_order():
    columns = trimmed_columns()
    curve = curves_of(columns, side_by_side([one.evaluations for one in columns]))[0]
    assert (curve.x.name, curve.y.name) == ("completeness", "accuracy")
    poisson, ours = curve.lines
    assert poisson.connected and [point.label for point in poisson.points] == ["0", "7", "10"]
    assert [(point.x, point.y) for point in poisson.points] == [(0.1, 0.4), (0.2, 0.2), (0.9, 0.1)]
    assert not ours.connected and ours.points[0].label == "ours"


def test_photographs_stand_in_without_a_reference():
    held = Evaluation("rephotography", {}, (Measure("ncc", 0.7, "", "higher"), Measure("covered", 0.9, "", "higher")))
    with_photographs = [column("a", "a", [held])]
    curves = curves_of(with_photographs, side_by_side([[held]]))
    assert [(curve.x.name, curve.y.name) for curve in curves] == [("covered", "ncc")]
    both = [held, evaluation(accuracy=0.2, completeness=0.3)]
    curves = curves_of([column("a", "a", both)], side_by_side([both]))
    assert [(curve.x.name, curve.y.name) for curve in curves] == [("completeness", "accuracy")]
    assert curves_of([column("a", "a", [])], ()) == []


def test_of_several_thresholds_the_usual_one_is_drawn():
    names = [f"{name}_at_{threshold}_percent" for threshold in ("0.25", "0.5", "1") for name in ("precision", "recall")]
    held = Evaluation("plain", {}, tuple(Measure(name, 0.5, "", "higher") for name in names))
    curve = curves_of([column("a", "a", [held])], side_by_side([[held]]))[0]
    assert (curve.x.name, curve.y.name) == ("recall_at_0.5_percent", "precision_at_0.5_percent")


def test_best_trim_stands_for_its_family():
    columns = trimmed_columns()
    assert further_trims(columns, side_by_side([one.evaluations for one in columns])) == {0, 1}
    unmeasured = [column("a", "p", [], 0.0), column("b", "p", [], 7.0)]
    assert further_trims(unmeasured, ()) == {1}


def test_drawing_is_well_formed_and_holds_every_point():
    columns = trimmed_columns()
    columns.append(column("<script>", "x & y", [evaluation(accuracy=0.3, completeness=0.3)]))
    curve = curves_of(columns, side_by_side([one.evaluations for one in columns]))[0]
    drawing = draw_curve(curve, ["poisson", "dvr", "x & y"], "c")
    facts = PageFacts(drawing)
    assert not facts.unbalanced and not facts.open and not facts.all("script")
    assert sum(attributes.get("class") == "mark" for attributes in facts.all("path")) == len(columns)
    assert "<script>" in "".join(facts.text_in("text"))


@pytest.mark.parametrize("values", [[1.0, 2.0], [5.0], [0.0], [-1.0, 1.0], [1e-6, 1.0], [0.99991, 0.99992], [0.0, 1e9]])
def test_axes_hold_their_values_and_have_ticks(values):
    axis = axis_for(values, 10.0, 110.0)
    places = [axis.place(value) for value in sorted(values)]
    assert all(10 <= place <= 110 for place in places) and places == sorted(places)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 25 and all(10 - 1e-6 <= place <= 110 + 1e-6 for place, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)
    for place, text in ticks:
        assert axis.place(float(text)) == pytest.approx(place, abs=1.0)


def test_round_steps():
    assert [round_step(step) for step in (0.03, 1.0, 1.01, 60.0)] == [0.05, 1.0, 2.0, 100.0]


def test_overview_shows_one_of_each_kind_and_something_of_a_protocol_unknown():
    held = evaluation(accuracy=1.0, chamfer=1.0, chamfer_percent=0.1, f_at_1_percent=0.5, f_at_2_percent=0.6)
    unknown = Evaluation("other", {}, (Measure("count", 3.0, "", "neither"), Measure("x", 1.0, "", "lower")))
    plain, other = side_by_side([[held, unknown]])
    assert [measured.name for measured in plain.key_rows] == ["accuracy", "chamfer_percent", "f_at_1_percent"]
    assert [measured.name for measured in other.key_rows] == ["x"]
