"""What a run remembers of its scene: where it lies, with which options it was read, and a fingerprint of every input.

The fingerprints are BLAKE2b hashes of file contents; cameras and sparse points are hashed as they were understood, so
that neither rewriting a file in another format nor moving the scene's folder counts as a change.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.processors import available_threads
from dvr_cli.scenes.views import Scene

_DIGEST_BYTES = 16


ANY_MASKS: Literal["any"] = "any"
"""The option `masks` before a scene has been read: those that it holds, if it holds any."""
MADE_HERE = "auto"
"""The options `masks`, `depth` and `points` when dvr makes them, in the folder of the run."""
MASKS_FOLDER, POINTS_FILE = "masks", "depth/sparse.npz"
"""Where in the folder of a run they are."""


def located(options: dict[str, Any], run: Path) -> dict[str, Any]:
    """The options with the places of what was made for the run in this folder."""
    places = {"masks": MASKS_FOLDER, "depth": POINTS_FILE, "points": POINTS_FILE}
    made = {key: str((run / place).resolve()) for key, place in places.items() if options.get(key) == MADE_HERE}
    return {**options, **made}


def describe_scene(scene: Scene, options: dict[str, Any], made_in: Path | None = None) -> dict[str, Any]:
    """A JSON-ready description of a scene and of the options (texts, booleans, None) it was read with.

    `made_in`: the run's folder, when masks were made there; their names then do not depend on where it lies. Raises
    SceneError when an input file cannot be read.
    """
    return {
        "name": scene.name,
        "root": str(scene.root.resolve()),
        "format": scene.format,
        "bounds_source": scene.bounds_source,
        "unit_from_world": np.asarray(scene.unit_from_world, dtype=np.float64).tolist(),
        "options": options,
        "views": [view.name for view in scene.views],
        "inputs": {
            "cameras": _hash_cameras(scene),
            "sparse depth": _hash_sparse_depth(scene),
            **_hash_files(_input_files(scene), scene.root, made_in),
        },
    }


def lacking_keys(description: dict[str, Any]) -> list[str]:
    """Keys of a description read from a file that are not there, or hold something else than `describe_scene` writes.

    >>> lacking_keys({"root": "/scene", "options": {}, "views": ["a.png"], "inputs": {}})
    ['unit_from_world']
    """

    def is_similarity(value: object) -> bool:
        try:
            matrix = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            return False
        return matrix.shape == (4, 4) and bool(np.isfinite(matrix).all())

    def are_names(value: object) -> bool:
        return isinstance(value, list) and all(isinstance(name, str) for name in value)

    right = {
        "root": isinstance(description.get("root"), str),
        "options": isinstance(description.get("options"), dict),
        "views": are_names(description.get("views")),
        "unit_from_world": is_similarity(description.get("unit_from_world")),
        "inputs": isinstance(description.get("inputs"), dict),
    }
    return [key for key, holds in right.items() if not holds]


def changed_photographs(scene: Scene, description: dict[str, Any], run: Path) -> list[str]:
    """What of photographs, masks and cameras of a run's scene is no longer as the run, in the folder `run`, saw it.

    Paths as in `describe_scene`, or "cameras"; views that the run has not seen do not count. SceneError when a file
    cannot be read.
    """
    seen = tuple(view for view in scene.views if view.name in set(description["views"]))
    then = description["inputs"]
    as_then = replace(scene, views=seen, unit_from_world=np.array(description["unit_from_world"], dtype=np.float64))
    now = {"cameras": _hash_cameras(as_then), **_hash_files(_input_files(as_then), scene.root, run)}
    return [key for key, digest in now.items() if then.get(key, digest) != digest]


def read_described_scene(root: Path, options: dict[str, Any], guess_bounds: bool = False) -> Scene:
    """Read a scene again with the options that `describe_scene` was given; relative paths start at `root`.

    `root` need not be the folder of that time: scenes may move. Views that `hold_out` leaves out are not in the scene.
    `guess_bounds` and what is raised: as for `read_scene`.
    """
    return _read(root, options, _hold_out(options), guess_bounds)


def split_views(
    root: Path, options: dict[str, Any], used: Sequence[str] | None = None
) -> tuple[Scene, tuple[int, ...], tuple[int, ...]]:
    """All views of a described scene, and the indices of those that were fitted and of those that were held out.

    `used`: names of the views that a run says it used (`views` of its description); SceneError when they are not the
    ones that the folder gives now, because then nobody knows which views are new to the run. Where no scale_mat gives
    the bounds, they may differ a little from the run's: all views have a say in them.
    """
    from dvr_cli.scenes.readers.files import held_out_indices

    hold_out = _hold_out(options)
    scene = _read(root, options, None)
    held_out = held_out_indices(len(scene.views), hold_out)
    fitted = tuple(index for index in range(len(scene.views)) if index not in held_out)
    names = [scene.views[index].name for index in fitted]
    if used is not None and names != list(used):
        raise SceneError(
            f"{root} gives other views than the run used: {len(names)} instead of {len(used)}, or others by name.\n"
            "Restore the photographs as they were, or reconstruct anew with --overwrite."
        )
    return scene, fitted, held_out


def _hold_out(options: dict[str, Any]) -> int | None:
    """The number of that option; SceneError when a description that was edited holds something else."""
    value = options.get("hold_out")
    if value is None or type(value) is int:
        return value
    raise SceneError(
        f"The option hold_out of the run is {value!r}: expected a whole number of at least 2, or null.\n"
        "Correct it in the run's scene.json, or reconstruct anew with --overwrite."
    )


def _read(root: Path, options: dict[str, Any], hold_out: int | None, guess_bounds: bool = False) -> Scene:
    from dvr_cli.scenes.readers import read_scene

    def path(key: str) -> Path | None:
        value = options.get(key)
        return root / value if isinstance(value, str) else None

    return read_scene(
        root,
        masks=options["masks"] if options.get("masks") == ANY_MASKS else path("masks") or options.get("masks"),
        cameras=path("cameras") or path("colmap"),
        format_name="colmap" if options.get("colmap") else options.get("format"),
        depth=path("depth"),
        points=path("points"),
        depth_scale=options.get("depth_scale"),
        view_range=options.get("view_range"),
        hold_out=hold_out,
        guess_bounds=guess_bounds,
    )


def changed_inputs(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two descriptions of a scene, one phrase each; empty when a run can go on."""
    changes = [f"option {key}" for key in _differing(before.get("options"), after.get("options"))]
    if before.get("views") != after.get("views"):
        changes.append(f"number or names of the views ({len(before.get('views', []))} -> {len(after['views'])})")
    return changes + _differing(before.get("inputs"), after.get("inputs"))


