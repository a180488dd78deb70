"""Twins of `kernels.hull`: visual hull, plane sweep, confirmation, votes and veto.

Depth maps are sampled at every `step`-th pixel and lie one after the other, view v's from `map_starts[v]` on. Vertex
(i, j, k) of n^3 lies at -1 + 2 (i, j, k) / (n - 1).
"""

import itertools

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.kernels.twins.cameras import directions_of, pixel_under, project
from dvr_cli.kernels.twins.grid import cube_interval, grid_value
from dvr_cli.kernels.twins.patches import NOTHING, PatchRays, source_losses
from dvr_cli.kernels.views import ViewArrays

FAR_APART = 3.0
"""A depth this many planes away from the best one is another depth."""
GOOD_LOSS = 0.5
"""No plane with a greater loss is a depth."""


def vertices(n: int, like: Tensor) -> Float[Tensor, "n n n 3"]:
    """Unit-space positions of the grid's vertices, in the precision and on the device of `like`."""
    axis = torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def visual_hull(stack: ViewArrays, n: int, radius: float = 1.0) -> Bool[Tensor, "n n n"]:
    """True for vertices in the ball that some view sees and every view that sees them shows on the object."""
    points = vertices(n, stack.centres)
    inside = points.norm(dim=-1) <= radius
    seen_by_any = torch.zeros_like(inside)
    for v in range(stack.count):
        pixel, seen = pixel_under(stack, torch.full_like(inside, v, dtype=torch.int32), points)
        on_object = stack.masks[stack.starts[v] + pixel[..., 1] * stack.widths[v] + pixel[..., 0]] > 0
        inside = inside & (on_object | ~seen)
        seen_by_any = seen_by_any | seen
    return inside & seen_by_any


def plane_losses(
    stack: ViewArrays,
    neighbours: Int[Tensor, "v m"],
    hull: Float[Tensor, "n n n"],
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    *,
    planes: int,
    sources: int,
    radius: int,
    noise: float,
) -> tuple[Float[Tensor, "p k"], Float[Tensor, "p k"]]:
    """(t, loss) of every plane facing the camera along each pixel's ray: the mean of its two best losses, 9 for none.

    Planes outside the hull (by more than their spacing along the ray) are not compared.
    """
    directions = torch.nn.functional.normalize(directions_of(stack, pixel_views, pixels), dim=1)
    origins = stack.centres[pixel_views.long()]
    near, far = cube_interval(origins, directions)
    spacing = 2 * 3**0.5 / planes
    t = near[:, None] + spacing * (torch.arange(planes + 1, device=near.device) + 0.5)
    rays = PatchRays(
        views=pixel_views,
        pixels=pixels,
        normals=-stack.rotations[pixel_views.long(), 2],
        bends=torch.zeros_like(origins[:, :2]),
        sources=neighbours[pixel_views.long(), :sources],
        noise=noise,
        radius=radius,
    )
    columns = []
    for at in t.T:
        losses = source_losses(stack, rays, directions, at)
        losses = torch.nn.functional.pad(losses, (0, 1), value=NOTHING).sort(dim=1).values[:, :2].mean(dim=1)
        in_hull = grid_value(hull.to(t.dtype), origins + at[:, None] * directions) < spacing
        columns.append(torch.where(in_hull & (at < far), losses, NOTHING))
    return t, torch.stack(columns, dim=1)


def choose_plane(
    t: Float[Tensor, "p k"], loss: Float[Tensor, "p k"], spacing: float
) -> tuple[Float[Tensor, "p"], Float[Tensor, "p"]]:
    """(t, score) of the best plane: its NCC times five times its lead, at most 1, over the best of another depth.

    Planes are gone through from near to far. When a plane beats the best so far, that one becomes the runner-up if it
    is another depth; a plane that does not is the runner-up if it is another depth than the best and better than the
    last one. A parabola through the best plane and its neighbours moves t by at most half the spacing.
    """
    chosen_t, score = torch.zeros_like(t[:, 0]), torch.zeros_like(t[:, 0])
    for p in range(len(t)):
        best, runner_up, best_k = NOTHING, NOTHING, -1
        for k, value in enumerate(loss[p].tolist()):
            apart = best_k < 0 or float(t[p, k] - t[p, best_k]) > FAR_APART * spacing
            if value < best:
                best, runner_up, best_k = value, best if apart else runner_up, k
            elif value < runner_up and apart:
                runner_up = value
        if best >= GOOD_LOSS:
            continue
        chosen_t[p] = t[p, best_k] + spacing * _parabola(loss[p], best_k)
        score[p] = min(1 - best, 1) * min(max(5 * (runner_up - best), 0), 1)
    return chosen_t, score


