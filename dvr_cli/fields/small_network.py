"""A small network for processors: a few features per point, looked up and encoded, then a narrow decoder.

The input of the paper's network is three coordinates, and all detail has to come out of 512 units a layer. Here the
point also comes with sines and cosines of itself (positional encoding: Mildenhall et al., ECCV 2020) and with features
from grids of a few resolutions, interpolated trilinearly (as in Mueller et al., SIGGRAPH 2022, without hashing). That
puts the detail into look-ups, which cost nothing beside a layer, and leaves 64 units a layer to make sense of them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dvr_cli.fields.mlp import PAPER_FROM_CUBE, Decoder

REACH = 1.5
"""Half the side, in the working cube, of the cube over which grids of features lie: the padded cube and a margin."""


class FeatureGrid(nn.Module):
    """Features at the vertices of a grid, interpolated trilinearly; zero at the start, so that it begins silent.

    Written with gathers: the normal loss needs second derivatives, and `grid_sample` has none in three dimensions.
    """

    def __init__(self, vertices: int, features: int) -> None:
        super().__init__()
        self.vertices = vertices
        self.table = nn.Parameter(torch.zeros(vertices**3, features))

    def forward(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p f"]:
        """Features at points of the working cube."""
        n = self.vertices
        place = ((points / REACH + 1) * (0.5 * (n - 1))).clamp(0, n - 1 - 1e-4)
        first = place.detach().floor()
        share = place - first
        base = first.long()
        result = torch.zeros((), dtype=points.dtype, device=points.device)
        for corner in range(8):
            step = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=points.device)
            x, y, z = (base + step).unbind(1)
            weight = torch.where(step.bool(), share, 1 - share).prod(dim=1, keepdim=True)
            result = result + weight * self.table[(x * n + y) * n + z]
        return result


class SmallNetwork(nn.Module):
    """Positional encoding and feature grids before a narrow `Decoder`; points in the paper's coordinates."""

    def __init__(
        self, *, width: int, blocks: int, frequencies: int, feature_grids: tuple[int, ...], features: int
    ) -> None:
        super().__init__()
        self.grids = nn.ModuleList(FeatureGrid(vertices, features) for vertices in feature_grids)
        self.octaves: Tensor
        self.register_buffer("octaves", 2.0 ** torch.arange(frequencies) * math.pi, persistent=False)
        inputs = 3 + 6 * frequencies + features * len(feature_grids)
        self.decoder = Decoder(width=width, blocks=blocks, inputs=inputs)

    def forward(self, points: Float[Tensor, "p 3"], code: Float[Tensor, "c"] | None = None) -> Float[Tensor, "p 4"]:
        """(occupancy logit, three colour logits) of each point."""
        angles = (points[:, :, None] * self.octaves.to(points.dtype)).flatten(1)
        at = points / PAPER_FROM_CUBE
        inputs = [points, angles.sin(), angles.cos(), *(grid(at) for grid in self.grids)]
        return self.decoder(torch.cat(inputs, dim=1), code)
