"""Laws of a suite's report: every row is there, means are means, failures are said."""

import json

import pytest

from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.comparing.suite_rows import SuiteRow, evaluation_from_json
from dvr_cli.errors import CompareError
from dvr_cli.reporting.schema import SuiteReport
from dvr_cli.reporting.suite_report import mean_evaluations, write_suite_report
from tests.reporting.html_facts import PageFacts


def row(scene, preset="fast", chamfer=1.0, seconds=60.0, extra=None):
    measures = [Measure("chamfer", chamfer, "mm", "lower", "Chamfer")]
    measures += [] if extra is None else [Measure("f_score", extra, "", "higher")]
    return SuiteRow(scene, preset, "done", seconds, 1.5, (Evaluation("plain", {"seed": 0}, tuple(measures)),))


FAILED = SuiteRow("<b>broken</b>", "fast", "failed", error="cameras.npz has no key <world_mat_0>.")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rows = [row("a", chamfer=1.0), row("b", chamfer=2.0), row("a", "quality", 0.5, None), FAILED]
    return write_suite_report(rows, tmp_path_factory.mktemp("suite"), title="Two", command_line="dvr bench x")


def test_json_keeps_to_the_schema_and_holds_every_row(page):
    text = (page.parent / "report.json").read_text(encoding="utf-8")
    report = SuiteReport.model_validate_json(text)
    assert json.loads(report.model_dump_json()) == json.loads(text)
    assert [(one.scene, one.preset, one.status) for one in report.rows] == [
        *(("a", "fast", "done"), ("b", "fast", "done")),
        *(("a", "quality", "done"), ("<b>broken</b>", "fast", "failed")),
    ]
    means = {mean.preset: mean for mean in report.means}
    assert means["fast"].scenes == 2 and means["fast"].seconds == 60.0
    assert means["fast"].evaluations[0].measures["chamfer"].value == 1.5
    assert means["quality"].scenes == 1 and means["quality"].seconds is None


def test_page_says_everything_and_names_stay_text(page):
    text = page.read_text(encoding="utf-8")
    facts = PageFacts(text)
    assert not facts.unbalanced and not facts.open and not facts.all("b")
    heads = [name.strip() for name in facts.text_in("th")]
    assert {"a (fast)", "b (fast)", "a (quality)", "<b>broken</b> (fast)", "mean of 2 (fast)"} <= set(heads)
    assert "cameras.npz has no key &lt;world_mat_0&gt;." in text and "1.500" in facts.text_in("td")


def test_means_need_the_measure_of_every_row():
    means = mean_evaluations([row("a", extra=0.5), row("b", chamfer=3.0)])
    assert [measure.name for measure in means[0].measures] == ["chamfer"] and means[0].value("chamfer") == 2.0
    assert mean_evaluations([row("a", chamfer=None), row("b")]) == ()
    assert mean_evaluations([]) == ()


def test_nothing_to_report(tmp_path):
    with pytest.raises(CompareError, match="no finished scene"):
        write_suite_report([], tmp_path)


def test_evaluations_come_back_from_json():
    evaluation = Evaluation(
        "plain", {"n": 3}, (Measure("a", 1.5, "mm", "lower"), Measure("b", None, "", "neither")), ("x.",)
    )
    assert evaluation_from_json(json.loads(json.dumps(evaluation.as_json()))) == evaluation


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"protocol": "plain", "settings": {}, "measures": []},
        {"protocol": "plain", "settings": {}, "measures": {"a": {"value": 1, "unit": "", "better": "larger"}}},
        {"protocol": "plain", "settings": {}, "measures": {"a": {"value": "x", "unit": "", "better": "lower"}}},
        {"protocol": "plain", "settings": None, "measures": {}},
    ],
)
def test_bad_evaluations_are_refused(values):
    with pytest.raises(CompareError, match="dvr evaluate --json"):
        evaluation_from_json(values)
