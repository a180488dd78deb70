"""Points of the surface that silhouettes alone fix, where masks agree to the pixel.

What photographs show of gloss lies behind the surface, and mirror images confirm each other; where there is no texture,
whatever matches best is chance. Contours know better, if masks are exact: most of a convex shape is within a voxel of a
place where some view's contour touches it, and the other masks say where along the ray. Where masks contradict each
other by a pixel, rays along their edges miss what the others leave: that tells the two cases apart.
"""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from dvr_cli.fitting.depth_targets import SparseTargets
from dvr_cli.fitting.pixels import edges_of
from dvr_cli.kernels.rims import graze
from dvr_cli.kernels.views import BACKGROUND, OBJECT, ViewArrays

STEP = 1 / 128
"""Of the way along a ray, in the cube."""
LONGEST = 1 / 8
"""Length, in the cube, of the part of a ray that may touch; where it is longer it does not say where."""
PIXEL_ERROR = 0.3
"""Standard deviation of a mask's edge, in pixels, ..."""
SLOPE = 0.06
"""... and of a point's distance from the surface as a share of that length, over which the surface bends away."""
EXACT = 0.85
"""Share of the rays along the edges of masks that the other masks must leave something of. Rendered objects: 0.93 to
1.00; photographs with masks from elsewhere: 0.49 to 0.71."""
ENOUGH_RAYS = 4_000
MOST_RAYS = 40_000
FEWEST_VIEWS = 8
"""With fewer, the rays along edges are hardly cut by other masks."""


def rim_targets(stack: ViewArrays, longest: float = LONGEST) -> SparseTargets | None:
    """Points in the cube and how sure they are; None where masks do not agree to the pixel, or of few views."""
    if stack.count < FEWEST_VIEWS:
        return None
    views, pixels = rim_pixels(stack)
    if len(views) == 0:
        return None
    # A part of the rays says already whether it is worth asking all.
    for most in (ENOUGH_RAYS, MOST_RAYS):
        every = -(-len(views) // most)
        asked = views[::every].contiguous()
        lengths, points = graze(stack, asked, pixels[::every].contiguous(), STEP)
        if (lengths > 0).float().mean() < EXACT:
            return None
    touching = (lengths > 0) & (lengths <= longest)
    points, lengths, asked = points[touching], lengths[touching], asked[touching].long()
    pixel = (points - stack.centres[asked]).norm(dim=1) / stack.intrinsics[asked, 0, 0]
    spreads = torch.hypot(PIXEL_ERROR * pixel, SLOPE * lengths)
    nothing = torch.zeros(0, dtype=torch.int32, device=points.device)
    return SparseTargets(points, spreads, nothing, nothing, touched=points)


def rim_pixels(stack: ViewArrays) -> tuple[Int[Tensor, "p"], Int[Tensor, "p 2"]]:
    """(view, (x, y)) of the object's pixels that have background beside, above or below them."""
    views, pixels = [], []
    labels = stack.masks.cpu().numpy()
    for view in range(stack.count):
        start, height, width = int(stack.starts[view]), int(stack.heights[view]), int(stack.widths[view])
        image = labels[start : start + height * width].reshape(height, width)
        rows, columns = np.nonzero((image == OBJECT) & edges_of(image != BACKGROUND))
        pixels.append(np.stack([columns, rows], axis=1))
        views.append(np.full(len(rows), view))
    device = stack.gray.device
    return (
        torch.as_tensor(np.concatenate(views)).int().to(device),
        torch.as_tensor(np.concatenate(pixels)).int().to(device).contiguous(),
    )
