"""A picture of how far a run is: photograph, rendered colours and shaded shape of a few views, side by side.

Made with the renderer of the optimisation itself, so that it shows what the losses see; small, so that it costs a
fraction of a second.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvr_cli.errors import RunError
from dvr_cli.fields.protocol import Field, MarchesRays
from dvr_cli.files import disk_errors, replacing
from dvr_cli.kernels.views import ViewArrays
from dvr_cli.rendering.surface import first_hit

WIDTH = 320
"""Longest side of one of the pictures, pixels."""
NETWORK_WIDTH = 128
"""The same for fields that are evaluated sample by sample, a second of work per hundred thousand."""
BACKGROUND = 0.12
_CHUNK = 1 << 16


def write_preview(path: Path, field: Field, stack: ViewArrays, count: int = 2) -> None:
    """Write a PNG with one row per view: photograph, colours, shape; `count` views that look from different sides.

    Raises RunError when it cannot be written.
    """
    import imageio.v3 as imageio

    rows = [np.concatenate(render_view(field, stack, view), axis=1) for view in spread_views(stack, count)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=BACKGROUND) for row in rows]
    pixels = np.round(np.clip(np.concatenate(padded), 0, 1) * 255).astype(np.uint8)
    with disk_errors(path, RunError, "Free some space and go on with --resume."), replacing(path) as temporary:
        imageio.imwrite(temporary, pixels)


def spread_views(stack: ViewArrays, count: int) -> list[int]:
    """Indices of `count` views (fewer if there are fewer), each as far as can be from those before it."""
    centres = stack.centres.cpu()
    chosen = [0]
    while len(chosen) < min(count, stack.count):
        distance = torch.cdist(centres, centres[chosen]).amin(dim=1)
        chosen.append(int(distance.argmax()))
    return chosen


def render_view(
    field: Field, stack: ViewArrays, view: int
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """(photograph, rendered colours, shaded shape) of one view, at most WIDTH or NETWORK_WIDTH pixels a side."""
    height, width = int(stack.heights[view]), int(stack.widths[view])
    step = -(-max(height, width) // (WIDTH if isinstance(field, MarchesRays) else NETWORK_WIDTH))
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    pixels = torch.as_tensor(np.stack([x.ravel(), y.ravel()], axis=1), dtype=torch.int32, device=stack.gray.device)
    views = torch.full((len(pixels),), view, dtype=torch.int32, device=stack.gray.device)
    photograph = stack.rgb[stack.pixel_index(views, pixels)]
    parts = [_render(field, stack, v, p) for v, p in zip(views.split(_CHUNK), pixels.split(_CHUNK), strict=True)]
    colours, shades = (torch.cat(images) for images in zip(*parts, strict=True))
    shape = (*x.shape, 3)
    images = [image.cpu().numpy().reshape(shape) for image in (photograph, colours, shades)]
    return images[0], images[1], images[2]


@torch.no_grad()
def _render(
    field: Field, stack: ViewArrays, views: Int[Tensor, "r"], pixels: Int[Tensor, "r 2"]
) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
    """(colours, shades) of rays; the background where nothing is hit."""
    origins, directions = stack.rays(views, pixels)
    hits = first_hit(field, origins, directions)
    colours = torch.full_like(origins, BACKGROUND)
    shades = torch.full_like(origins, BACKGROUND)
    index = hits.hit.nonzero().squeeze(1)
    if len(index):
        points = origins[index] + hits.t[index, None] * directions[index]
        colours[index] = field.colour(points, directions[index])
        normals = torch.nn.functional.normalize(field.gradient(points), dim=1)
        # A lamp above the left shoulder of the camera, whose axes are right, down, forward.
        lamp = torch.nn.functional.normalize(torch.tensor([-0.4, -0.5, -1.0], device=points.device), dim=0)
        lamp = torch.einsum("rij,i->rj", stack.rotations[views[index].long()], lamp)
        shades[index] = (0.15 + 0.8 * (normals * lamp).sum(dim=1).clamp(min=0))[:, None].expand(-1, 3)
    return colours, shades
