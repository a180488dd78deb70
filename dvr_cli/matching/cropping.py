"""Photographs cut to what their masks show, so that features are looked for where they count and nowhere else."""

from dataclasses import replace

import numpy as np

from dvr_cli.scenes.views import Camera, LoadedView


def cropped_to_mask(view: LoadedView, margin: int = 16) -> LoadedView:
    """The part of a view around its mask and `margin` pixels more, with the camera that sees just this part.

    A view without a mask, or with an empty one, comes back as it is. A point projects to the same pixel of the scene's
    photograph as before: the principal point moves with the corner.
    """
    if view.mask is None or not view.mask.any():
        return view
    rows, columns = (np.flatnonzero(view.mask.any(axis=axis)) for axis in (1, 0))
    top, left = (max(0, int(found[0]) - margin) for found in (rows, columns))
    bottom, right = int(rows[-1]) + margin + 1, int(columns[-1]) + margin + 1
    part = slice(top, bottom), slice(left, right)
    image, mask = view.image[part], view.mask[part]
    return replace(
        view,
        camera=_shifted(view.camera, top, left, image.shape[0], image.shape[1]),
        image=image,
        mask=mask,
        depth=None if view.depth is None else view.depth[part],
    )


def _shifted(camera: Camera, top: int, left: int, height: int, width: int) -> Camera:
    """The camera of the part of the image whose corner lies at (left, top)."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] -= (left, top)
    return replace(camera, intrinsics=intrinsics, height=height, width=width)
