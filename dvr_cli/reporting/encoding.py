"""Pictures and numbers as text that stands inside a page."""

import base64
import io
import zlib

import numpy as np
from jaxtyping import Float

_QUALITY = 82
"""Of WebP, with loss."""


def picture_uri(
    colours: Float[np.ndarray, "h w 3"], opacity: Float[np.ndarray, "h w"] | None = None, quality: int = _QUALITY
) -> str:
    """A WebP picture as a data URI; RGB and opacity are in [0, 1]."""
    from PIL import Image

    channels = colours if opacity is None else np.concatenate([colours, opacity[..., None]], axis=-1)
    pixels = np.round(255 * np.clip(np.nan_to_num(channels), 0, 1)).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="WEBP", quality=quality, method=4, alpha_quality=90)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def packed(array: np.ndarray) -> str:
    """An array's bytes (little endian, row by row), deflated (zlib) and in base64."""
    ordered = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(ordered.tobytes(), 9)).decode("ascii")
