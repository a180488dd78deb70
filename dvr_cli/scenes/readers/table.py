"""The table of formats: what each is called, how it is recognised, read and written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dvr_cli.scenes.readers import (
    blender,
    bundler,
    colmap,
    dvr,
    idr,
    llff,
    metashape,
    middlebury,
    plain,
    reality_capture,
    transforms,
)
from dvr_cli.scenes.readers.files import FoundScene
from dvr_cli.scenes.views import SparseDepth
from dvr_cli.scenes.writing import WritableView

Needs = Literal["pinhole", "square", "centred"]
"""What cameras a format can hold: any pinhole camera; one with fx = fy; one that also looks through the image's middle.
"""


@dataclass(frozen=True)
class Reader:
    """One input format."""

    name: str
    """As `--format` takes it."""
    title: str
    """Which programs write it."""
    layout: str
    """What makes a folder of this format, in words; shown when nothing fits."""
    find: Callable[[Path], Path | None]
    """The camera file (or model folder) of this format in a scene's folder; None if there is none."""
    accepts: Callable[[Path], bool]
    """Whether a camera file (or model folder) that a user has named may be of this format."""
    read: Callable[[Path, Path, str | None], FoundScene]
    """From the scene's folder, the camera file and the choice of views."""
    write: Callable[[Path, Sequence[WritableView], np.ndarray | None, SparseDepth | None], None]
    """Into a folder: views, `world_from_unit` and points, where there are any and the format can hold them."""
    needs: Needs = "pinhole"
    """What cameras the format can hold; `dvr convert` resamples photographs where needed."""


READERS = (
    # Before idr, which has the same file name and would not notice that the intrinsics are elsewhere.
    Reader(
        "dvr",
        "The original implementation of Differentiable Volumetric Rendering",
        "cameras.npz with camera_mat_i for pixels in [-1, 1], image/, depth/*.exr, pcl.npz",
        dvr.find,
        dvr.accepts,
        dvr.read,
        dvr.write,
    ),
    Reader(
        "idr",
        "DTU scenes as IDR and NeuS have them",
        "cameras.npz or cameras_sphere.npz with image/",
        idr.find,
        idr.accepts,
        idr.read,
        idr.write,
    ),
    Reader(
        "colmap",
        "COLMAP models, binary or text, with rigs too",
        "sparse/0 (or sparse) with images/",
        colmap.find,
        colmap.accepts,
        colmap.read,
        colmap.write,
    ),
    # Before plain, which takes every cameras.csv: this one is known by its columns.
    Reader(
        "reality_capture",
        "RealityCapture and RealityScan: CSV or XMP",
        "a CSV export or XMP sidecars with images/",
        reality_capture.find,
        reality_capture.accepts,
        reality_capture.read,
        reality_capture.write,
        "square",
    ),
    Reader(
        "metashape",
        "Agisoft Metashape, cameras as XML",
        "cameras.xml with images/",
        metashape.find,
        metashape.accepts,
        metashape.read,
        metashape.write,
    ),
    # Before transforms, which accepts every other JSON file that a user names.
    Reader(
        "plain",
        "A list of cameras, by hand or by a script of yours",
        "cameras.json or cameras.csv with images/",
        plain.find,
        plain.accepts,
        plain.read,
        plain.write,
    ),
    Reader(
        "blender",
        "NeRF-synthetic, rendered by Blender",
        "transforms_train.json with train/",
        blender.find,
        blender.accepts,
        blender.read,
        blender.write,
        "centred",
    ),
    Reader(
        "transforms",
        "nerfstudio and instant-ngp",
        "transforms.json with its photographs",
        transforms.find,
        transforms.accepts,
        transforms.read,
        transforms.write,
    ),
    Reader(
        "middlebury",
        "The Middlebury multi-view data: temple, dino",
        "NAME_par.txt with the photographs",
        middlebury.find,
        middlebury.accepts,
        middlebury.read,
        middlebury.write,
    ),
    # After colmap and transforms: folders of this layout often hold one of those too, which know lenses and names.
    Reader(
        "llff",
        "LLFF and NeRF's real scenes",
        "poses_bounds.npy with images/",
        llff.find,
        llff.accepts,
        llff.read,
        llff.write,
        "centred",
    ),
    Reader(
        "bundler",
        "Bundler, and programs that export to it",
        "bundle.out and list.txt with the photographs",
        bundler.find,
        bundler.accepts,
        bundler.read,
        bundler.write,
        "centred",
    ),
)
"""In the order of detection."""
