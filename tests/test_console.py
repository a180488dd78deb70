"""Laws of what a command says while it works: readable in a log, live on a terminal, silent on request."""

import io
import json
import sys

import pytest

from dvr_cli.console import Output, PlainProgress, describe, duration
from dvr_cli.fitting.events import Message, StepReport


def step_report(step: int, stage: str = "level 1 of 3", **changes) -> StepReport:
    values = {"losses": {"rgb": 0.03125, "ncc": 0.5}, "psnr": 24.06, "silhouette_iou": 0.9812, "seconds_left": 41.0}
    return StepReport(stage, step, 1000, **(values | changes))


def test_plain_progress_says_at_most_one_line_every_five_seconds():
    now: list[float] = [0.0]
    lines: list[str] = []
    progress = PlainProgress(lines.append, clock=lambda: now[0])
    for step in range(100):
        progress(step_report(step))
        now[0] += 0.125
    assert [line.split()[5] for line in lines] == ["0/1000", "40/1000", "80/1000"]


def test_plain_progress_never_passes_over_stages_messages_and_the_end():
    lines: list[str] = []
    progress = PlainProgress(lines.append, clock=lambda: 0.0)
    for event in (step_report(1), Message("kernels are compiled"), step_report(2, "level 2 of 3"), step_report(1000)):
        progress(event)
    assert len(lines) == 4


def test_unknown_values_are_left_out():
    assert describe(step_report(1)) == "0:41 left  psnr 24.1 dB  iou 0.981  rgb 0.0312  ncc 0.5"
    assert describe(step_report(1, losses={}, psnr=None, silhouette_iou=None, seconds_left=None)) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (-3, "0:00"), (59.7, "1:00"), (725, "12:05"), (3753, "1:02:33")]
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text


def test_quiet_leaves_results_only(capsys):
    output = Output(quiet=True)
    output.note("by the way")
    with output.progress() as report:
        report(step_report(1))
        report(Message("half-way"))
    output.result("done", {"finished": True})
    assert capsys.readouterr() == ("done\n", "")


def test_json_replaces_the_text(capsys):
    Output(as_json=True).result("done", {"finished": True})
    assert json.loads(capsys.readouterr().out) == {"finished": True}


def test_live_progress_shows_names_as_they_are(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with Output().progress() as report:
        report(Message("reading photo[1].png"))
        report(step_report(500, "level [2] of 3"))
    shown = terminal.getvalue()
    assert (
        "reading photo[1].png" in shown and "level [2] of 3" in shown and "500/1000" in shown and "psnr 24.1" in shown
    )
