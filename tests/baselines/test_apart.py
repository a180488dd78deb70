"""Work in a process of its own: results, errors, crashes and peaks of memory come back as what they are."""

import os
import signal

import numpy as np
import pytest

from dvr_cli.baselines.apart import run_apart
from dvr_cli.errors import CompareError, SceneError
from dvr_cli.fitting.memory import peak_memory_gb


def allocate(megabytes):
    """Touch some memory and let it go."""
    return float(np.ones(megabytes * 125_000).sum())


def fail():
    raise SceneError("no such scene")


def stumble():
    raise ZeroDivisionError("a bug")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    os._exit(3)


def test_result_and_its_cost_come_back():
    ballast = np.ones(75_000_000)  # 600 MB here must not be counted there
    small, large = run_apart("test", allocate, 1), run_apart("test", allocate, 400)
    assert (small.result, large.result) == (125_000, 50_000_000)
    assert 0.3 < large.peak_memory_gb - small.peak_memory_gb < 0.5
    assert small.peak_memory_gb < 0.6 < peak_memory_gb() and ballast.sum() > 0
    assert small.seconds > 0


def test_errors_of_the_work_are_errors_here():
    with pytest.raises(SceneError, match="no such scene"):
        run_apart("test", fail)
    with pytest.raises(RuntimeError, match=r"(?s)the hull failed.*ZeroDivisionError: a bug"):
        run_apart("the hull", stumble)


def test_a_crash_is_named():
    with pytest.raises(CompareError, match=r"the hull did not come to its end.*signal 9.*memory"):
        run_apart("the hull", die)
    with pytest.raises(CompareError, match="code 3 and no result"):
        run_apart("the hull", leave)
