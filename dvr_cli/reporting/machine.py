"""The machine and the libraries that a report names."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from dvr_cli.processors import available_threads
from dvr_cli.reporting.schema import MachineReport

PACKAGES = (
    *("numpy", "scipy", "torch", "warp-lang", "open3d", "pycolmap", "scikit-image", "trimesh", "pymcubes", "pillow"),
    *("lpips", "fast-simplification"),
)
"""Distributions whose versions a report names where they are installed."""


def describe_machine() -> MachineReport:
    """The machine that this process runs on; torch is asked for a GPU only if it is loaded already."""
    return MachineReport(
        cpu=_cpu_name(),
        cores=available_threads(),
        memory_gb=_memory_gb(),
        gpu=_gpu_name(),
        system=platform.platform(),
        python=platform.python_version(),
    )


def package_versions() -> dict[str, str]:
    """Versions of PACKAGES, without importing them."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return None


def _gpu_name() -> str | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(0))
