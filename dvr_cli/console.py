"""What a command says: results on stdout, notes and progress on stderr.

On a terminal the progress is a live bar; elsewhere it is a plain line now and then, so that log files stay readable.
With `--quiet` only results and errors are left; with `--json` the result is one JSON object.
Streams may be closed, read by nobody, or lack letters (`usable_streams`, `say`): no command fails for that.
"""

import codecs
import io
import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dvr_cli.fitting.events import Message, StepReport

Report = Callable[[StepReport | Message], None]

_SECONDS_BETWEEN_LINES = 5.0


def usable_streams() -> None:
    """Give closed streams a place that leads nowhere, and all letters a form that their stream can show."""
    codecs.register_error("plain", plain)
    # In this order each gets the lowest number that is free, which is its own. A file of results that was opened later
    # would else get it, and libraries that print would print into that file.
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            opened = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(opened.fileno(), True)
            setattr(sys, name, opened)
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def plain(error: UnicodeError) -> tuple[bytes, int]:
    """The error handler of streams: lines of tables as -, | and +, every other letter as an escape.

    Bytes of a file's name that are no text stay as they are.

    >>> plain(UnicodeEncodeError("ascii", "┃ä", 0, 2, ""))
    (b'|\\\\xe4', 2)
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return b"".join(map(_plain_letter, error.object[error.start : error.end])), error.end


def _plain_letter(letter: str) -> bytes:
    if "\udc80" <= letter <= "\udcff":
        return letter.encode("ascii", "surrogateescape")
    name = unicodedata.name(letter, "")
    if not name.startswith("BOX DRAWINGS"):
        return letter.encode("ascii", "backslashreplace")
    straight = " AND " not in name
    return (
        b"-" if straight and name.endswith("HORIZONTAL") else b"|" if straight and name.endswith("VERTICAL") else b"+"
    )


def say(text: str, stream: TextIO) -> None:
    """Print a line. When nobody reads the stream any more, it leads nowhere from then on, and the work goes on."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Output:
    """Where the words of one command go."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json

    def note(self, text: str) -> None:
        """Say something in passing, on stderr; nothing with --quiet."""
        if not self.quiet:
            say(text, sys.stderr)

    def result(self, text: str, values: dict[str, Any]) -> None:
        """Say the result on stdout: as text, or as JSON with --json."""
        say(json.dumps(values, indent=1) if self.as_json else text, sys.stdout)

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Show what the engine reports until the block ends."""
        if self.quiet:
            yield lambda event: None
        elif sys.stderr.isatty():
            with _live_progress() as report:
                yield report
        else:
            yield PlainProgress(self.note)


class PlainProgress:
    """Progress as lines: one when a stage begins, then at most one every few seconds, and one at the end."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._stage: str | None = None
        self._said_at = -float("inf")

    def __call__(self, event: StepReport | Message) -> None:
        if isinstance(event, Message):
            self._say(event.text)
            return
        now = self._clock()
        due = now - self._said_at >= _SECONDS_BETWEEN_LINES
        if due or event.stage != self._stage or event.step == event.steps:
            self._stage, self._said_at = event.stage, now
            self._say(f"{event.stage}  step {event.step}/{event.steps}  {describe(event)}".rstrip())


def describe(report: StepReport) -> str:
    """Time left, quality and losses in one short line, e.g. `0:41 left  psnr 24.1 dB  iou 0.981  rgb 0.0312`.

    The losses come last: where a line is cut off, they are what matters least.
    """
    parts = []
    if report.seconds_left is not None:
        parts.append(f"{duration(report.seconds_left)} left")
    if report.psnr is not None:
        parts.append(f"psnr {report.psnr:.1f} dB")
    if report.silhouette_iou is not None:
        parts.append(f"iou {report.silhouette_iou:.3f}")
    return "  ".join(parts + [f"{name} {value:.3g}" for name, value in report.losses.items()])


def duration(seconds: float) -> str:
    """Seconds as `0:41`, `12:05` or `1:02:33`."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


@contextmanager
def _live_progress() -> Iterator[Report]:
    """A bar, and below it the state of the run in words; messages scroll by above."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.text import Text

    console = Console(stderr=True)
    counted = TextColumn("step {task.completed:.0f}/{task.total:.0f}")
    bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(24), counted, console=console)
    task = bar.add_task("starting", total=1)
    # Two lines, because one would be cut off on a terminal of 80 columns.
    state = Text(no_wrap=True, overflow="ellipsis")

    def report(event: StepReport | Message) -> None:
        if isinstance(event, Message):
            console.print(Text(event.text))
            return
        bar.update(task, description=event.stage, completed=event.step, total=event.steps)
        state.plain = describe(event)

    # Four times a second is enough to watch, and leaves the processor to the engine.
    with Live(Group(bar, state), console=console, refresh_per_second=4):
        yield report
