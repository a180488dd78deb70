"""Masks that were made, on disk: NAME.png for every photograph, and masks.json with what they were made from.

masks.json is written last. As long as its fingerprint fits, the masks beside it are used again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, replacing, write_text
from dvr_cli.scenes.views import Scene

RECORD = "masks.json"
VERSION = 1
"""Of the method: masks of another one are made again."""


@dataclass(frozen=True)
class AutoMasks:
    """Masks that dvr has made for a scene."""

    folder: Path
    """Holds NAME.png for each view NAME; what `read_scene(..., masks=folder)` takes."""
    method: str
    """"background" or "region"."""
    quality: Mapping[str, float]
    """Of the mask of each view, 0 to 1; see `quality`."""
    notes: tuple[str, ...]
    """What a user should know, one sentence each."""

    @property
    def overall(self) -> float:
        """The median quality."""
        return float(np.median(list(self.quality.values())))


def fingerprint(scene: Scene, settings: Mapping[str, object]) -> str:
    """A hash of the photographs, cameras, region of interest, sparse points and settings."""
    digest = hashlib.sha256(json.dumps([VERSION, settings], sort_keys=True).encode())
    digest.update(np.round(scene.unit_from_world, 9).tobytes())
    for view in scene.views:
        camera = view.camera
        digest.update(repr((view.name, camera.height, camera.width, view.orientation)).encode())
        digest.update(np.round(camera.intrinsics, 6).tobytes() + np.round(camera.camera_from_world, 9).tobytes())
        with open_photograph(view.image_path) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    if scene.sparse_depth is not None:
        digest.update(np.ascontiguousarray(scene.sparse_depth.points).tobytes())
    return digest.hexdigest()


def open_photograph(path: Path):  # type: ignore[no-untyped-def]
    """The file as bytes; SceneError if it cannot be opened."""
    try:
        return path.open("rb")
    except OSError as cause:
        raise SceneError(
            f"{path} cannot be opened: {cause.strerror}.\nPut the photograph back, or leave the view out with --views."
        ) from cause


def mask_path(folder: Path, name: str) -> Path:
    """Where the mask of a view lies: NAME.png; SceneError for a name that leads out of the folder."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or "\0" in name or not pure.name:
        raise SceneError(
            f"A mask for {name!r} would lie outside {folder}.\nExpected names relative to the folder of photographs."
        )
    return folder / f"{pure.as_posix()}.png"


def stored(folder: Path, expected: str, names: Sequence[str]) -> AutoMasks | None:
    """The masks in a folder, if they were made from the same; None otherwise."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        quality = {name: float(record["quality"][name]) for name in names}
        fits = record["fingerprint"] == expected and set(record["quality"]) == set(names)
        result = AutoMasks(folder, str(record["method"]), quality, tuple(str(note) for note in record["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if fits and all(mask_path(folder, name).is_file() for name in names) else None


def store(
    folder: Path,
    made_from: str,
    method: str,
    masks: Mapping[str, Float[np.ndarray, "h w"]],
    quality: Mapping[str, float],
    notes: Sequence[str],
) -> AutoMasks:
    """Write masks (in [0, 1]) and record; each file appears whole, the record after all masks."""
    from PIL import Image

    advice = "Free space or choose another place for the run; masks that are there are used again only when all are."
    with disk_errors(folder, SceneError, advice):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        for name, mask in masks.items():
            path = mask_path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                Image.fromarray(np.round(255 * mask).astype(np.uint8)).save(temporary, format="PNG")
        record = {
            "fingerprint": made_from,
            "method": method,
            "quality": {name: round(value, 4) for name, value in quality.items()},
            "notes": list(notes),
        }
        write_text(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return AutoMasks(folder, method, record_quality(quality), tuple(notes))


def record_quality(quality: Mapping[str, float]) -> dict[str, float]:
    """As it is read back."""
    return {name: round(value, 4) for name, value in quality.items()}
