"""A good scene in the IDR layout, and ways to change its files: an asymmetric object, so that no mistake hides."""

from functools import lru_cache

import numpy as np
from PIL import Image

from dvr_cli.diagnosis.diagnose import diagnose, quick_diagnosis
from dvr_cli.scenes.readers import read_scene
from dvr_cli.scenes.synthetic import synthetic_scene, write_scene

VIEWS, IMAGE_SIZE = 16, 160


@lru_cache(maxsize=1)
def good_scene():
    """Scene, views and shape, in memory."""
    return synthetic_scene(views=VIEWS, image_size=IMAGE_SIZE, seed=0)


def write_good_scene(folder):
    scene, views, _ = good_scene()
    write_scene(folder, views, scene.world_from_unit)


def found_in(folder, deep=False, quick=False, **reading):
    """The diagnosis of a folder."""
    reading = {"masks": "any", "guess_bounds": True, **reading}
    scene = read_scene(folder, **reading)
    return quick_diagnosis(scene, 1) if quick else diagnose(scene, 1, deep=deep)


def named(diagnosis, name):
    """The finding of that name; the test fails without it."""
    found = [finding for finding in diagnosis.findings if finding.name == name]
    assert found, f"no {name} among {[finding.name for finding in diagnosis.findings]}"
    return found[0]


def bad_names(diagnosis):
    """Names of warnings and fatal findings."""
    return {finding.name for finding in diagnosis.findings if finding.severity != "note"}


def change_cameras(folder, change, indices=range(VIEWS)):
    """Rewrite `world_mat_i` of some views by `change(matrix, index)`."""
    path = folder / "cameras.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    for index in indices:
        arrays[f"world_mat_{index}"] = change(arrays[f"world_mat_{index}"].copy(), index)
    np.savez(path, **arrays)


def change_bounds(folder, change):
    """Rewrite `scale_mat_i` by `change(matrix)`; None removes it."""
    path = folder / "cameras.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    for key in [key for key in arrays if key.startswith("scale_mat")]:
        changed = change(arrays.pop(key))
        if changed is not None:
            arrays[key] = changed
    np.savez(path, **arrays)


def change_picture(path, change):
    """Rewrite a photograph or mask by `change(array)`."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    Image.fromarray(np.ascontiguousarray(change(pixels))).save(path)


def image_path(folder, index):
    return folder / "image" / f"{index:03d}.png"


def mask_path(folder, index):
    return folder / "mask" / f"{index:03d}.png"


def shifted(pixels, x, y=0):
    """The picture moved right and down, black where nothing was."""
    moved = np.zeros_like(pixels)
    height, width = pixels.shape[:2]
    moved[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = pixels[
        max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
    ]
    return moved


def camera_parts(folder, index):
    """Intrinsics in IDR's own convention and [R | t] of a view."""
    from dvr_cli.scenes.cameras import camera_from_projection

    with np.load(folder / "cameras.npz") as stored:
        matrix = stored[f"world_mat_{index}"]
    camera = camera_from_projection(matrix[:3], 1, 1)
    return camera.intrinsics, camera.camera_from_world
