"""One step: draw pixels, find the surface, compare, update the field.

Every residual is scaled so that its Gauss-Newton curvature is meaningful (weights are per voxel squared): the optimiser
then knows how much each voxel's data is worth, and where it is worth nothing smoothness decides.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.config import Level, Losses, Settings
from dvr_cli.fields.grid import GridField, gradient_buffer
from dvr_cli.fields.protocol import RayHits
from dvr_cli.fitting.inner_edges import Compared, inner_edge_loss
from dvr_cli.fitting.pixels import PixelPool
from dvr_cli.kernels import band as band_kernels
from dvr_cli.kernels import launch
from dvr_cli.kernels.long_waves import smooth_long_waves
from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.rows import rows
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN, ViewArrays
from dvr_cli.rendering.photometric import Guesses, photometric_loss, surface_bends
from dvr_cli.rendering.surface import Surface, first_hit, surface_at

Sums = dict[str, tuple[Tensor, Tensor]]
"""Reported values by name: sum and number."""

PARTS = 2
"""In so many parts a CPU works on a step's rays, whatever the number of threads, which must not change sums. More of
them take turns in the caches: four made one thread a quarter slower."""
BEND_REACH = 1.5
"""Voxels over which the bending of patches is measured."""
STEPS_BETWEEN_BANDS = 8
"""The band is many steps wide, and finding it costs a pass over the whole grid."""
EDGE_MEMORY = 0.95
"""Weight of earlier steps in the share of rays just outside masks that hit."""
UNKNOWN_EDGES = 2.0
"""That share at the start of a level, in units of the one that counts half: trust in edges has to be earned."""
FARTHEST_WRONG = 2.0
"""Voxels beyond which silhouettes have no say about a ray."""
NEARLY_WRONG = 1.5
"""Voxels within which a ray just outside a mask has to pass the surface to say where it is."""
LONG_STRIDES = (2, 4)
"""Voxels between vertices that are compared to smooth long waves."""
BUMP_VOXEL = 2 / 95
"""The voxel in which `largest_bump` is measured. A bend over so many voxels is a curvature times the voxel squared, so
with voxels half as large a quarter is left of it: the same curvature."""


@dataclass
class StepState:
    """What a level carries from step to step besides the field."""

    mean_gradient: Tensor
    mean_curvature: Tensor
    band: Int[Tensor, "b"]
    edge_hits: Float[Tensor, ""]
    """Share of the rays just outside masks that hit, as of late."""

    @classmethod
    def at_start(cls, field: GridField, settings: Settings) -> "StepState":
        """The state before a level's first step."""
        sdf = field.sdf.detach()
        band = band_kernels.find_band(sdf, settings.optimiser.band * field.voxel)
        hits = torch.full((), UNKNOWN_EDGES * settings.losses.edge_doubt, device=sdf.device)
        return cls(torch.zeros_like(sdf), torch.zeros_like(sdf), band, hits)


