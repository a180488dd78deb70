"""What a writer of a format is given for each view: a pinhole camera, and pixels that it can have saved.

Writers decide names and folders; where the pixels come from (a photograph that is copied, one that is undistorted or
resampled first, an array in memory) is not their concern.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import SceneError
from dvr_cli.files import replacing
from dvr_cli.scenes.views import Camera

if TYPE_CHECKING:
    from PIL.Image import Image


@runtime_checkable
class WritableView(Protocol):
    """One view of a scene that is being written."""

    @property
    def name(self) -> str:
        """File name with suffix, relative, unique within the scene."""

    @property
    def camera(self) -> Camera:
        """Pinhole camera of the saved image, full size."""

    @property
    def suffix(self) -> str:
        """Suffix that the saved image has to have, ".png" or ".jpg"."""

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to save."""

    def save_image(self, path: Path) -> None:
        """Write the photograph to `path` (with `suffix`); folders are made."""

    def save_mask(self, path: Path) -> None:
        """Write the mask, white = object, as 8-bit PNG of the image's size; folders are made."""

    def save_image_with_alpha(self, path: Path) -> None:
        """Write the photograph with the mask (all white without one) as alpha channel, PNG; folders are made."""


@dataclass(frozen=True)
class PixelsToWrite:
    """A view whose pixels are in memory."""

    name: str
    camera: Camera
    image: Float[np.ndarray, "h w 3"]
    """RGB in [0, 1]."""
    mask: Bool[np.ndarray, "h w"] | None = None
    """True = object."""

    @property
    def suffix(self) -> str:
        """Always ".png"."""
        return ".png"

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to save."""
        return self.mask is not None

    def save_image(self, path: Path) -> None:
        """Write the photograph as 8-bit PNG."""
        save_png(_bytes(self.image), path)

    def save_mask(self, path: Path) -> None:
        """Write the mask as 8-bit PNG, white = object."""
        assert self.mask is not None
        save_png(_bytes(self.mask), path)

    def save_image_with_alpha(self, path: Path) -> None:
        """Write the photograph with the mask as alpha channel."""
        mask = np.ones(self.image.shape[:2]) if self.mask is None else self.mask
        save_png(np.concatenate([_bytes(self.image), _bytes(mask)[:, :, None]], axis=2), path)


def require_no_skew(camera: Camera, name: str) -> None:
    """SceneError if the camera's image axes are not perpendicular: most formats have no place for that."""
    if abs(camera.intrinsics[0, 1]) > 1e-6 * camera.intrinsics[0, 0]:
        raise SceneError(
            f"The camera of {name} has skew ({camera.intrinsics[0, 1]:.4g} pixels), which this format cannot hold.\n"
            "Write the scene as idr, which can."
        )


def centred_focal(camera: Camera, name: str) -> float:
    """The focal length in pixels; SceneError if the camera has more intrinsics than that and the image's middle."""
    intrinsics = camera.intrinsics
    require_no_skew(camera, name)
    off_middle = np.abs(intrinsics[:2, 2] - np.array([camera.width, camera.height]) / 2).max()
    if abs(intrinsics[0, 0] - intrinsics[1, 1]) > 1e-6 * intrinsics[0, 0] or off_middle > 1e-6 * camera.width:
        raise SceneError(
            f"The camera of {name} has focal lengths {intrinsics[0, 0]:.6g} and {intrinsics[1, 1]:.6g} and looks "
            f"{off_middle:.4g} pixels beside the middle of its image.\n"
            "This format holds one focal length and the middle. Resample photographs first, as dvr convert does, or "
            "choose another format."
        )
    return float(intrinsics[0, 0])


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Write an 8-bit array (grey, RGB or RGBA) as PNG; folders are made."""
    from PIL import Image

    save_png_image(Image.fromarray(pixels), path)


def save_png_image(image: "Image", path: Path) -> None:
    """Write an image as PNG, under a temporary name first; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
