"""What masks ask of a grid's surface, ray by ray, in one pass: free space, occupancy, and to stay where it is.

A ray past the object must not hit, a ray through it must; the unknown may do either. The loss of a ray that is wrong is
half its weight times the squared distance, in voxels, from where the surface would be a margin on the right side of the
ray's first hit or, if it misses, of its nearest approach.

A ray at a mask's edge that is right asks for no change, but says that the surface is there. Otherwise only what
silhouettes object to would count as known, and smoothing would wear edges off until they do.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import warp as wp
from jaxtyping import Float, UInt8
from torch import Tensor

from dvr_cli.kernels.grid import sample
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN

wp.set_module_options({"enable_backward": False})

FARTHEST_WRONG = wp.constant(2.0)
"""Voxels beyond which silhouettes have no say: where a mask is wrong by more than that, or the shape, nothing says
where along the ray to begin."""
NEARLY_WRONG = wp.constant(1.5)
"""Voxels within which a ray just outside a mask has to pass the surface to say where it is."""
ANSWERS = 16
"""A ray's answer: 1 for a hit, plus 2 times its pixel's label, plus 8 at an edge of a mask."""

_BACKGROUND, _OBJECT, _UNKNOWN = (wp.constant(wp.uint8(label)) for label in (BACKGROUND, OBJECT, UNKNOWN))


@wp.func
def to_the_right_side(
    sdf: wp.array(dtype=wp.float32), n: int, point: wp.vec3, side: float, weight: float, margin: float, farthest: float
):
    """(gradient, curvature) of half a weight times the squared distance, in voxels, to `margin` on the right side.

    `side`: 1 where the value at the point should be negative, -1 where it should be positive. Zero on the right side,
    and where the surface is more than `farthest` voxels away from it.
    """
    voxel = 2.0 / float(n - 1)
    residual = side * sample(sdf, point, n) / voxel + margin
    if residual > 0.0 and residual < farthest:
        return wp.vec2(side * weight * residual / voxel, weight / (voxel * voxel))
    return wp.vec2(0.0, 0.0)


@wp.kernel
def ask_kernel(
    first: int,
    sdf: wp.array(dtype=wp.float32),
    n: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    labels: wp.array(dtype=wp.uint8),
    at_edge: wp.array(dtype=wp.uint8),
    t: wp.array(dtype=wp.float32),
    hit: wp.array(dtype=wp.uint8),
    nearest_t: wp.array(dtype=wp.float32),
    nearest_value: wp.array(dtype=wp.float32),
    edge_trust: wp.array(dtype=wp.float32),
    exact_masks: float,
    free_space: float,
    occupancy: float,
    margin: float,
    answers_out: wp.array(dtype=wp.uint8),
    points_out: wp.array(dtype=wp.vec3),
    gradient_out: wp.array(dtype=wp.float32),
    curvature_out: wp.array(dtype=wp.float32),
):
    ray = first + wp.tid()
    voxel = 2.0 / float(n - 1)
    label = labels[ray]
    hits = hit[ray] != wp.uint8(0)
    edge = at_edge[ray] != wp.uint8(0)
    trust = edge_trust[0]
    # Masks that agree to the pixel are the most certain thing there is; the power leaves the others as they were.
    weight = 1.0 + exact_masks * trust * trust * trust * trust
    if edge:
        weight *= trust
    answer = 2 * int(label)
    along = nearest_t[ray]
    near = nearest_value[ray] < NEARLY_WRONG * voxel
    if hits:
        answer += 1
        along = t[ray]
        near = True
    if edge:
        answer += 8
    point = origins[ray] + directions[ray] * along
    demand = wp.vec2(0.0, 0.0)
    wrong = label == _OBJECT and not hits and wp.isfinite(nearest_value[ray])
    if hits:
        wrong = label == _BACKGROUND
    if wrong:
        weight *= wp.where(hits, free_space, occupancy)
        demand = to_the_right_side(sdf, n, point, wp.where(hits, -1.0, 1.0), weight, margin, FARTHEST_WRONG)
    elif edge and label != _UNKNOWN and hits == (label == _OBJECT) and near:
        demand[1] = weight * occupancy / (voxel * voxel)
    answers_out[ray] = wp.uint8(answer)
    points_out[ray] = point
    gradient_out[ray] = demand[0]
    curvature_out[ray] = demand[1]


class Demands(NamedTuple):
    """What the masks ask of the field, for every ray; no gradient."""

    answers: UInt8[Tensor, "r"]
    """See ANSWERS."""
    points: Float[Tensor, "r 3"]
    """Where the ray hits or comes nearest to the surface."""
    gradient: Float[Tensor, "r"]
    """Of the loss with respect to the field's value there."""
    curvature: Float[Tensor, "r"]
    """Gauss-Newton's, likewise; zero for rays that ask nothing."""


def ask_masks(
    sdf: Float[Tensor, "n n n"],
    looks: Looks,
    hits: tuple[Tensor, Tensor, Tensor, Tensor],
    edge_trust: Float[Tensor, ""],
    *,
    exact_masks: float,
    free_space: float,
    occupancy: float,
    margin: float,
) -> Demands:
    """Ask every ray's mask about its first hit: (t, hit, nearest_t, nearest_value) as `march` finds them.

    What a ray at an edge says counts `edge_trust`, in [0, 1], and all count 1 + `exact_masks` edge_trust^4; `margin` in
    voxels.
    """
    rays, device = len(looks.masks), sdf.device
    found = Demands(
        answers=torch.empty(rays, dtype=torch.uint8, device=device),
        points=torch.empty(rays, 3, device=device),
        gradient=torch.empty(rays, device=device),
        curvature=torch.empty(rays, device=device),
    )
    t, hit, nearest_t, nearest_value = hits
    inputs = [sdf.reshape(-1), sdf.shape[0], looks.origins, looks.directions, looks.masks]
    inputs += [looks.at_edge.view(torch.uint8), t, hit.view(torch.uint8), nearest_t, nearest_value]
    inputs += [edge_trust.reshape(1), exact_masks, free_space, occupancy, margin]
    launch(ask_kernel, rays, [*inputs, *found], device)
    return found


class Tally(NamedTuple):
    """Shares of rays as (sum, number)."""

    silhouette: tuple[Tensor, Tensor]
    """Wrong ones, of those that the masks know about."""
    iou: tuple[Tensor, Tensor]
    """Rays that hit and must, of those that do or must."""
    edge_hits: tuple[Tensor, Tensor]
    """Rays that hit, of those just outside masks."""


def tally(answers: UInt8[Tensor, "r"]) -> Tally:
    """Shares of wrong and right answers."""
    sums = _shares(answers.device) @ torch.bincount(answers, minlength=ANSWERS).float()
    return Tally(*((sums[row], sums[row + 1]) for row in (0, 2, 4)))


@lru_cache
def _shares(device: torch.device) -> Float[Tensor, "six answers"]:
    """Which answers count for each sum and number of a tally."""
    answer = torch.arange(ANSWERS)
    hit, label, edge = answer % 2 == 1, answer // 2 % 4, answer >= 8
    is_object, outside = label == OBJECT, edge & (label == BACKGROUND)
    known = is_object | (label == BACKGROUND)
    rows = [(hit ^ is_object) & known, known, hit & is_object, (hit | is_object) & known, outside & hit, outside]
    return torch.stack(rows).float().to(device)
