"""One step of the paper for fields that are networks: draw patches, find the surface, sum the losses.

The random choices of a step are drawn first (`Draws`); from there on losses and gradients are functions of parameters,
pixels and draws, which the tests compare with an implementation of the equations in plain NumPy.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dvr_cli.config import Network
from dvr_cli.fields.mlp import NetworkField
from dvr_cli.fields.protocol import RayHits
from dvr_cli.fitting import published_losses as losses
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN, ViewArrays
from dvr_cli.rendering.marching import cube_interval
from dvr_cli.rendering.surface import first_hit, surface_at


@dataclass(frozen=True)
class Pixels:
    """The pixels of a step, patch by patch, with what the photographs say."""

    origins: Float[Tensor, "r 3"]
    directions: Float[Tensor, "r 3"]
    """Unit vectors."""
    rgb: Float[Tensor, "r 3"]
    mask: UInt8[Tensor, "r"]
    """BACKGROUND, OBJECT, UNKNOWN or DISREGARDED."""
    known_t: Float[Tensor, "r"] | None = None
    """Distance along the ray where depth is known, 0 where not; None without depth maps."""
    hull_t: Float[Tensor, "r"] | None = None
    """Distance at which the ray meets the visual hull or comes nearest to it, 0 where it passes by its cube; None
    where that is not looked for."""


@dataclass(frozen=True)
class KnownPoints:
    """Points on the surface with rays that see them."""

    origins: Float[Tensor, "q 3"]
    directions: Float[Tensor, "q 3"]
    points: Float[Tensor, "q 3"]


@dataclass(frozen=True)
class Draws:
    """The random numbers of a step, uniform in [0, 1), one row per pixel."""

    free: Float[Tensor, "r"]
    """Where along its ray free space is asked for."""
    occupied: Float[Tensor, "r"]
    """Where along its ray occupancy is asked for."""
    neighbours: Float[Tensor, "r 3"]
    """Where around its hit the normal is compared."""

    @classmethod
    def of(cls, count: int, generator: torch.Generator, device: torch.device) -> "Draws":
        """Drawn on the CPU, so that every device gets the same."""
        numbers = torch.rand(count, 5, generator=generator).to(device)
        return cls(numbers[:, 0], numbers[:, 1], numbers[:, 2:])


def draw_patches(
    stack: ViewArrays, views_per_step: int, count: int, generator: torch.Generator
) -> tuple[Int[Tensor, "r"], Int[Tensor, "r 2"]]:
    """(view, (x, y)) of `count` pixels as random 2x2 patches of random photographs, each photograph with as many."""
    device = stack.gray.device
    views = torch.randint(stack.count, (views_per_step,), generator=generator)
    per_patch = views.repeat_interleave(-(-count // (losses.PATCH * views_per_step)))[: count // losses.PATCH]
    sizes = torch.stack([stack.widths, stack.heights], dim=1).cpu()[per_patch]
    corner = (torch.rand(len(per_patch), 2, generator=generator) * (sizes - 1)).long()
    offsets = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    pixels = (corner[:, None] + offsets).reshape(-1, 2)
    return per_patch.repeat_interleave(losses.PATCH).int().to(device), pixels.int().to(device)


def step_losses(
    field: NetworkField,
    pixels: Pixels,
    draws: Draws,
    settings: Network,
    ray_steps: int,
    known_points: KnownPoints | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """(weighted sum of the losses, what is reported); the first is differentiable with respect to parameters and code.

    A ray that starts inside shows no surface: it has no colour, and free space is asked for along it like along a ray
    that hits nothing.
    """
    weights = settings.losses
    hits = first_hit(field, pixels.origins, pixels.directions, ray_steps)
    hit = hits.hit & ~hits.starts_inside
    sums, squared_error = _at_hits(field, pixels, hits, hit & _is_shown(pixels.mask), settings)
    if weights.normal > 0:
        index = hit.nonzero().squeeze(1)
        points = pixels.origins[index] + hits.t[index, None] * pixels.directions[index]
        sums["normal"] = losses.normal_loss(field, points, draws.neighbours[index])
    sums |= _along_rays(field, pixels, hits, hit, draws)
    if known_points is not None and weights.sparse_depth > 0:
        sums["sparse_depth"] = _at_known_points(field, known_points, ray_steps)
    total = torch.stack([getattr(weights, name) * value for name, value in sums.items()]).sum()
    reported = {name: value.detach() / len(pixels.mask) for name, value in sums.items()}
    if len(squared_error):
        reported["mse"] = squared_error.mean()
    return total, reported | _silhouette(pixels, hits)


def _is_shown(mask: UInt8[Tensor, "r"]) -> Bool[Tensor, "r"]:
    """Whether a photograph may show at a pixel what its ray hits."""
    return (mask == OBJECT) | (mask == UNKNOWN)


def _at_hits(
    field: NetworkField,
    pixels: Pixels,
    hits: RayHits,
    valid: Bool[Tensor, "r"],
    settings: Network,
) -> tuple[dict[str, Tensor], Float[Tensor, "h 3"]]:
    """Losses of what the rays of the object see, and the squared errors of their colours."""
    weights = settings.losses
    index = valid.nonzero().squeeze(1)
    directions = pixels.directions[index]
    surface = surface_at(field, pixels.origins[index], directions, hits.t[index])
    error = field.colour(surface.points, directions) - pixels.rgb[index]
    found = {"rgb": losses.rgb_loss(error)}
    if weights.image_gradient > 0:
        everywhere = torch.zeros_like(pixels.rgb).index_put((index,), error)
        found["image_gradient"] = losses.image_gradient_loss(everywhere, valid)
    if pixels.known_t is not None and weights.depth > 0:
        known = (pixels.known_t[index] > 0).nonzero().squeeze(1)
        there = pixels.origins[index] + pixels.known_t[index, None] * directions
        found["depth"] = losses.depth_loss(surface.points[known], there[known])
    return found, error.detach().square()


def _along_rays(
    field: NetworkField, pixels: Pixels, hits: RayHits, hit: Bool[Tensor, "r"], draws: Draws
) -> dict[str, Tensor]:
    """Free space: at the hit of a ray past the object or anywhere on it. Occupancy: on a ray through it that misses."""
    near, far = cube_interval(pixels.origins, pixels.directions, field.half_width)
    past = ((pixels.mask == BACKGROUND) & (near < far)).nonzero().squeeze(1)
    t = torch.where(hit, hits.t, near + draws.free * (far - near))[past]
    empty = -field.value(pixels.origins[past] + t[:, None] * pixels.directions[past])
    near, far = cube_interval(pixels.origins, pixels.directions)
    t, has_place = near + draws.occupied * (far - near), near < far
    for depth in (pixels.hull_t, pixels.known_t):
        if depth is not None:
            t, has_place = torch.where(depth > 0, depth, t), has_place | (depth > 0)
    through = ((pixels.mask == OBJECT) & ~hit & ~hits.starts_inside & has_place).nonzero().squeeze(1)
    t = t[through]
    full = -field.value(pixels.origins[through] + t[:, None] * pixels.directions[through])
    return {"free_space": losses.free_space_loss(empty), "occupancy": losses.occupancy_loss(full)}


def _at_known_points(field: NetworkField, known: KnownPoints, ray_steps: int) -> Tensor:
    hits = first_hit(field, known.origins, known.directions, ray_steps)
    index = (hits.hit & ~hits.starts_inside).nonzero().squeeze(1)
    surface = surface_at(field, known.origins[index], known.directions[index], hits.t[index])
    return losses.depth_loss(surface.points, known.points[index])


def _silhouette(pixels: Pixels, hits: RayHits) -> dict[str, Tensor]:
    """Intersection over union of what is rendered as occupied and the masks; nothing without masks."""
    rendered, is_object, is_background = hits.hit | hits.starts_inside, pixels.mask == OBJECT, pixels.mask == BACKGROUND
    known = is_object | is_background
    union = ((rendered | is_object) & known).sum()
    return {"iou": (rendered & is_object).sum() / union.clamp(min=1)} if bool(union) else {}
