"""Compile every kernel for CUDA ahead of time, on any machine: needs neither a GPU nor a driver.

    python scripts/compile_kernels.py [ARCHITECTURE ...]        default: 80 90

Finds the modules in `dvr_cli.kernels` that define kernels, compiles each into a temporary folder and prints one line
per module; exits with 1 if one fails.
"""

import importlib
import pkgutil
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import warp as wp

import dvr_cli.kernels

ARCHITECTURES = (80, 90)
"""Compute capabilities times ten: A100 and H100 generations; CUDA binaries for 8.0 also run on 8.6 and 8.9."""


def kernel_modules() -> list[ModuleType]:
    """Every module of the package `dvr_cli.kernels`, at any depth, that defines at least one kernel."""
    names = [info.name for info in pkgutil.walk_packages(dvr_cli.kernels.__path__, "dvr_cli.kernels.")]
    modules = [importlib.import_module(name) for name in names]
    return [module for module in modules if kernels_of(module)]


def kernels_of(module: ModuleType) -> list[str]:
    """Names of the kernels that a module itself defines."""
    values = vars(module).items()
    return [name for name, value in values if isinstance(value, wp.Kernel) and value.module.name == module.__name__]


def compile_module(module: ModuleType, folder: Path, architectures: tuple[int, ...] = ARCHITECTURES) -> list[Path]:
    """CUDA binaries of a module, one per architecture; raises what Warp raises when the code does not compile."""
    target = folder / module.__name__
    wp.compile_aot_module(module, arch=list(architectures), module_dir=target, use_ptx=False)
    return sorted(target.glob("*.cubin"))


def main(architectures: tuple[int, ...]) -> int:
    """Compile all modules; the number of the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for module in kernel_modules():
            start = time.perf_counter()
            try:
                binaries = compile_module(module, Path(folder), architectures)
                if len(binaries) != len(architectures):
                    raise RuntimeError(f"{len(binaries)} binaries for {len(architectures)} architectures")
            except Exception as error:  # Whatever is wrong with one module, the others are still worth a line.
                failed += 1
                print(f"FAILED  {module.__name__}: {error}")
                continue
            size = sum(binary.stat().st_size for binary in binaries) // 1024
            seconds = time.perf_counter() - start
            print(f"ok  {module.__name__}  {len(kernels_of(module))} kernels  {size} KiB  {seconds:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(tuple(int(word) for word in sys.argv[1:]) or ARCHITECTURES))
