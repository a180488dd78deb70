"""Launching Warp kernels on torch tensors: all cores on a CPU, one launch on CUDA.

Warp runs a CPU launch on one thread, so a launch over `dim` items is cut into slices that a thread pool runs side by
side. Every kernel therefore takes `first: int` as its first argument and works on item `first + wp.tid()`. Slices of
one launch must not write to the same address; kernels that scatter are given slabs of the grid instead of slices of the
samples, so that results do not depend on the number of threads. A launch returns when all its slices are done.
"""

import ctypes
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor


def _has_cuda_driver() -> bool:
    """Whether the library that NVIDIA's driver installs can be loaded; Warp looks for the same names."""
    for name in ("libcuda.so", "libcuda.so.1"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send to nowhere what native code writes to the file descriptor of stderr within the block."""
    try:
        kept = os.dup(2)
    except OSError:
        # The process has no stderr, so there is nothing to silence.
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _start_warp() -> None:
    """Initialise Warp without its words about a missing GPU.

    That a machine has no CUDA driver is no problem here, but Warp's native library says so on stderr whatever the log
    level. Where there is a driver everything is shown, e.g. that it is too old.
    """
    wp.config.log_level = wp.LOG_ERROR
    if _has_cuda_driver():
        wp.init()
        return
    with _silent_stderr():
        wp.init()


_start_warp()

SLICES_PER_THREAD = 2
"""Rays differ in cost: a thread that is done early takes another slice."""


@dataclass
class _Pool:
    threads: int = 1
    executor: ThreadPoolExecutor | None = None


_pool = _Pool()


def set_threads(threads: int | None) -> int:
    """Use this many CPU threads (None: all cores this process may use) from now on; returns the number."""
    count = threads or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1
    if _pool.executor is not None:
        _pool.executor.shutdown()
    _pool.threads = count
    _pool.executor = ThreadPoolExecutor(count - 1, "dvr-kernel") if count > 1 else None
    return count


def threads() -> int:
    """The number of CPU threads in use."""
    return _pool.threads


def as_warp(value: object) -> object:
    """A torch tensor as a Warp array without a copy; vectors and matrices by their trailing shape; others unchanged."""
    if not isinstance(value, Tensor):
        return value
    tensor = value.detach()
    if tensor.dtype == torch.float32 and tensor.ndim == 3 and tensor.shape[1:] == (3, 3):
        return wp.from_torch(tensor, dtype=wp.mat33)
    if tensor.dtype == torch.float32 and tensor.ndim == 2 and tensor.shape[1] == 3:
        return wp.from_torch(tensor, dtype=wp.vec3)
    if tensor.dtype == torch.float32 and tensor.ndim == 2 and tensor.shape[1] == 2:
        return wp.from_torch(tensor, dtype=wp.vec2)
    return wp.from_torch(tensor.reshape(-1) if tensor.dtype == torch.float32 else tensor)


def launch(kernel: wp.Kernel, dim: int, inputs: list[object], device: torch.device, least: int = 256) -> None:
    """Run `kernel(first, *inputs)` for items 0 to dim - 1; a slice is not smaller than `least` items."""
    if dim == 0:
        return
    arguments = [as_warp(value) for value in inputs]
    if device.type != "cpu":
        stream = wp.stream_from_torch(torch.cuda.current_stream(device))
        wp.launch(kernel, dim=dim, inputs=[0, *arguments], device=str(device), stream=stream)
        return

    def run(first: int, last: int) -> None:
        wp.launch(kernel, dim=last - first, inputs=[first, *arguments], device="cpu")

    _share_out(run, dim, least)


def _share_out(run: Callable[[int, int], None], extent: int, least: int) -> None:
    """`run(first, last)` over slices of 0 to `extent`, of at least `least`, each by whichever thread is free.

    Returns when all are done.
    """
    slices = 1 if _pool.threads == 1 else max(1, min(SLICES_PER_THREAD * _pool.threads, extent // least))
    edges = [extent * s // slices for s in range(slices + 1)]
    taken = itertools.count()

    def work() -> None:
        # next() on a counter is atomic: it holds the interpreter's lock.
        while (s := next(taken)) < slices:
            run(edges[s], edges[s + 1])

    helpers = min(_pool.threads, slices) - 1
    pending = [] if _pool.executor is None else [_pool.executor.submit(work) for _ in range(helpers)]
    work()
    for future in pending:
        future.result()


def launch_slabs(kernel: wp.Kernel, extent: int, inputs: list[object], device: torch.device, samples: int) -> None:
    """Run a scattering `kernel(first_slab, last_slab, first, *inputs)` over all samples.

    On a CPU every launch goes through all samples and writes only to grid planes [first_slab, last_slab): sums are
    formed in the order of the samples, whatever the number of threads. On CUDA there is one slab and the kernel's
    atomics decide.
    """
    if samples == 0:
        return
    arguments = [as_warp(value) for value in inputs]
    if device.type != "cpu":
        stream = wp.stream_from_torch(torch.cuda.current_stream(device))
        wp.launch(kernel, dim=samples, inputs=[0, extent, *arguments], device=str(device), stream=stream)
        return

    def run(first_slab: int, last_slab: int) -> None:
        wp.launch(kernel, dim=samples, inputs=[first_slab, last_slab, *arguments], device="cpu")

    _share_out(run, extent, 1)
