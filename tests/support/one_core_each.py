"""Tests that run side by side (pytest-xdist) get a core each, and with it one thread.

Threads of two tests that wait for each other's cores make both many times slower.
"""

import os


def take_one_core(worker: str | None) -> None:
    """Keep this process and its children to the core of the worker ("gw0", "gw1", ...); nothing without a worker."""
    if worker is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
