"""What the header of a photograph says: bits, colours, transparency, and how it asks to be turned."""

from dataclasses import dataclass
from pathlib import Path

from dvr_cli.errors import SceneError
from dvr_cli.scenes.image_files import exif_orientation, open_image


@dataclass(frozen=True)
class Header:
    """One photograph, before it is decoded."""

    height: int
    """Rows, as stored."""
    width: int
    bits: int
    """A channel."""
    colours: str
    """"grey", "rgb", "palette" or "cmyk"."""
    has_alpha: bool
    orientation: int
    """EXIF, 1 to 8."""


def read_header(path: Path) -> tuple[Header | None, str]:
    """The header, and why it cannot be read (empty when it can)."""
    try:
        with open_image(path) as image:
            mode = image.mode
            colours = {"CMYK": "cmyk", "YCCK": "cmyk", "P": "palette", "PA": "palette"}.get(mode, "rgb")
            if mode[:1] in ("1", "L", "I", "F"):
                colours = "grey"
            alpha = "A" in image.getbands() or "transparency" in image.info
            return Header(image.height, image.width, _bits(image), colours, alpha, exif_orientation(image)), ""
    except SceneError as error:
        return None, str(error)


def _bits(image: object) -> int:
    """Bits a channel in the file. Pillow decodes colour PNG files of 16 bits to 8, but names them in its tiles."""
    if image.mode.startswith(("I", "F")):  # type: ignore[attr-defined]
        return 16
    tiles = getattr(image, "tile", None) or []
    raw_modes = [str(argument) for tile in tiles for argument in (tile[3] if isinstance(tile[3], tuple) else [tile[3]])]
    return 16 if any(";16" in mode for mode in raw_modes) else 8
