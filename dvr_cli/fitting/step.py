"""One step: draw pixels, find the surface, compare, update the field.

Every residual is scaled so that its Gauss-Newton curvature is meaningful (weights are per voxel squared): the optimiser
then knows how much each voxel's data is worth, and where it is worth nothing smoothness decides.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from dvr_cli.config import Settings
from dvr_cli.fields.grid import GridField
from dvr_cli.fitting.pixels import PixelPool
from dvr_cli.kernels import band as band_kernels
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.rendering.photometric import photometric_loss, surface_bends
from dvr_cli.rendering.surface import Surface, first_hit, surface_at
import os
TRUST=float(os.environ.get('TRUST','0'))
BEND=float(os.environ.get('BEND','1.5'))


@dataclass
class StepState:
    """What a level carries from step to step besides the field."""

    mean_gradient: Tensor
    mean_curvature: Tensor
    band: Int[Tensor, "b"]


def choose_sources(
    neighbours: Int[Tensor, "v m"], ray_views: Int[Tensor, "r"], count: int, generator: torch.Generator
) -> Int[Tensor, "r s"]:
    """`count` source views per ray: one at random from each of `count` groups of a view's sorted neighbours."""
    group = max(1, neighbours.shape[1] // count)
    pick = torch.randint(group, (len(ray_views), count), generator=generator).to(neighbours.device)
    column = (torch.arange(count, device=neighbours.device) * group + pick).clamp(max=neighbours.shape[1] - 1)
    return neighbours[ray_views.long()].gather(1, column).contiguous()


def accumulate(
    field: GridField,
    stack: ViewArrays,
    pool: PixelPool,
    neighbours: Int[Tensor, "v m"],
    settings: Settings,
    patch_radius: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Draw rays, add the losses' gradients and curvatures to the field's, and return the mean losses."""
    weights, photometric = settings.losses, settings.photometric
    ray_views, ray_pixels = pool.draw(settings.rays_per_step, generator)
    origins, directions = stack.rays(ray_views, ray_pixels)
    index = stack.pixel_index(ray_views, ray_pixels)
    is_object = stack.masks[index] > 0
    hits = first_hit(field, origins, directions)
    report = {
        "silhouette": (hits.hit ^ is_object).float().mean(),
        "iou": (hits.hit & is_object).sum() / (hits.hit | is_object).sum().clamp(min=1),
    }

    on_surface = (hits.hit & is_object).nonzero().squeeze(1)
    o, d = origins[on_surface], directions[on_surface]
    surface = surface_at(field, o, d, hits.t[on_surface])
    # The colours follow the photographs whatever the weight; the geometry sees the colour error through t alone.
    t_for_colour = surface.t * weights.rgb + surface.t.detach() * (1 - weights.rgb)
    colour = field.colour(o + t_for_colour[:, None] * d, d)
    error = colour - stack.rgb[index[on_surface]]
    report["rgb"] = error.detach().abs().mean()
    report["mse"] = error.detach().square().mean()
    # A robust norm (Charbonnier): its curvature 1 / |error| lets outliers count less for colours and shape alike.
    softness = (error.detach().square().sum(dim=1) + 1e-3).rsqrt()
    rgb_loss = 0.5 * (softness[:, None] * error.square()).sum()
    field.add_colour_curvature(surface.points.detach(), softness)

    chosen = torch.rand(len(on_surface), generator=generator).to(o.device) < photometric.share
    chosen = (chosen & (surface.slope < 0)).nonzero().squeeze(1)
    views = ray_views[on_surface][chosen]
    grey_error = error.detach()[chosen].mean(dim=1)
    noise = (photometric.noise**2 + photometric.doubt**2 * grey_error.square()).sqrt()
    sources = choose_sources(neighbours, views, photometric.sources, generator)
    picked = Surface(surface.t[chosen], surface.points[chosen], surface.normals[chosen], surface.slope[chosen])
    pixels = ray_pixels[on_surface][chosen]
    bends = surface_bends(field, stack, views, pixels, picked, d[chosen], BEND * field.voxel)
    ncc_loss, ncc_curvature = photometric_loss(
        stack, views, pixels, d[chosen], picked.t, picked.normals, bends, sources,
        keep=photometric.keep, radius=patch_radius, noise=noise,
    )  # fmt: skip
    compared = ncc_curvature > 0
    trust = 0.5 / (ncc_loss.detach() + TRUST) if TRUST > 0 else torch.ones_like(ncc_curvature)
    report["photometric"] = ncc_loss.detach().sum() / compared.sum().clamp(min=1)
    field.add_curvature(
        surface.points.detach()[chosen], weights.photometric * trust * ncc_curvature / surface.slope[chosen] ** 2
    )

    silhouette_loss = _silhouettes(field, origins, directions, hits, is_object, weights.silhouette, settings.losses.margin)
    total = weights.photometric * (trust * ncc_loss).sum() + rgb_loss + silhouette_loss
    total.backward()
    return report


def _silhouettes(field, origins, directions, hits, is_object, weight, margin) -> Tensor:
    """Free space: a ray past the object must not hit. Occupancy: a ray through it must."""
    voxel = field.voxel
    margin = margin * voxel
    wrong_hit = ~is_object & hits.hit
    wrong_miss = is_object & ~hits.hit & (hits.nearest_value < 1e8)
    t = torch.where(hits.hit, hits.t, hits.nearest_t)
    loss = torch.zeros((), device=origins.device)
    for rays, sign, offset in ((wrong_hit, -1.0, margin), (wrong_miss, 1.0, margin)):
        index = rays.nonzero().squeeze(1)
        points = origins[index] + t[index, None] * directions[index]
        residual = ((sign * field.value(points) + offset) / voxel).clamp(0, 2)
        loss = loss + 0.5 * weight * residual.square().sum()
        field.add_curvature(points, torch.full_like(t[index], weight / voxel**2))
    return loss


def update(field: GridField, state: StepState, settings: Settings, share: float, step: int) -> None:
    """Move the field along what `accumulate` collected; `share` is how far the level is, 0 to 1."""
    o = settings.optimiser
    with torch.no_grad():
        band_kernels.newton_step(
            state.band, field.sdf, field.sdf.grad, field.sdf_curvature, state.mean_gradient, state.mean_curvature,
            memory=o.memory, damping=o.damping, rate=o.rate * (o.final_rate / o.rate) ** share,
            longest_step=o.longest_step,
        )  # fmt: skip
        band_kernels.relax(
            state.band, field.albedo, field.albedo.grad, field.albedo_curvature, damping=0.1, rate=o.colour_rate
        )
        band_kernels.relax(
            None, field.sheen, field.sheen.grad, field.sheen_curvature, damping=1.0, rate=0.5 * o.colour_rate
        )
        if step % o.band_every == 0:
            smoothing = o.smoothing * (o.final_smoothing / o.smoothing) ** share
            band_kernels.smooth_and_redistance(state.band, field.sdf, smoothing, o.redistancing)
            state.band = band_kernels.find_band(field.sdf, o.band * field.voxel)
