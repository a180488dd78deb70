"""One step: draw pixels, find the surface, compare, update the field.

Every residual is scaled so that its Gauss-Newton curvature is meaningful (weights are per voxel squared): the optimiser
then knows how much each voxel's data is worth, and where it is worth nothing smoothness decides.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvr_cli.config import Level, Settings
from dvr_cli.fields.grid import GridField, gradient_buffer
from dvr_cli.fitting.initial import nearest_vertex
from dvr_cli.fitting.inner_edges import Compared, add_inner_edges
from dvr_cli.fitting.pixels import PixelPool
from dvr_cli.kernels import band as band_kernels
from dvr_cli.kernels import launch
from dvr_cli.kernels.colours import colour_errors
from dvr_cli.kernels.draws import choose_sources
from dvr_cli.kernels.long_waves import smooth_long_waves
from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.rows import rows_of
from dvr_cli.kernels.silhouettes import ask_masks, tally
from dvr_cli.kernels.views import BACKGROUND, ViewArrays
from dvr_cli.kernels.worth import guess
from dvr_cli.rendering.photometric import Guesses, photometric_loss, surface_bends, with_slope
from dvr_cli.rendering.surface import Surface, first_hit, surface_at

Sums = dict[str, tuple[Tensor, Tensor]]
"""Reported values by name: sum and number."""

BEND_REACH = 1.5
"""Voxels over which the bending of patches is measured."""
STEPS_BETWEEN_BANDS = 8
"""The band is many steps wide, and finding it costs a pass over the whole grid."""
EDGE_MEMORY = 0.95
"""Weight of earlier steps in the share of rays just outside masks that hit."""
UNKNOWN_EDGES = 2.0
"""That share at the start of a level, in units of the one that counts half: trust in edges has to be earned."""
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
    loose: Int[Tensor, "l"] | None = None
    """Vertices that no camera looks at squarely and no contour holds (`fitting.hardly_seen`), as the level began."""

    @classmethod
    def at_start(cls, field: GridField, settings: Settings) -> "StepState":
        """The state before a level's first step."""
        sdf = field.sdf.detach()
        band = band_kernels.find_band(sdf, settings.optimiser.band * field.voxel)
        hits = torch.full((), UNKNOWN_EDGES * settings.losses.edge_doubt, device=sdf.device)
        return cls(torch.zeros_like(sdf), torch.zeros_like(sdf), band, hits)


class Seeds(NamedTuple):
    """What a step leaves to chance follows from these alone."""

    pixels: int
    sources: int
    guesses: int
    neighbours: tuple[int, int]
    """Which rays ask a neighbouring pixel, and which pixel."""

    @classmethod
    def of(cls, generator: torch.Generator) -> "Seeds":
        """The next ones of a generator on the CPU."""
        pixels, sources, guesses, *neighbours = torch.randint(2**31 - 1, (5,), generator=generator).tolist()
        return cls(pixels, sources, guesses, (neighbours[0], neighbours[1]))


def accumulate(
    field: GridField,
    state: StepState,
    stack: ViewArrays,
    pool: PixelPool,
    neighbours: Int[Tensor, "v m"],
    settings: Settings,
    level: Level,
    generator: torch.Generator,
    held: Bool[Tensor, "n n n"] | None = None,
) -> dict[str, Tensor]:
    """Draw rays, add the losses' gradients and curvatures to the field's, and return the mean losses.

    `held` are vertices where contours say where the surface is.
    """
    seeds = Seeds.of(generator)
    looks = pool.look(stack, pool.draw(level.rays or settings.rays_per_step, seeds.pixels))
    trust = trust_in_edges(state, settings.losses.edge_doubt)
    with launch.scatters_together():
        sums = _add_losses(field, stack, looks, trust, neighbours, settings, level, seeds, held)
    totals, numbers = torch.stack([n for pair in sums.values() for n in pair]).reshape(-1, 2).unbind(dim=1)
    means = dict(zip(sums, (totals / numbers.clamp(min=1)).unbind(), strict=True))
    edge_hits = means.pop("edge_hits")
    if not pool.has_edges:
        # Without the edges of masks there are no silhouettes to speak of.
        means.pop("iou")
    else:
        state.edge_hits = EDGE_MEMORY * state.edge_hits + (1 - EDGE_MEMORY) * edge_hits
    return means


