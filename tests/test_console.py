"""Laws of what a command says while it works: readable in a log, live on a terminal, silent on request."""

import io
import json
import os
import subprocess
import sys

import pytest

from dvr_cli.console import Output, PlainProgress, describe, duration, say, usable_streams
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


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("ascii", "Größe", rb"Gr\xf6\xdfe"),
        ("ascii", "┏━┳━┓\n┃ä│b╽\n└─┴─╯", b"+-+-+\n|\\xe4|b+\n+-+-+"),
        ("latin-1", "Größe ═║ …", "Größe -| ".encode("latin-1") + rb"\u2026"),
        ("utf-8", "Größe ━", "Größe ━".encode()),
        ("utf-8", os.fsdecode(b"bad\xff.png"), b"bad\xff.png"),
        ("ascii", "\udcc3\udcb6", "ö".encode()),
    ],
)
def test_letters_that_a_stream_lacks_are_written_otherwise(monkeypatch, encoding, text, written):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
    usable_streams()
    Output().result(text, {})
    assert buffer.getvalue() == written + b"\n"


def test_nobody_who_reads_is_no_reason_to_stop():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        say("first", stream)
        say("second", stream)


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed, tmp_path):
    """And what a library prints to the number of a stream goes into no file that is opened meanwhile."""
    code = (
        "import os; from dvr_cli.console import *; usable_streams(); file = open('results', 'w'); "
        "Output().result('result', {}); Output().note('note'); "
        "[os.write(number, b'printed\\n') for number in (1, 2)]; print(file.fileno() > 2)"
    )
    line = f"'{sys.executable}' -c \"{code}\" {closed}"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and (tmp_path / "results").read_text() == ""
    assert run.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "result\nprinted\nTrue\n")
    assert run.stderr == ("" if "2>&-" in closed else "note\nprinted\n")


def test_command_whose_output_nobody_reads_ends_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "dvr_cli", "formats"]
    run = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert run.returncode == 0 and run.stderr == ""


@pytest.mark.parametrize("arguments", ["formats", "--version", "--help", "inspect nowhere", "frobnicate"])
def test_commands_with_closed_streams_end_with_their_own_code(arguments):
    program = f"'{sys.executable}' -m dvr_cli {arguments}"
    usual = subprocess.run(["sh", "-c", program], capture_output=True).returncode
    assert subprocess.run(["sh", "-c", f"{program} <&- >&- 2>&-"]).returncode == usual
