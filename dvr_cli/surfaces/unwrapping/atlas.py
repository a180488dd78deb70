"""Texture coordinates for a mesh: charts by xatlas where it delivers, an atlas of single triangles where it does not.

xatlas runs in a process of its own with a time limit, and what it returns is checked: coordinates in the image,
finite, no texel in two triangles. Faces that it leaves out (it drops slivers) or lays over others get places of their
own in a strip along the lower edge. Texture coordinates are those of texture.py; nothing is mirrored.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.scenes.listing import count_of
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.unwrapping.atlas_process import NO_XATLAS, SPARE
from dvr_cli.surfaces.unwrapping.texels import claimed_texels
from dvr_cli.surfaces.unwrapping.triangle_atlas import triangle_corners, triangle_strip

SCRIPT = Path(__file__).with_name("atlas_process.py")
TIME_LIMIT = 120.0
"""Seconds for xatlas; 50,000 faces take 4 to 5, 274,000 took 13 on one core."""
MOST_FACES = 1_000_000
"""Above this many faces xatlas would take minutes, so that it is not even begun."""
PADDING_SHARE = 1 / 1024
"""Texels between charts as a share of the image's side: 4 at 4096, but never fewer than 2."""
LARGEST_SIZE = 16384
MOST_LOOSE = 0.05
"""Share of the faces that may be without a usable place in a chart before the charts are given up."""
TRIES = 3
"""Rounds of giving overlapping faces places of their own; each moves the charts a little."""
REPORT_SECONDS = 1.0

ProgressReport = Callable[[float, float], None]
"""Called about once a second with the seconds that have passed and the limit."""


@dataclass(frozen=True)
class Atlas:
    """Where each face lies in a square image."""

    corners: Float[np.ndarray, "f 3 2"]
    """Texture coordinates of each face's corners."""
    size: int
    """Texels on a side of the image."""
    method: Literal["xatlas", "triangles"]
    padding: int
    """Texels that were asked for between charts."""
    texels_per_unit: float
    """Texels along a unit of length of the mesh, on the average of the surface; 0 for a mesh without area."""
    coverage: float
    """Share of the image that lies in triangles."""
    notes: tuple[str, ...] = ()
    """What a user should know: why xatlas's charts are not there, which faces were moved."""


class _NoChartsError(Exception):
    """Why there are no charts of xatlas; its text ends the sentence "xatlas ..."."""


def make_atlas(
    mesh: Mesh,
    size: int,
    padding: int | None = None,
    time_limit: float = TIME_LIMIT,
    report: ProgressReport | None = None,
) -> Atlas:
    """Lay a mesh's faces out in an image of `size` x `size` texels without overlaps.

    `padding` is the least number of texels between charts (default: size / 1024, at least 2). Every face has finite
    coordinates in [0, 1]. The same mesh gives the same atlas. ExportError for a size out of range, and when there are
    more faces than texels.
    """
    if not 1 <= size <= LARGEST_SIZE:
        raise ExportError(f"a texture of {size} texels a side cannot be made: take 1 to {LARGEST_SIZE}.")
    padding = max(2, round(size * PADDING_SHARE)) if padding is None else padding
    if not len(mesh.faces):
        return Atlas(np.zeros((0, 3, 2)), size, "triangles", padding, 0.0, 0.0)
    try:
        corners, notes = _charts(mesh, size, padding, time_limit, report)
        return _atlas(mesh, corners, size, "xatlas", padding, notes)
    except _NoChartsError as reason:
        note = f"xatlas {reason}, so every triangle has a place of its own in the texture."
    return _atlas(mesh, triangle_corners(mesh, size, padding), size, "triangles", padding, (note,))


def overlapping_faces(corners: Float[np.ndarray, "f 3 2"], size: int) -> Int[np.ndarray, "o"]:
    """Faces that lie over a face of a lower number: the centre of some texel is in both."""
    texels = claimed_texels(corners, size)
    flat = texels.row.astype(np.int64) * size + texels.column
    # Written from the last face to the first, a texel keeps the lowest face that claims it.
    owner = np.full(size * size, -1, dtype=np.int32)
    owner[flat[::-1]] = texels.face[::-1]
    return np.unique(texels.face[owner[flat] != texels.face]).astype(np.int64)


def _atlas(
    mesh: Mesh,
    corners: Float[np.ndarray, "f 3 2"],
    size: int,
    method: Literal["xatlas", "triangles"],
    padding: int,
    notes: tuple[str, ...],
) -> Atlas:
    share = float(np.abs(_doubled_areas(corners)).sum() / 2)
    area = float(_areas(mesh).sum())
    density = size * float(np.sqrt(share / area)) if area > 0 else 0.0
    return Atlas(corners, size, method, padding, density, share, notes)