def _differing(before: Any, after: Any) -> list[str]:
    before, after = (value if isinstance(value, dict) else {} for value in (before, after))
    return [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]


def _input_files(scene: Scene) -> list[Path]:
    paths: list[Path | None] = []
    for view in scene.views:
        paths += [view.image_path, view.mask_path]
    return [path for path in (*paths, *(scene.depth_map_paths or ())) if path is not None]


def _hash_files(paths: Iterable[Path], root: Path, made_in: Path | None) -> dict[str, str]:
    """Path relative to the scene -> hash of the content; hashing releases the GIL, so threads share the work."""
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=min(8, available_threads())) as pool:
        digests = list(pool.map(_hash_file, unique))
    return {_relative(path, root, made_in): digest for path, digest in zip(unique, digests, strict=True)}


def _relative(path: Path, root: Path, made_in: Path | None) -> str:
    path, root = path.resolve(), root.resolve()
    if made_in is not None and path.is_relative_to(made_in.resolve()):
        return f"made here: {path.relative_to(made_in.resolve()).as_posix()}"
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _hash_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()
    except OSError as error:
        raise SceneError(f"Cannot read {path}: {error.strerror}. Restore the file, or leave its view out.") from error


def _hash_arrays(arrays: Iterable[np.ndarray | None]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for array in arrays:
        values = np.zeros(0) if array is None else np.ascontiguousarray(array, dtype=np.float64)
        # The shape goes in as well: the same numbers in another arrangement are another input.
        digest.update(repr(values.shape).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _hash_cameras(scene: Scene) -> str:
    matrices: list[np.ndarray | None] = [scene.unit_from_world]
    for view in scene.views:
        camera = view.camera
        matrices += [camera.intrinsics, camera.camera_from_world, np.array([camera.height, camera.width])]
    return _hash_arrays(matrices)


def _hash_sparse_depth(scene: Scene) -> str | None:
    sparse = scene.sparse_depth
    if sparse is None:
        return None
    return _hash_arrays([sparse.points, sparse.visibility, sparse.error, sparse.colors])
