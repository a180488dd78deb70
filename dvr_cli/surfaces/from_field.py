"""The bridge from a field (torch) to extraction (NumPy). Torch is imported when it is used.

A field with samples of its own (attribute `voxels`) holds distances and costs little to evaluate; one without is taken
for a network: each point costs, and the values bound no distance.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from dvr_cli.surfaces.extraction import ColourFunction, PointFunction, extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.sampling import BY_DISTANCE, BY_SIGN, Sampling

if TYPE_CHECKING:
    from dvr_cli.fields.protocol import Field

DEFAULT_RESOLUTION = 256
"""For fields that have no grid of their own."""
NETWORK_CHUNK = 1 << 13
"""Points per evaluation of a field without a grid: at width 512 that takes 65 MiB for values and 0.6 GiB for
gradients (measured)."""


def extract_field(field: "Field", resolution: int | None = None, sampling: Sampling | None = None) -> Mesh:
    """The surface of a field as a closed, coloured mesh in unit space (see `extraction.extract`).

    Looked for in [-half_width, half_width]^3. Without `resolution` a grid field is sampled at its own vertices: between
    them it is interpolated, so more samples would only resolve the interpolation. Other fields get DEFAULT_RESOLUTION,
    and unless `sampling` says otherwise are sampled from coarse to fine by their signs. Raises ExportError.
    """
    value, gradient, colour = field_functions(field)
    return extract(
        value,
        gradient,
        colour,
        resolution=own_resolution(field) if resolution is None else resolution,
        lower=-field.half_width,
        upper=field.half_width,
        sampling=own_sampling(field) if sampling is None else sampling,
    )


def own_resolution(field: "Field") -> int:
    """Samples per side at which the field is extracted when nobody asks for another number."""
    return int(getattr(field, "voxels", DEFAULT_RESOLUTION))


def own_sampling(field: "Field") -> Sampling:
    """How the field is sampled for extraction when nobody asks for another way."""
    return BY_DISTANCE if hasattr(field, "voxels") else BY_SIGN


def field_functions(field: "Field") -> tuple[PointFunction, PointFunction, ColourFunction]:
    """Value, gradient and colour of a field as functions of NumPy arrays in unit space, as `extract` wants them.

    However many points they are given, a field without a grid gets NETWORK_CHUNK of them at a time.
    """
    return _as_numpy(field.value, field), _as_numpy(field.gradient, field), _as_numpy(field.colour, field)


def _as_numpy(function: Callable, field: "Field") -> Callable[..., np.ndarray]:
    """The same function on NumPy arrays, computed on the field's device and in its precision (single without one)."""
    import torch

    parameters = getattr(field, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    device, dtype = (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)

    def on_arrays(*arrays: Float[np.ndarray, "p 3"]) -> np.ndarray:
        rows = max(len(arrays[0]), 1)
        chunk = rows if hasattr(field, "voxels") else NETWORK_CHUNK
        with torch.no_grad():
            results = []
            for start in range(0, rows, chunk):
                parts = [array[start : start + chunk] for array in arrays]
                results.append(function(*(torch.as_tensor(part, dtype=dtype, device=device) for part in parts)).cpu())
            return torch.cat(results).numpy()

    return on_arrays
