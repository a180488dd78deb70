"""How much memory this process has needed. Imports nothing heavy."""

import re
from pathlib import Path


def peak_memory_gb() -> float | None:
    """The most memory this process ever held, in 10^9 bytes; None where the system does not say.

    Linux counts it by program in /proc: what a parent held before the start of this one does not count, as it does in
    rusage, which serves elsewhere.
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.is_file() else None
    if found is not None:
        return int(found[1]) * 1024 / 1e9
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
