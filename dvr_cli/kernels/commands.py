"""Launches that are prepared once and used again with other arguments.

Warp checks and packs all arguments of a launch anew, which takes longer than many a kernel does. A step of the fit has
some forty launches, and the interpreter's lock lets one thread at a time prepare them, so that this time is nobody's to
share, and a GPU waits for it. Here a kernel's first launch is recorded; later ones write addresses and numbers in their
places.
"""

import ctypes
import threading
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
import warp as wp
from torch import Tensor

_loading = threading.Lock()


def load(module: wp.Module | ModuleType, device: torch.device) -> None:
    """Load the compiled code of a module's kernels, compiled if need be, unless it is there.

    The first launch would do it too; but two threads at once load a module twice, and the second time takes away what
    the first has found.
    """
    with _loading:
        wp.load_module(module, device=str(device))


class _Slot(NamedTuple):
    """Where an array stands among a recorded launch's arguments."""

    descriptor: Any
    """Warp's, of an array with one dimension; the launch reads it."""
    dtype: torch.dtype
    trailing: tuple[int, ...]
    """Shape of an item; () of a number."""
    size: int
    """Numbers in an item."""


@cache
def dtypes(kernel: wp.Kernel) -> list[Any]:
    """Of each parameter of a kernel: what its array holds; of one that is not an array: its own type."""
    return [getattr(annotation, "dtype", annotation) for annotation in kernel.func.__annotations__.values()]


def described(kernel: wp.Kernel, inputs: list[object], leading: int, device: torch.device) -> list[object]:
    """The inputs with Warp's descriptors, which keep them alive, in the place of tensors.

    A descriptor costs a third of an array object, but Warp does not compare it with the kernel's signature: its
    parameters after the first `leading` ones do that here.
    """
    found: list[object] = []
    for value, dtype in zip(inputs, dtypes(kernel)[leading:], strict=True):
        if not isinstance(value, Tensor):
            found.append(value)
            continue
        if value.device != device:
            raise ValueError(f"{kernel.key} runs on {device} and got a tensor on {value.device}")
        flat = value.detach() if hasattr(dtype, "_shape_") else value.detach().reshape(-1)
        found.append(wp.from_torch(flat, dtype=dtype, return_ctype=True))
    return found


def can_be_recorded(inputs: list[object]) -> bool:
    """Whether all of them are numbers, vectors of them, or tensors that lie in one piece."""
    return all(
        value.is_contiguous() if isinstance(value, Tensor) else isinstance(value, int | float | ctypes.Array)
        for value in inputs
    )


@cache
def _stream(device: torch.device, address: int) -> wp.Stream:
    """Warp's name for a stream of torch; torch keeps its streams for as long as the process lives."""
    return wp.Stream(str(device), cuda_stream=address)


def stream_of(device: torch.device) -> wp.Stream | None:
    """The stream that torch is on now; None on a CPU."""
    return None if device.type == "cpu" else _stream(device, torch.cuda.current_stream(device).cuda_stream)


class Prepared(NamedTuple):
    """A launch on a CPU with all that it needs, except that it does not keep tensors alive."""

    function: Any
    bounds: ctypes.Structure
    arguments: ctypes.Structure

    def led_by(self, *leading: int) -> "Prepared":
        """A copy with other leading numbers."""
        bounds = type(self.bounds).from_buffer_copy(self.bounds)
        arguments = type(self.arguments).from_buffer_copy(self.arguments)
        for (name, _), number in zip(arguments._fields_, leading, strict=False):  # type: ignore[misc]
            setattr(arguments, name, number)
        return Prepared(self.function, bounds, arguments)

    def run(self) -> None:
        """Run it in this thread."""
        self.function(ctypes.byref(self.bounds), ctypes.byref(self.arguments))

    @property
    def native(self) -> tuple[int, int, int]:
        """Addresses of the compiled function, the bounds and the arguments."""
        address = ctypes.cast(self.function, ctypes.c_void_p).value or 0
        return address, ctypes.addressof(self.bounds), ctypes.addressof(self.arguments)