def choose_sources(
    neighbours: Int[Tensor, "v m"], ray_views: Int[Tensor, "r"], count: int, generator: torch.Generator
) -> Int[Tensor, "r s"]:
    """`count` source views per ray: one at random from each of `count` groups of a view's sorted neighbours."""
    group = max(1, neighbours.shape[1] // count)
    pick = torch.randint(group, (len(ray_views), count), generator=generator).to(neighbours.device)
    column = (torch.arange(count, device=neighbours.device) * group + pick).clamp(max=neighbours.shape[1] - 1)
    return rows(neighbours, ray_views).gather(1, column).contiguous()


def accumulate(
    field: GridField,
    state: StepState,
    stack: ViewArrays,
    pool: PixelPool,
    neighbours: Int[Tensor, "v m"],
    settings: Settings,
    level: Level,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Draw rays, add the losses' gradients and curvatures to the field's, and return the mean losses."""
    drawn = pool.draw(level.rays or settings.rays_per_step, generator)
    count = PARTS if stack.gray.device.type == "cpu" else 1
    parts = drawn.tensor_split(count)
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()
    trust = trust_in_edges(state, settings.losses.edge_doubt)

    def work(part: int) -> Sums:
        own = torch.Generator().manual_seed(seeds[part])
        return _accumulate_part(field, stack, pool.look(stack, parts[part]), trust, neighbours, settings, level, own)

    found = launch.in_parts(work, count)
    means = {}
    for name in found[0]:
        totals, numbers = zip(*(of_part[name] for of_part in found), strict=True)
        means[name] = torch.stack(totals).sum() / torch.stack(numbers).sum().clamp(min=1)
    edge_hits = means.pop("edge_hits")
    if not pool.has_edges:
        # Without the edges of masks there are no silhouettes to speak of.
        means.pop("iou")
    else:
        state.edge_hits = EDGE_MEMORY * state.edge_hits + (1 - EDGE_MEMORY) * edge_hits
    return means


def _accumulate_part(
    field: GridField,
    stack: ViewArrays,
    looks: Looks,
    edge_trust: Float[Tensor, ""],
    neighbours: Int[Tensor, "v m"],
    settings: Settings,
    level: Level,
    generator: torch.Generator,
) -> Sums:
    """The same for some of a step's rays; what is reported as sums and numbers."""
    weights, photometric = settings.losses, settings.photometric
    ray_views, ray_pixels, at_edge, origins, directions, mask, rgb = looks
    is_object, is_known = mask == OBJECT, mask != UNKNOWN
    hits = first_hit(field, origins, directions)
    outside = at_edge & (mask == BACKGROUND)
    sums: Sums = {
        "silhouette": _share((hits.hit ^ is_object) & is_known, is_known),
        "iou": _share(hits.hit & is_object, (hits.hit | is_object) & is_known),
        "edge_hits": _share(outside & hits.hit, outside),
    }

    on_surface = (hits.hit & (mask != BACKGROUND)).nonzero().squeeze(1)
    o, d = rows(origins, on_surface), rows(directions, on_surface)
    surface = surface_at(field, o, d, rows(hits.t, on_surface))
    # The colours follow the photographs whatever the weight; the geometry sees the colour error through t alone.
    t_for_colour = surface.t * weights.rgb + surface.t.detach() * (1 - weights.rgb)
    colour = field.colour(o + t_for_colour[:, None] * d, d)
    error = colour - rows(rgb, on_surface)
    values = torch.full((), float(error.numel()), device=o.device)
    sums["rgb"] = error.detach().abs().sum(), values
    sums["mse"] = error.detach().square().sum(), values
    # A robust norm (Charbonnier): its curvature 1 / |error| lets outliers count less for colours and shape alike.
    softness = (error.detach().square().sum(dim=1) + 1e-3).rsqrt()
    rgb_loss = 0.5 * (softness[:, None] * error.square()).sum()
    field.add_colour_curvature(surface.points.detach(), softness)

    chosen = torch.rand(len(on_surface), generator=generator).to(o.device) < photometric.share
    chosen = (chosen & (surface.slope < 0)).nonzero().squeeze(1)
    compared = rows(on_surface, chosen)
    views, pixels, d = rows(ray_views, compared), rows(ray_pixels, compared), rows(d, chosen)
    sources = choose_sources(neighbours, views, photometric.sources, generator)
    picked = surface.of(chosen)
    bends = surface_bends(field, stack, views, pixels, picked, d, BEND_REACH * field.voxel)
    ncc_loss, ncc_curvature = photometric_loss(
        stack, views, pixels, d, picked.t, picked.normals, bends, sources,
        keep=photometric.keep, radius=level.patch_radius, noise=photometric.noise,
        agreement=photometric.agreement * field.voxel,
        guesses=_guesses(picked, d, level.reach * field.voxel, field.voxel, generator),
    )  # fmt: skip
    sums["photometric"] = ncc_loss.detach().sum(), (ncc_curvature > 0).float().sum()
    field.add_curvature(picked.points.detach(), weights.photometric * ncc_curvature / picked.slope**2)

    # Masks that agree to the pixel are the most certain thing there is; the power leaves the others as they were.
    trust = torch.where(at_edge, edge_trust, 1) * (1 + weights.exact_masks * edge_trust**4)
    silhouette_loss = _silhouettes(field, origins, directions, hits, mask, trust, weights)
    _hold_edges(field, looks, hits, trust, weights.occupancy)
    rays = Compared(views, pixels, rows(o, chosen), d, picked.t.detach(), sources, ncc_loss.detach(), ncc_curvature)
    edge_loss = inner_edge_loss(field, stack, rays, settings, level, generator)
    total = weights.photometric * ncc_loss.sum() + rgb_loss + silhouette_loss + edge_loss
    total.backward()
    return sums


def _share(some: Bool[Tensor, "r"], among: Bool[Tensor, "r"]) -> tuple[Tensor, Tensor]:
    """(sum, number) whose ratio is the share of some among others."""
    return some.float().sum(), among.float().sum()


def _guesses(
    surface: Surface, directions: Float[Tensor, "h 3"], reach: float, voxel: float, generator: torch.Generator
) -> Guesses | None:
    """Patches to try up to `reach` away, facing anywhere between the surface's normal and the camera."""
    if reach <= 0:
        return None
    offsets, tilt = torch.rand(2, len(directions), generator=generator).to(directions.device)
    normals = torch.nn.functional.normalize(tilt[:, None] * surface.normals - (1 - tilt[:, None]) * directions, dim=1)
    return Guesses((2 * offsets - 1) * reach, normals, voxel)


def trust_in_edges(state: StepState, doubt: float) -> Float[Tensor, ""]:
    """What the pixels at masks' edges count, in (0, 1]; half where the share of rays outside that hit is `doubt`.

    Where masks are right to the pixel, the surface comes to satisfy all of them. Where they are not, whatever it does
    many rays just outside a mask hit; following each mask in turn then makes wrinkles.
    """
    return 1 / (1 + (state.edge_hits / doubt).square())


def _silhouettes(
    field: GridField,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    hits: RayHits,
    mask: UInt8[Tensor, "r"],
    trust: Float[Tensor, "r"],
    weights: Losses,
) -> Tensor:
    """Free space: a ray past the object must not hit. Occupancy: a ray through it must. The unknown may do either.

    The squared distance in voxels from where the surface would be `margin` voxels on the right side of the ray's first
    hit or, of a ray that misses, of its nearest approach.
    """
    voxel, margin = field.voxel, weights.margin * field.voxel
    wrong_hit = (mask == BACKGROUND) & hits.hit
    wrong_miss = (mask == OBJECT) & ~hits.hit & hits.nearest_value.isfinite()
    index = (wrong_hit | wrong_miss).nonzero().squeeze(1)
    hit = rows(hits.hit, index)
    t = torch.where(hit, rows(hits.t, index), rows(hits.nearest_t, index))
    points = rows(origins, index) + t[:, None] * rows(directions, index)
    value = field.value(points)
    residual = (torch.where(hit, -value, value) + margin) / voxel
    # Where a mask is wrong by more than that, or the shape, nothing says where along the ray to begin.
    within = (residual > 0) & (residual < FARTHEST_WRONG)
    worth = torch.where(hit, weights.free_space, weights.occupancy) * rows(trust, index) * within
    field.add_curvature(points, worth / voxel**2)
    return 0.5 * (worth * residual.square()).sum()


def _hold_edges(field: GridField, looks: Looks, hits: RayHits, trust: Float[Tensor, "r"], weight: float) -> None:
    """Rays at masks' edges that are right ask for no change, but say with `weight` that the surface is there.

    Otherwise only what silhouettes object to would count as known, and smoothing would wear edges off until they do.
    """
    is_object = looks.masks == OBJECT
    near = hits.hit | (hits.nearest_value < NEARLY_WRONG * field.voxel)
    right = looks.at_edge & (looks.masks != UNKNOWN) & (hits.hit == is_object) & near
    index = right.nonzero().squeeze(1)
    t = rows(torch.where(hits.hit, hits.t, hits.nearest_t), index)
    field.add_curvature(
        rows(looks.origins, index) + t[:, None] * rows(looks.directions, index),
        weight * rows(trust, index) / field.voxel**2,
    )


def update(field: GridField, state: StepState, settings: Settings, share: float, step: int) -> None:
    """Move the field along what `accumulate` collected; `share` is how far the level is, 0 to 1."""
    o = settings.optimiser
    sdf, albedo, sheen = field.sdf, field.albedo, field.sheen
    with torch.no_grad():
        band_kernels.newton_step(
            state.band, sdf, gradient_buffer(sdf), field.sdf_curvature, state.mean_gradient, state.mean_curvature,
            memory=o.memory, damping=o.damping, rate=o.rate * (o.final_rate / o.rate) ** share,
            longest_step=o.longest_step,
        )  # fmt: skip
        buffer = gradient_buffer(albedo)
        band_kernels.relax(state.band, albedo, buffer, field.albedo_curvature, damping=0.1, rate=o.colour_rate)
        buffer = gradient_buffer(sheen)
        band_kernels.relax(None, sheen, buffer, field.sheen_curvature, damping=1.0, rate=0.5 * o.colour_rate)
        if step % o.band_every == 0:
            smoothing = o.smoothing * (o.final_smoothing / o.smoothing) ** share if o.smoothing > 0 else 0.0
            band_kernels.smooth_and_redistance(
                state.band, sdf, smoothing, o.redistancing, state.mean_curvature, o.half_smoothing
            )
            largest = o.largest_bump * field.voxel**2 / BUMP_VOXEL
            for stride in LONG_STRIDES if largest > 0 else ():
                smooth_long_waves(state.band, sdf, stride, smoothing, state.mean_curvature, o.half_smoothing, largest)
        if step % STEPS_BETWEEN_BANDS == 0:
            state.band = band_kernels.find_band(sdf, o.band * field.voxel)
