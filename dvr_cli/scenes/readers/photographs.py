"""Photographs by the labels that other programs give them: with or without folders, with or without suffix."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dvr_cli.errors import SceneError
from dvr_cli.scenes.readers.files import IMAGE_SUFFIXES, MASK_FOLDERS, no_photographs

IMAGE_FOLDERS = ("images", "image")
MAX_FILES = 1_000_000


@dataclass(frozen=True)
class Photographs:
    """The photographs of a scene, relative to their folder with forward slashes."""

    folder: Path
    names: tuple[str, ...]
    _by_key: dict[str, list[str]]

    def find(self, label: str, where: str) -> str | None:
        """The name of the photograph with this label, None if there is none; SceneError if several fit.

        In this order: the name, the name without suffix, the last part of the label, that without suffix.
        """
        path = PurePosixPath(label.replace("\\", "/"))
        bare = path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
        for key in (path.as_posix(), bare.as_posix(), path.name, bare.name):
            fitting = self._by_key.get(key, [])
            if len(fitting) > 1:
                raise SceneError(
                    f"{where} names the photograph {label[:80]!r}, and {len(fitting)} files fit: {fitting[0]}, "
                    f"{fitting[1]}.\nKeep one of them in {self.folder}, or give them different names and export again."
                )
            if fitting:
                return fitting[0]
        return None


def photographs_of(root: Path) -> Photographs:
    """Photographs in images/ or image/ with subfolders, else in the scene's folder itself; SceneError for none."""
    folder = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), root)
    candidates = folder.iterdir() if folder == root else folder.rglob("*")
    names: list[str] = []
    for path in candidates:
        relative = path.relative_to(folder)
        if relative.parts[0] in MASK_FOLDERS or path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        names.append(relative.as_posix())
        if len(names) > MAX_FILES:
            raise SceneError(f"{folder} holds more than {MAX_FILES} photographs.\nName a smaller folder.")
    if not names:
        raise no_photographs(root, "cameras", (*IMAGE_FOLDERS, "."), "docs/formats.md")
    by_key: dict[str, list[str]] = {}
    for name in sorted(names):
        pure = PurePosixPath(name)
        keys = (name, pure.with_suffix("").as_posix(), pure.name, pure.stem)
        for key in dict.fromkeys(keys):
            by_key.setdefault(key, []).append(name)
    return Photographs(folder, tuple(sorted(names)), by_key)
