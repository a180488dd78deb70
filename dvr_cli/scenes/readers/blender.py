"""NeRF-synthetic scenes as Blender scripts write them: transforms_train.json beside train/, val/ and test/.

A transforms.json with `camera_angle_x`, names without suffix, and photographs whose alpha channel is the mask. The
training photographs are read unless the user names another file; `transforms_test.json` reads the test photographs.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.files import write_text
from dvr_cli.scenes.image_files import open_image
from dvr_cli.scenes.readers import transforms
from dvr_cli.scenes.readers.files import FoundScene, MaskFile
from dvr_cli.scenes.readers.transforms_cameras import transform_matrix
from dvr_cli.scenes.views import SparseDepth
from dvr_cli.scenes.writing import WritableView, centred_focal

SPLITS = tuple(f"transforms_{split}.json" for split in ("train", "val", "test"))


def find(root: Path) -> Path | None:
    """transforms_train.json, unless a transforms.json lists all photographs; None if there is none."""
    path = root / SPLITS[0]
    return path if path.is_file() and transforms.find(root) is None else None


def accepts(path: Path) -> bool:
    """True for a file named transforms_SPLIT.json."""
    return path.suffix.lower() == ".json" and path.stem.lower().startswith("transforms_") and path.is_file()


def read(root: Path, camera_path: Path, view_range: str | None) -> FoundScene:
    """The views of one split, their alpha channels as masks, and a note on the other splits."""
    found = transforms.read(root, camera_path, view_range)
    alpha = {view.name: MaskFile(view.image_path, "alpha") for view in found.views if _has_alpha(view.image_path)}
    others = [name for name in SPLITS if name != camera_path.name and (camera_path.parent / name).is_file()]
    note = f"{camera_path.name} is read; {' and '.join(others)} can be read with --cameras" if others else None
    return replace(found, masks={**alpha, **found.masks}, notes=(*found.notes, *([note] if note else [])))


def _has_alpha(path: Path) -> bool:
    with open_image(path) as image:
        return "A" in image.getbands()


def write(
    folder: Path,
    views: Sequence[WritableView],
    world_from_unit: Float[np.ndarray, "4 4"] | None = None,
    sparse: SparseDepth | None = None,
) -> None:
    """Write train/ with masks as alpha channels, and transforms_train.json; the inverse of `read`.

    The angle of view stands at the top, where every program looks for it, and in the frames if they differ. SceneError
    for cameras with unequal focal lengths or with a principal point off the middle.
    """
    angles = [2 * math.atan(0.5 * view.camera.width / centred_focal(view.camera, view.name)) for view in views]
    stems = [str(PurePosixPath(view.name).with_suffix("")) for view in views]
    frames = []
    for view, angle, stem in zip(views, angles, stems, strict=True):
        listed = f"train/{stem if stems.count(stem) == 1 else view.name}"
        if view.has_mask:
            view.save_image_with_alpha(folder / f"{listed}.png")
        else:
            view.save_image(folder / f"{listed}{view.suffix}")
        own = {} if angle == angles[0] else {"camera_angle_x": angle}
        frames.append({"file_path": f"./{listed}", **own, "transform_matrix": transform_matrix(view.camera)})
    top: dict[str, Any] = {"camera_angle_x": angles[0], **transforms.extras(folder, world_from_unit, sparse)}
    write_text(folder / SPLITS[0], json.dumps({**top, "frames": frames}, indent=1))
