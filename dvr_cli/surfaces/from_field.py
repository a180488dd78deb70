"""The bridge from a field (torch) to extraction (NumPy). Torch is imported when it is used."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from dvr_cli.surfaces.extraction import ColourFunction, PointFunction, extract
from dvr_cli.surfaces.mesh import Mesh

if TYPE_CHECKING:
    from dvr_cli.fields.protocol import Field

DEFAULT_RESOLUTION = 256
"""For fields that have no grid of their own."""


def extract_field(field: "Field", resolution: int | None = None) -> Mesh:
    """The surface of a field as a closed, coloured mesh in unit space (see `extraction.extract`).

    Without `resolution` a grid field is sampled at its own vertices: between them it is interpolated, so more samples
    would only resolve the interpolation. Other fields get DEFAULT_RESOLUTION. Raises ExportError.
    """
    value, gradient, colour = field_functions(field)
    return extract(value, gradient, colour, resolution=own_resolution(field) if resolution is None else resolution)


def own_resolution(field: "Field") -> int:
    """Samples per side at which the field is extracted when nobody asks for another number."""
    return int(getattr(field, "voxels", DEFAULT_RESOLUTION))


def field_functions(field: "Field") -> tuple[PointFunction, PointFunction, ColourFunction]:
    """Value, gradient and colour of a field as functions of NumPy arrays in unit space, as `extract` wants them."""
    return _as_numpy(field.value, field), _as_numpy(field.gradient, field), _as_numpy(field.colour, field)


def _as_numpy(function: Callable, field: "Field") -> Callable[..., np.ndarray]:
    """The same function on NumPy arrays, computed on the field's device in single precision."""
    import torch

    parameters = getattr(field, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    device = torch.device("cpu") if first is None else first.device

    def on_arrays(*arrays: Float[np.ndarray, "p 3"]) -> np.ndarray:
        with torch.no_grad():
            tensors = [torch.as_tensor(array, dtype=torch.float32, device=device) for array in arrays]
            return function(*tensors).cpu().numpy()

    return on_arrays
