"""The paper's field: a network that gives occupancy and colour at a point, behind the same protocol as the grid.

A point goes through a linear layer, five pre-activation ResNet blocks and a linear layer that gives one occupancy logit
and three colours (Niemeyer et al., CVPR 2020, section 3.1 and figure 3). A latent code c, if there is one, enters every
block through a linear layer of its own. Parameters carry the names of the published weights (docs/adding_a_field.md has
the table), so that a state dict can be converted by dropping a prefix.

The paper's cube is [-1/2, 1/2]^3; ours is [-1, 1]^3. The network is given the paper's coordinates.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dvr_cli.config import Network

PAPER_FROM_CUBE = 0.5
"""Scale from the working cube to the paper's coordinates."""
EMPTY_LOGIT = -1.0
"""A cell counts as empty where the logits at all its corners are less than this: occupied less than 27 %."""
_CHUNK = 1 << 13


class ResnetBlock(nn.Module):
    """x + W1 relu(W0 relu(x) + b0) + b1, with W1 zero at the start: a block begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc_0 = nn.Linear(width, width)
        self.fc_1 = nn.Linear(width, width)
        nn.init.zeros_(self.fc_1.weight)

    def forward(self, x: Float[Tensor, "p w"]) -> Float[Tensor, "p w"]:
        """The block's result."""
        return x + self.fc_1(torch.relu(self.fc_0(torch.relu(x))))

    def add_to(self, x: Float[Tensor, "p w"]) -> None:
        """The same in place, without gradient: with no new memory to be filled a processor is a sixth faster."""
        inner = torch.addmm(self.fc_0.bias, x.clamp(min=0), self.fc_0.weight.t()).relu_()
        x.addmm_(inner, self.fc_1.weight.t()).add_(self.fc_1.bias)


class Decoder(nn.Module):
    """Points and an optional code to one occupancy logit and three colour logits.

    `code_size` is the length of the latent code, 0 for none. Without a code 2,630,660 parameters at width 512.
    """

    def __init__(self, *, width: int = 512, blocks: int = 5, code_size: int = 0, inputs: int = 3) -> None:
        super().__init__()
        self.code_size = code_size
        self.fc_p = nn.Linear(inputs, width)
        self.blocks: Any = nn.ModuleList(ResnetBlock(width) for _ in range(blocks))
        self.fc_c = nn.ModuleList(nn.Linear(code_size, width) for _ in range(blocks)) if code_size else None
        self.fc_out = nn.Linear(width, 4)

    def forward(self, inputs: Float[Tensor, "p i"], code: Float[Tensor, "c"] | None = None) -> Float[Tensor, "p 4"]:
        """(occupancy logit, three colour logits) of each point."""
        if (code is not None) != bool(self.code_size):
            raise ValueError(f"This network takes a latent code of {self.code_size} numbers, and needs one if it does.")
        x = self.fc_p(inputs)
        for index, block in enumerate(self.blocks):
            if self.fc_c is not None:
                x = x + self.fc_c[index](code)
            if torch.is_grad_enabled():
                x = block(x)
            else:
                block.add_to(x)
        return self.fc_out(torch.relu(x))


class NetworkField(nn.Module):
    """Occupancy and colour from a network, as a field: `value` is minus the occupancy logit.

    Implements `Field` and, once `find_empty_space` was called, has something to say as `KnowsEmptySpace`. `code` is
    part of the field: a tensor that requires a gradient gets one from everything that is rendered. The level tau of
    the surface is a logit of 0.
    """

    def __init__(
        self,
        network: nn.Module,
        kind: str = "mlp",
        settings: Network | None = None,
        code: Float[Tensor, "c"] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        """The name by which `fitting.kinds` knows it."""
        self.settings = settings or Network()
        """What the network was made from."""
        self.code = code
        self.half_width = 1.0 + self.settings.padding
        """The paper's cube has side 1 and is padded by `settings.padding` in all; ours has side 2."""
        self.empty: Bool[Tensor, "m m m"] | None = None
        """Cells of the padded cube in which nothing was when they were looked at last; None: nothing is known."""

    def forward(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p 4"]:
        """(occupancy logit, colour logits)."""
        return self.network(points * PAPER_FROM_CUBE, self.code)

    def with_code(self, code: Float[Tensor, "c"]) -> "NetworkField":
        """The same network, its parameters shared, for another latent code."""
        return NetworkField(self.network, self.kind, self.settings, code)

    def value(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
        """Minus the occupancy logit; differentiable with respect to parameters, code and points."""
        return -self(points)[:, 0]

    def gradient(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
        """Spatial gradient of `value`, detached."""
        return self.slope(points, differentiable=False)

    def slope(self, points: Float[Tensor, "p 3"], differentiable: bool = True) -> Float[Tensor, "p 3"]:
        """Spatial gradient of `value`; with `differentiable`, a function of the parameters and the code."""
        with torch.enable_grad():
            at = points.detach().requires_grad_()
            return torch.autograd.grad(self.value(at).sum(), at, create_graph=differentiable)[0]

    def colour(self, points: Float[Tensor, "p 3"], directions: Float[Tensor, "p 3"]) -> Float[Tensor, "p 3"]:
        """RGB in (0, 1); differentiable with respect to parameters, code and points. The direction has no say."""
        return torch.sigmoid(self(points)[:, 1:])

    def find_empty_space(self, cells: int) -> None:
        """Look at the corners of cells^3 cells, so that rays can skip those in which nothing is.

        A cell is taken for empty by a margin (`EMPTY_LOGIT`), because the field moves until it is looked at again, and
        because a logit between corners may be higher than at any.
        """
        device, dtype = next((p.device, p.dtype) for p in self.network.parameters())
        axis = torch.linspace(-self.half_width, self.half_width, cells + 1, device=device, dtype=dtype)
        corners = torch.cartesian_prod(axis, axis, axis)
        with torch.no_grad():
            logits = torch.cat([-self.value(part) for part in corners.split(_CHUNK)])
        greatest = functional.max_pool3d(logits.reshape(1, 1, *(cells + 1,) * 3), 2, stride=1)
        self.empty = (greatest < EMPTY_LOGIT)[0, 0]

    def certainly_outside(self, points: Float[Tensor, "p 3"]) -> Bool[Tensor, "p"]:
        """True in cells that were empty."""
        if self.empty is None:
            return torch.zeros_like(points[:, 0], dtype=torch.bool)
        cells = self.empty.shape[0]
        index = ((points / self.half_width + 1) * (0.5 * cells)).long().clamp(0, cells - 1)
        return self.empty[index[:, 0], index[:, 1], index[:, 2]]
