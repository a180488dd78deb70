"""Masks for a prepared scene, where they are likely to be good or where they were asked for.

By default only photographs before a background of one colour get masks, and only if the masks' own figure is high:
masks that lie in a scene are used, and bad ones do more harm than none.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors
from dvr_cli.preparing.photographs import Photograph, upright_pixels
from dvr_cli.preparing.stages import SPACE_ADVICE, Report, Stop, Stopped, WorkFolder

GOOD_ENOUGH = 0.8
"""Median figure of the masks (0 to 1) from which they are kept by default."""
LONGEST_SIDE = 320
"""Pixels, of the photographs whose background is looked at."""
MADE_ALWAYS, MADE_NEVER, MADE_IF_GOOD = "auto", "none", "if good"


def has_solid_background(photographs: Sequence[Photograph], threads: int) -> bool:
    """Whether most photographs were taken before one colour."""
    from dvr_cli.scenes.masks.auto.background import is_solid, solid_background

    with ThreadPoolExecutor(threads) as pool:
        return is_solid(list(pool.map(lambda each: solid_background(upright_pixels(each, LONGEST_SIDE)), photographs)))


def mask_scene(
    out: Path, work: WorkFolder, photographs: Sequence[Photograph], wish: str, threads: int, seed: int,
    report: Report, stop: Stop,
) -> dict[str, Any] | None:  # fmt: skip
    """Make OUT/masks if `wish` allows it: method, quality and whether they are kept; None where none are to be made.

    SceneError where masks were asked for and cannot be made.
    """
    from dvr_cli.scenes.masks.auto import make_masks
    from dvr_cli.scenes.masks.auto.photographs import Stopped as MaskingStopped
    from dvr_cli.scenes.readers import read_scene

    if wish == MADE_NEVER or (wish == MADE_IF_GOOD and not has_solid_background(photographs, threads)):
        return None

    def told(done: int, total: int) -> None:
        report("masks", done, total)

    try:
        made = make_masks(read_scene(out), work.path / "masks", threads, seed, told, stop)
    except MaskingStopped:
        raise Stopped from None
    kept = wish == MADE_ALWAYS or made.overall >= GOOD_ENOUGH
    if kept:
        place_masks(made.folder, out / "masks", list(made.quality))
    quality = {name: round(value, 3) for name, value in made.quality.items()}
    return {
        "kept": kept,
        "method": made.method,
        "median_quality": round(made.overall, 3),
        "quality": quality,
        "notes": list(made.notes),
    }


def remove_own_masks(out: Path, work: WorkFolder) -> bool:
    """Remove OUT/masks if it was made here; True if there are none afterwards. Masks that somebody drew stay."""
    folder = out / "masks"
    if not folder.is_dir():
        return True
    last = work.last("masks")
    made = last.get("masks") if last else None
    if not (isinstance(made, dict) and made.get("kept")):
        return False
    with disk_errors(folder, SceneError, "Check the permissions of the folder."):
        shutil.rmtree(folder)
    return True


def place_masks(made: Path, folder: Path, names: Sequence[str]) -> None:
    """Copy the masks of these photographs to `folder`, which appears in one step."""
    temporary = folder.with_name(f".{folder.name}.part")
    with disk_errors(folder, SceneError, SPACE_ADVICE):
        shutil.rmtree(temporary, ignore_errors=True)
        for name in names:
            target = temporary / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / f"{name}.png", target)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
