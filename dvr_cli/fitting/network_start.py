"""A network that begins as a known shape: fitted to the signed distances of a grid before the first step."""

import time
from collections.abc import Callable

import torch

from dvr_cli.config import Network
from dvr_cli.fields.grid import GridField
from dvr_cli.fields.mlp import NetworkField
from dvr_cli.fitting.events import Message, StepReport

STEEPNESS = 20.0
"""Logit per unit of distance in the working cube: at a voxel of a grid of 100 a cell is two fifths of a logit."""
FARTHEST = 0.2
"""Distances are fitted up to here: beyond it only the side matters."""
NEAR = 0.05
"""Standard deviation of the points near the surface."""


STEPS_BETWEEN_REPORTS = 10


def fit_to_grid(
    field: NetworkField,
    grid: GridField,
    settings: Network,
    seed: int,
    report: Callable[[StepReport | Message], None],
    stop: Callable[[], None],
    most_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Adam on the squared difference of logit and scaled distance; `stop` may raise between steps.

    Half of the points of a step lie near the surface, the others anywhere. `settings` says how many there are, how many
    steps, and the rate. With `most_seconds` it ends after so many of them, with the rate falling as fast.
    """
    began = clock()
    device, steps, half = grid.sdf.device, settings.start_steps, settings.start_points // 2
    generator = torch.Generator().manual_seed(seed)
    surface = _inner_vertices(grid)
    adam = torch.optim.Adam(field.network.parameters(), lr=settings.start_rate)
    for step in range(steps):
        stop()
        spent = clock() - began
        share = max(step / steps, 0.0 if most_seconds is None else spent / most_seconds)
        if share >= 1:
            break
        if step % STEPS_BETWEEN_REPORTS == 0:
            left = spent * (1 - share) / share if step else None
            report(StepReport("start from the hull", step, steps, {}, None, None, left))
        near = surface[torch.randint(len(surface), (half,), generator=generator).to(device)]
        near = near + NEAR * torch.randn(near.shape, generator=generator).to(device)
        everywhere = (2 * torch.rand(half, 3, generator=generator) - 1).to(device) * field.half_width
        points = torch.cat([near, everywhere])
        with torch.no_grad():
            # Beyond its walls the grid goes on with the value at the wall, which lies outside.
            wanted = STEEPNESS * grid.value(points.clamp(-1, 1)).clamp(-FARTHEST, FARTHEST)
        adam.param_groups[0]["lr"] = settings.start_rate * 0.1**share
        adam.zero_grad()
        (field.value(points) - wanted).square().mean().backward()
        adam.step()


def _inner_vertices(grid: GridField) -> torch.Tensor:
    """Vertices within a voxel of the surface, as points."""
    index = (grid.sdf.detach().abs() < grid.voxel).nonzero()
    return index.to(grid.sdf.dtype) * grid.voxel - 1
