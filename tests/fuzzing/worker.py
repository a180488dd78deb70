"""One process that feeds mutated scenes to a reader and watches what it does; started by `fuzzing.run`.

Reports one JSON line per input before and after it, so that whoever started it knows which input ended the process.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dvr_cli.errors import DvrError
from dvr_cli.fitting.memory import peak_memory_gb
from dvr_cli.scenes.images import load_views
from dvr_cli.scenes.readers import read_scene
from tests.fuzzing.mutations import mutate
from tests.fuzzing.templates import Template, write_templates

SECONDS, MEMORY = 10, 2 << 30
LONGEST_MESSAGE = 10_000
WRITING_EVENTS = (
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect"),
    *("socket.bind", "socket.getaddrinfo", "shutil.rmtree", "shutil.move", "shutil.copyfile", "pickle.find_class"),
)
FILE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class TookTooLong(BaseException):
    """Raised by the alarm; no reader can catch it by accident."""


class Watch:
    """An audit hook that notes writes, processes, sockets, and reads of files that a scene must not reach."""

    def __init__(self) -> None:
        self.active = False
        self.violations: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in WRITING_EVENTS:
            self.violations.append(f"{event} {arguments!r}"[:300])
        elif event == "open":
            path, mode, flags = arguments
            by_mode = isinstance(mode, str) and set(mode) & set("wax+")
            by_flags = isinstance(flags, int) and flags & FILE_FLAGS
            if by_mode or by_flags or (isinstance(path, str) and ("secret" in path or "passwd" in path)):
                self.violations.append(f"{event} {arguments!r}"[:300])


class Scene:
    """A template whose files can be damaged and restored."""

    def __init__(self, template: Template) -> None:
        self.template = template
        paths = sorted(path for path in template.folder.rglob("*") if path.is_file())
        self.files = {path: path.read_bytes() for path in paths}
        images = (".png", ".jpg", ".exr")
        self.cameras = [p for p in paths if p.suffix not in images or (template.depth and template.depth in p.parts)]
        if template.depth:
            self.cameras = [path for path in self.cameras if template.depth in path.parts]

    def damage(self, generator: np.random.Generator) -> list[Path]:
        """Change some files; returns which. Camera files three times out of four, since they hold most of the rules."""
        changed = []
        for _ in range(int(generator.choice([1, 1, 1, 2]))):
            pool = self.cameras if generator.random() < 0.75 else list(self.files)
            path = pool[int(generator.integers(len(pool)))]
            kind = generator.random()
            if path in changed:
                continue
            changed.append(path)
            if kind < 0.01:
                path.unlink(missing_ok=True)
            elif kind < 0.02:
                path.unlink(missing_ok=True)
                path.mkdir(exist_ok=True)
            elif kind < 0.03:
                path.unlink(missing_ok=True)
                path.symlink_to(path.name)
            elif path.is_file():
                path.write_bytes(mutate(generator, path.name, path.read_bytes()))
        return changed

    def restore(self, changed: list[Path]) -> None:
        for path in changed:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.is_symlink():
                path.unlink()
            path.write_bytes(self.files[path])


def try_scene(scene: Scene, generator: np.random.Generator, watch: Watch) -> tuple[str, str]:
    """What a reader makes of the scene as it lies there: "scene", "error" or "failure", and a text."""
    template = scene.template
    depth = template.folder / template.depth if template.depth else None
    forced = template.format_name if generator.random() < 0.8 else None
    watch.violations.clear()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    watch.active = True
    try:
        read = read_scene(template.folder, masks="any", format_name=forced, depth=depth)
        load_views(read, 64, threads=1)
        outcome, text = "scene", read.format
    except DvrError as error:
        outcome, text = _judge_message(str(error))
    except TookTooLong:
        outcome, text = "failure", f"took more than {SECONDS} s\n{traceback.format_exc()[-1500:]}"
    except Exception:
        outcome, text = "failure", traceback.format_exc()[-3000:]
    finally:
        watch.active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    if watch.violations:
        return "failure", f"touched what it must not: {watch.violations[:3]}"
    return outcome, text


def _judge_message(message: str) -> tuple[str, str]:
    """A clean error can be printed, is short, and ends with advice on a line of its own."""
    try:
        message.encode("utf-8")
    except UnicodeEncodeError:
        return "failure", f"a message that cannot be printed: {message!r}"[:500]
    if len(message) > LONGEST_MESSAGE or "\n" not in message.strip():
        return "failure", f"a message of {len(message)} characters, or without advice: {message[:300]!r}"
    return "error", message[:200]


def report_line(report: dict[str, Any]) -> None:
    """One line for whoever started this process."""
    os.write(_REPORTS, json.dumps(report).encode() + b"\n")


_REPORTS = 1
"""File descriptor of the reports; standard output itself is given to libraries that print."""


def main(jobs: list[tuple[str, int, int]], folder: Path, seed: int) -> None:
    """Try inputs `first` to `end` of each job (reader, first, end) in `folder`."""
    signal.signal(signal.SIGALRM, raise_alarm)
    warnings.simplefilter("ignore")
    (folder / "secret.png").write_bytes(b"not for readers")
    watch = Watch()
    scenes = {name: [Scene(template) for template in write_templates(folder / "scenes", name)] for name, _, _ in jobs}
    for scene in (scene for of_reader in scenes.values() for scene in of_reader):
        # The untouched scene must be read, and what is imported late is imported before memory is limited.
        outcome, text = try_scene(scene, np.random.default_rng(0), watch)
        if outcome != "scene" and not _is_import(text):
            raise SystemExit(f"{scene.template.folder.name} as written is no scene: {text}")
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_memory() + 2 * MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, first, end in jobs:
        for index in range(first, end):
            if not _one_input(name, index, scenes[name], seed, watch):
                return


def _one_input(name: str, index: int, scenes: list[Scene], seed: int, watch: Watch) -> bool:
    """Try one input and report; False when this process has taken too much memory to go on."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    scene = scenes[int(generator.integers(len(scenes)))]
    report: dict[str, Any] = {"reader": name, "index": index}
    report_line(report)
    changed = scene.damage(generator)
    started = time.perf_counter()
    outcome, text = try_scene(scene, generator, watch)
    seconds = time.perf_counter() - started
    # Not from rusage, in which the process that started this one counts too.
    peak = round(1e9 * (peak_memory_gb() or 0.0))
    if outcome != "failure" and peak > MEMORY:
        outcome, text = "failure", f"memory {peak >> 20} MiB after {text}"
    report |= {"outcome": outcome, "text": text, "seconds": seconds, "peak": peak}
    report_line(report | {"files": [path.name for path in changed]})
    scene.restore(changed)
    # The peak of a process never falls; a fresh one takes over.
    return peak <= MEMORY


def raise_alarm(*_: object) -> None:
    """What the alarm does."""
    raise TookTooLong


def _is_import(text: str) -> bool:
    return "touched what it must not" in text


def _virtual_memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    _REPORTS = os.dup(1)
    os.dup2(2, 1)
    main(json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
