"""What in a mask's file tells object from background: one channel of it, and the value that stands for all object.

Masks come as black and white, as 0 and 1, as labels in a palette, with 16 bits, in colour, with soft edges, and as
cut-outs whose alpha channel is the mask. Half of what is the brightest value in the file divides object from
background; only where lossy compression leaves hardly more than noise is it half of what the format calls white.
"""

from typing import TYPE_CHECKING

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.scenes.masks.naming import has_alpha
from dvr_cli.scenes.views import MaskMeaning

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSY_NOISE = 1 / 8
"""Share of white up to which a black mask may be brightened by JPEG compression."""


def mask_channel(image: "Image", meaning: MaskMeaning, where: str) -> tuple["Image", float]:
    """One channel (mode L or F) that is larger on what is marked, and the value of full marking in it, above 0.

    `where` names file and view in the SceneError for a mask that has not the alpha channel it should have.

    >>> from PIL import Image
    >>> mask_channel(Image.new("L", (2, 2), 1), "white", "a.png")[1]
    1.0
    """
    lossy = image.format == "JPEG"
    if meaning == "alpha":
        if not has_alpha(image):
            raise SceneError(
                f"{where} has no alpha channel, which was to be the mask.\n"
                "Expected transparent background; save it as RGBA again, or put masks into mask/."
            )
        # Half transparent is half transparent, however opaque the rest is.
        return image.convert("RGBA").getchannel("A"), 255.0
    channel = _marking_channel(image)
    highest = float(np.asarray(channel).max(initial=0))
    white = 255.0 if channel.mode == "L" else (1.0 if highest <= 1 else 65535.0)
    return channel, highest if highest > (LOSSY_NOISE * white if lossy else 0) else white


def _marking_channel(image: "Image") -> "Image":
    """The brightest of the colour channels, or the alpha channel where it says anything."""
    from PIL import Image, ImageChops

    if image.mode.startswith(("I", "F")):
        # Pillow's own conversion to grey cuts 16 bits to 8.
        return Image.fromarray(np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0))
    if has_alpha(image):
        alpha = image.convert("RGBA").getchannel("A")
        lowest, highest = alpha.getextrema()
        if lowest != highest:
            return alpha
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    # Labels may be of any colour, and the eye sees little of a blue one.
    red, green, blue = image.convert("RGB").split()
    return ImageChops.lighter(red, ImageChops.lighter(green, blue))
