"""Names of findings: the same in the code, in the documentation and in the tests; and how a diagnosis is summed up."""

import re
from pathlib import Path

import numpy as np
import pytest

from dvr_cli.diagnosis.coverage import coverage_findings, coverage_of
from dvr_cli.diagnosis.epipolar import (
    EpipolarFigures,
    epipolar_findings,
    fundamental_matrix,
    nearest_pairs,
    sampson_distance,
)
from dvr_cli.diagnosis.findings import TITLES, Diagnosis, Finding, sorted_findings
from dvr_cli.diagnosis.rig_picture import CULPRIT, rig_picture
from tests.diagnosis.good_scene import good_scene

ROOT = Path(__file__).parent.parent.parent


def table_rows():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].strip() != "symptom"]


def test_documented_names_are_those_of_the_code():
    documented = {name for row in table_rows() for name in re.findall(r"`([a-z-]+)`", row[2])}
    assert documented == set(TITLES)
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in table_rows())


def test_every_name_is_used_and_tested():
    code = "".join(path.read_text() for path in (ROOT / "dvr_cli" / "diagnosis").glob("*.py"))
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "diagnosis").glob("*.py"))
    for name in TITLES:
        assert code.count(f'"{name}"') >= 2, name
        assert f'"{name}"' in tests, name


def test_findings_have_known_names_only():
    with pytest.raises(ValueError, match="no finding"):
        Finding("mask-shfited", "note", "x")


def test_the_worst_finding_decides():
    note, warning, fatal = (
        Finding(n, s, "text", "advice", (f"{s}.png",))
        for n, s in (("no-masks", "note"), ("blurred", "warning"), ("one-view", "fatal"))
    )
    assert sorted_findings([note, fatal, warning]) == (fatal, warning, note)
    assert Diagnosis((note,)).verdict == "Cameras, masks and bounds agree."
    assert not Diagnosis((warning, note)).fatal and "one thing" in Diagnosis((warning, note)).verdict
    worst = Diagnosis((fatal, warning, note))
    assert worst.fatal and worst.culprits() == ("fatal.png", "warning.png") and worst.refusal() == "text.\nadvice."
    assert Diagnosis((warning,) * 7).warning_lines(5)[-1] == "dvr inspect says more."
    assert len(Diagnosis((warning,) * 5).warning_lines(5)) == 5


def test_what_the_reader_chose_is_said_before_a_reconstruction():
    warning, note = Finding("blurred", "warning", "soft", "Sharpen"), Finding("reader-note", "note", "sparse/0 is read")
    other = Finding("coverage-gap", "note", "a gap")
    assert Diagnosis((warning, note, other)).warning_lines() == ["Warning: soft. Sharpen.", "Note: sparse/0 is read."]
    assert Diagnosis((warning, *[note] * 3)).warning_lines(2)[-2:] == [
        "Note: sparse/0 is read.",
        "dvr inspect says more.",
    ]


def test_points_of_one_object_have_no_epipolar_error():
    """A point seen by two cameras fulfils their epipolar constraint; one moved by a pixel across the line does not."""
    scene, views, _ = good_scene()
    points = np.random.default_rng(0).normal(scale=0.3, size=(50, 3)) + scene.world_from_unit[:3, 3]
    first, second = views[0].camera, views[3].camera
    x1, x2 = first.project(points)[0], second.project(points)[0]
    matrix = fundamental_matrix(first, second)
    np.testing.assert_allclose(sampson_distance(matrix, x1, x2), 0, atol=1e-7)
    line = np.hstack([x1, np.ones((50, 1))]) @ matrix.T
    across = line[:, :2] / np.linalg.norm(line[:, :2], axis=1, keepdims=True)
    moved = sampson_distance(matrix, x1, x2 + across)
    assert (moved > 0.3).all() and (moved <= 1 + 1e-3).all()


def test_coverage_of_cameras_all_around():
    coverage = coverage_of(good_scene()[0])
    # Sixteen caps of 30 degrees overlap a little and cover 6.7 % of the sphere each.
    assert 0.8 < coverage.share <= 1 and coverage.gap_degrees < 50 and 30 < coverage.spacing_degrees < 60


def test_many_views_are_told_what_they_take():
    from dataclasses import replace

    scene = good_scene()[0]
    many = tuple(replace(scene.views[index % 16], name=f"{index}.png") for index in range(1000))
    findings = coverage_findings(replace(scene, views=many), None)
    assert [finding.name for finding in findings] == ["many-views"]
    # 160 x 120 pixels, 13 bytes each.
    assert "1000 views" in findings[0].text and "0.2 GB" in findings[0].text


def test_picture_shows_culprits_in_red():
    scene = good_scene()[0]

    def red(diagnosis):
        return (np.asarray(rig_picture(scene, diagnosis)) == np.array(CULPRIT)).all(axis=2).sum()

    assert red(Diagnosis(())) == 0
    assert red(Diagnosis((Finding("pose-outlier", "warning", "x", "", (scene.views[3].name,)),))) > 100


def epipolar(errors, views=None):
    """Figures with these errors by view; the same at full size."""
    counts = dict.fromkeys(errors, 100)
    return epipolar_findings(EpipolarFigures(errors, counts, errors, tuple(views or errors)))


def test_views_whose_matches_contradict_the_cameras_are_named():
    good = {f"{index}.png": 0.3 + 0.05 * index for index in range(8)}
    assert epipolar(good) == []
    (finding,) = epipolar({**good, "3.png": 9.0})
    assert finding.name == "epipolar-error" and finding.views == ("3.png",)
    (finding,) = epipolar({name: 10 * error + 2.5 for name, error in good.items()})
    assert finding.name == "epipolar-error" and finding.views == ()
    (finding,) = epipolar({"0.png": 0.3}, good)
    assert finding.name == "few-matches" and finding.severity == "note"


def test_pairs_of_neighbours_leave_out_cameras_at_one_place():
    cameras = [view.camera for view in good_scene()[1]]
    pairs = nearest_pairs([*cameras, cameras[0]])
    assert all(first < second for first, second in pairs) and (0, len(cameras)) not in pairs
    assert {index for pair in pairs for index in pair} == set(range(len(cameras) + 1))
