"""All views of a scene as flat arrays on one device, in unit space, at one image scale: what the kernels read.

Images of different sizes lie one after the other; view v's pixel (x, y) is at `starts[v] + y * widths[v] + x`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dvr_cli.kernels.rows import rows
from dvr_cli.scenes.views import Camera, LoadedView

BACKGROUND, OBJECT, UNKNOWN, DISREGARDED = 0, 1, 2, 3
"""What a pixel's mask says. A ray through an unknown pixel may hit or not: silhouettes have no say about it, but what
it hits is compared with other photographs. Through a disregarded one no ray is sent at all, since its photograph shows
something else than all others."""


@dataclass(frozen=True)
class ViewArrays:
    """Photographs, masks and cameras at one image scale."""

    gray: Float[Tensor, "pixels"]
    rgb: Float[Tensor, "pixels 3"]
    masks: UInt8[Tensor, "pixels"]
    """BACKGROUND, OBJECT, UNKNOWN or DISREGARDED; all UNKNOWN for a view without a mask."""
    starts: Int[Tensor, "v"]
    heights: Int[Tensor, "v"]
    widths: Int[Tensor, "v"]
    intrinsics: Float[Tensor, "v 3 3"]
    inverse_intrinsics: Float[Tensor, "v 3 3"]
    rotations: Float[Tensor, "v 3 3"]
    """camera_from_unit, rotation part."""
    centres: Float[Tensor, "v 3"]
    """Camera centres in unit space."""

    @property
    def count(self) -> int:
        """Number of views."""
        return len(self.starts)

    def to(self, device: torch.device) -> "ViewArrays":
        """The same on a device."""
        return ViewArrays(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})

    def rays(
        self, ray_views: Int[Tensor, "r"], ray_pixels: Int[Tensor, "r 2"]
    ) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
        """Origins and unit directions, in unit space, of the rays through pixel centres."""
        pixels = torch.cat([ray_pixels.float() + 0.5, torch.ones_like(ray_pixels[:, :1], dtype=torch.float32)], dim=1)
        back = self.rotations.transpose(1, 2) @ self.inverse_intrinsics
        directions = torch.einsum("rij,rj->ri", rows(back, ray_views), pixels)
        return rows(self.centres, ray_views), torch.nn.functional.normalize(directions, dim=1)

    def pixel_index(self, ray_views: Int[Tensor, "r"], ray_pixels: Int[Tensor, "r 2"]) -> Int[Tensor, "r"]:
        """Place of pixels in `gray`, `rgb` and `masks`."""
        index = ray_views.long()
        return self.starts[index].long() + ray_pixels[:, 1].long() * self.widths[index] + ray_pixels[:, 0].long()


def shrink(image: Float[np.ndarray, "h w *c"], divisor: int) -> Float[np.ndarray, "g u *c"]:
    """Mean over divisor x divisor blocks; the rest of the last rows and columns is cut off."""
    if divisor == 1:
        return image
    height, width = image.shape[0] // divisor, image.shape[1] // divisor
    total = np.zeros((height, width, *image.shape[2:]), np.float32)
    # numpy's mean over axes of two or four goes block by block, five times as slowly.
    for row in range(divisor):
        for column in range(divisor):
            total += image[row : height * divisor : divisor, column : width * divisor : divisor]
    return total / np.float32(divisor**2)


def divisor_for(views: Sequence[LoadedView], longest_side: int | None) -> int:
    """The least of 1, 2, 4, 8 by which the views are shrunk to at most `longest_side` pixels; 1 for None."""
    longest = max((max(view.image.shape[:2]) for view in views), default=0)
    return next((d for d in (1, 2, 4) if longest_side is None or longest // d <= longest_side), 8)


def shrink_camera(camera: Camera, divisor: int) -> Camera:
    """The camera of `shrink`'s result."""
    height, width = camera.height // divisor, camera.width // divisor
    intrinsics = np.diag([1 / divisor, 1 / divisor, 1.0]) @ camera.intrinsics
    return Camera(intrinsics, camera.camera_from_world, height, width)


def in_one_piece(images: Sequence[Float[np.ndarray, "_ _ 3"]]) -> Float[np.ndarray, "p 3"]:
    """All pixels one after the other; not copied where they lie so in memory, as `load_views` puts them."""
    base, begin = images[0].base, images[0].ctypes.data
    ends = np.cumsum([image.nbytes for image in images])
    if isinstance(base, np.ndarray) and base.flags.c_contiguous and base.dtype == images[0].dtype:
        follow = (
            image.base is base and image.flags.c_contiguous and image.ctypes.data + image.nbytes == begin + end
            for image, end in zip(images, ends, strict=True)
        )
        if all(follow):
            first = (begin - base.ctypes.data) // base.itemsize
            return base.reshape(-1)[first : first + int(ends[-1]) // base.itemsize].reshape(-1, 3)
    return np.concatenate([image.reshape(-1, 3) for image in images])


def stack_views(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], divisor: int, device: torch.device
) -> ViewArrays:
    """Shrink every view by `divisor` and lay all of them out for the kernels; cameras are moved to unit space.

    `unit_from_world` is a similarity; the scale leaves pixels unchanged, so only rotations and centres change.
    """
    images = [shrink(view.image, divisor) for view in views]
    masks = [_labels(view, divisor, image.shape[:2]) for view, image in zip(views, images, strict=True)]
    cameras = [shrink_camera(view.camera, divisor) for view in views]
    scale = np.cbrt(np.linalg.det(unit_from_world[:3, :3]))
    world_from_unit_rotation = unit_from_world[:3, :3].T / scale
    centres = np.stack([unit_from_world[:3, :3] @ c.centre + unit_from_world[:3, 3] for c in cameras])
    rotations = np.stack([c.camera_from_world[:3, :3] @ world_from_unit_rotation for c in cameras])
    intrinsics = np.stack([c.intrinsics for c in cameras])
    sizes = np.array([image.shape[:2] for image in images])
    starts = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))[:-1]])
    rgb = in_one_piece(images)

    def tensor(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(device=device, dtype=dtype)

    return ViewArrays(
        gray=tensor(rgb @ np.array([0.299, 0.587, 0.114], np.float32)),
        rgb=tensor(rgb),
        masks=tensor(np.concatenate([mask.reshape(-1) for mask in masks]), torch.uint8),
        starts=tensor(starts, torch.int32),
        heights=tensor(sizes[:, 0], torch.int32),
        widths=tensor(sizes[:, 1], torch.int32),
        intrinsics=tensor(intrinsics),
        inverse_intrinsics=tensor(np.linalg.inv(intrinsics)),
        rotations=tensor(rotations),
        centres=tensor(centres),
    )


def _labels(view: LoadedView, divisor: int, shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """What the mask says of each pixel of the shrunk view."""
    if view.mask is None:
        return np.full(shape, UNKNOWN, np.uint8)
    labels = (shrink(view.mask.astype(np.float32), divisor) > 0.5).astype(np.uint8)
    if view.disregarded is not None:
        labels[shrink(view.disregarded.astype(np.float32), divisor) > 0] = DISREGARDED
    return labels
