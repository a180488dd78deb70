"""Photographs that a camera file lists and that are not there: how many, which, and files that look like them.

What is missing is left out, and said; the names of two programs often differ in capitals or in the suffix only.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dvr_cli.scenes.listing import count_of, listed

NAMED = 3
"""So many missing photographs are named; only for these a folder is searched."""


def missing_note(
    missing: Sequence[str],
    count: int,
    camera_file: Path,
    folders: Sequence[Path] = (),
    places: Sequence[str] = (),
) -> tuple[str, ...]:
    """One sentence on those of `count` listed photographs that are not there, or nothing.

    `folders`: where they were looked for, so that files of nearly the same name can be told; `places`: where in the
    camera file each stands, in words.
    """
    if not missing:
        return ()
    name = f"{camera_file.parent.name}/{camera_file.name}" if camera_file.is_dir() else camera_file.name
    are = f"{len(missing)} of {count_of(count, 'photograph')} that {name} lists are missing"
    return (f"{are} and left out: {named_missing(missing, folders, places)}",)


def named_missing(missing: Sequence[str], folders: Sequence[Path], places: Sequence[str] = ()) -> str:
    """The first of the missing names, each with the file that looks like it, where there is one."""
    shown = []
    for index, name in enumerate(missing[:NAMED]):
        alike = next((found for folder in folders if (found := lookalike(folder, name))), None)
        remarks = [*places[index : index + 1], *([] if alike is None else [f"there is {listed([alike])}"])]
        shown.append(f"{listed([name])} ({', '.join(remarks)})" if remarks else name)
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return ", ".join(shown) + more


def lookalike(folder: Path, name: str) -> str | None:
    """A file in the folder, with its own folders, whose name differs in capitals or the suffix only; None without.

    One that differs in capitals only goes first.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts:
        pure = PurePosixPath(pure.name)
    try:
        with os.scandir(folder / pure.parent) as entries:
            files = sorted(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):
        return None
    same_name = [file for file in files if file.casefold() == pure.name.casefold()]
    stem = pure.stem.casefold()
    same_stem = [file for file in files if Path(file).stem.casefold() == stem]
    found = next(iter((*same_name, *same_stem)), None)
    return None if found is None else (pure.parent / found).as_posix()
