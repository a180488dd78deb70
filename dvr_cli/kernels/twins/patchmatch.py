"""Twin of the searches in `kernels.patchmatch`: sweep, taking over planes, random changes.

Costs come from `twins.planes`, random numbers from `twins.draws`. Each function returns new (planes, costs) of the
listed pixels and changes nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dvr_cli.kernels.patchmatch import MOST_STEPS
from dvr_cli.kernels.planes import NO_PLANE
from dvr_cli.kernels.twins.cameras import directions_of, project
from dvr_cli.kernels.twins.draws import random_number, random_start
from dvr_cli.kernels.twins.grid import cube_interval
from dvr_cli.kernels.twins.planes import Question, plane_costs

Found = tuple[Float[Tensor, "p 3"], Float[Tensor, "p"]]
"""Planes and their costs."""


def sweep(question: Question, spacing: float) -> Found:
    """The best of the planes parallel to the image, `spacing` pixels apart in the source that they cross fastest."""
    stack, views = question.stack, question.views
    rays = directions_of(stack, views, question.pixels)
    length = rays.norm(dim=1)
    origins = stack.centres[views.long()]
    near_t, far_t = cube_interval(origins, rays / length[:, None])
    far = length / far_t
    near = length / torch.maximum(near_t, 0.01 * far_t)
    sources = question.sources[views.long()].clamp(min=0)
    points = [(origins + rays / w[:, None])[:, None].expand(*sources.shape, 3) for w in (far, near)]
    (first, first_depth), (last, last_depth) = (project(stack, sources, at) for at in points)
    known = (question.sources[views.long()] >= 0) & (first_depth > 0) & (last_depth > 0)
    way = torch.where(known, (first - last).norm(dim=2), 1).amax(dim=1).clamp(min=1)
    steps = ((way / spacing).int() + 1).clamp(max=int(MOST_STEPS))
    best = torch.zeros(len(views), 3, dtype=rays.dtype)
    best_cost = torch.full_like(best[:, 0], float(NO_PLANE))
    for i in range(int(steps.max())):
        w = far + (near - far) / steps * (i + 0.5)
        planes = torch.stack([w, torch.zeros_like(w), torch.zeros_like(w)], dim=1)
        cost = torch.where(i < steps, plane_costs(question, planes), NO_PLANE)
        best = torch.where((cost < best_cost)[:, None], planes, best)
        best_cost = torch.minimum(cost, best_cost)
    return best, best_cost


def improve(
    question: Question,
    planes: Float[Tensor, "pixels 3"],
    costs: Float[Tensor, "pixels"],
    *,
    reach: int,
    draws: int,
    scale: float,
    seed: int,
) -> Found:
    """Planes of the cheapest pixel in each of four directions, then random changes; each kept where it costs less."""
    found = planes[question.places], costs[question.places]
    for direction in range(4):
        found = _better(question, found, _taken_over(question, planes, costs, _offsets(direction, reach)))
    state = random_start(seed, question.places)
    tilt = scale / question.stack.intrinsics[question.views.long(), 0, 0]
    for i in range(draws):
        best = found[0]
        drawn = []
        for _ in range(3):
            state, number = random_number(state)
            drawn.append(2 * number.to(best.dtype) - 1)
        w = best[:, 0] * (1 + 0.1 * scale * drawn[0])
        wx, wy = (best[:, 1 + axis] + best[:, 0] * tilt * drawn[1 + axis] for axis in (0, 1))
        if i % 3 == 1:
            w = best[:, 0]
        if i % 3 == 2:
            wx, wy = best[:, 1], best[:, 2]
        found = _better(question, found, torch.stack([w, wx, wy], dim=1))
    return found


def _better(question: Question, found: Found, planes: Float[Tensor, "p 3"]) -> Found:
    """Whichever of the planes found and other planes cost less."""
    cost = plane_costs(question, planes)
    less = cost < found[1]
    return torch.where(less[:, None], planes, found[0]), torch.where(less, cost, found[1])


def _offsets(direction: int, reach: int) -> list[tuple[int, int]]:
    """Steps of odd length in one direction, near ones also along both diagonals, in the kernel's order."""
    offsets = []
    for k in range(1, 2 * reach):
        for side in (-1, 0, 1):
            if (k % 2 == 1 and side == 0) or (side != 0 and 1 < k <= reach):
                x, y = (k, side * (k - 1)) if direction < 2 else (side * (k - 1), k)
                offsets.append((-x, -y) if direction % 2 else (x, y))
    return offsets


def _taken_over(
    question: Question, planes: Tensor, costs: Tensor, offsets: list[tuple[int, int]]
) -> Float[Tensor, "p 3"]:
    """The plane of the cheapest pixel among those at `offsets`, as the listed pixels' own; 0 where there is none."""
    size = torch.stack([question.stack.widths, question.stack.heights], dim=1)[question.views.long()]
    least = torch.full((len(question.views),), float(NO_PLANE), dtype=costs.dtype)
    taken = torch.zeros(len(question.views), 3, dtype=planes.dtype)
    for offset in torch.tensor(offsets):
        other = question.pixels + offset
        inside = ((other >= 0) & (other < size)).all(dim=1)
        place = torch.where(inside, question.stack.pixel_index(question.views, other), 0)
        cost = torch.where(inside, costs[place], NO_PLANE)
        plane = planes[place]
        moved = torch.cat([plane[:, :1] - (plane[:, 1:] * offset).sum(dim=1, keepdim=True), plane[:, 1:]], dim=1)
        taken = torch.where((cost < least)[:, None], moved, taken)
        least = torch.minimum(cost, least)
    return taken