class Command:
    """A launch of a kernel whose first parameters are whole numbers. One thread at a time may use it."""

    def __init__(self, kernel: wp.Kernel, leading: tuple[int, ...], inputs: list[object], device: torch.device) -> None:
        """The inputs, of which `can_be_recorded` is true, tell what comes after the `leading` numbers."""
        arguments = described(kernel, inputs, len(leading), device)
        self._kernel, self._leading, self._device = kernel, len(leading), device
        load(kernel.module, device)
        # Kept alive, and with it the compiled function.
        self._recorded = wp.launch(kernel, dim=1, inputs=[*leading, *arguments], device=str(device), record_cmd=True)
        # What Warp makes of the parameters for each launch: a structure of them in their order, made here once.
        bounds, *packed = self._recorded.params
        fields = [(f"p{index}", type(value)) for index, value in enumerate(packed)]
        self._names = [name for name, _ in fields]
        structure = type("Arguments", (ctypes.Structure,), {"_fields_": fields})(*packed)
        self._prepared = Prepared(self._recorded.hooks.forward, bounds, structure)
        if device.type != "cpu":
            # CUDA is told where each of them lies.
            for index, name in enumerate(self._names, 1):
                address = ctypes.addressof(structure) + getattr(type(structure), name).offset
                self._recorded.params_addr[index] = address
        self._slots: list[_Slot | None] = []
        names = self._names[len(leading) :]
        for value, name, dtype in zip(inputs, names, dtypes(kernel)[len(leading) :], strict=True):
            if isinstance(value, Tensor):
                # A view of the structure's own bytes.
                descriptor = getattr(structure, name)
                trailing = tuple(getattr(dtype, "_shape_", ()))
                size = torch.Size(trailing).numel()
                # A single item lies in one piece whatever its stride; more of them will lie one after the other.
                descriptor.strides[0] = size * value.element_size()
                self._slots.append(_Slot(descriptor, value.dtype, trailing, size))
            else:
                self._slots.append(None)
        # The command outlives its first tensors.
        self._recorded.params, self._recorded.fwd_args = [], None

    def prepare(self, leading: tuple[int, ...], inputs: list[object], dim: int) -> Prepared:
        """The launch for `dim` items, until the next is prepared; the inputs are what it was made with, or like it."""
        _, bounds, arguments = self._prepared
        for name, number in zip(self._names, leading, strict=False):
            setattr(arguments, name, number)
        for name, slot, value in zip(self._names[self._leading :], self._slots, inputs, strict=True):
            if slot is None:
                setattr(arguments, name, value)
            else:
                self._point(slot, value)
        bounds.shape[0] = bounds.size = dim
        return self._prepared

    def run(self, leading: tuple[int, ...], inputs: list[object], dim: int) -> None:
        """Prepare it and run it in this thread; on CUDA it joins the stream that torch is on."""
        prepared = self.prepare(leading, inputs, dim)
        if self._device.type == "cpu":
            prepared.run()
        else:
            self._recorded.launch(stream_of(self._device))

    def _point(self, slot: _Slot, value: Any) -> None:
        """Let an argument be this tensor; what Warp says against it is raised."""
        fits = value.dtype is slot.dtype and value.device == self._device
        if slot.trailing:
            fits = fits and value.shape[-len(slot.trailing) :] == slot.trailing
        if not fits:
            self._refuse(value, slot)
        slot.descriptor.data = value.data_ptr()
        slot.descriptor.shape[0] = value.numel() // slot.size

    def _refuse(self, value: Tensor, slot: _Slot) -> None:
        if value.device != self._device:
            raise ValueError(f"{self._kernel.key} runs on {self._device} and got a tensor on {value.device}")
        raise RuntimeError(
            f"Cannot convert a tensor of {value.dtype} and shape {tuple(value.shape)}: {self._kernel.key} takes items "
            f"of {slot.dtype} and shape {slot.trailing}"
        )
