"""Launching Warp kernels on torch tensors: all cores on a CPU, one launch on CUDA.

Warp runs a CPU launch on one thread, so a launch over `dim` items is cut into slices that threads run side by side,
those of `helpers` without the interpreter's lock. Every kernel therefore takes `first: int` as its first argument and
works on item `first + wp.tid()`. Slices of one launch must not write to the same address; kernels that scatter are
given slabs of the grid instead of slices of the samples, so that results do not depend on the number of threads. A
launch returns when all its slices are done.

Slices of a launch that scatters look at each other's samples, so launches that scatter to different grids are better
run side by side: `scatters_together`. Work in Python whose parts do not depend on each other runs side by side:
`in_parts`.
"""

import atexit
import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import warp as wp
from torch import Tensor

from dvr_cli.kernels.cache import usable_cache
from dvr_cli.kernels.commands import Command, Prepared, can_be_recorded, described, load, stream_of
from dvr_cli.kernels.helpers import Helpers
from dvr_cli.processors import available_threads


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
    wp.config.kernel_cache_dir = usable_cache() or wp.config.kernel_cache_dir
    if _has_cuda_driver():
        wp.init()
        return
    with _silent_stderr():
        wp.init()


_start_warp()

Part = TypeVar("Part")

SLICES_PER_THREAD = 4
"""Rays differ in cost: a thread that is done early takes another slice."""
SLABS_PER_THREAD = 2
"""At least, of all grids that are scattered to."""


@dataclass
class _Pool:
    threads: int = 1
    executor: ThreadPoolExecutor | None = None
    helpers: Helpers | None = None


_pool = _Pool()


@atexit.register
def _end_helpers() -> None:
    """Before Warp, which began earlier, takes away the code that helpers run."""
    if _pool.helpers is not None:
        _pool.helpers.end()


