"""Views of a scene as a writer of another format wants them: photographs copied, or made as that format needs them.

Photographs are copied byte for byte where they can be: pinhole, not turned, and with a camera that the target can
describe. Others are undistorted, turned or resampled at full size, and saved as PNG.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.files import replacing
from dvr_cli.scenes.image_files import exif_orientation, open_image
from dvr_cli.scenes.images import load_mask, load_view
from dvr_cli.scenes.readers.table import Reader
from dvr_cli.scenes.resampling import centred_camera, resampled, resampled_mask, square_camera, unskewed_camera
from dvr_cli.scenes.views import Camera, Scene, View
from dvr_cli.scenes.writing import save_png, save_png_image

HOLDS_SKEW = ("idr", "middlebury", "dvr")
"""Formats of whole projection matrices."""


@dataclass(frozen=True)
class ConvertedView:
    """A view of a scene as a writer wants it (`writing.WritableView`)."""

    view: View
    name: str
    """As the target has it: with the suffix of what is saved."""
    camera: Camera
    """Of the saved image."""
    copied: bool
    """Whether the file is copied byte for byte, unless the format wants an alpha channel in it."""
    saved: Callable[[bool], None]
    """Called when the photograph has been saved, with whether it was copied."""

    @property
    def suffix(self) -> str:
        """That of the photograph where it is copied, else ".png"."""
        return PurePosixPath(self.name).suffix

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to save."""
        return self.view.mask_path is not None

    def save_image(self, path: Path) -> None:
        """Copy the photograph, or write what became of it; 16-bit grey stays 16 bits."""
        if self.copied:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                shutil.copyfile(self.view.image_path, temporary)
        elif _is_deep(self.view.image_path):
            from PIL import Image

            deep = np.round(self._pixels()[:, :, 0] * 65535).astype(np.uint16)
            save_png_image(Image.fromarray(deep), path)
        else:
            save_png(_bytes(self._pixels()), path)
        self.saved(self.copied)

    def save_mask(self, path: Path) -> None:
        """Write the mask as 8-bit PNG, white = object."""
        save_png(_bytes(self._mask()), path)

    def save_image_with_alpha(self, path: Path) -> None:
        """Write the photograph with the mask as alpha channel."""
        pixels = _bytes(self._pixels())
        mask = self._mask() if self.has_mask else np.ones(pixels.shape[:2], dtype=bool)
        save_png(np.concatenate([pixels, _bytes(mask)[:, :, None]], axis=2), path)
        self.saved(False)

    def _pixels(self) -> Float[np.ndarray, "h w 3"]:
        """The photograph as `camera` sees it, in [0, 1]."""
        image = load_view(replace(self.view, mask_path=None), None).image
        return image if self.camera is self.view.camera else resampled(image, self.view.camera, self.camera)

    def _mask(self) -> Bool[np.ndarray, "h w"]:
        camera = self.view.camera
        mask = load_mask(self.view, camera.height, camera.width)
        return mask if self.camera is camera else resampled_mask(mask, camera, self.camera)


def converted_views(scene: Scene, target: Reader, saved: Callable[[bool], None]) -> list[ConvertedView]:
    """The views as the target can hold them, in the scene's order; `saved` is called for each photograph."""
    views: list[ConvertedView] = []
    names: set[str] = set()
    for view in scene.views:
        camera = _camera_for(view.camera, target)
        copied = camera is view.camera and view.distorted is None and _is_stored_upright(view)
        name = view.name if copied else PurePosixPath(view.name).with_suffix(".png").as_posix()
        name = name if name not in names else f"{view.name}.png"
        names.add(name)
        views.append(ConvertedView(view, name, camera, copied, saved))
    return views


def _camera_for(camera: Camera, target: Reader) -> Camera:
    if target.needs == "centred":
        return centred_camera(camera)
    if target.needs == "square":
        return square_camera(camera)
    return camera if target.name in HOLDS_SKEW else unskewed_camera(camera)


def _is_stored_upright(view: View) -> bool:
    """Whether every program sees the pixels as the camera does: none of them will turn the photograph."""
    with open_image(view.image_path) as image:
        return view.orientation == 1 and exif_orientation(image) == 1


def _is_deep(path: Path) -> bool:
    """Whether this is a grey image of 16 bits."""
    with open_image(path) as image:
        return image.mode.startswith("I;16") or image.mode == "I"


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