def _parabola(loss: Float[Tensor, "k"], best: int) -> float:
    """Offset, in planes, of the vertex of the parabola through the best plane and its neighbours; 0 without both."""
    if best == 0 or best == len(loss) - 1 or loss[best - 1] >= NOTHING / 2 or loss[best + 1] >= NOTHING / 2:
        return 0.0
    bend = loss[best - 1] + loss[best + 1] - 2 * loss[best]
    return 0.0 if bend <= 1e-4 else float((0.5 * (loss[best - 1] - loss[best + 1]) / bend).clamp(-0.5, 0.5))


def confirm(
    stack: ViewArrays,
    neighbours: Int[Tensor, "v m"],
    map_starts: Int[Tensor, "v"],
    step: int,
    pixel_views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    t: Float[Tensor, "p"],
    t_map: Float[Tensor, "m2"],
    tolerance: float,
) -> Int[Tensor, "p"]:
    """In how many neighbours one of the four depths around the pixel's point is nearly the distance to it."""
    directions = torch.nn.functional.normalize(directions_of(stack, pixel_views, pixels), dim=1)
    sources = neighbours[pixel_views.long()]
    views = sources.clamp(min=0)
    points = (stack.centres[pixel_views.long()] + t[:, None] * directions)[:, None].expand(*sources.shape, 3)
    _, seen = pixel_under(stack, views, points)
    position, _ = project(stack, views, points)
    corner = ((position - 0.5 - step // 2) / step).floor().long()
    distance = (points - stack.centres[views.long()]).norm(dim=2)
    agrees = torch.zeros_like(seen)
    for right, down in itertools.product((0, 1), repeat=2):
        depth = map_at(
            stack, map_starts, step, t_map, views, corner + torch.tensor([right, down], device=corner.device)
        )
        agrees |= (depth > 0) & ((depth - distance).abs() < tolerance)
    return ((t > 0)[:, None] & (sources >= 0) & seen & agrees).sum(dim=1)


def vote(
    stack: ViewArrays,
    hull: Float[Tensor, "n n n"],
    map_starts: Int[Tensor, "v"],
    step: int,
    t_map: Float[Tensor, "m"],
    margin: float,
) -> tuple[Float[Tensor, "n n n"], Float[Tensor, "n n n"]]:
    """(free, support) per hull vertex: views whose depth is more than `margin` behind it; from there to 3 before it."""
    points = vertices(hull.shape[0], stack.centres)
    free, support = torch.zeros_like(hull), torch.zeros_like(hull)
    for v in range(stack.count):
        views = torch.full(hull.shape, v, dtype=torch.int32, device=hull.device)
        pixel, seen = pixel_under(stack, views, points)
        distance = map_at(stack, map_starts, step, t_map, views, pixel // step)
        known = seen & (distance > 0)
        behind = (points - stack.centres[v]).norm(dim=-1) - distance
        free += known & (hull < 0) & (behind < -margin)
        support += known & (hull < 0) & (behind >= -margin) & (behind < 3 * margin)
    return free, support


def map_at(
    stack: ViewArrays,
    map_starts: Tensor,
    step: int,
    t_map: Tensor,
    views: Int[Tensor, "*r"],
    places: Int[Tensor, "*r 2"],
) -> Float[Tensor, "*r"]:
    """What each view's map says at (column, row), or at the nearest place that the map has."""
    index = views.long()
    size = (torch.stack([stack.widths, stack.heights], dim=1)[index] + step - 1) // step
    column, row = torch.minimum(places.clamp(min=0), size - 1).unbind(dim=-1)
    return t_map[map_starts[index].long() + row * size[..., 0] + column]


def veto(
    hull: Float[Tensor, "n n n"],
    kept: UInt8[Tensor, "n n n"],
    votes: Float[Tensor, "n n n"],
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
) -> Int[Tensor, "r"]:
    """The first hull vertex with the fewest votes among those nearest to samples of the ray, 0.7 voxels apart.

    -1 when a kept vertex is among them, or no hull vertex.
    """
    n = hull.shape[0]
    voxel = 2 / (n - 1)
    near, far = cube_interval(origins, directions)
    count = int((far - near).clamp(min=0).max() / (0.7 * voxel)) + 2 if len(origins) else 1
    t = near[:, None] + 0.7 * voxel * torch.arange(count, device=near.device)
    points = origins[:, None] + t[..., None] * directions[:, None]
    index = ((points + 1) / voxel).round().long().clamp(0, n - 1)
    vertex = (index[..., 0] * n + index[..., 1]) * n + index[..., 2]
    on_ray = t < far[:, None]
    against = torch.where(on_ray & (hull.reshape(-1)[vertex] < 0), votes.reshape(-1)[vertex], torch.inf)
    least, first = against.min(dim=1)
    found = (on_ray & (kept.reshape(-1)[vertex] > 0)).any(dim=1) | least.isinf()
    return torch.where(found, -1, vertex.gather(1, first[:, None])[:, 0])
