"""Fuzz readers: `python -m tests.fuzzing.run --reader all --inputs 10000`. Exit code 1 if any input failed.

An input fails when it ends in anything but a scene or a `DvrError`, takes more than 10 s or 2 GB, or writes, starts or
connects to anything. An input is told by its reader, the seed and its number; `--first N --inputs 1` repeats it.
"""

import argparse
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.fuzzing.templates import subjects

NATIVE_SECONDS = 20
"""Longer than the worker's own alarm, which cannot interrupt native code."""
START_SECONDS = 180
MOST_FAILURES = 200


@dataclass
class Tally:
    """What became of the inputs of one reader."""

    name: str
    scenes: int = 0
    errors: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0
    """Bytes."""

    @property
    def inputs(self) -> int:
        """How many were tried."""
        return self.scenes + self.errors + len(self.failures)


def fuzz(names: list[str], first: int, inputs: int, seed: int) -> list[Tally]:
    """Try inputs of some readers, in a process that is replaced whenever it dies."""
    tallies = {name: Tally(name) for name in names}
    following = dict.fromkeys(names, first)
    while jobs := [(name, start, first + inputs) for name, start in following.items() if start < first + inputs]:
        with tempfile.TemporaryDirectory() as folder:
            _one_process(tallies, following, jobs, Path(folder), seed)
        for name, tally in tallies.items():
            if len(tally.failures) >= MOST_FAILURES:
                following[name] = first + inputs
    return list(tallies.values())


def _one_process(
    tallies: dict[str, Tally], following: dict[str, int], jobs: list[tuple[str, int, int]], folder: Path, seed: int
) -> None:
    """Do the jobs until the process ends; `following` is then the first input of each reader that is still to do."""
    command = [sys.executable, "-m", "tests.fuzzing.worker", json.dumps(jobs), str(folder), str(seed)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    error_file, started = folder / "stderr", None
    with (
        error_file.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as process,
    ):
        assert process.stdout is not None
        limit = time.monotonic() + START_SECONDS
        for line in _lines(process.stdout):
            if line is None:
                if time.monotonic() > limit:
                    process.kill()
                    break
                continue
            report, limit = json.loads(line), time.monotonic() + NATIVE_SECONDS
            started = None if "outcome" in report else report
            if "outcome" in report:
                _count(tallies[report["reader"]], report, seed)
                following[report["reader"]] = report["index"] + 1
        code = process.wait()
    tail = error_file.read_text(errors="replace")[-1500:]
    if started is not None:
        name, index = started["reader"], started["index"]
        tallies[name].failures.append(f"{name} --seed {seed} --first {index}: the process died ({code})\n{tail}")
        following[name] = index + 1
    elif code != 0:
        for name, _, end in jobs:
            tallies[name].failures.append(f"{name}: the worker could not go on ({code})\n{tail}")
            following[name] = end


def _lines(stream: IO[bytes]) -> Any:
    """Lines as they come, and None after each second without one."""
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ)
    pending = b""
    while True:
        if not selector.select(timeout=1.0):
            yield None
            continue
        block = os.read(stream.fileno(), 65536)
        if not block:
            return
        *lines, pending = (pending + block).split(b"\n")
        yield from lines


def _count(tally: Tally, report: dict[str, Any], seed: int) -> None:
    tally.slowest = max(tally.slowest, report["seconds"])
    tally.peak = max(tally.peak, report["peak"])
    if report["outcome"] == "scene":
        tally.scenes += 1
    elif report["outcome"] == "error":
        tally.errors += 1
    else:
        where = f"{tally.name} --seed {seed} --first {report['index']} ({', '.join(report['files'])})"
        tally.failures.append(f"{where}: {report['text']}")


def _kinds(failures: list[str]) -> list[str]:
    """One failure of each kind, with how many there are: those with the same last place and error are one kind."""
    kinds: dict[str, list[str]] = {}
    for failure in failures:
        lines = failure.strip().splitlines()
        places = [line.strip() for line in lines if "dvr_cli" in line and "line " in line]
        # Numbers differ from one input to the next.
        kinds.setdefault(f"{places[-1:]} {re.sub(r'[0-9]+', '', lines[-1])[:60]}", []).append(failure)
    return [f"{len(same)} times, first {same[0]}" for same in kinds.values()]


def main() -> int:
    """Parse the command line, fuzz, print a table and the failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", default="all", help="a name, several with commas, or all")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = subjects() if arguments.reader == "all" else arguments.reader.split(",")
    print(f"{'reader':<18}{'inputs':>8}{'scenes':>8}{'errors':>8}{'failures':>10}{'slowest':>9}{'peak MiB':>10}")
    failed = False
    for name in names:
        (tally,) = fuzz([name], arguments.first, arguments.inputs, arguments.seed)
        failed |= bool(tally.failures)
        counts = f"{tally.inputs:>8}{tally.scenes:>8}{tally.errors:>8}{len(tally.failures):>10}"
        print(f"{name:<18}{counts}{tally.slowest:>8.2f}s{tally.peak >> 20:>10}", flush=True)
        for failure in _kinds(tally.failures):
            print("  " + failure.replace("\n", "\n    "), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
