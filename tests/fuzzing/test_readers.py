"""A hundred mutated scenes per reader; the full number: `python -m tests.fuzzing.run --inputs 10000`."""

import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from sizes import largest

from dvr_cli.errors import SceneError
from tests.fuzzing import worker
from tests.fuzzing.mutations import mutate
from tests.fuzzing.run import fuzz
from tests.fuzzing.templates import subjects, write_templates

INPUTS = largest(200, 100)


def test_every_mutated_scene_ends_in_a_scene_or_a_clean_error():
    for tally in fuzz(subjects(), 0, INPUTS, seed=1):
        assert not tally.failures, "\n".join(tally.failures[:3])
        assert tally.inputs == INPUTS
        # Both must occur, or the mutations are too weak or too strong to say anything.
        assert tally.scenes > 0 and tally.errors > 0, tally


def test_same_generator_gives_the_same_damage():
    data = b"#name,x,y\n000000.png,1.5,2.5\n" * 20
    for name in ("a.csv", "a.bin", "a.txt"):
        first, second = (mutate(np.random.default_rng(3), name, data) for _ in range(2))
        assert first == second != data


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A scene, and a function that tries it with another `read_scene`."""
    monkeypatch.setattr(worker, "SECONDS", 0.2)
    previous = signal.signal(signal.SIGALRM, worker.raise_alarm)
    scene = worker.Scene(write_templates(tmp_path, "idr")[0])
    watch = worker.Watch()

    def try_with(read):
        monkeypatch.setattr(worker, "read_scene", read)
        return worker.try_scene(scene, np.random.default_rng(0), watch)

    yield try_with
    signal.signal(signal.SIGALRM, previous)


def _raise(error):
    def read(*_, **__):
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SceneError("a.png is no image.\nCopy it again."), "error"),
        (SceneError("no advice"), "failure"),
        (SceneError("\udcff cannot be printed.\nRename it."), "failure"),
        (SceneError("x" * 20_000 + "\nShorten it."), "failure"),
        (ValueError("a traceback"), "failure"),
        (MemoryError(), "failure"),
        (RecursionError(), "failure"),
    ],
)
def test_only_clean_errors_pass(watched, error, outcome):
    assert watched(_raise(error))[0] == outcome


def test_hangs_and_touched_files_and_connections_are_found(watched, tmp_path):
    def write(*_, **__):
        Path(tmp_path / "left_behind").write_text("x")
        raise SceneError("fine otherwise.\nDo nothing.")

    def read_elsewhere(*_, **__):
        Path("/etc/passwd").read_bytes()
        raise SceneError("fine otherwise.\nDo nothing.")

    def connect(*_, **__):
        with socket.socket() as connection:
            connection.connect_ex(("127.0.0.1", 9))
        raise SceneError("fine otherwise.\nDo nothing.")

    for read in (write, read_elsewhere, connect):
        outcome, text = watched(read)
        assert outcome == "failure" and "touched what it must not" in text, read
    outcome, text = watched(lambda *_, **__: time.sleep(5))
    assert outcome == "failure" and "took more than" in text


def test_damaged_files_are_restored(tmp_path):
    scene = worker.Scene(write_templates(tmp_path, "colmap")[0])
    before = {path: path.read_bytes() for path in scene.files}
    for seed in range(60):
        scene.restore(scene.damage(np.random.default_rng(seed)))
        assert {path: path.read_bytes() for path in scene.files} == before
