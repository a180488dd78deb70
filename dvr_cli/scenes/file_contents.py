"""What a file that is no readable image really is, by its first bytes, for messages; and images in other formats.

Files are renamed without being converted, downloads end as a page that says "not found", and Git leaves pointers where
large files should be.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dvr_cli.scenes.listing import count_of

HEAD_BYTES = 512
READ_FORMATS = "png, jpg or tif"
COPY_AGAIN = "copy it again from its source"
UNREAD_SUFFIXES = (
    *(".webp", ".bmp", ".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".jfif", ".ppm", ".tga", ".exr", ".hdr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2", ".orf"),
)
"""Of photographs that are not read."""

_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftyp", "a video"),
    (4, b"jP  \r\n", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
)
_DECODED = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif"}


def why_no_image(path: Path) -> tuple[str, str] | None:
    """Why a file is no readable image, and what to do about that, both without a full stop; None where it may be one.

    Never raises: a file that cannot be read at all may be anything.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return None
    if not head:
        return "it is empty", COPY_AGAIN
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the image", "fetch the image with git lfs pull"
    if not head.strip(b"\0"):
        return "it begins with nothing but zeros", COPY_AGAIN
    kind = next((name for offset, bytes_, name in _SIGNATURES if head[offset:].startswith(bytes_)), None)
    if kind in _DECODED:
        return None
    if kind is not None:
        return f"its content is {kind}, not {_named_format(path)}", "convert it to png or jpg"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "its content is an HTML page, not an image", "download it again from its source"
    if _is_text(head):
        return "its content is text, not an image", COPY_AGAIN
    return None


def _named_format(path: Path) -> str:
    """What the name of a file claims."""
    kinds = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
    return kinds.get(path.suffix.lower(), READ_FORMATS)


def _is_text(head: bytes) -> bool:
    # A character at the end may be cut off.
    decoded = head.decode("utf-8", errors="replace")[:-4] or head.decode("utf-8", errors="replace")
    return all(character.isprintable() or character in "\t\r\n" for character in decoded) and "\ufffd" not in decoded


def unread_text(folders: Iterable[Path]) -> str:
    """Photographs in these folders (not below them) in formats that are not read, with advice; empty for none.

    For example "there are 12 .webp files in images/, which are not read: convert them to png or jpg".
    """
    found = []
    for folder in folders:
        try:
            suffixes = Counter(path.suffix.lower() for path in folder.iterdir())
        except OSError:
            continue
        counts = [(suffix, suffixes[suffix]) for suffix in UNREAD_SUFFIXES if suffixes[suffix]]
        if counts:
            files = ", ".join(count_of(count, f"{suffix} file") for suffix, count in counts)
            found.append((f"{files} in {folder.name}/", sum(count for _, count in counts)))
    if not found:
        return ""
    total = sum(count for _, count in found)
    files = " and ".join(words for words, _ in found)
    are, which = ("is", "which is") if total == 1 else ("are", "which are")
    return f"there {are} {files}, {which} not read: convert {'it' if total == 1 else 'them'} to png or jpg"


def unread_note(folder: Path) -> tuple[str, ...]:
    """`unread_text` of one folder as the notes of a reader."""
    text = unread_text([folder])
    return (text,) if text else ()
