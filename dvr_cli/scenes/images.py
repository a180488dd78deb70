"""Photographs and masks from disk into memory at working size, in parallel.

Resizing is corner-aligned: corners map to corners, so `Camera.resized` describes the result. A whole-number factor is
an exact area average; any other factor uses Pillow's Hamming window, which weighs partly covered pixels smoothly. A
JPEG of more than four times the size needed is decoded at a half of its size or less. Each thread holds one image at a
time. Shapes are (height, width).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.processors import available_threads
from dvr_cli.scenes.depth_maps import load_depth_map
from dvr_cli.scenes.image_files import exif_orientation, open_image, turned, turned_shape
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.masks.loading import mask_channel
from dvr_cli.scenes.undistortion import undistorted
from dvr_cli.scenes.views import DepthScale, LoadedView, Scene, View

if TYPE_CHECKING:
    from PIL.Image import Image


def load_views(
    scene: Scene,
    image_size: int | None,
    threads: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[LoadedView]:
    """All views of the scene at working size, in the scene's order.

    The longest side becomes at most `image_size` pixels (None: full size; images are never enlarged). In memory each
    photograph follows the one before, so that who needs them so (`kernels.views`) need not copy them. `report` is
    called in this thread with the number of views done and in all. SceneError for a photograph or mask that cannot be
    decoded.
    """
    nothing = (None,) * len(scene.views)
    depth = zip(scene.depth_map_paths or nothing, scene.depth_scales or nothing, strict=True)
    places = _places([working_shape(view.camera.height, view.camera.width, image_size) for view in scene.views])
    count = max(1, min(threads or available_threads(), len(scene.views)))
    loaded: list[LoadedView] = []
    with ThreadPoolExecutor(count) as pool:
        futures = [
            pool.submit(load_view, view, image_size, path, scale, place)
            for view, (path, scale), place in zip(scene.views, depth, places, strict=True)
        ]
        try:
            for future in futures:
                loaded.append(future.result())
                if report:
                    report(len(loaded), len(futures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return loaded


def _places(shapes: list[tuple[int, int]]) -> list[Float[np.ndarray, "_ _ 3"]]:
    """Room for photographs of these heights and widths, one after the other; SceneError where there is not enough."""
    ends = list(accumulate((height * width for height, width in shapes), initial=0))
    try:
        pixels = np.empty((ends[-1], 3), np.float32)
    except (MemoryError, ValueError, OverflowError):
        largest = max(height * width for height, width in shapes) / 1e6
        size = f"{count_of(len(shapes), 'photograph')} of up to {largest:.0f} megapixels"
        need = f"{size} need {12 * ends[-1] / 1e9:.1f} GB of memory, more than there is."
        raise SceneError(f"{need}\nMake them smaller with --image-size, or take fewer with --views.") from None
    return [pixels[first:last].reshape(*shape, 3) for (first, last), shape in zip(pairwise(ends), shapes, strict=True)]


def load_view(
    view: View,
    image_size: int | None,
    depth_path: Path | None = None,
    depth_scale: DepthScale | None = None,
    place: Float[np.ndarray, "h w 3"] | None = None,
) -> LoadedView:
    """One view at working size; see `load_views`. The photograph is put in its place, if there is one."""
    height, width = working_shape(view.camera.height, view.camera.width, image_size)
    if place is None:
        (place,) = _places([(height, width)])
    return LoadedView(
        name=view.name,
        camera=view.camera.resized(height, width),
        image=_load_rgb(view, place),
        mask=None if view.mask_path is None else load_mask(view, height, width),
        depth=None if depth_path is None else load_depth_map(depth_path, view, height, width, depth_scale),
    )


def working_shape(height: int, width: int, image_size: int | None) -> tuple[int, int]:
    """Height and width with the longest side at most `image_size`, never enlarged.

    >>> working_shape(1200, 1600, 800)
    (600, 800)
    """
    if image_size is None or max(height, width) <= image_size:
        return height, width
    factor = image_size / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def load_mask(view: View, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The mask of a view at the given size, True = object: the area average of object is above one half.

    A photograph that is turned when it is decoded may have a mask of either shape: as it is seen, or as it is stored.
    The mask is then turned along with it when its own EXIF orientation says so, or when only that gives it the shape of
    the turned photograph. SceneError for a mask without the alpha channel that it should have.
    """
    assert view.mask_path is not None
    camera: Any = view.distorted if view.distorted is not None else view.camera
    with open_image(view.mask_path) as image:
        channel, white = mask_channel(image, view.mask_meaning, f"{view.mask_path}, the mask of {view.name},")
        channel = turned(channel, _mask_orientation(image, view, camera.height, camera.width))
        if view.distorted is not None:
            values = undistorted(channel, view.distorted, view.camera, height, width)
        else:
            values = np.asarray(_resized(channel, height, width), dtype=np.float32)
    return values < 0.5 * white if view.mask_meaning == "black" else values > 0.5 * white


def _mask_orientation(image: "Image", view: View, height: int, width: int) -> int:
    """The EXIF orientation that a mask needs so that it fits a photograph of this height and width."""
    if view.orientation == 1:
        return 1
    if view.mask_path == view.image_path or exif_orientation(image) == view.orientation:
        return view.orientation
    on_edge = turned_shape(image.height, image.width, view.orientation)
    fits, fits_turned = (_squeeze(*shape, height, width) for shape in ((image.height, image.width), on_edge))
    return view.orientation if fits_turned < fits else 1


