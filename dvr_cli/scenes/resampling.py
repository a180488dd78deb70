"""A pinhole photograph as another pinhole camera at the same place and in the same direction would have taken it.

Formats that hold one focal length and the middle of the image as principal point cannot describe every camera. Both
images see the same rays: a pixel p of the new one shows what K K_new^-1 p showed in the old one. The new image is as
large as it must be to hold all of the old one; what it shows beyond is black.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.views import Camera

SAME = 1e-6
"""Intrinsics that differ by less than this share of the focal length or image are the same."""


def square_camera(camera: Camera) -> Camera:
    """The camera with fx = fy and no skew, its image just holding all of the old one; itself if it is so already."""
    intrinsics = camera.intrinsics
    fx, fy, skew = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 1]
    if abs(fx - fy) <= SAME * fx and abs(skew) <= SAME * fx:
        return camera
    return _holding(camera, max(fx, fy), centred=False)


def centred_camera(camera: Camera) -> Camera:
    """The same, with the principal point in the middle of the image as well."""
    intrinsics = camera.intrinsics
    middle = np.array([camera.width, camera.height]) / 2
    off_middle = np.abs(intrinsics[:2, 2] - middle).max()
    if square_camera(camera) is camera and off_middle <= SAME * max(camera.width, camera.height):
        return camera
    return _holding(camera, max(intrinsics[0, 0], intrinsics[1, 1]), centred=True)


def unskewed_camera(camera: Camera) -> Camera:
    """The camera without skew, which most formats have no place for."""
    fx, fy, skew = camera.intrinsics[0, 0], camera.intrinsics[1, 1], camera.intrinsics[0, 1]
    return camera if abs(skew) <= SAME * fx else _holding(camera, fx, centred=False, focal_y=fy)


def _holding(camera: Camera, focal: float, centred: bool, focal_y: float | None = None) -> Camera:
    """A camera of these focal lengths whose image holds that of `camera`."""
    height, width = camera.height, camera.width
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], dtype=np.float64)
    rays = corners @ np.linalg.inv(camera.intrinsics).T
    pixels = rays[:, :2] * np.array([focal, focal if focal_y is None else focal_y])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if centred:
        high = np.maximum(-low, high)
        low = -high
    # Rounding must not add a row for a corner that lies on the edge.
    size = np.ceil(high - low - SAME).astype(int)
    intrinsics = np.diag([focal, focal if focal_y is None else focal_y, 1.0])
    intrinsics[:2, 2] = size / 2 if centred else -low
    return replace(camera, intrinsics=intrinsics, height=int(size[1]), width=int(size[0]))


def resampled(
    image: Float[np.ndarray, "h w *channels"], camera: Camera, target: Camera
) -> Float[np.ndarray, "H W *channels"]:
    """The image of `camera` as `target` sees it, cubic splines between pixels; 0 where `camera` sees nothing.

    `target` stands where `camera` stands and looks the same way. Values stay within the range of the image.
    """
    from scipy.ndimage import affine_transform

    matrix, offset = _source_pixels(camera, target)
    channels = image if image.ndim == 3 else image[:, :, None]
    read = [
        affine_transform(channels[:, :, index], matrix, offset, (target.height, target.width), order=3, mode="mirror")
        for index in range(channels.shape[2])
    ]
    values = np.clip(np.stack(read, axis=-1), image.min(), image.max())
    values[~_inside(camera, target)] = 0
    return values if image.ndim == 3 else values[:, :, 0]


def resampled_mask(mask: Bool[np.ndarray, "h w"], camera: Camera, target: Camera) -> Bool[np.ndarray, "H W"]:
    """The same for a mask: more than half is object; False where `camera` sees nothing."""
    from scipy.ndimage import affine_transform

    matrix, offset = _source_pixels(camera, target)
    values = affine_transform(
        mask.astype(np.float32), matrix, offset, (target.height, target.width), order=1, mode="nearest"
    )
    inside: Bool[np.ndarray, "H W"] = (values > 0.5) & _inside(camera, target)
    return inside


def _source_pixels(camera: Camera, target: Camera) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
    """Row and column in the old image from row and column in the new one, both counted between pixel centres."""
    old_from_new = camera.intrinsics @ np.linalg.inv(target.intrinsics)
    offset = old_from_new[:2, :2] @ np.array([0.5, 0.5]) + old_from_new[:2, 2] - 0.5
    return old_from_new[1::-1, 1::-1].copy(), offset[::-1].copy()


def _inside(camera: Camera, target: Camera) -> Bool[np.ndarray, "H W"]:
    """The pixels of `target` whose centre `camera` sees."""
    matrix, offset = _source_pixels(camera, target)
    rows, columns = np.mgrid[0 : target.height, 0 : target.width]
    row = matrix[0, 0] * rows + matrix[0, 1] * columns + offset[0] + 0.5
    column = matrix[1, 0] * rows + matrix[1, 1] * columns + offset[1] + 0.5
    inside: Bool[np.ndarray, "H W"] = (row >= 0) & (row <= camera.height) & (column >= 0) & (column <= camera.width)
    return inside