@dataclass
class _Scatter:
    """A launch of a scattering kernel that waits for others."""

    kernel: wp.Kernel
    extent: int
    inputs: list[object]
    samples: int
    target: Tensor

    def in_slabs(self, count: int) -> list[Prepared]:
        """Launches for `count` slabs, or as many as there are planes."""
        edges = sorted({self.extent * edge // count for edge in range(count + 1)})
        command = _command(self.kernel, (0, self.extent), self.inputs, self.target.device)
        whole = command.prepare((0, self.extent), self.inputs, self.samples)
        return [whole.led_by(*ends) for ends in itertools.pairwise(edges)]


class _Own(threading.local):
    """What each thread has for itself."""

    waiting: list[_Scatter] | None = None
    """Scatters that this thread puts off; None where it does not."""
    share: int | None = None
    """Threads that a launch within a part may use; None outside of parts."""

    def __init__(self) -> None:
        """Called in each thread that looks."""
        self.commands: dict[tuple[wp.Kernel, torch.device], Command] = {}


_own = _Own()


def set_threads(threads: int | None) -> int:
    """Use this many CPU threads (None: all that it may) from now on; returns the number."""
    count = threads or available_threads()
    if _pool.executor is not None:
        _pool.executor.shutdown()
    _pool.threads = count
    _pool.executor = ThreadPoolExecutor(count - 1, "dvr-kernel") if count > 1 else None
    _end_helpers()
    # More of them than cores would only take these from each other.
    _pool.helpers = Helpers(min(count, available_threads()) - 1) if count > 1 else None
    return count


def threads() -> int:
    """The number of CPU threads in use."""
    return _pool.threads


def as_warp(tensor: Tensor) -> wp.array:
    """A tensor as an array of a Warp struct, without a copy; vectors and matrices by their trailing shape."""
    tensor = tensor.detach()
    if tensor.dtype == torch.float32 and tensor.ndim == 3 and tensor.shape[1:] == (3, 3):
        return wp.from_torch(tensor, dtype=wp.mat33)
    if tensor.dtype == torch.float32 and tensor.ndim == 2 and tensor.shape[1] == 3:
        return wp.from_torch(tensor, dtype=wp.vec3)
    if tensor.dtype == torch.float32 and tensor.ndim == 2 and tensor.shape[1] == 2:
        return wp.from_torch(tensor, dtype=wp.vec2)
    return wp.from_torch(tensor.reshape(-1) if tensor.dtype == torch.float32 else tensor)


def _run(kernel: wp.Kernel, leading: tuple[int, ...], inputs: list[object], dim: int, device: torch.device) -> None:
    """Run a kernel in this thread; on CUDA it joins the stream that torch is on."""
    if not can_be_recorded(inputs):
        load(kernel.module, device)
        arguments = described(kernel, inputs, len(leading), device)
        wp.launch(kernel, dim=dim, inputs=[*leading, *arguments], device=str(device), stream=stream_of(device))
        return
    _command(kernel, leading, inputs, device).run(leading, inputs, dim)


def _command(kernel: wp.Kernel, leading: tuple[int, ...], inputs: list[object], device: torch.device) -> Command:
    """This thread's record of the kernel's launch."""
    command = _own.commands.get((kernel, device))
    if command is None:
        command = _own.commands[kernel, device] = Command(kernel, leading, inputs, device)
    return command


def launch(kernel: wp.Kernel, dim: int, inputs: list[object], device: torch.device, least: int = 256) -> None:
    """Run `kernel(first, *inputs)` for items 0 to dim - 1; a slice is not smaller than `least` items."""
    if dim == 0:
        return
    if device.type != "cpu":
        _run(kernel, (0,), inputs, dim, device)
        return

    slices, helping = _slices(dim, least)
    if slices > 1 and _pool.helpers is not None and can_be_recorded(inputs):
        prepared = _command(kernel, (0,), inputs, device).prepare((0,), inputs, dim)
        if _pool.helpers.share(prepared, dim, slices, helping):
            return

    def run(first: int, last: int) -> None:
        _run(kernel, (first,), inputs, last - first, device)

    _share_out(run, dim, least)


def in_parts(work: Callable[[int], Part], count: int) -> list[Part]:
    """`work(0)` to `work(count - 1)`, side by side on the CPU's threads; their results in order.

    Parts may gather from what they share, but not scatter: of the sums' order nobody could be sure.
    """
    results: list[Part | None] = [None] * count

    def run(first: int, last: int) -> None:
        for part in range(first, last):
            _own.share = max(1, _pool.threads // count)
            try:
                results[part] = work(part)
            finally:
                _own.share = None

    _share_out(run, count, 1)
    return results  # type: ignore[return-value]


@contextmanager
def scatters_together() -> Iterator[None]:
    """Put off this thread's scatters to the end of the block, where they run side by side; on CUDA nothing waits.

    Scatters to the same grid keep their order, so sums do not depend on the number of threads.
    """
    waiting: list[_Scatter] = []
    _own.waiting = waiting
    try:
        yield
    finally:
        _own.waiting = None
    _scatter(waiting)


def _slices(extent: int, least: int) -> tuple[int, int]:
    """Into how many slices this thread cuts so many items, and how many others may help it with them."""
    threads_used = _own.share or _pool.threads
    slices = 1 if threads_used == 1 else max(1, min(SLICES_PER_THREAD * threads_used, extent // least))
    return slices, min(threads_used, slices) - 1


def _share_out(run: Callable[[int, int], None], extent: int, least: int) -> None:
    """`run(first, last)` over slices of 0 to `extent`, of at least `least`, each by whichever thread is free.

    Returns when all are done.
    """
    slices, helping = _slices(extent, least)
    edges = [extent * s // slices for s in range(slices + 1)]
    taken = itertools.count()

    def work() -> None:
        # next() on a counter is atomic: it holds the interpreter's lock.
        while (s := next(taken)) < slices:
            run(edges[s], edges[s + 1])

    pending = [] if _pool.executor is None else [_pool.executor.submit(work) for _ in range(helping)]
    try:
        work()
    finally:
        for future in pending:
            # One that has not begun would find nothing left to do; it may stand behind a part that waits for this one.
            if not future.cancel():
                future.result()


def _scatter(waiting: list[_Scatter]) -> None:
    """Carry out scatters: threads share the grids among them, and slabs of each where they are more than the grids.

    Looking at samples that belong to other slabs costs half as much as scattering them, so slabs are a last resort.
    """
    if not waiting:
        # As always on CUDA: helpers would be woken for nothing.
        return
    by_target: dict[int, list[_Scatter]] = {}
    for scatter in waiting:
        by_target.setdefault(scatter.target.data_ptr(), []).append(scatter)
    # The long ones first, so that no thread is left with one at the end.
    groups = sorted(by_target.values(), key=lambda group: -group[0].target.numel() * len(group))
    slabs = 1 if _pool.threads == 1 else -(-SLABS_PER_THREAD * _pool.threads // max(len(groups), 1))

    of_groups = [[scatter.in_slabs(slabs) for scatter in group] for group in groups]
    work = [launches for of_group in of_groups for launches in zip(*of_group, strict=True)]
    if _pool.helpers is None or not _pool.helpers.share_groups(work, _pool.threads - 1):
        for launches in work:
            for prepared in launches:
                prepared.run()


def launch_slabs(kernel: wp.Kernel, extent: int, inputs: list[object], device: torch.device, samples: int) -> None:
    """Run a scattering `kernel(first_slab, last_slab, first, *inputs)` over all samples.

    The first input is the grid that is written to. On a CPU every launch goes through all samples and writes only to
    grid planes [first_slab, last_slab): sums are formed in the order of the samples, whatever the number of threads. On
    CUDA there is one slab and the kernel's atomics decide.
    """
    if samples == 0:
        return
    target, *others = inputs
    assert _own.share is None, "parts may not scatter"
    # Of a copy of the grid nobody would hear.
    assert isinstance(target, Tensor) and target.is_contiguous()
    if device.type != "cpu":
        _run(kernel, (0, extent), inputs, samples, device)
        return
    others = [value.contiguous() if isinstance(value, Tensor) else value for value in others]
    scatter = _Scatter(kernel, extent, [target, *others], samples, target)
    if _own.waiting is not None:
        _own.waiting.append(scatter)
    else:
        _scatter([scatter])
