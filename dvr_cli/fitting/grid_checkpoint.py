"""A grid field and its optimiser as a checkpoint holds them, and back.

A resumed run goes on exactly as if it had not been interrupted, so a checkpoint also holds gradients that wait outside
the band. Most vertices never see a ray; grids are stored as the vertices that differ from the untouched value, which
makes a checkpoint about a quarter as large and as slow.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.step import StepState

UNTOUCHED_ALBEDO = 0.5
_DENSE_SHARE = 0.5
"""A grid of which more than this share was touched is stored as it is."""


def pack_grid(field: GridField, optimiser: StepState | None) -> dict[str, Any]:
    """Tensors and plain values, copied to the CPU."""
    state: dict[str, Any] = {
        "sdf": field.sdf.detach().to("cpu", copy=True),
        "albedo": _pack(field.albedo, UNTOUCHED_ALBEDO),
        "sheen": _pack(field.sheen, 0.0),
    }
    if optimiser is not None:
        state["optimiser"] = {
            "mean_gradient": _pack(optimiser.mean_gradient, 0.0),
            "mean_curvature": _pack(optimiser.mean_curvature, 0.0),
            "band": optimiser.band.to("cpu", copy=True),
            "edge_hits": optimiser.edge_hits.to("cpu", copy=True),
        }
        if optimiser.loose is not None:
            state["optimiser"]["loose"] = optimiser.loose.to("cpu", copy=True)
        state["waiting"] = {name: _pack(grid, 0.0) for name, grid in _waiting(field).items()}
    return state


def unpack_grid(state: dict[str, Any], device: torch.device) -> tuple[GridField, StepState | None]:
    """The inverse of `pack_grid`; KeyError, TypeError, ValueError, IndexError or RuntimeError if it is damaged."""
    field = GridField(*(_unpack(state[name], device) for name in ("sdf", "albedo", "sheen")))
    if "optimiser" not in state:
        return field, None
    optimiser = StepState(**{key: _unpack(grid, device) for key, grid in state["optimiser"].items()})
    grids = _waiting(field)
    for name, packed in state["waiting"].items():
        grids[name].copy_(_unpack(packed, device))
    return field, optimiser


def _waiting(field: GridField) -> dict[str, Tensor]:
    """Gradients and curvatures, of which those outside the band wait until it reaches them."""
    gradients = {f"{name}.grad": parameter.grad for name, parameter in field.named_parameters()}
    curvatures = {name: getattr(field, name) for name in ("sdf_curvature", "albedo_curvature", "sheen_curvature")}
    return {name: grid for name, grid in {**gradients, **curvatures}.items() if grid is not None}


def _pack(grid: Tensor, untouched: float) -> dict[str, Any] | Tensor:
    """A grid (n, n, n) or (n, n, n, c) as the vertices where any channel differs from `untouched`, on the CPU."""
    grid = grid.detach()
    vertices = grid.shape[0] ** 3
    places = _touched_vertices(grid, untouched)
    if len(places) > _DENSE_SHARE * vertices:
        return grid.to("cpu", copy=True)
    values = grid.reshape(vertices, -1)[places]
    return {"shape": list(grid.shape), "untouched": untouched, "places": places.int().cpu(), "values": values.cpu()}


def _touched_vertices(grid: Tensor, untouched: float) -> Int[Tensor, "touched"]:
    """Indices of the vertices where any channel differs from `untouched`, in rising order."""
    differs = grid.reshape(-1) != untouched
    # Most values do not differ, and numpy finds the few that do three times as fast.
    on_cpu = differs.device.type == "cpu"
    elements = torch.from_numpy(np.flatnonzero(differs.numpy())) if on_cpu else differs.nonzero().squeeze(1)
    return torch.unique_consecutive(elements // (len(differs) // grid.shape[0] ** 3))


def _unpack(packed: dict[str, Any] | Tensor, device: torch.device) -> Tensor:
    """The inverse of `_pack`."""
    if isinstance(packed, Tensor):
        return packed.to(device)
    grid = torch.full(packed["shape"], packed["untouched"], dtype=packed["values"].dtype)
    grid.reshape(grid.shape[0] ** 3, -1)[packed["places"].long()] = packed["values"]
    return grid.to(device)
