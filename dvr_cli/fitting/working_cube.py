"""The cube in which a run works: the unit cube of the region of interest, shrunk until it fits the visual hull.

Notation: `unit_from_world` takes the region of interest into the unit ball; `cube_from_world` takes the hull within
that ball into [-1, 1]^3. Every voxel saved by a tight cube makes the surface sharper at the same cost.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dvr_cli.errors import SceneError
from dvr_cli.kernels.hull import visual_hull
from dvr_cli.kernels.views import ViewArrays

HULL_VOXELS = 64
MARGIN = 1.02
"""The cube is this much larger than the hull, which is drawn generously: the surface must not touch the walls."""
LARGEST = 1.03
"""Half width of a cube around the whole region of interest, in unit space."""


@dataclass(frozen=True)
class WorkingCube:
    """A cube around the hull, and where the region of interest lies in it."""

    cube_from_world: Float[np.ndarray, "4 4"]
    """Similarity that takes the cube to [-1, 1]^3."""
    ball_centre: Float[np.ndarray, "3"]
    """Centre of the region of interest, in the cube."""
    ball_radius: float
    """Its radius, in the cube."""


def working_cube(stack: ViewArrays, unit_from_world: Float[np.ndarray, "4 4"]) -> WorkingCube:
    """The tight cube around the hull of views stacked in the scene's unit space; SceneError if there is no hull."""
    inside = visual_hull(replace(stack, masks=_grown_masks(stack)), HULL_VOXELS).cpu().numpy()
    _require_points(inside)
    spacing = 2.0 / (HULL_VOXELS - 1)
    samples = np.argwhere(inside) * spacing - 1
    # The hull ends somewhere between its last sample and the next one.
    low, high = samples.min(axis=0) - spacing, samples.max(axis=0) + spacing
    centre, half = (low + high) / 2, float((high - low).max()) / 2 * MARGIN
    if half > LARGEST:
        centre, half = np.zeros(3), LARGEST
    cube_from_unit = np.diag([1 / half, 1 / half, 1 / half, 1.0])
    cube_from_unit[:3, 3] = -centre / half
    return WorkingCube(cube_from_unit @ unit_from_world, -centre / half, 1 / half)


def in_cube(stack: ViewArrays, cube: WorkingCube) -> ViewArrays:
    """The same views when their cameras move from the scene's unit space into the cube; pixels are shared."""
    centre = torch.as_tensor(cube.ball_centre).to(stack.centres)
    return replace(stack, centres=(stack.centres * cube.ball_radius + centre).contiguous())


def _grown_masks(stack: ViewArrays) -> UInt8[Tensor, "pixels"]:
    """Masks widened by one pixel: a thin part that a shrunk mask has lost must still be within the cube."""
    masks = torch.empty_like(stack.masks)
    for start, height, width in torch.stack([stack.starts, stack.heights, stack.widths], dim=1).tolist():
        mask = stack.masks[start : start + height * width].reshape(1, 1, height, width)
        grown = torch.nn.functional.max_pool2d(mask.float(), 3, stride=1, padding=1)
        masks[start : start + height * width] = grown.reshape(-1).to(torch.uint8)
    return masks


def cube_hull(stack: ViewArrays, cube: WorkingCube, voxels: int) -> Bool[np.ndarray, "n n n"]:
    """The visual hull of views stacked in the cube's space, cut by the region of interest; SceneError if empty."""
    inside = visual_hull(stack, voxels, radius=torch.inf).cpu().numpy()
    axis = np.linspace(-1, 1, voxels)
    x, y, z = ((axis - centre) ** 2 for centre in cube.ball_centre)
    inside &= x[:, None, None] + y[None, :, None] + z[None, None, :] <= cube.ball_radius**2
    # Nothing may touch the walls: a ray must start outside to hit.
    inside[[0, -1]], inside[:, [0, -1]], inside[:, :, [0, -1]] = False, False, False
    _require_points(inside)
    return inside


def _require_points(inside: Bool[np.ndarray, "n n n"]) -> None:
    if not inside.any():
        raise SceneError(
            f"The hull is empty: none of {inside.size} points in the region of interest lies inside all masks.\n"
            "Expected an object thicker than a sixtieth of the region, and masks that are white on it: look at them "
            "with dvr inspect SCENE --masks."
        )
