"""Twin of `kernels.planes` and of the kernels in `kernels.patchmatch`: every tap goes through space by itself.

Notation: p pixels, s sources per view, u taps of a patch. A tap's inverse depth is w + wx dx + wy dy; its point is the
camera's centre plus its ray (camera z = 1) over that; it is projected into the source and looked up there. Derivatives
are autograd's. Maps that are passed in are not changed; results are those of the listed pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.kernels.matching import Comparing
from dvr_cli.kernels.planes import FULL_TURN, LEAST_FACING, MOST_CONTRADICTION, NO_PLANE, UNSEEN
from dvr_cli.kernels.twins.cameras import directions_of, pixel_under, project
from dvr_cli.kernels.twins.grid import grid_value
from dvr_cli.kernels.twins.patches import bilinear
from dvr_cli.kernels.views import ViewArrays


@dataclass(frozen=True)
class Question:
    """The pixels that are worked on, and everything that their planes are compared with."""

    stack: ViewArrays
    sources: Int[Tensor, "v s"]
    hull: Float[Tensor, "n n n"]
    comparing: Comparing
    views: Int[Tensor, "p"]
    pixels: Int[Tensor, "p 2"]
    known: Float[Tensor, "pixels 3"] | None = None
    """Planes of all views that new ones shall agree with."""
    geometric: float = 0.0
    """What a pixel of contradiction with them costs."""

    @property
    def places(self) -> Int[Tensor, "p"]:
        """Where the pixels lie in the maps."""
        return self.stack.pixel_index(self.views, self.pixels)


def taps_of(question: Question) -> tuple[Int[Tensor, "p u 2"], Float[Tensor, "p u"], Float[Tensor, "p u"]]:
    """Whole (x, y) of the taps, their grey values, and 1 for those on the object in the image; all 0 when few are."""
    radius, stride = question.comparing.radius, question.comparing.stride
    reach = torch.arange(-radius, radius + 1, stride)
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    taps = question.pixels.long()[:, None] + torch.stack([x, y], dim=2).reshape(1, -1, 2)
    index = question.views.long()[:, None]
    stack = question.stack
    size = torch.stack([stack.widths, stack.heights], dim=1)[index]
    inside = ((taps >= 0) & (taps < size)).all(dim=2)
    place = torch.where(inside, stack.starts[index].long() + taps[..., 1] * stack.widths[index] + taps[..., 0], 0)
    counts = (inside & (stack.masks[place] > 0)).to(stack.gray.dtype)
    enough = counts.mean(dim=1, keepdim=True) >= 0.5
    return taps, stack.gray[place], counts * enough


def source_patches(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p s u"]:
    """Grey values of the taps in every source; differentiable with respect to the planes."""
    taps, _, _ = taps_of(question)
    points = _tap_points(question, planes, taps)
    source, shape = _source_of_taps(question, taps.shape[1])
    position, _ = project(question.stack, source, points[:, None].expand(*shape, 3))
    return bilinear(question.stack, source, position)[0]


def normalised(grey: Float[Tensor, "*p u"], counts: Float[Tensor, "*#p u"], noise: float) -> Float[Tensor, "*p u"]:
    """Zero mean over the taps that count, over a length whose square is raised by taps * noise^2."""
    count = counts.sum(dim=-1, keepdim=True).clamp(min=1)
    centred = (grey - (grey * counts).sum(dim=-1, keepdim=True) / count) * counts
    square = centred.square().sum(dim=-1, keepdim=True) + count * noise**2
    return centred / torch.where(square > 0, square, 1).sqrt()


def source_losses(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p s"]:
    """1 - NCC with every source; `UNSEEN` where the source does not show the patch from its front."""
    _, own, counts = taps_of(question)
    noise = question.comparing.noise
    b = normalised(source_patches(question, planes), counts[:, None], noise)
    losses = 1 - (normalised(own, counts, noise)[:, None] * b).sum(dim=2)
    return torch.where(shows_patch(question, planes), losses, UNSEEN)


def shows_patch(question: Question, planes: Float[Tensor, "p 3"]) -> Bool[Tensor, "p s"]:
    """The patch's corners are in the source's image, its middle is on the object there, and its area changes little."""
    stack, radius = question.stack, question.comparing.radius
    corners = torch.tensor([[x * radius, y * radius] for x in (-1, 1) for y in (-1, 1)])
    points = _tap_points(question, planes, question.pixels.long()[:, None] + corners)
    source, shape = _source_of_taps(question, 4)
    position, depth = project(stack, source, points[:, None].expand(*shape, 3))
    size = torch.stack([stack.widths, stack.heights], dim=1)[source.long()]
    inside = ((position >= 0.5) & (position < size - 0.5)).all(dim=3) & (depth > 1e-6)
    middle, seen = pixel_under(stack, source[..., 0], _middles(question, planes)[:, None].expand(*shape[:2], 3))
    index = source[..., 0].long()
    place = stack.starts[index].long() + middle[..., 1] * stack.widths[index] + middle[..., 0]
    area = _growth(question, planes)
    alike = (area >= 1 / FULL_TURN) & (area <= FULL_TURN)
    known = question.sources[question.views.long()] >= 0
    return inside.all(dim=2) & seen & (stack.masks[place] > 0) & alike & known


def _growth(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p s"]:
    """Pixels of the source per pixel of the reference in area, negative when seen from behind."""
    source, shape = _source_of_taps(question, 1)

    def middle_in_source(offset: Tensor) -> Tensor:
        points = _middles(question, planes, offset)
        return project(question.stack, source[..., 0], points[:, None].expand(*shape[:2], 3))[0]

    nowhere = torch.zeros(len(planes), 2, dtype=planes.dtype)
    columns = []
    for axis in (0, 1):
        direction = torch.zeros_like(nowhere)
        direction[:, axis] = 1
        columns.append(derivative_along(middle_in_source, nowhere, direction))
    return columns[0][..., 0] * columns[1][..., 1] - columns[0][..., 1] * columns[1][..., 0]


def plane_costs(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
    """The mean of the best losses; `NO_PLANE` outside the hull, seen along the plane, or with too few taps."""
    losses = source_losses(question, planes)
    keep = question.comparing.keep
    if question.known is not None:
        named = question.sources[question.views.long()] >= 0
        losses = torch.where(named, losses + question.geometric * contradictions(question, planes), torch.inf)
    worst = UNSEEN + MOST_CONTRADICTION * (question.geometric if question.known is not None else 0)
    padded = torch.nn.functional.pad(losses, (0, keep), value=worst)
    cost = padded.sort(dim=1).values[:, :keep].mean(dim=1)
    points = _middles(question, planes)
    in_hull = grid_value(question.hull.to(planes.dtype), points) <= question.comparing.hull_margin
    rays = torch.nn.functional.normalize(directions_of(question.stack, question.views, question.pixels), dim=1)
    facing = -(normals_of(question, planes) * rays).sum(dim=1)
    enough = taps_of(question)[2].sum(dim=1) > 0
    may_be = (planes[:, 0] > 0) & in_hull & (points.abs() <= 1).all(dim=1) & (facing >= LEAST_FACING) & enough
    return torch.where(may_be, cost, NO_PLANE)


def contradictions(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p s"]:
    """Pixels by which each point misses its pixel on the way to what a source knows of the surface and back."""
    assert question.known is not None
    stack = question.stack
    source, shape = _source_of_taps(question, 1)
    source = source[..., 0]
    points = _middles(question, planes)[:, None].expand(*shape[:2], 3)
    pixel, seen = pixel_under(stack, source, points)
    position, _ = project(stack, source, points)
    offset = torch.where(seen[..., None], position - pixel - 0.5, 0)
    place = stack.starts[source.long()].long() + pixel[..., 1] * stack.widths[source.long()] + pixel[..., 0]
    plane = question.known.to(planes.dtype)[place]
    w = plane[..., 0] + (plane[..., 1:] * offset).sum(dim=2)
    rays = directions_of(stack, source, pixel + offset)
    there = stack.centres[source.long()] + rays / torch.where(w > 0, w, 1)[..., None]
    back, depth = project(stack, question.views[:, None].expand(shape[:2]), there)
    miss = (back - question.pixels[:, None] - 0.5).norm(dim=2).clamp(max=MOST_CONTRADICTION)
    return torch.where(seen & (w > 0) & (depth > 0), miss, MOST_CONTRADICTION)


def normals_of(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
    """Unit normals, towards the camera, from three points of each plane."""
    offsets = torch.tensor([[0, 0], [1, 0], [0, 1]])
    at = _tap_points(question, planes, question.pixels.long()[:, None] + offsets)
    # x to the right and y down: their cross product looks away from the camera.
    normal = torch.linalg.cross(at[:, 2] - at[:, 0], at[:, 1] - at[:, 0])
    return torch.nn.functional.normalize(normal, dim=1)


def refine_once(
    question: Question, planes: Float[Tensor, "p 3"], costs: Float[Tensor, "p"], damping: float
) -> tuple[Float[Tensor, "p 3"], Float[Tensor, "p"]]:
    """(plane after one Gauss-Newton step, curvature with respect to w before it), whether or not it costs less."""
    _, own, counts = taps_of(question)
    noise, radius = question.comparing.noise, question.comparing.radius
    scale = torch.tensor([1.0, 1 / radius, 1 / radius], dtype=planes.dtype)

    def patches(scaled: Tensor) -> Tensor:
        return normalised(source_patches(question, scaled * scale), counts[:, None], noise)

    tangents = torch.eye(3, dtype=planes.dtype)[:, None].expand(3, len(planes), 3)
    slopes = torch.stack([derivative_along(patches, planes / scale, tangent) for tangent in tangents])
    used = (source_losses(question, planes) < 1.5 * costs[:, None] + 0.1).to(planes.dtype)
    gradient = -torch.einsum("pu,ipsu,ps->pi", normalised(own, counts, noise), slopes, used)
    matrix = torch.einsum("ipsu,jpsu,ps->pij", slopes, slopes, used)
    speed = (_speeds(question, planes).square().sum(dim=2) * used).sum(dim=1)
    solid = matrix + damping * speed[:, None, None] * torch.eye(3, dtype=planes.dtype)
    move = torch.linalg.solve(solid, gradient)
    longest = move.abs().amax(dim=1) * speed.sqrt()
    return planes - move * scale / longest.clamp(min=1)[:, None], matrix[:, 0, 0]


def derivative_along(function: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor) -> Tensor:
    """J v of a function: J^T w is linear in w, so its own derivative with respect to w in the direction v is J v."""
    with torch.enable_grad():
        variable = at.detach().clone().requires_grad_()
        value = function(variable)
        w = torch.zeros_like(value, requires_grad=True)
        (product,) = torch.autograd.grad(value, variable, w, create_graph=True)
        return torch.autograd.grad(product, w, direction)[0].detach()


def _speeds(question: Question, planes: Float[Tensor, "p 3"]) -> Float[Tensor, "p s 2"]:
    """Pixels by which the middle moves in each source when its inverse depth grows by 1."""
    source, shape = _source_of_taps(question, 1)

    def middle_in_source(w: Tensor) -> Tensor:
        points = _middles(question, torch.cat([w[:, None], planes[:, 1:]], dim=1))
        return project(question.stack, source[..., 0], points[:, None].expand(*shape[:2], 3))[0]

    return derivative_along(middle_in_source, planes[:, 0], torch.ones_like(planes[:, 0]))


def _tap_points(question: Question, planes: Tensor, taps: Int[Tensor, "p u 2"]) -> Float[Tensor, "p u 3"]:
    """Where the planes are met by the rays through pixels near them."""
    views = question.views[:, None].expand(taps.shape[:2])
    offset = (taps - question.pixels.long()[:, None]).to(planes.dtype)
    w = planes[:, :1] + (planes[:, None, 1:] * offset).sum(dim=2)
    return question.stack.centres[views.long()] + directions_of(question.stack, views, taps) / w[..., None]


def _middles(question: Question, planes: Tensor, offset: Tensor | None = None) -> Float[Tensor, "p 3"]:
    """Where the planes are met by their own pixels' rays, or by rays some part of a pixel beside them."""
    offset = torch.zeros(len(planes), 2, dtype=planes.dtype) if offset is None else offset
    w = planes[:, 0] + (planes[:, 1:] * offset).sum(dim=1)
    directions = directions_of(question.stack, question.views, question.pixels + offset)
    return question.stack.centres[question.views.long()] + directions / w[:, None]


def _source_of_taps(question: Question, taps: int) -> tuple[Int[Tensor, "p s u"], tuple[int, int, int]]:
    """The source of every tap, 0 for none, and the shape of that."""
    sources = question.sources[question.views.long()].clamp(min=0)
    shape = (len(sources), sources.shape[1], taps)
    return sources[:, :, None].expand(shape), shape
