"""How many threads this process may run at a time."""

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_threads() -> int:
    """Cores that this process may run on, and no more than its share of their time fills, rounded up.

    Containers are mostly given a share of the time of all cores: as many threads as there are cores would use it up at
    once and then all stand still.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas(GROUPS, MEMBERSHIP))]))


def quotas(groups: Path, membership: Path) -> list[float]:
    """The shares, in cores, that Linux allows this process's control groups and those around them, of either version.

    Empty where nothing is limited, or nothing can be read about it.
    """
    found = []
    for line in _read(membership).splitlines():
        _, controllers, place = line.split(":", 2) if line.count(":") >= 2 else ("", "", "")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / "cpu" if controllers else groups
        here = root / place.strip("/")
        # A container sees its own group as the root, whatever its name outside.
        for folder in {root, here, *here.parents}:
            if folder.is_relative_to(root):
                found += _quota(folder)
    return found


def _quota(folder: Path) -> list[float]:
    """The share in cores of one control group; nothing where it has none."""
    text = _read(folder / "cpu.max") or f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
    try:
        time, period = (int(number) for number in text.split())
    except ValueError:
        return []
    return [time / period] if time > 0 and period > 0 else []


def _read(path: Path) -> str:
    """The text of a file of the system; nothing where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
