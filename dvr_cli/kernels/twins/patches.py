"""Twin of `kernels.patches`: patches are warped point by point through space, and autograd differentiates.

Notation: r rays, s sources per ray, u taps of a patch. The plane through the hit o + t w with normal n is met by the
tap's own ray o + t_u w_u at t_u = t (n.w) / (n.w_u); that point is projected into the source view and its grey value
looked up. Where the surface is bent, t is replaced by t plus how far the surface lies behind the plane at the tap; the
kernel does the same to first order in that distance.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.kernels.patches import LEAST_FACING, WORST_LOSS, Comparison
from dvr_cli.kernels.twins.cameras import directions_of, pixel_under, project
from dvr_cli.kernels.views import ViewArrays

NOTHING = 9.0
"""The loss of what cannot be compared."""


@dataclass(frozen=True)
class PatchRays:
    """Rays through pixels, and the sources to compare their patches with."""

    views: Int[Tensor, "r"]
    pixels: Int[Tensor, "r 2"]
    normals: Float[Tensor, "r 3"]
    """Unit normals of the planes at the hits."""
    bends: Float[Tensor, "r 2"]
    """How far, in t per squared pixel along x and y, the surface lies behind the plane."""
    sources: Int[Tensor, "r s"]
    """View indices, -1 for none."""
    noise: float
    """Standard deviation of grey values that is not texture."""
    radius: int


def patch_ncc(
    stack: ViewArrays,
    ray_views: Int[Tensor, "r"],
    ray_pixels: Int[Tensor, "r 2"],
    directions: Float[Tensor, "r 3"],
    t: Float[Tensor, "r"],
    normals: Float[Tensor, "r 3"],
    bends: Float[Tensor, "r 2"],
    sources: Int[Tensor, "r s"],
    *,
    keep: int,
    radius: int,
    noise: float,
) -> Comparison:
    """The same as, and with the signature of `kernels.patches.patch_ncc`, in the stack's precision."""
    rays = PatchRays(ray_views, ray_pixels, normals, bends, sources, noise, radius)
    with torch.enable_grad():
        variable = t.detach().requires_grad_()
        patch_slope = _derivative(_normalised_source(stack, rays, directions, variable)[0], variable)
        losses = source_losses(stack, rays, directions, variable)
        losses = torch.where(_may_compare(stack, rays, directions, t), losses, NOTHING)
        of_each = [torch.autograd.grad(loss.sum(), variable, retain_graph=True)[0] for loss in losses.unbind(dim=1)]
    losses, slopes, curvatures = losses.detach(), torch.stack(of_each, dim=1), patch_slope.square().sum(dim=2)
    best = losses.argsort(dim=1)[:, :keep]
    counts = (losses.gather(1, best) < WORST_LOSS).all(dim=1) & (best.shape[1] == keep)
    wanted = (slopes / curvatures.clamp(min=1e-300)).gather(1, best)
    discord = (wanted[:, 0] - wanted[:, -1]).abs()
    means = [of_all.gather(1, best).mean(dim=1) for of_all in (losses, slopes, curvatures)]
    return Comparison(*(torch.where(counts, found, 0) for found in (*means, discord)))


def _derivative(patches: Float[Tensor, "r s u"], t: Float[Tensor, "r"]) -> Float[Tensor, "r s u"]:
    """d patches / dt, each ray's patches depending on its own t alone.

    J^T w is linear in w, so its own derivative with respect to w in the direction of ones is J 1.
    """
    w = torch.zeros_like(patches, requires_grad=True)
    (product,) = torch.autograd.grad(patches, t, w, create_graph=True)
    return torch.autograd.grad(product.sum(), w)[0]


def source_losses(
    stack: ViewArrays, rays: PatchRays, directions: Float[Tensor, "r 3"], t: Float[Tensor, "r"]
) -> Float[Tensor, "r s"]:
    """1 - NCC against every source, 9 where a patch leaves an image or the plane; differentiable with respect to t."""
    b, inside = _normalised_source(stack, rays, directions, t)
    grey, reference_inside = _reference(stack, rays)
    a = _normalise(grey, rays.noise)
    return torch.where(inside & reference_inside[:, None], 1 - (a[:, None] * b).sum(dim=2), NOTHING)


