"""Work that goes through every kernel of a fit, on any device: what threads and devices must not change."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dvr_cli.fitting.initial import mask_pixels, neighbour_views
from dvr_cli.kernels import (
    band,
    bends,
    colours,
    cut,
    distances,
    draws,
    hull,
    inner_edges,
    long_waves,
    lookup,
    march,
    patches,
    pixels,
    resize,
    rims,
    rows,
    scatter,
    see_through,
    silhouettes,
    worth,
)
from dvr_cli.kernels.views import ViewArrays
from tests.kernels.tiny_views import ball_sdf, rays_at_ball

N = 48
G = torch.Generator().manual_seed(0)
GRID = torch.randn(N, N, N, generator=G)
SHEEN = torch.randn(24, 24, 24, 9, generator=G)
ALBEDO = torch.randn(N, N, N, 3, generator=G)
POINTS = 2 * torch.rand(5000, 3, generator=G) - 1
DIRECTIONS = torch.nn.functional.normalize(torch.randn(5000, 3, generator=G), dim=1)


@dataclass(frozen=True)
class Place:
    """Where the work is done."""

    ball: ViewArrays
    """Photographs of a sphere, on the device that everything is to be on."""

    def here(self, *tensors: Tensor) -> list[Tensor]:
        """Copies on the device."""
        return [tensor.to(self.ball.gray.device, copy=True) for tensor in tensors]


def scattered(place: Place) -> list[Tensor]:
    values, points, *grids = place.here(GRID.reshape(-1), POINTS, torch.zeros(N, N, N), torch.zeros(24, 24, 24, 9))
    scatter.scatter(grids[0], points, values[:5000])
    scatter.scatter(grids[1], points, values[:45000].reshape(5000, 9))
    scatter.scatter_by_axis(grids[1], points, *place.here(DIRECTIONS, POINTS))
    return grids


def looked_up(place: Place) -> list[Tensor]:
    grid, *arguments = place.here(GRID, ALBEDO, SHEEN, POINTS, DIRECTIONS)
    points, directions = arguments[2:]
    return [
        lookup.grid_value(grid, points),
        lookup.grid_gradient(grid, points),
        lookup.grid_colour(*arguments),
        lookup.grid_colour_slope(*arguments, directions, 0.5),
        lookup.implicit_gradient(points[:, 0], points, directions, directions[:, 1] + 2),
        *colours.colour_errors(points, directions)[:2],
        resize.resize(arguments[1], 37),
        *rows.rows_of((points, directions[:, 0]), torch.arange(0, 5000, 3, device=points.device)),
    ]


def drawn(place: Place) -> list[Tensor]:
    views, slopes = (torch.arange(5000, device=place.ball.gray.device) % 4).int(), place.here(POINTS[:, 0])[0]
    neighbours, device = neighbour_views(place.ball, 4), slopes.device
    return [
        draws.spread(3000, 70000, 1, device),
        draws.toss(5000, 0.3, 2, device),
        draws.choose_sources(neighbours, views, slopes.contiguous(), 2, 0.7, 3),
    ]


def marched(place: Place) -> list[Tensor]:
    return list(march.march(*place.here(ball_sdf(N), *rays_at_ball(5000))))


def updated(place: Place) -> list[Tensor]:
    sdf, noise = place.here(ball_sdf(N), GRID)
    grids = [sdf, noise.clone(), noise.abs(), torch.zeros_like(sdf), torch.zeros_like(sdf)]
    vertices = band.find_band(sdf, 0.4)
    assert len(vertices) > 3 * 4096
    band.newton_step(vertices, *grids, memory=0.8, damping=0.2, rate=0.5, longest_step=0.2)
    band.smooth(vertices, sdf, 0.5, 0.3)
    long_waves.smooth_long_waves(vertices, sdf, 4, 0.5, noise.abs(), 8.0, 0.04)
    (albedo,) = place.here(ALBEDO)
    colours = [albedo, torch.ones_like(albedo), noise.abs()]
    band.relax(None, *colours, damping=0.1, rate=0.5)
    return [vertices, *grids, *colours]


def looked_at(place: Place) -> list[Tensor]:
    views, chosen = mask_pixels(place.ball, 3)
    at_edge = views == 1
    drawn = torch.arange(0, len(views), 2, dtype=torch.int32, device=views.device)
    return list(pixels.look(place.ball, views, chosen, at_edge, drawn))


def asked(place: Place) -> list[Tensor]:
    ball = place.ball
    views, chosen = mask_pixels(ball, 3)
    everything = torch.arange(len(views), dtype=torch.int32, device=views.device)
    looks = pixels.look(ball, views, chosen, views == 1, everything)
    sdf, trust = place.here(ball_sdf(N, 0.58), torch.tensor(0.6))
    hits = march.march(sdf, looks.origins, looks.directions)
    demands = silhouettes.ask_masks(
        sdf, looks, hits[:4], trust, exact_masks=1.0, free_space=2.0, occupancy=3.0, margin=0.5
    )
    rays, some = (looks.origins, looks.directions, hits[0] - 0.2), torch.arange(0, len(views), 3, device=views.device)
    beside = inner_edges.rays_beside(ball, looks.views, looks.pixels, some, 4, 7)
    planes = inner_edges.planes_met(sdf, rays, some, (*beside, *march.march(sdf, *beside)[:2]))
    planes = [torch.where(planes[2].reshape(-1, *[1] * (part.ndim - 1)), part, 0) for part in planes]
    matches, others = (hits[3].abs(), hits[0]), (hits[2] / 30, hits[3])
    rims = inner_edges.ask_rims(sdf, rays, hits[0], matches, others, 0.7, 0.5)
    slopes = lookup.grid_surface(sdf, looks.origins, looks.directions, hits[0], 0.1)
    return [*demands, torch.stack([n for pair in silhouettes.tally(demands[0]) for n in pair]), *planes, *rims, *slopes]


def cut_out(place: Place) -> list[Tensor]:
    evidence, u = place.here(0.3 * GRID, GRID.abs().clamp(max=1))
    ahead, inside, dual = u.clone(), (u < 0.9).float(), tuple(torch.zeros_like(u) for _ in range(3))
    for _ in range(3):
        cut.pull(ahead, inside, 0.28, dual)
        cut.follow(dual, evidence, 0.28, u, ahead)
    return [*dual, u, ahead]


def measured(place: Place) -> list[Tensor]:
    return [distances.signed_distance(*place.here(GRID > 1))]


def compared(place: Place) -> list[Tensor]:
    ball = place.ball
    views, pixels = mask_pixels(ball, 3)
    directions = ball.rays(views, pixels)[1]
    t = 3.1 + 0.0 * directions[:, 0]
    normals = -directions
    sources = neighbour_views(ball, 4)[views.long()].contiguous()
    (bends,) = place.here(torch.zeros(len(t), 2))
    found = patches.patch_ncc(ball, views, pixels, directions, t, normals, bends, sources, keep=2, radius=2, noise=0.01)
    plain = [part.clone() for part in found]
    bound = worth.weigh(found, 0.01)
    tried = (bound > 0.1).nonzero().squeeze(1)
    offsets, facing = worth.guess(5, normals, directions, 0.05)
    other = patches.Comparison(*(part.flip(0)[: len(tried)].contiguous() for part in plain))
    worth.prefer_better(found, bound, tried, offsets, other, 0.01, 0.03)
    return [*plain, bound, offsets, facing, *found]


def bent(place: Place) -> list[Tensor]:
    ball = place.ball
    views, pixels = mask_pixels(ball, 3)
    origins, directions = ball.rays(views, pixels)
    # As steep as distances are: bends are small differences, in which a steeper field would show the points' rounding.
    (grid,), points = place.here(0.02 * GRID), origins + 2.5 * directions
    asked, lengths = bends.points_around(ball, views, pixels, points, -directions, 0.1)
    values = lookup.grid_value(grid, asked.reshape(-1, 3)).reshape(-1, bends.POINTS)
    return [asked, lengths, bends.bends_of(values, lengths, -directions, directions, 0.1)]


def carved(place: Place) -> list[Tensor]:
    ball = place.ball
    neighbours, (views, pixels) = neighbour_views(ball, 4), mask_pixels(ball, 3)
    starts = (torch.arange(ball.count) * 96 * 72).int()
    t_map = torch.full((ball.count * 96 * 72,), 3.1)
    sdf, kept, votes, starts, t_map, points = place.here(
        ball_sdf(N), (GRID > 3).to(torch.uint8), GRID, starts, t_map, POINTS
    )
    t, score = hull.sweep(ball, neighbours, sdf, views, pixels, planes=48, sources=4, radius=2, noise=0.01)
    return [
        hull.visual_hull(ball, N),
        t,
        score,
        hull.confirm(ball, neighbours, starts, 1, views, pixels, t, t_map, 0.1),
        *hull.vote(ball, sdf, starts, 1, t_map, 0.05),
        hull.veto(sdf, kept, votes, *ball.rays(views, pixels)),
        *rims.graze(ball, views[::7].contiguous(), pixels[::7].contiguous(), 1 / 64),
        *see_through.see_through(ball, starts, 1, t_map, t_map + 0.3, 0.5 * points, near=0.2, behind=0.1),
    ]


WORKS = (scattered, looked_up, drawn, looked_at, asked, cut_out, measured, marched, updated, compared, bent, carved)
