"""What COLMAP would give: its fused cloud where the scene has one, else points triangulated here with known cameras.

Nothing needs COLMAP installed: pycolmap's wheels bring features, matching and triangulation on the CPU
(`matching.triangulation`). They bring no dense stereo (that needs CUDA) and no Delaunay mesher (that needs CGAL);
`baselines.delaunay` does the mesher's work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.baselines.delaunay import carve
from dvr_cli.baselines.normals import (
    directions_to_cameras,
    directions_to_nearest,
    normals_towards,
    outward_normals,
)
from dvr_cli.baselines.poisson import FEWEST_POINTS
from dvr_cli.errors import CompareError, DepthError
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.sparse_depth import with_points
from dvr_cli.scenes.views import LoadedView, SparseDepth
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.culling import MaskCuller
from dvr_cli.surfaces.files.cloud_files import read_ply_cloud
from dvr_cli.surfaces.mesh import Mesh

FUSED_FILES = ("dense/0/fused.ply", "dense/fused.ply")
MASK_DILATION = 12
"""Pixels; the DVR paper drops baseline points outside masks dilated by a disk of this radius."""


@dataclass(frozen=True)
class Triangulated:
    """Points that were triangulated here."""

    cloud: PointCloud
    """With colours, and normals on the side of the cameras that see each point."""
    visibility: Int[np.ndarray, "m 2"]
    """Pairs (view index, point index), sorted."""
    camera_centres: Float[np.ndarray, "v 3"]
    error: Float[np.ndarray, "p"]
    """Mean reprojection error of each point, pixels."""
    description: str
    """A sentence that says what cloud it is."""


def fused_cloud(
    scene_root: Path,
    given: Path | None = None,
    views: Sequence[LoadedView] = (),
    unit_from_world: Float[np.ndarray, "4 4"] | None = None,
) -> tuple[PointCloud, str] | None:
    """The cloud that COLMAP's stereo_fusion wrote, and a sentence that says which; None when there is none.

    `given` names the file, which must exist then; else it is looked for in the scene's dense/0 and dense. Points that
    `of_object` leaves out are left out. Where the file has no normals and there are views, normals are estimated and
    turned to the cameras. Raises CompareError for a file that cannot be used.
    """
    found = given or next((scene_root / name for name in FUSED_FILES if (scene_root / name).is_file()), None)
    if found is None:
        return None
    whole = read_ply_cloud(found)
    if len(whole.points) < FEWEST_POINTS:
        raise CompareError(
            f"{found} holds {len(whole.points)} points: at least {FEWEST_POINTS} are needed for a surface.\n"
            "Fuse COLMAP's depth maps again, or give another cloud with --cloud."
        )
    kept = of_object(whole.points, views, unit_from_world)
    name = f"COLMAP's fused cloud {found.relative_to(scene_root).as_posix()}" if given is None else found.name
    rest = "" if kept.all() else f", of which {_counted(int(kept.sum()))} belong to the object"
    without = "" if whole.normals is not None else ", without normals: those were estimated"
    cloud = _part(whole, kept)
    if cloud.normals is None and views:
        towards = directions_to_nearest(cloud.points, np.stack([view.camera.centre for view in views]))
        cloud = PointCloud(cloud.points, outward_normals(cloud.points, towards), cloud.colors)
    return cloud, f"{name}, {_counted(len(whole.points))}{rest}{without}."


def of_object(
    points: Float[np.ndarray, "p 3"],
    views: Sequence[LoadedView],
    unit_from_world: Float[np.ndarray, "4 4"] | None = None,
    radius: int = MASK_DILATION,
) -> Bool[np.ndarray, "p"]:
    """Which points no mask puts outside of the object, nor the region of interest (the unit ball) where it is given.

    Masks are dilated by a disk of `radius` pixels; a point outside of a picture or behind the camera is not judged by
    it. Raises CompareError when fewer than 20 points are left.
    """
    kept = np.ones(len(points), dtype=bool)
    if unit_from_world is not None:
        kept &= np.linalg.norm(apply(unit_from_world, points), axis=1) <= 1
    if any(view.mask is not None for view in views):
        kept &= MaskCuller(views, radius).keeps(points)
    if kept.sum() < FEWEST_POINTS:
        raise CompareError(
            f"{int(kept.sum())} of {len(kept)} points lie on the object (masks dilated by {radius} pixels, region of "
            "interest): the cloud does not belong to these cameras, or is in another frame.\n"
            "Give a cloud in the world of the cameras, or look at the masks with dvr inspect SCENE --masks."
        )
    return kept


def triangulate(
    views: Sequence[LoadedView],
    work_folder: Path,
    threads: int | None = None,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
    unit_from_world: Float[np.ndarray, "4 4"] | None = None,
) -> Triangulated:
    """Points seen by two or more views, with the cameras as they are: all of `matching.triangulate`'s, on the object.

    Points that `of_object` leaves out are left out. Raises CompareError, with advice, when there are fewer than two
    views or too few points.
    """
    from dvr_cli.matching import triangulation

    try:
        found = triangulation.triangulate(views, work_folder, threads, seed, report).sparse
    except DepthError as error:
        raise CompareError(str(error)) from error
    return _with_normals(with_points(found, of_object(found.points, views, unit_from_world)), views)


def delaunay_mesh(triangulated: Triangulated) -> Mesh:
    """A surface between the triangulated points that respects what the cameras see (`baselines.delaunay`).

    Colours are those of the points. Raises CompareError when nothing is inside.
    """
    cloud = triangulated.cloud
    mesh, used = carve(cloud.points, triangulated.camera_centres, triangulated.visibility)
    return Mesh(mesh.vertices, mesh.faces, None, None if cloud.colors is None else cloud.colors[used])


def _with_normals(sparse: SparseDepth, views: Sequence[LoadedView]) -> Triangulated:
    """The points as a cloud with normals towards the cameras."""
    import pycolmap

    points, visibility, error = sparse.points, sparse.visibility, sparse.error
    assert visibility is not None and error is not None
    centres = np.stack([view.camera.centre for view in views])
    normals = normals_towards(points, directions_to_cameras(points, centres, visibility))
    description = (
        f"{_counted(len(points))} triangulated here with the known cameras by pycolmap {pycolmap.__version__}, each "
        f"seen by {len(visibility) / len(points):.1f} of {len(views)} views on average."
    )
    return Triangulated(PointCloud(points, normals, sparse.colors), visibility, centres, error, description)


def _part(cloud: PointCloud, kept: Bool[np.ndarray, "p"]) -> PointCloud:
    normals, colors = (None if array is None else array[kept] for array in (cloud.normals, cloud.colors))
    return PointCloud(cloud.points[kept], normals, colors)


def _counted(count: int) -> str:
    """A number of points in words."""
    return f"{count / 1e6:.1f} million points" if count >= 1e6 else f"{count:,} points".replace(",", " ")