def _add_losses(
    field: GridField,
    stack: ViewArrays,
    looks: Looks,
    edge_trust: Float[Tensor, ""],
    neighbours: Int[Tensor, "v m"],
    settings: Settings,
    level: Level,
    seeds: Seeds,
    held: Bool[Tensor, "n n n"] | None,
) -> Sums:
    """What `accumulate` adds for these rays; what is reported, as sums and numbers."""
    weights, photometric = settings.losses, settings.photometric
    ray_views, ray_pixels, _, origins, directions, mask, rgb = looks
    hits = first_hit(field, origins, directions)
    asked = ask_masks(
        field.sdf.detach(), looks, (hits.t, hits.hit, hits.nearest_t, hits.nearest_value), edge_trust,
        exact_masks=weights.exact_masks, free_space=weights.free_space, occupancy=weights.occupancy,
        margin=weights.margin,
    )  # fmt: skip
    field.add_gradient(asked.points, asked.gradient)
    field.add_curvature(asked.points, asked.curvature)
    sums: Sums = tally(asked.answers)._asdict()

    on_surface = (hits.hit & (mask != BACKGROUND)).nonzero().squeeze(1)
    views, pixels, o, d, t, rgb = rows_of((ray_views, ray_pixels, origins, directions, hits.t, rgb), on_surface)
    surface = surface_at(field, o, d, t)
    # The colours follow the photographs whatever the weight; the geometry sees the colour error through t alone.
    colour = field.colour(surface.points, d, weights.rgb)
    errors = colour_errors(colour.detach(), rgb)
    values = torch.full((), float(rgb.numel()), device=t.device)
    sums["rgb"], sums["mse"] = ((each, values) for each in errors.sums.unbind())
    rgb_loss = with_slope(colour, errors.slopes)
    field.add_colour_curvature(surface.points.detach(), errors.softness)

    sources = choose_sources(neighbours, views, surface.slope, photometric.sources, photometric.share, seeds.sources)
    brighter = (rgb - colour.detach()).sum(dim=1) > 0
    bends = surface_bends(field, stack, views, pixels, surface, d, BEND_REACH * field.voxel)
    ncc_loss, ncc_curvature = photometric_loss(
        stack, views, pixels, d, surface.t, surface.normals, bends, sources,
        keep=photometric.keep, radius=level.patch_radius, noise=photometric.noise,
        agreement=photometric.agreement * field.voxel,
        guesses=_guesses(surface, d, brighter, level.reach * field.voxel, field.voxel, held, seeds.guesses),
    )  # fmt: skip
    sums["photometric"] = ncc_loss.detach().sum(), (ncc_curvature > 0).float().sum()
    field.add_curvature(surface.points.detach(), weights.photometric * ncc_curvature / surface.slope**2)

    rays = Compared(views, pixels, o, d, t, sources, ncc_loss.detach(), ncc_curvature)
    add_inner_edges(field, stack, rays, settings, level, seeds.neighbours)
    (weights.photometric * ncc_loss.sum() + rgb_loss).backward()
    return sums


def _guesses(
    surface: Surface,
    directions: Float[Tensor, "h 3"],
    brighter: Bool[Tensor, "h"],
    reach: float,
    voxel: float,
    held: Bool[Tensor, "n n n"] | None,
    seed: int,
) -> Guesses | None:
    """Patches to try up to `reach` away, facing anywhere between the surface's normal and the camera.

    Mirror images of lamps lie behind the surface and add light: none are tried behind it where it is `held`, or where a
    pixel is `brighter` than the surface's colour, which other views show.
    """
    if reach == 0:
        return None
    offsets, normals = guess(seed, surface.normals, directions, reach)
    barred = brighter
    if held is not None:
        barred = barred | held.reshape(-1)[nearest_vertex(surface.points.detach(), held.shape[0])]
    return Guesses(offsets, normals, voxel, (offsets < 0) | ~barred)


def trust_in_edges(state: StepState, doubt: float) -> Float[Tensor, ""]:
    """What the pixels at masks' edges count, in (0, 1]; half where the share of rays outside that hit is `doubt`.

    Where masks are right to the pixel, the surface comes to satisfy all of them. Where they are not, whatever it does
    many rays just outside a mask hit; following each mask in turn then makes wrinkles.
    """
    return 1 / (1 + (state.edge_hits / doubt).square())


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
