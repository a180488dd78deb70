"""How a command line wants a scene to be read, and how a run remembers it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from dvr_cli.commands.options import FOUND, MADE_HERE, existing_path
from dvr_cli.errors import SceneError


@dataclass(frozen=True)
class Reading:
    """What the options say; None or False where they are silent. BadParameter where they contradict each other."""

    masks: str | None = None
    """FOUND: those in the scene are demanded; "auto": made here; else a folder."""
    no_masks: bool = False
    mask_folder: Path | None = None
    colmap: Path | None = None
    cameras: Path | None = None
    format_name: str | None = None
    views: str | None = None
    depth: str | None = None
    """"auto": triangulated here; else a path."""
    depth_scale: str | float | None = None
    """"solve", or a number."""
    hold_out: int | None = None

    def __post_init__(self) -> None:
        if self.no_masks and (self.masks is not None or self.mask_folder is not None):
            raise typer.BadParameter("--no-masks contradicts --masks: give one of them.")
        if self.masks not in (None, FOUND) and self.mask_folder is not None:
            raise typer.BadParameter("--masks and --mask-folder both name masks: give one of them.")
        if self.colmap is not None and (self.cameras is not None or self.format_name not in (None, "colmap")):
            other = "--cameras" if self.cameras is not None else f"--format {self.format_name}"
            raise typer.BadParameter(f"--colmap contradicts {other}: give one of them.")
        for name, value in (("--masks", self.masks), ("--depth", self.depth)):
            if value is not None and not value.strip():
                raise typer.BadParameter(f"{name} names nothing: expected a path, auto, or the option alone.")

    def given(self) -> list[str]:
        """The options about masks and cameras that were used, as words of a command line."""
        words = ["--masks"] if self.masks is not None else []
        words += [self.masks] if self.masks not in (None, FOUND) else []
        words += ["--masks", str(self.mask_folder)] if self.mask_folder is not None else []
        words += ["--no-masks"] if self.no_masks else []
        values = {
            "--colmap": self.colmap,
            "--cameras": self.cameras,
            "--format": self.format_name,
        }
        return words + [word for name, value in values.items() if value is not None for word in (name, str(value))]


def scene_folder(scene: Path) -> Path:
    """The folder of a scene that may be named by its camera file; SceneError when there is neither."""
    if not scene.exists():
        raise SceneError(
            f"The scene {scene} does not exist: expected a folder with photographs and cameras, or a camera file in it "
            "(docs/formats.md)."
        )
    return scene if scene.is_dir() else scene.parent


def reading_options(scene: Path, reading: Reading) -> dict[str, Any]:
    """How the scene is to be read, as a run remembers it; None: not said. SceneError when a path does not exist.

    Paths within the scene are kept relative to it, so that a scene may be moved between a run and its resumption.
    """
    root = scene_folder(scene)
    cameras = reading.colmap or reading.cameras or (scene if scene.is_file() else None)
    masks = _masks(reading, root)
    return {
        "masks": masks,
        "depth": _made_here_or_path(reading.depth, root, "--depth"),
        "depth_scale": reading.depth_scale,
        "points": None,
        "cameras": None if cameras is None else _kept(cameras, root, "--colmap" if reading.colmap else "--cameras"),
        "format": "colmap" if reading.colmap is not None else reading.format_name,
        "view_range": reading.views,
        "hold_out": reading.hold_out,
    }


def _masks(reading: Reading, root: Path) -> str | bool | None:
    if reading.no_masks:
        return False
    if reading.mask_folder is not None:
        return _kept(reading.mask_folder, root, "--mask-folder")
    return True if reading.masks == FOUND else _made_here_or_path(reading.masks, root, "--masks")


def _made_here_or_path(value: str | None, root: Path, option: str) -> str | None:
    return value if value in (None, MADE_HERE) else _kept(Path(value), root, option)


def _kept(path: Path, root: Path, option: str) -> str:
    found, inside = existing_path(path, root, option).resolve(), root.resolve()
    if not found.is_relative_to(inside):
        return str(found)
    relative = found.relative_to(inside).as_posix()
    # A folder of that name must not be taken for the word.
    return f"./{relative}" if relative == MADE_HERE else relative


def reading_of(scene: Path | None, reading: Reading) -> dict[str, Any]:
    """How a scene is read that no run describes: with the masks that it holds, unless something else was said.

    Empty without a scene.
    """
    if scene is None:
        return {}
    options = reading_options(scene, reading)
    return {**options, "masks": "any" if options["masks"] is None else options["masks"]}
