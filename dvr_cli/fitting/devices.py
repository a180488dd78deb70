"""Where to compute: from the settings' `auto|cpu|cuda|cuda:N` to a torch device, and kernels that are ready for it."""

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from contextlib import contextmanager

import torch

from dvr_cli.errors import DeviceError
from dvr_cli.fitting.events import Message

KERNEL_MODULES = (
    "band", "bends", "cut", "distances", "helpers", "hull", "inner_edges", "long_waves", "lookup", "march", "patches",
    "pixels", "silhouettes", "worth",
)  # fmt: skip
_PATIENCE = 1.5
"""Seconds after which loading the kernels must mean compiling them."""


def resolve_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:N` means on this machine; DeviceError when it has none such.

    A CUDA device has its number: one without is another to torch than the one that its tensors say they are on.
    """
    if name == "auto":
        return torch.device("cuda", 0) if cuda_count() else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    count = cuda_count()
    kind, _, number = name.partition(":")
    if kind == "cuda" and (number or "0").isdigit() and int(number or 0) < count:
        return torch.device("cuda", int(number or 0))
    found = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
    reason = "" if count else f" (torch {torch.__version__} finds no CUDA device)"
    raise DeviceError(f"There is no device {name} on this machine: found {found}{reason}. Pass --device auto or cpu.")


def said_of(device: torch.device) -> Message | None:
    """Which GPU it is; nothing about a CPU, where no one expects anything else."""
    if device.type == "cpu":
        return None
    return Message(f"Computing on {device}, {torch.cuda.get_device_name(device)}")


def cuda_count() -> int:
    """Number of CUDA devices that torch and Warp can use."""
    import warp as wp

    return torch.cuda.device_count() if torch.cuda.is_available() and wp.is_cuda_available() else 0


@contextmanager
def kernels_loading(device: torch.device, report: Callable[[Message], None]) -> Iterator[Callable[[], None]]:
    """Load all kernels in the background; the yielded function waits for them and says so when it takes long.

    They are compiled when a machine meets them for the first time, which takes some seconds per module.
    """
    with ThreadPoolExecutor(1, "dvr-load") as pool:
        future: Future[None] = pool.submit(_load_kernels, device)

        def wait() -> None:
            try:
                future.result(_PATIENCE)
            except StillRunning:
                report(Message("Compiling the kernels. This happens once on a machine and takes up to a minute."))
                future.result()

        yield wait


def _load_kernels(device: torch.device) -> None:
    from dvr_cli.kernels.commands import load

    for name in KERNEL_MODULES:
        load(importlib.import_module(f"dvr_cli.kernels.{name}"), device)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
