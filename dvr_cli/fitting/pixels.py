"""Which pixels a step looks at: random ones on the object and in a rim around it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy import ndimage
from torch import Tensor

from dvr_cli.kernels import launch
from dvr_cli.kernels.draws import spread
from dvr_cli.kernels.pixels import Looks, look
from dvr_cli.kernels.views import DISREGARDED, UNKNOWN, ViewArrays
from dvr_cli.rendering.marching import cube_interval


@dataclass(frozen=True)
class PixelPool:
    """All pixels that steps may draw."""

    views: Int[Tensor, "p"]
    pixels: Int[Tensor, "p 2"]
    at_edge: Bool[Tensor, "p"]
    """Whether one of the four neighbours is on the other side of the mask's edge."""

    @cached_property
    def has_edges(self) -> bool:
        """Whether masks have edges at all; without, nothing can be learnt of how exact they are."""
        return bool(self.at_edge.any())

    def draw(self, count: int, seed: int) -> Int[Tensor, "r"]:
        """`count` pixels for `look`, spread evenly over all, in their order: memory is read in order then."""
        return spread(count, len(self.views), seed, self.views.device)

    def look(self, stack: ViewArrays, drawn: Int[Tensor, "r"]) -> Looks:
        """What `stack` shows at the drawn pixels."""
        return look(stack, self.views, self.pixels, self.at_edge, drawn)


def pixel_pool(stack: ViewArrays, rim: int) -> PixelPool:
    """Pixels of the masks and of a rim of `rim` pixels around them.

    Unknown pixels count as those of a mask as far as their rays meet the cube; disregarded ones are left out.
    """
    masks = stack.masks.cpu().numpy()

    def of_view(v: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        start, height, width = int(stack.starts[v]), int(stack.heights[v]), int(stack.widths[v])
        values = masks[start : start + height * width].reshape(height, width)
        mask, unknown, disregarded = values > 0, values == UNKNOWN, values == DISREGARDED
        near = ndimage.uniform_filter(mask.astype(np.float32), 2 * rim + 1, mode="constant") > 1e-6
        if unknown.any():
            near[unknown] = _meets_cube(stack, v, unknown)
        near &= ~disregarded
        y, x = np.nonzero(near)
        pixels = np.stack([x, y], axis=1).astype(np.int32)
        return np.full(len(x), v, np.int32), pixels, (edges_of(mask) & ~_next_to(unknown | disregarded))[y, x]

    parts = zip(*launch.in_parts(of_view, stack.count), strict=True)
    return PixelPool(*(torch.as_tensor(np.concatenate(part)).to(stack.gray.device) for part in parts))


def _meets_cube(stack: ViewArrays, view: int, chosen: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "c"]:
    """Whether the rays of the chosen pixels of a view pass through the cube."""
    pixels = torch.as_tensor(np.argwhere(chosen)[:, ::-1].astype(np.int32)).to(stack.gray.device)
    views = torch.full((len(pixels),), view, dtype=torch.int32, device=pixels.device)
    near, far = cube_interval(*stack.rays(views, pixels))
    return (near < far).cpu().numpy()


def _next_to(unknown: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Unknown pixels and their four neighbours: an edge there is none of a mask."""
    return ndimage.binary_dilation(unknown) if unknown.any() else unknown


def edges_of(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels with one of their four neighbours on the other side; what is beyond the image is on neither."""
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge = np.zeros_like(mask)
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge
