"""Laws of report.json: it keeps to its schema, holds everything, and has no number that JSON cannot say."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from pydantic import ValidationError

from dvr_cli.reporting import schema
from dvr_cli.reporting.document import report_of
from dvr_cli.reporting.json_values import json_ready
from dvr_cli.reporting.machine import describe_machine, package_versions
from dvr_cli.reporting.schema import Report, SuiteReport
from tests.reporting.tiny_comparison import tiny_comparison

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module")
def values(written):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((written / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_written_report_is_what_the_models_say(values, written):
    report = Report.model_validate_json((written / "report.json").read_text(encoding="utf-8"))
    assert json.loads(report.model_dump_json()) == values
    with pytest.raises(ValidationError):
        Report.model_validate({**values, "schema_version": 2})
    with pytest.raises(ValidationError):
        Report.model_validate({**values, "another": 1})


def test_everything_of_the_comparison_is_there(values, comparison):
    assert [column["name"] for column in values["columns"]] == [column.name for column in comparison.columns]
    for column, held in zip(comparison.columns, values["columns"], strict=True):
        assert (held["family"], held["trim"], held["seconds"]) == (column.family, column.trim, column.seconds)
        assert held["notes"] == list(column.notes)
        for evaluation, kept in zip(column.evaluations, held["evaluations"], strict=True):
            assert kept["protocol"] == evaluation.protocol and kept["notes"] == list(evaluation.notes)
            assert list(kept["measures"]) == [measure.name for measure in evaluation.measures]
            for measure in evaluation.measures:
                stated = kept["measures"][measure.name]
                assert (stated["unit"], stated["better"], stated["label"]) == (
                    *(measure.unit, measure.better),
                    measure.heading,
                )
    assert values["missing"] == [{"name": "openmvs", "reason": "It is not installed."}]
    assert values["seed"] == 3 and values["command_line"] == "dvr compare a b"
    assert values["scene"]["judged_views"] == [comparison.views[index].name for index in comparison.judged_views]
    assert datetime.fromisoformat(values["created"]).tzinfo is not None


def test_numbers_that_are_not_finite_are_null(values):
    assert values["settings"] == {"seed": 3, "cull": 12, "limit": None}
    assert values["columns"][2]["settings"] == {"depth": 9, "spacing": None}
    last = {evaluation["protocol"]: evaluation["measures"] for evaluation in values["columns"][3]["evaluations"]}
    assert last["rephotography"]["ncc"]["value"] is None and last["plain"]["accuracy"]["value"] is None


def test_created_is_kept_with_its_zone(comparison):
    moment = datetime(2020, 2, 3, 4, 5, tzinfo=UTC)
    assert json.loads(report_of(comparison, created=moment).model_dump_json())["created"] == "2020-02-03T04:05:00Z"
    with pytest.raises(ValidationError):
        report_of(comparison, created=datetime(2020, 2, 3))


def test_mesh_statistics_of_a_sphere(values):
    from tests.reporting.tiny_comparison import RADIUS

    scale = np.cbrt(np.linalg.det(tiny_comparison(views=1).scene.world_from_unit[:3, :3]))
    whole, half, hull = (values["columns"][index]["mesh"] for index in (0, 2, 3))
    radius = RADIUS * scale
    assert whole["watertight"] and whole["components"] == 1 and whole["has_colors"] and not hull["has_colors"]
    assert whole["vertices"] - 1.5 * whole["faces"] + whole["faces"] == 2
    assert whole["area"] == pytest.approx(4 * math.pi * radius**2, rel=0.02)
    assert whole["volume"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)
    assert not half["watertight"] and half["volume"] is None
    assert half["faces"] < 0.6 * whole["faces"] and half["vertices"] < 0.6 * whole["vertices"]
    sides = np.subtract(whole["upper_corner"], whole["lower_corner"])
    np.testing.assert_allclose(sides, 2 * radius, rtol=0.02)


def test_json_ready_values():
    value = {"a": np.arange(2), 3: (np.float32(0.5), np.nan, -np.inf), "path": PurePosixPath("x/y"), "none": None}
    expected = {"a": [0, 1], "3": [0.5, None, None], "path": "x/y", "none": None}
    assert json_ready(value) == expected == json.loads(json.dumps(json_ready(value), allow_nan=False))
    assert json_ready(True) is True and json_ready(np.bool_(False)) is False


def test_machine_and_packages_are_named():
    machine = describe_machine()
    assert machine.cpu and machine.cores >= 1 and (machine.memory_gb is None or machine.memory_gb > 0.1)
    assert {"numpy", "open3d", "torch"} <= set(package_versions())


def test_every_field_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    for model in (Report, SuiteReport):
        document = model.model_json_schema()
        parts = [document, *document["$defs"].values()]
        fields = {name for part in parts for name in part.get("properties", {})}
        assert len(fields) > 10
        missing = sorted(name for name in fields if f"`{name}`" not in text)
        assert not missing, f"docs/report.md does not say what {missing} are"
    assert f"`schema_version` is {schema.SCHEMA_VERSION}" in text
