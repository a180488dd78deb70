"""Where compiled kernels are kept: Warp's own folder, or a temporary one where that cannot be written.

In containers and on clusters the home folder is often missing, read-only or somebody else's.
"""

import os
import tempfile
from pathlib import Path

import warp as wp


def usable_cache() -> str | None:
    """None where Warp's own choice of a folder can be written; else one that can, the same each time."""
    return None if _can_be_written(_choice_of_warp()) else str(_temporary_folder())


def _choice_of_warp() -> Path:
    """Where Warp would keep what it compiles."""
    named = wp.config.kernel_cache_dir or os.environ.get("WARP_CACHE_PATH")
    if named:
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(caches) / "warp" / wp.config.version


def _can_be_written(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that is there, takes files of this user."""
    folder = folder.absolute()
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _temporary_folder() -> Path:
    """A folder of this user alone: code is loaded from it, so nobody else may have put anything there."""
    folder = Path(tempfile.gettempdir()) / f"dvr-kernels-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        own = folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o022
    except OSError:
        own = False
    return folder if own else Path(tempfile.mkdtemp(prefix="dvr-kernels-"))
