"""Colours for meshes that have none, from the photographs: the same rule for every mesh that is compared.

A vertex takes the mean of the three photographs that show it best. How well a photograph shows it is the area in pixels
of a piece of surface there: the cosine of the angle at which it is seen, times the focal length over depth, squared.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.normals import vertex_normals
from dvr_cli.surfaces.raycasting import RayCaster

BEST = 3
"""Photographs per vertex."""
CHUNK = 100_000
"""Vertices at a time."""
SLACK_SHARE = 1e-3
"""Of the mesh's size: surface nearer than this to a vertex does not hide it."""
STEEPEST = 0.1
"""Cosine below which a photograph shows the surface too flatly to be used."""


def colour_from_views(mesh: Mesh, views: Sequence[LoadedView], best: int = BEST) -> Mesh:
    """The mesh with vertex colours from the `best` photographs that show each vertex, instead of its own.

    What hides a vertex is the mesh itself; masks play no part. A vertex that no photograph shows has the colour of the
    nearest one that some do; without any such, all are grey. Raises ExportError for a mesh without faces.
    """
    caster, normals = RayCaster(mesh), vertex_normals(mesh)
    slack = SLACK_SHARE * float(np.ptp(mesh.vertices[np.unique(mesh.faces)], axis=0).max())
    colors = np.full((len(mesh.vertices), 3), 0.5)
    shown = np.zeros(len(mesh.vertices), dtype=bool)
    for start in range(0, len(mesh.vertices), CHUNK):
        part = slice(start, start + CHUNK)
        points = mesh.vertices[part]
        quality = np.stack([_quality(view, points, normals[part]) for view in views], axis=1)
        vertex, view_index = _chosen(caster, points, quality, views, best, slack)
        colors[part], shown[part] = _blended(points, quality, vertex, view_index, views)
    if shown.any() and not shown.all():
        from scipy.spatial import cKDTree

        colors[~shown] = colors[shown][cKDTree(mesh.vertices[shown]).query(mesh.vertices[~shown])[1]]
    return replace(mesh, colors=colors)


def _quality(
    view: LoadedView, points: Float[np.ndarray, "p 3"], normals: Float[np.ndarray, "p 3"]
) -> Float[np.ndarray, "p"]:
    """Pixels per area of surface where the photograph could show it, else 0; what hides a point is not looked at."""
    pixels, depth = view.camera.project(points)
    height, width = view.image.shape[:2]
    to_camera = view.camera.centre - points
    cosine = np.einsum("pi,pi->p", to_camera, normals) / np.maximum(np.linalg.norm(to_camera, axis=1), 1e-300)
    with np.errstate(invalid="ignore"):
        # Half a pixel inside, where the photograph can be interpolated.
        inside = (pixels > 0.5).all(axis=1) & (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
    usable = inside & (depth > 0) & (cosine > STEEPEST)
    focal = view.camera.intrinsics[0, 0]
    return np.where(usable, cosine * (focal / np.where(usable, depth, 1.0)) ** 2, 0.0)


def _chosen(
    caster: RayCaster,
    points: Float[np.ndarray, "p 3"],
    quality: Float[np.ndarray, "p views"],
    views: Sequence[LoadedView],
    best: int,
    slack: float,
) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """Pairs of point and view: for each point the best views from which nothing hides it."""
    centres = np.stack([view.camera.centre for view in views])
    order = np.argsort(-quality, axis=1, kind="stable")
    count = np.zeros(len(points), dtype=np.int64)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for view_of_point in order.T:
        asked = np.flatnonzero((count < best) & (quality[np.arange(len(points)), view_of_point] > 0))
        if not len(asked):
            # Qualities fall along the order: nothing better comes.
            if (quality[np.arange(len(points)), view_of_point] == 0).all() or (count >= best).all():
                break
            continue
        view = view_of_point[asked]
        free = asked[_free(caster, points[asked], centres[view], slack)]
        found.append((free, view_of_point[free]))
        count[free] += 1
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _free(
    caster: RayCaster, points: Float[np.ndarray, "n 3"], centres: Float[np.ndarray, "n 3"], slack: float
) -> Bool[np.ndarray, "n"]:
    """Whether the way from a little off each point to its camera is free of the mesh."""
    way = centres - points
    length = np.linalg.norm(way, axis=1)
    direction = way / np.maximum(length, 1e-300)[:, None]
    return caster.cast(points + slack * direction, direction).t > length - slack


def _blended(
    points: Float[np.ndarray, "p 3"],
    quality: Float[np.ndarray, "p views"],
    vertex: Int[np.ndarray, "m"],
    view_index: Int[np.ndarray, "m"],
    views: Sequence[LoadedView],
) -> tuple[Float[np.ndarray, "p 3"], Bool[np.ndarray, "p"]]:
    """Mean colours over the chosen views, weighted by quality, and which points have any; grey where not."""
    from scipy.ndimage import map_coordinates

    total, weight = np.zeros((len(points), 3)), np.zeros(len(points))
    for index in np.unique(view_index):
        of_view = vertex[view_index == index]
        image = views[index].image
        # Pixel centres lie at +0.5, samples of an array at whole numbers.
        place = views[index].camera.project(points[of_view])[0][:, ::-1].T - 0.5
        colours = [map_coordinates(image[..., channel], place, order=1) for channel in range(3)]
        share = quality[of_view, index]
        total[of_view] += share[:, None] * np.stack(colours, axis=1)
        weight[of_view] += share
    shown = weight > 0
    return np.where(shown[:, None], total / np.where(shown, weight, 1.0)[:, None], 0.5), shown
