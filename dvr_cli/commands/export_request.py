"""What `dvr export` is asked for: its options parsed, completed by what each format calls for, and checked together.

Lengths that depend on the object are given in per cent of its diagonal (`0.02%`) or in the scene's units (`0.5`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

TextureKind = Literal["none", "vertex", "atlas"]
Components = Literal["largest", "supported", "all"]

ATLAS_FACES = 100_000
"""Faces that a mesh with an atlas is simplified to when nothing is said: more do not show under a texture."""
ALL_FACES = "all"

_DEFAULT_TEXTURES: dict[str, TextureKind] = {
    ".ply": "vertex", ".obj": "atlas", ".glb": "atlas", ".usdz": "atlas", ".stl": "none"
}  # fmt: skip
_HOLDS: dict[str, tuple[TextureKind, ...]] = {".ply": ("none", "vertex"), ".stl": ("none",)}
"""Formats that cannot hold everything."""


@dataclass(frozen=True)
class Length:
    """A length that is a share of the object's diagonal or a number of the scene's units."""

    value: float
    relative: bool

    def of(self, diagonal: float) -> float:
        """In the scene's units, for an object of this diagonal."""
        return self.value * diagonal if self.relative else self.value


@dataclass(frozen=True)
class ExportRequest:
    """One call of `dvr export`."""

    files: tuple[Path, ...]
    texture: TextureKind | None
    """None: what each format calls for."""
    faces: int | str | None
    """Number of faces, "all", or None: what the texture calls for."""
    error: Length | None
    """Largest distance that simplification may move the surface by."""

    def kind_of(self, path: Path) -> TextureKind:
        """How this file is coloured."""
        suffix = path.suffix.lower()
        wanted = self.texture or _DEFAULT_TEXTURES[suffix]
        held = _HOLDS.get(suffix, ("none", "vertex", "atlas"))
        return wanted if wanted in held else held[-1]

    @property
    def kinds(self) -> set[TextureKind]:
        """Every way of colouring that some file needs."""
        return {self.kind_of(path) for path in self.files}

    @property
    def lesser(self) -> list[Path]:
        """Files that cannot hold the texture that was asked for, and get what they can hold."""
        return [path for path in self.files if self.texture is not None and self.kind_of(path) != self.texture]

    @property
    def target_faces(self) -> int | None:
        """Faces to simplify to; None: as many as there are, or as `error` allows."""
        if isinstance(self.faces, int):
            return self.faces
        unspoken = self.faces is None and self.error is None
        return ATLAS_FACES if unspoken and "atlas" in self.kinds else None

    def check(self) -> None:
        """typer.BadParameter where options contradict each other or no file can hold what is asked for."""
        if self.faces is not None and self.error is not None:
            raise typer.BadParameter("--faces and --error both say how far to simplify: give one of them.")
        if self.texture not in (None, "none") and len(self.lesser) == len(self.files):
            able = ".glb or .obj" if self.texture == "atlas" else ".ply, .glb or .obj"
            names = ", ".join(str(path) for path in self.files)
            raise typer.BadParameter(f"--texture {self.texture}: {names} cannot hold that; write {able}.")


def parse_faces(text: str) -> int | str:
    """A number of faces from `50000`, `50k` or `1.5M`, or `all`.

    >>> parse_faces("1.5k")
    1500
    """
    if text == ALL_FACES:
        return ALL_FACES
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kKmM]?)", text.strip())
    count = round(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]) if match else 0
    if count < 4:
        raise typer.BadParameter(f"{text!r} is no number of faces: expected 4 or more, e.g. 50000, 50k or all.")
    return count


def parse_length(text: str) -> Length:
    """A length from `0.02%` (of the object's diagonal) or `0.5` (the scene's units)."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(?:[eE]-?\d{1,2})?\s*(%?)", text.strip())
    value = float(text.strip().rstrip("%")) if match else 0.0
    if not match or value <= 0 or (match[2] and value > 100):
        raise typer.BadParameter(f"{text!r} is no length: expected e.g. 0.02% of the diagonal, or 0.5 in scene units.")
    return Length(value / 100, True) if match[2] else Length(value, False)


def parse_share(text: str) -> float:
    """A share of a length from `2%`; more than 0, less than 50 %."""
    match = re.fullmatch(r"(\d{1,2}(?:\.\d*)?|\.\d+)\s*%", text.strip())
    if not match or not 0 < float(match[1]) < 50:
        raise typer.BadParameter(f"{text!r} is no share: expected more than 0% and less than 50%, e.g. 2%.")
    return float(match[1]) / 100


def parse_bytes(text: str) -> int:
    """A size of a file from `8MB`, `500kB` or a number of bytes; powers of 1000."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d*)?)\s*(B|kB|MB|GB)?", text.strip(), re.IGNORECASE)
    size = round(float(match[1]) * {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}[(match[2] or "B").lower()]) if match else 0
    if size < 1000:
        raise typer.BadParameter(f"{text!r} is no size of a file: expected e.g. 8MB or 500kB, at least 1kB.")
    return size