def _may_compare(stack: ViewArrays, rays: PatchRays, directions: Tensor, t: Tensor) -> Bool[Tensor, "r s"]:
    """Both views look at the plane's front, not along it, and the source sees the hit on the object."""
    sources = rays.sources.clamp(min=0)
    centres = stack.centres[rays.views.long()]
    hits = (centres + t[:, None] * directions)[:, None].expand(-1, sources.shape[1], -1)
    faces = (rays.normals * directions).sum(dim=1) < -LEAST_FACING
    to_source = torch.nn.functional.normalize(stack.centres[sources.long()] - hits, dim=2)
    source_faces = (to_source * rays.normals[:, None]).sum(dim=2) > LEAST_FACING
    pixel, seen = pixel_under(stack, sources, hits)
    place = stack.starts[sources.long()].long() + pixel[..., 1] * stack.widths[sources.long()] + pixel[..., 0]
    return (rays.sources >= 0) & faces[:, None] & source_faces & seen & (stack.masks[place] > 0)


def _normalised_source(
    stack: ViewArrays, rays: PatchRays, directions: Tensor, t: Tensor
) -> tuple[Float[Tensor, "r s u"], Bool[Tensor, "r s"]]:
    """Patches of the source views, zero mean over length, and whether all of a patch is inside its image."""
    taps = _taps(rays)
    own_view = rays.views[:, None].expand(taps.shape[:2])
    tap_directions = directions_of(stack, own_view, taps)
    facing = (tap_directions * rays.normals[:, None]).sum(dim=2)
    behind = (rays.bends[:, None] * (taps - rays.pixels.long()[:, None]).square()).sum(dim=2)
    plane = (t[:, None] + behind) * (rays.normals * directions).sum(dim=1, keepdim=True)
    tap_t = plane / torch.where(facing < 0, facing, -1)
    points = stack.centres[own_view.long()] + tap_t[..., None] * tap_directions
    shape = (len(t), rays.sources.shape[1], taps.shape[1])
    source = rays.sources.clamp(min=0)[:, :, None].expand(shape)
    position, depth = project(stack, source, points[:, None].expand(*shape, 3))
    grey, inside = bilinear(stack, source, position)
    inside = inside & (depth > 0) & (facing < 0)[:, None] & (rays.sources >= 0)[:, :, None]
    return _normalise(grey, rays.noise), inside.all(dim=2)


def _reference(stack: ViewArrays, rays: PatchRays) -> tuple[Float[Tensor, "r u"], Bool[Tensor, "r"]]:
    """Grey values around the rays' own pixels, and whether all of them are in the image."""
    taps = _taps(rays)
    index = rays.views.long()[:, None]
    size = torch.stack([stack.widths, stack.heights], dim=1)[index]
    inside = ((taps >= 0) & (taps < size)).all(dim=2).all(dim=1)
    place = stack.starts[index].long() + taps[..., 1] * stack.widths[index] + taps[..., 0]
    return stack.gray[torch.where(inside[:, None], place, 0)], inside


def _taps(rays: PatchRays) -> Int[Tensor, "r u 2"]:
    """Whole (x, y) of a square patch around each pixel, without the pixel itself."""
    reach = torch.arange(-rays.radius, rays.radius + 1, device=rays.pixels.device)
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    offsets = torch.stack([x, y], dim=2).reshape(-1, 2)
    return rays.pixels.long()[:, None] + offsets[(offsets != 0).any(dim=1)]


def bilinear(
    stack: ViewArrays, views: Int[Tensor, "*r"], position: Float[Tensor, "*r 2"]
) -> tuple[Float[Tensor, "*r"], Bool[Tensor, "*r"]]:
    """Grey values between the four nearest pixel centres, and whether all four exist; differentiable by position."""
    index = views.long()
    from_centre = position - 0.5
    last = torch.stack([stack.widths, stack.heights], dim=1)[index] - 1
    inside = ((from_centre >= 0) & (from_centre < last)).all(dim=-1)
    corner = torch.where(inside[..., None], from_centre.detach().floor(), 0).long()
    x, y = (from_centre - corner).unbind(dim=-1)
    place = stack.starts[index].long() + corner[..., 1] * stack.widths[index] + corner[..., 0]
    below = torch.where(inside, place + stack.widths[index], 0)
    place = torch.where(inside, place, 0)
    top = stack.gray[place] * (1 - x) + stack.gray[place + 1] * x
    bottom = stack.gray[below] * (1 - x) + stack.gray[below + 1] * x
    return torch.where(inside, top * (1 - y) + bottom * y, 0), inside


def _normalise(grey: Float[Tensor, "*r u"], noise: float) -> Float[Tensor, "*r u"]:
    """Zero mean, over a length whose square is raised by size * noise^2; zero where that length is."""
    centred = grey - grey.mean(dim=-1, keepdim=True)
    square = centred.square().sum(dim=-1, keepdim=True) + grey.shape[-1] * noise**2
    return centred / torch.where(square > 0, square, 1).sqrt()
