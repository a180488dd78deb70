"""Which views a report shows, and the part of each that holds the object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.scenes.views import Camera, LoadedView

_MARGIN = 0.06
"""Room around the object, as a share of its longer side."""


@dataclass(frozen=True)
class Frame:
    """A rectangle of a photograph and the camera that sees just this."""

    view: int
    """Index into the scene's views."""
    left: int
    top: int
    right: int
    bottom: int
    camera: Camera
    """At the size at which the report shows it."""

    def cut(self, image: Float[np.ndarray, "h w *c"]) -> Float[np.ndarray, "r s *c"]:
        """The rectangle of a picture as large as the view, at the view's own resolution."""
        return image[self.top : self.bottom, self.left : self.right]


def choose_views(views: Sequence[LoadedView], candidates: Sequence[int], count: int) -> list[int]:
    """Views from different sides: the first, then each time the one that is farthest from those chosen."""
    if not candidates or count < 1:
        return []
    centres = np.array([views[index].camera.centre for index in candidates])
    chosen = [0]
    while len(chosen) < min(count, len(candidates)):
        gaps = np.linalg.norm(centres[:, None] - centres[None, chosen], axis=2).min(axis=1)
        gaps[chosen] = -1
        chosen.append(int(np.argmax(gaps)))
    return [candidates[index] for index in chosen]


def frame_view(
    views: Sequence[LoadedView], index: int, world_from_unit: Float[np.ndarray, "4 4"], longest: int
) -> Frame:
    """The part of a view around its mask, or around the region of interest where it has none."""
    view = views[index]
    left, top, right, bottom = _box(view, world_from_unit)
    height, width = bottom - top, right - left
    factor = longest / max(height, width)
    intrinsics = view.camera.intrinsics.copy()
    intrinsics[:2, 2] -= (left, top)
    cut = replace(view.camera, intrinsics=intrinsics, height=height, width=width)
    shown = cut.resized(max(1, round(height * factor)), max(1, round(width * factor)))
    return Frame(index, left, top, right, bottom, shown)


def _box(view: LoadedView, world_from_unit: Float[np.ndarray, "4 4"]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in whole pixels, at least 8 wide and high where the image is."""
    height, width = view.image.shape[:2]
    whole = (0, 0, width, height)
    corners = _corners_of_mask(view) if view.mask is not None and view.mask.any() else _ball(view, world_from_unit)
    if not len(corners):
        return whole
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = max(_MARGIN * float((high - low).max()), 4)
    left, top = np.floor(np.maximum(low - room, 0)).astype(int).tolist()
    right, bottom = np.ceil(np.minimum(high + room, (width, height))).astype(int).tolist()
    return (left, top, right, bottom) if right - left >= 8 and bottom - top >= 8 else whole


def _corners_of_mask(view: LoadedView) -> Int[np.ndarray, "p 2"]:
    assert view.mask is not None
    rows, columns = np.nonzero(view.mask)
    return np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])


def _ball(view: LoadedView, world_from_unit: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "p 2"]:
    """Pixels of points on the unit ball around the region of interest; none when the camera is not in front of all."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[np.abs(grid).max(axis=1) == 1]
    sphere = grid / np.linalg.norm(grid, axis=1, keepdims=True)
    pixels, depth = view.camera.project(sphere @ world_from_unit[:3, :3].T + world_from_unit[:3, 3])
    return pixels if (depth > 0).all() else np.zeros((0, 2))
