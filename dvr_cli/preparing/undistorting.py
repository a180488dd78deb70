"""The scene that is handed on: undistorted photographs, pinhole cameras and the points, as COLMAP lays them out.

images/NAME and sparse/0, written last, because it is what makes the folder a scene. A lossless photograph stays
lossless (PNG); JPEG is written again at high quality. A photograph that is a pinhole image already is not resampled.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.preparing.libraries import quiet_decoders, quiet_logs
from dvr_cli.preparing.photographs import Photograph, upright_pixels
from dvr_cli.preparing.poses import write_model
from dvr_cli.preparing.stages import SPACE_ADVICE, Report, Stop, Stopped

JPEG_QUALITY = 95
AS_STORED = 1
"""EXIF orientation of a photograph that needs no turning."""


def output_names(photographs: Sequence[Photograph]) -> list[str]:
    """Name of each undistorted photograph: as before, but .png for what was lossless; all different.

    `a.tif` becomes `a.png`, or `a.tif.png` where there is an `a.png` already.
    """
    taken = {photograph.name for photograph in photographs}
    names = []
    for photograph in photographs:
        name = photograph.name
        if photograph.lossless and PurePosixPath(name).suffix.lower() != ".png":
            shorter = PurePosixPath(name).with_suffix(".png").as_posix()
            name = f"{name}.png" if shorter in taken else shorter
            taken.add(name)
        names.append(name)
    return names


def undistortion_options(image_size: int | None) -> Any:
    """No empty pixels at the borders; the longest side at most `image_size` (None: as it comes)."""
    import pycolmap

    return pycolmap.UndistortCameraOptions(max_image_size=-1 if image_size is None else image_size)


def write_images(
    photographs: dict[str, Photograph],
    cameras: dict[str, Any],
    folder: Path,
    image_size: int | None,
    threads: int,
    report: Report,
    stop: Stop,
) -> None:
    """Write the undistorted photographs that are not there yet.

    `photographs` and `cameras` (the lens of each, a `pycolmap.Camera`) are by the name of the image to write. Raises
    SceneError for a photograph that changed or vanished meanwhile, and Stopped.
    """

    def write(name: str) -> None:
        if stop():
            raise Stopped
        path = folder / name
        if not path.is_file():
            with disk_errors(path, SceneError, SPACE_ADVICE):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_image(photographs[name], cameras[name], path, image_size)

    with quiet_logs(), quiet_decoders(), ThreadPoolExecutor(threads) as pool:
        try:
            for index, _ in enumerate(pool.map(write, photographs)):
                report("undistorting", index + 1, len(photographs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_image(photograph: Photograph, camera: Any, path: Path, image_size: int | None) -> None:
    pinhole = _is_pinhole(camera) and (image_size is None or max(camera.width, camera.height) <= image_size)
    if pinhole and photograph.orientation == AS_STORED and photograph.path.suffix.lower() == path.suffix.lower():
        with replacing(path) as temporary:
            shutil.copyfile(photograph.path, temporary)
        return
    pixels = upright_pixels(photograph)
    if pixels.shape[:2] != (camera.height, camera.width):
        raise SceneError(f"{photograph.path} has changed while it was used.\nGive the same command again.")
    save_pixels(path, pixels if pinhole else undistorted_pixels(pixels, camera, image_size), photograph.lossless)


def undistorted_pixels(
    pixels: UInt8[np.ndarray, "h w 3"], camera: Any, image_size: int | None
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The pinhole image of a photograph; `camera` is the `pycolmap.Camera` that took it."""
    import pycolmap

    bitmap, _ = pycolmap.undistort_image(
        undistortion_options(image_size), pycolmap.Bitmap.from_array(np.ascontiguousarray(pixels)), camera
    )
    return np.asarray(bitmap.to_array())


def save_pixels(path: Path, pixels: UInt8[np.ndarray, "h w 3"], lossless: bool) -> None:
    """Write an image in one step: PNG, or JPEG with full resolution of the colours."""
    from PIL import Image

    with replacing(path) as temporary:
        if lossless:
            Image.fromarray(pixels).save(temporary, format="PNG", compress_level=4)
        else:
            Image.fromarray(pixels).save(temporary, format="JPEG", quality=JPEG_QUALITY, subsampling=0)


def write_scene_model(model: Any, names: Sequence[str], images: Path, folder: Path, image_size: int | None) -> None:
    """Write `model` for the undistorted photographs, with their names and colours, to `folder` in one step.

    `names`: of the image with id i + 1. The model itself is changed.
    """
    import pycolmap

    options = undistortion_options(image_size)
    lenses = {camera_id: pycolmap.Camera(camera.todict()) for camera_id, camera in model.cameras.items()}
    pinholes = {camera_id: pycolmap.undistort_camera(options, lens) for camera_id, lens in lenses.items()}
    for image_id in model.reg_image_ids():
        image = model.images[image_id]
        image.name = names[image_id - 1]
        places = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        moved = pinholes[image.camera_id].img_from_cam(_rays(lenses[image.camera_id], places))
        for point, place in zip(image.points2D, moved, strict=True):
            point.xy = place
    for camera_id, pinhole in pinholes.items():
        camera = model.cameras[camera_id]
        camera.model, camera.width, camera.height = pinhole.model, pinhole.width, pinhole.height
        camera.params = pinhole.params
    with quiet_logs():
        model.extract_colors_for_all_images(str(images))
        write_model(model, folder)


def _rays(lens: Any, places: "np.ndarray") -> "np.ndarray":
    """Points at z = 1 that the lens sees at these pixels; what it cannot see (far corners) goes far out."""
    rays = np.asarray(lens.cam_from_img(places), dtype=np.float64)
    homogeneous = np.concatenate([rays[:, :2], np.ones((len(rays), 1))], axis=1)
    return np.nan_to_num(homogeneous, nan=1e3)


def _is_pinhole(camera: Any) -> bool:
    return camera.is_undistorted() and not camera.is_perspective_fisheye()