def _squeeze(height: int, width: int, camera_height: int, camera_width: int) -> float:
    """How much one aspect ratio differs from another, 0 for the same."""
    return abs(float(np.log(height * camera_width / (width * camera_height))))


SMALL_MASK = 200
"""Longest side of masks for questions that silhouettes alone answer, pixels."""
REMEMBERED_MASKS = 1024
"""30 kB each; a scene is asked several such questions before it is reconstructed."""


def small_mask(view: View) -> Bool[np.ndarray, "h w"]:
    """The mask of a view at SMALL_MASK pixels, remembered as long as the file stays the same; not to be changed."""
    assert view.mask_path is not None
    try:
        changed = view.mask_path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _remembered_mask(_Unchanged(view, (str(view.mask_path.absolute()), changed, view.mask_meaning, view.name)))


class _Unchanged:
    """A view, equal to another one when its mask would be the same."""

    def __init__(self, view: View, file: tuple[object, ...]) -> None:
        self.view = view
        lens: Any = view.distorted
        seen = () if lens is None else (lens.model_name, tuple(lens.params), lens.width, lens.height)
        camera = view.camera
        self._key = (*file, view.orientation, seen, camera.height, camera.width, tuple(camera.intrinsics.ravel()))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unchanged) and self._key == other._key


@lru_cache(maxsize=REMEMBERED_MASKS)
def _remembered_mask(file: _Unchanged) -> Bool[np.ndarray, "h w"]:
    view = file.view
    mask = load_mask(view, *working_shape(view.camera.height, view.camera.width, SMALL_MASK))
    mask.setflags(write=False)
    return mask


def small_masks(views: tuple[View, ...], longest: int, threads: int | None = None) -> list[LoadedView]:
    """Views with masks of at most `longest` pixels a side and black photographs that take no memory.

    For questions that silhouettes alone answer, before the photographs are decoded.
    """

    def load(view: View) -> LoadedView:
        shape = working_shape(view.camera.height, view.camera.width, longest)
        if view.mask_path is None:
            mask = None
        else:
            mask = small_mask(view) if longest == SMALL_MASK else load_mask(view, *shape)
        black = np.broadcast_to(np.float32(0), (*shape, 3))
        return LoadedView(view.name, view.camera.resized(*shape), black, mask)

    with ThreadPoolExecutor(threads or available_threads()) as pool:
        return list(pool.map(load, views))


def _load_rgb(view: View, place: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """The photograph in [0, 1], put in its place at its size.

    Turned and undistorted where needed; grey becomes RGB, an alpha channel is dropped.
    """
    height, width = place.shape[:2]
    camera: Any = view.distorted if view.distorted is not None else view.camera
    with open_image(view.image_path) as image:
        shape = turned_shape(image.height, image.width, view.orientation)
        if shape != (camera.height, camera.width):
            raise SceneError(
                f"{view.image_path} is {shape[1]}x{shape[0]} pixels, its camera {camera.width}x{camera.height}.\n"
                "Expected the size for which the camera was calibrated."
            )
        if view.distorted is None:
            _decode_smaller(image, *turned_shape(height, width, view.orientation))
        deep = image.mode.startswith(("I", "F"))
        pixels, white = _grey(image) if deep else (image.convert("RGB"), 255.0)
        pixels = turned(pixels, view.orientation)
        if view.distorted is not None:
            resized = undistorted(pixels, camera, view.camera, height, width)
        else:
            resized = np.asarray(_resized(pixels, height, width), dtype=np.float32)
    np.divide(resized if resized.ndim == 3 else resized[:, :, None], np.float32(white), out=place)
    # Hamming weights are positive, so values stay in range up to rounding.
    return np.clip(place, 0.0, 1.0, out=place)


def _decode_smaller(image: "Image", height: int, width: int) -> None:
    """Let a JPEG decode to a part of its size, at least twice that asked for: the same picture in half the time.

    Only by whole factors that leave the corners where they are; for other formats nothing changes.
    """
    for factor in (8, 4, 2):
        whole = image.height % factor == 0 and image.width % factor == 0
        if whole and image.height >= 2 * factor * height and image.width >= 2 * factor * width:
            image.draft(None, (image.width // factor, image.height // factor))
            return


def _grey(image: "Image") -> tuple["Image", float]:
    """The image as one channel, and the value that white has in it."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        grey = image.convert("L")
        highest = np.asarray(grey).max()
        return grey, 1.0 if highest == 1 else 255.0
    values = np.nan_to_num(np.asarray(image).astype(np.float32))
    return Image.fromarray(values), 1.0 if values.max() <= 1 else 65535.0


def _resized(image: "Image", height: int, width: int) -> "Image":
    """Corner-aligned resize: exact area average for whole factors."""
    from PIL import Image

    if (image.height, image.width) == (height, width):
        return image
    if image.height % height == 0 and image.width % width == 0:
        return image.reduce((image.width // width, image.height // height))
    smaller = height <= image.height and width <= image.width
    filter_ = Image.Resampling.HAMMING if smaller else Image.Resampling.BILINEAR
    return image.resize((width, height), filter_)
