"""The slow and obvious twin of `kernels.pixels`, in the stack's precision."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.twins.cameras import directions_of
from dvr_cli.kernels.views import ViewArrays


def look(
    stack: ViewArrays,
    views: Int[Tensor, "p"],
    pixels: Int[Tensor, "p 2"],
    at_edge: Bool[Tensor, "p"],
    drawn: Int[Tensor, "r"],
) -> Looks:
    """See `kernels.pixels.look`."""
    index = drawn.long()
    views, pixels = views[index], pixels[index]
    origins, place = stack.centres[views.long()], stack.pixel_index(views, pixels)
    directions = torch.nn.functional.normalize(directions_of(stack, views, pixels), dim=1)
    return Looks(views, pixels, at_edge[index], origins, directions, stack.masks[place], stack.rgb[place])
