"""Which pixels a step looks at: random ones on the object and in a rim around it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from scipy import ndimage
from torch import Tensor

from dvr_cli.kernels.views import ViewArrays


@dataclass(frozen=True)
class PixelPool:
    """All pixels that steps may draw."""

    views: Int[Tensor, "p"]
    pixels: Int[Tensor, "p 2"]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Int[Tensor, "r"], Int[Tensor, "r 2"]]:
        """(view, (x, y)) of `count` pixels, with replacement, sorted so that neighbours in memory are read together."""
        index = torch.randint(len(self.views), (count,), generator=generator).sort().values.to(self.views.device)
        return self.views[index], self.pixels[index]


def pixel_pool(stack: ViewArrays, rim: int) -> PixelPool:
    """Pixels of the masks and of a rim of `rim` pixels around them."""
    views, pixels = [], []
    masks = stack.masks.cpu().numpy()
    for v in range(stack.count):
        start, height, width = int(stack.starts[v]), int(stack.heights[v]), int(stack.widths[v])
        mask = masks[start : start + height * width].reshape(height, width) > 0
        near = ndimage.uniform_filter(mask.astype(np.float32), 2 * rim + 1, mode="constant") > 1e-6
        y, x = np.nonzero(near)
        views.append(np.full(len(x), v, np.int32))
        pixels.append(np.stack([x, y], axis=1).astype(np.int32))
    device = stack.gray.device
    return PixelPool(
        torch.as_tensor(np.concatenate(views)).to(device), torch.as_tensor(np.concatenate(pixels)).to(device)
    )