def _charts(
    mesh: Mesh, size: int, padding: int, time_limit: float, report: ProgressReport | None
) -> tuple[Float[np.ndarray, "f 3 2"], tuple[str, ...]]:
    """Corners from xatlas, mended and checked. Raises _NoChartsError."""
    if len(mesh.faces) > MOST_FACES:
        raise _NoChartsError(f"is too slow for {len(mesh.faces)} faces")
    if not np.isfinite(mesh.vertices[mesh.faces]).all():
        raise _NoChartsError("needs vertices that are finite numbers")
    in_texels, longest = _from_process(mesh, size, padding, time_limit, report)
    # What is not a number becomes a triangle without area, and those are loose.
    in_texels = np.where(np.isfinite(in_texels).all(axis=(1, 2), keepdims=True), in_texels, 0)
    loose = _doubled_areas(in_texels) <= 0
    for _ in range(TRIES):
        corners = _with_strip(mesh, in_texels, longest, loose, size, padding)
        over = overlapping_faces(corners, size)
        if not len(over):
            return corners, _notes(loose, padding, round(padding * SPARE) * size / longest)
        loose[over] = True
    raise _NoChartsError("laid faces over others")


def _notes(loose: Bool[np.ndarray, "f"], padding: int, left: float) -> tuple[str, ...]:
    """What is not as it was asked for."""
    notes = []
    if loose.any():
        by_themselves = "lies by itself" if loose.sum() == 1 else "lie by themselves"
        notes.append(f"{int(loose.sum())} of {len(loose)} faces did not fit into charts and {by_themselves}.")
    if left < padding - 0.5:
        notes.append(
            f"only about {left:.1f} texels lie between charts: a larger texture would have room for {padding}."
        )
    return tuple(notes)


def _with_strip(
    mesh: Mesh,
    in_texels: Float[np.ndarray, "f 3 2"],
    longest: float,
    loose: Bool[np.ndarray, "f"],
    size: int,
    padding: int,
) -> Float[np.ndarray, "f 3 2"]:
    """Texture coordinates: charts scaled to fit above a strip of the loose faces, at the same density."""
    if loose.mean() > MOST_LOOSE:
        raise _NoChartsError(f"found no place for {int(loose.sum())} of {len(loose)} faces")
    placed = ~loose
    area = float(_areas(mesh)[placed].sum())
    density = np.sqrt(_doubled_areas(in_texels[placed]).sum() / 2 / area) if area > 0 else 1.0
    corners = np.empty(in_texels.shape)
    strip, height = np.zeros((0, 3, 2)), 0
    if loose.any():
        strip, height = triangle_strip(Mesh(mesh.vertices, mesh.faces[loose]), size, density * size / longest, padding)
        height += padding
    if height > size / 4:
        raise _NoChartsError(f"left {count_of(int(loose.sum()), 'large face')} out")
    # The charts' square becomes smaller by the strip's height; what is free to its right stays so.
    corners[placed] = (in_texels[placed] * ((size - height) / longest) + [0, height]) / size
    corners[loose] = strip
    if not (corners.min() >= 0 and corners.max() <= 1):
        raise _NoChartsError("put faces outside the image")
    return corners


def _from_process(
    mesh: Mesh, size: int, padding: int, time_limit: float, report: ProgressReport | None
) -> tuple[Float[np.ndarray, "f 3 2"], float]:
    """What the process returns: corners in texels, and the longer side of its atlas. Raises _NoChartsError."""
    vertices = mesh.vertices - mesh.vertices[mesh.faces].mean(axis=(0, 1))
    extent = max(float(np.abs(vertices[mesh.faces]).max()), 1e-300)
    with tempfile.TemporaryDirectory(prefix="dvr-atlas-") as name:
        folder = Path(name)
        # Vertices that no face uses need not be numbers.
        vertices = np.nan_to_num(vertices / extent, posinf=0, neginf=0)
        np.savez(folder / "mesh.npz", vertices=vertices, faces=mesh.faces, size=size, padding=padding)
        _run([sys.executable, "-P", str(SCRIPT), name], time_limit, report)
        try:
            with np.load(folder / "corners.npz", allow_pickle=False) as found:
                corners, longest = found["corners"].astype(np.float64), float(max(found["width"], found["height"]))
        except (OSError, ValueError, KeyError) as error:
            raise _NoChartsError(f"returned nothing that can be read ({error})") from None
    if corners.shape != (len(mesh.faces), 3, 2) or not longest > 0:
        raise _NoChartsError("returned no coordinates")
    return corners, longest


def _run(command: list[str], time_limit: float, report: ProgressReport | None) -> None:
    """Run a command to its end. Raises _NoChartsError when it fails or takes longer than the limit."""
    start = time.monotonic()
    # Its messages go nowhere: the exit code says what a user can use.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            elapsed = time.monotonic() - start
            if elapsed >= time_limit:
                raise _NoChartsError(f"did not end within {time_limit:g} s")
            if report is not None:
                report(elapsed, time_limit)
            try:
                process.wait(min(REPORT_SECONDS, time_limit - elapsed))
            except subprocess.TimeoutExpired:
                continue
    finally:
        # Also after an exception, Ctrl-C above all.
        process.kill()
        process.wait()
    if process.returncode == NO_XATLAS:
        raise _NoChartsError("is not installed")
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"code {process.returncode}"
        raise _NoChartsError(f"failed ({how})")


def _doubled_areas(corners: Float[np.ndarray, "f 3 2"]) -> Float[np.ndarray, "f"]:
    """Twice the signed area of triangles in the image; positive when counter-clockwise."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _areas(mesh: Mesh) -> Float[np.ndarray, "f"]:
    """Areas of the faces; 0 where a corner is not a number."""
    corners = np.nan_to_num(mesh.vertices[mesh.faces], posinf=0, neginf=0)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.nan_to_num(np.linalg.norm(cross, axis=1) / 2, posinf=0)
