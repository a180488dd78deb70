"""Launches on a CPU that are prepared once and used again with other arguments.

Warp checks and packs all arguments of a launch anew, which takes longer than many a kernel does. A step of the fit has
some sixty launches, and the interpreter's lock lets one thread at a time prepare them, so that this time is nobody's to
share. Here a kernel's first launch is recorded; later ones write addresses and numbers in their places.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
import warp as wp
from torch import Tensor


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
    """Whether all of them are numbers or tensors that lie in one piece."""
    return all(
        value.is_contiguous() if isinstance(value, Tensor) else isinstance(value, int | float) for value in inputs
    )


class Command:
    """A launch of a kernel whose first parameters are whole numbers. One thread at a time may use it."""

    def __init__(self, kernel: wp.Kernel, leading: tuple[int, ...], inputs: list[object]) -> None:
        """The inputs, of which `can_be_recorded` is true, tell what comes after the `leading` numbers."""
        arguments = described(kernel, inputs, len(leading), torch.device("cpu"))
        self._kernel, self._leading, self._dim = kernel, len(leading), 1
        self._recorded = wp.launch(kernel, dim=1, inputs=[*leading, *arguments], device="cpu", record_cmd=True)
        self._slots: list[_Slot | None] = []
        for value, argument, dtype in zip(inputs, arguments, dtypes(kernel)[len(leading) :], strict=True):
            if isinstance(value, Tensor):
                # The command outlives its first tensors.
                argument._ref = None  # type: ignore[attr-defined]
                trailing = tuple(getattr(dtype, "_shape_", ()))
                size = torch.Size(trailing).numel()
                # A single item lies in one piece whatever its stride; more of them will lie one after the other.
                argument.strides[0] = size * value.element_size()  # type: ignore[attr-defined]
                self._slots.append(_Slot(argument, value.dtype, trailing, size))
            else:
                self._slots.append(None)

    def run(self, leading: tuple[int, ...], inputs: list[object], dim: int) -> None:
        """Run the kernel for `dim` items; the inputs are what it was made with, or like it."""
        put = self._recorded.set_param_at_index_from_ctype
        for index, number in enumerate(leading):
            put(index, number)
        for index, (slot, value) in enumerate(zip(self._slots, inputs, strict=True), self._leading):
            if slot is None:
                put(index, value)
            else:
                self._point(slot, value)
        if dim != self._dim:
            self._recorded.set_dim(dim)
            self._dim = dim
        self._recorded.launch()

    def _point(self, slot: _Slot, value: Any) -> None:
        """Let an argument be this tensor; what Warp says against it is raised."""
        fits = value.dtype is slot.dtype and value.is_cpu
        if slot.trailing:
            fits = fits and value.shape[-len(slot.trailing) :] == slot.trailing
        if not fits:
            self._refuse(value, slot)
        slot.descriptor.data = value.data_ptr()
        slot.descriptor.shape[0] = value.numel() // slot.size

    def _refuse(self, value: Tensor, slot: _Slot) -> None:
        if not value.is_cpu:
            raise ValueError(f"{self._kernel.key} runs on cpu and got a tensor on {value.device}")
        raise RuntimeError(
            f"Cannot convert a tensor of {value.dtype} and shape {tuple(value.shape)}: {self._kernel.key} takes items "
            f"of {slot.dtype} and shape {slot.trailing}"
        )
