"""Contact sheets: pictures side by side with a small label under each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from dvr_cli.files import replacing

_MARGIN = 8
_LABEL_HEIGHT = 22
_FONT_SIZE = 13
_PAPER = (250, 250, 248)
_INK = (50, 50, 50)


def contact_sheet(
    pictures: Sequence[tuple[str, Float[np.ndarray, "_ _ 3"]]], columns: int | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Labelled pictures (RGB in [0, 1], any sizes) in rows of `columns`, all in one row by default."""
    from PIL import Image, ImageDraw, ImageFont

    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    columns = len(pictures) if columns is None else min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    cell_height = max(picture.shape[0] for _, picture in pictures)
    cell_width = max(picture.shape[1] for _, picture in pictures)
    step_x, step_y = cell_width + _MARGIN, cell_height + _LABEL_HEIGHT + _MARGIN
    sheet = Image.new("RGB", (columns * step_x + _MARGIN, rows * step_y + _MARGIN), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for index, (label, picture) in enumerate(pictures):
        left, top = _MARGIN + index % columns * step_x, _MARGIN + index // columns * step_y
        pixels = np.round(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
        sheet.paste(Image.fromarray(pixels), (left, top))
        draw.text((left + 2, top + cell_height + 3), label, fill=_INK, font=font)
    return np.asarray(sheet)


def write_picture(path: Path, picture: Float[np.ndarray, "h w c"] | UInt8[np.ndarray, "h w c"]) -> None:
    """Write RGB or RGBA as a PNG under a temporary name first; floating point values are in [0, 1]."""
    from PIL import Image

    if picture.dtype != np.uint8:
        picture = np.round(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
