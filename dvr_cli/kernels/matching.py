"""What the kernels on depth maps read: photographs, pairs of views and the hull, as one value.

Notation of `kernels.planes`: q = A p + w b is where source s sees the reference pixel p at inverse depth w, with
A = K_s R_s R_r^T K_r^-1 and b = K_s R_s (c_r - c_s) for every pair of a reference and a source.
"""

from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.kernels.launch import as_warp
from dvr_cli.kernels.views import ViewArrays


class _Matching:
    """What every kernel on depth maps reads: photographs, cameras, pairs of views, the hull, and how to compare."""

    gray: wp.array(dtype=wp.float32)
    """Grey values in [0, 1]."""
    own: wp.array(dtype=wp.float32)
    """The same, but negative off the object."""
    starts: wp.array(dtype=wp.int32)
    heights: wp.array(dtype=wp.int32)
    widths: wp.array(dtype=wp.int32)
    intrinsics: wp.array(dtype=wp.mat33)
    inverse_intrinsics: wp.array(dtype=wp.mat33)
    rotations: wp.array(dtype=wp.mat33)
    centres: wp.array(dtype=wp.vec3)
    sources: wp.array(dtype=wp.int32)
    """View v's sources are at v * sources_per_view; -1 for none."""
    turns: wp.array(dtype=wp.mat33)
    """A of every pair."""
    shifts: wp.array(dtype=wp.vec3)
    """b of every pair."""
    sources_per_view: int
    hull: wp.array(dtype=wp.float32)
    """Signed distances of hull_size^3 vertices in the cube."""
    hull_size: int
    hull_margin: float
    """Planes at most this far outside of the hull may be."""
    radius: int
    """Half width of the patch, pixels."""
    stride: int
    """Pixels between its taps."""
    keep: int
    """Sources that count, 1 to 4."""
    noise: float
    known: wp.array(dtype=wp.vec3)
    """Planes that all views had before this round, for the geometric term."""
    geometric: float
    """Loss per pixel by which a plane contradicts what the other views know; 0 asks the photographs alone."""


# Not as a decorator: what checks shapes under pytest wraps classes, and a struct of Warp's is none.
Matching = wp.struct(_Matching)


@dataclass(frozen=True)
class Comparing:
    """How patches are compared."""

    radius: int
    """Half width of the patch, pixels."""
    stride: int
    """Pixels between its taps."""
    keep: int
    """Sources that count for a pixel, the best ones; 1 to 4."""
    noise: float
    """Standard deviation of grey values that is not texture."""
    hull_margin: float
    """Planes at most this far outside of the hull are compared; in the cube."""


def matching_of(
    stack: ViewArrays, sources: Int[Tensor, "v m"], hull: Float[Tensor, "n n n"], comparing: Comparing
) -> Any:
    """A `Matching` of views in the cube, the sources of each (-1 for none) and signed distances to the hull."""
    turns, shifts = pair_matrices(stack, sources)
    m = Matching()
    m.gray = as_warp(stack.gray)
    m.own = as_warp(torch.where(stack.masks > 0, stack.gray, -1.0))
    for name in ("starts", "heights", "widths", "intrinsics", "inverse_intrinsics", "rotations", "centres"):
        setattr(m, name, as_warp(getattr(stack, name)))
    m.sources, m.turns, m.shifts = as_warp(sources.reshape(-1)), as_warp(turns), as_warp(shifts)
    m.sources_per_view = sources.shape[1]
    m.hull, m.hull_size = as_warp(hull.reshape(-1)), hull.shape[0]
    for name in ("radius", "stride", "keep", "noise", "hull_margin"):
        setattr(m, name, getattr(comparing, name))
    m.known, m.geometric = as_warp(torch.zeros(1, 3, device=hull.device)), 0.0
    return m


def with_known(matching: Any, known: Float[Tensor, "pixels 3"], geometric: float) -> Any:
    """The same `Matching`, whose planes also cost `geometric` per pixel by which they contradict the planes `known`."""
    m = Matching()
    for name in _Matching.__annotations__:
        setattr(m, name, getattr(matching, name))
    m.known, m.geometric = as_warp(known), geometric
    return m


def pair_matrices(
    stack: ViewArrays, sources: Int[Tensor, "v m"]
) -> tuple[Float[Tensor, "pairs 3 3"], Float[Tensor, "pairs 3"]]:
    """A and b for every view and each of its sources, formed in double precision."""
    index = sources.clamp(min=0).reshape(-1).long()
    views = torch.arange(stack.count, device=index.device).repeat_interleave(sources.shape[1])
    forward = stack.intrinsics.double() @ stack.rotations.double()
    back = stack.rotations.double().transpose(1, 2) @ torch.linalg.inv(stack.intrinsics.double())
    between = stack.centres[views].double() - stack.centres[index].double()
    turns = forward[index] @ back[views]
    return turns.float().contiguous(), torch.einsum("pij,pj->pi", forward[index], between).float().contiguous()
