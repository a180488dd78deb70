"""Twin of `kernels.fusion`: what each view says of each point, for one witness after the other.

Notation: p listed pixels. Points, normals and sharpness follow `twins.planes`; nothing is changed in place.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.kernels.fusion import Agreement
from dvr_cli.kernels.twins.cameras import directions_of, pixel_under, project
from dvr_cli.kernels.twins.planes import Question, normals_of
from dvr_cli.kernels.views import ViewArrays


@dataclass(frozen=True)
class Surface:
    """What the listed pixels, or a witness, see."""

    points: Float[Tensor, "p 3"]
    normals: Float[Tensor, "p 3"]
    sharpness: Float[Tensor, "p"]
    """Pixels per length on the surface."""


def seen_by(
    stack: ViewArrays, views: Int[Tensor, "p"], positions: Float[Tensor, "p 2"], planes: Float[Tensor, "p 3"]
) -> Surface:
    """The planes of the pixels in which continuous positions lie, where the rays through the positions meet them."""
    pixels = positions.floor().long()
    w = planes[:, 0] + (planes[:, 1:] * (positions - pixels - 0.5)).sum(dim=1)
    rays = directions_of(stack, views, positions - 0.5)
    points = stack.centres[views.long()] + rays / w[:, None]
    normals = normals_of(_only(stack, views, pixels), planes)
    facing = -(normals * torch.nn.functional.normalize(rays, dim=1)).sum(dim=1)
    return Surface(points, normals, facing * w * stack.intrinsics[views.long(), 0, 0])


def witnesses_agree(
    stack: ViewArrays,
    views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    believed: UInt8[Tensor, "pixels"],
    own: Surface,
    others: Int[Tensor, "p"],
    agreement: Agreement,
) -> tuple[Bool[Tensor, "p"], Int[Tensor, "p"], Surface]:
    """(whether one other view of each pixel agrees, the place of its pixel, what it sees)."""
    known = others >= 0
    others = others.clamp(min=0)
    pixel, seen = pixel_under(stack, others, own.points)
    position, depth = project(stack, others, own.points)
    position = torch.where(seen[:, None], position, 0.5)
    place = stack.pixel_index(others, pixel)
    surface = seen_by(stack, others, position, planes[place])
    w = planes[place][:, 0] + (planes[place][:, 1:] * (position - pixel - 0.5)).sum(dim=1)
    back, back_depth = project(stack, views, surface.points)
    near = (back - pixels - 0.5).norm(dim=1) < agreement.pixel_tolerance
    alike = (surface.normals * own.normals).sum(dim=1) > agreement.least_cosine
    agrees = known & seen & (believed[place] > 0) & (w > 0) & ((w * depth - 1).abs() < agreement.depth_tolerance)
    return agrees & (back_depth > 0) & near & alike, place, surface


def count_agreeing(
    stack: ViewArrays,
    views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    believed: UInt8[Tensor, "pixels"],
    witnesses: Int[Tensor, "v m"],
    agreement: Agreement,
) -> Int[Tensor, "p"]:
    """How many witnesses agree with each listed pixel."""
    place = stack.pixel_index(views, pixels)
    own = seen_by(stack, views, pixels + 0.5, planes[place])
    count = torch.zeros(len(views), dtype=torch.int32)
    for others in witnesses[views.long()].T:
        count += witnesses_agree(stack, views, pixels, planes, believed, own, others, agreement)[0].int()
    return torch.where(believed[place] > 0, count, 0)


def fuse(
    stack: ViewArrays,
    views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    planes: Float[Tensor, "pixels 3"],
    believed: UInt8[Tensor, "pixels"],
    rgb: Float[Tensor, "pixels 3"],
    witnesses: Int[Tensor, "v m"],
    agreement: Agreement,
) -> tuple[Bool[Tensor, "p"], Float[Tensor, "p 3"], Float[Tensor, "p 3"], Float[Tensor, "p 3"]]:
    """(emitted, point, normal, colour) as means over the views that agree, weighted by their sharpness."""
    place = stack.pixel_index(views, pixels)
    own = seen_by(stack, views, pixels + 0.5, planes[place])
    emitted = believed[place] > 0
    weight, offset = own.sharpness, torch.zeros_like(own.sharpness)
    normals, colours = own.normals * weight[:, None], rgb[place] * weight[:, None]
    for others in witnesses[views.long()].T:
        agrees, where, its = witnesses_agree(stack, views, pixels, planes, believed, own, others, agreement)
        share = torch.where(agrees, its.sharpness, 0)
        weight = weight + share
        offset = offset + torch.where(agrees, share * ((its.points - own.points) * own.normals).sum(dim=1), 0)
        normals = normals + torch.where(agrees[:, None], its.normals * share[:, None], 0)
        colours = colours + torch.where(agrees[:, None], rgb[where] * share[:, None], 0)
        emitted = emitted & ~(agrees & (its.sharpness > own.sharpness))
    points = own.points + own.normals * (offset / weight)[:, None]
    return emitted, points, torch.nn.functional.normalize(normals, dim=1), colours / weight[:, None]


def _only(stack: ViewArrays, views: Int[Tensor, "p"], pixels: Int[Tensor, "p 2"]) -> Question:
    """A question about pixels alone: normals need neither sources nor a hull."""
    from dvr_cli.kernels.matching import Comparing

    return Question(stack, torch.zeros(0, 0).int(), torch.zeros(2, 2, 2), Comparing(1, 1, 1, 0, 0), views, pixels)
