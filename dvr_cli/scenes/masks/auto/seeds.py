"""First guesses where the background is anything: the region of interest, and which sparse points are object.

A point is object if it lies in the region of interest and not on the plane that the object stands on (or hangs from):
a plane that many points lie on, that goes on beyond the region, and on one side of which nearly everything within the
region is. Around a point its pixel is what the point is, the surer the nearer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.masks.auto.photographs import Photograph, sees_ball
from dvr_cli.scenes.views import Scene, SparseDepth

SPREAD = 0.012
"""Of what a point says, share of the longer side of the image (standard deviation)."""
DOUBT = 0.2
"""How much a point's word weighs against nothing said: at the point itself, log(1 + 1 / DOUBT)."""
MOST_BY_POINTS = 3.0
"""Bound of the log odds from points."""
CENTRAL = 0.75
"""Without points: share of the radius of the region of interest that is taken for the object at first."""
FEWEST_POINTS = 20

PLANE_TRIALS = 400
PLANE_THICKNESS = 0.02
"""Half of it, radii of the region of interest: twice as near a point lies on the plane."""
PLANE_REACH = 3.0
"""Radii from the centre within which points count."""
PLANE_SHARE = 0.12
"""Of those points, at least, must lie on the plane ..."""
PLANE_BEYOND = 0.25
"""... this share of them beyond the region of interest ..."""
PLANE_ONE_SIDE = 0.85
"""... and this share of the others in the region on one side of it."""


@dataclass(frozen=True)
class Plane:
    """Places x with normal . x > offset are on the object's side; unit ball coordinates."""

    normal: Float[np.ndarray, "3"]
    offset: float


@dataclass(frozen=True)
class Seeds:
    """What is known of one photograph before colours are."""

    first: Bool[np.ndarray, "h w"]
    """A first guess of the mask."""
    hints: Float[np.ndarray, "h w"] | None
    """Log odds for object from points."""


def find_seeds(scene: Scene, photographs: Sequence[Photograph], seed: int) -> tuple[list[Seeds], Plane | None]:
    """First masks and hints of all photographs, and the plane that the object stands on, if there is one."""
    sparse = scene.sparse_depth
    if sparse is None or len(sparse.points) < FEWEST_POINTS:
        return [Seeds(_central(p, scene), None) for p in photographs], None
    in_unit = apply(scene.unit_from_world, sparse.points)
    plane = supporting_plane(in_unit, np.random.default_rng(seed))
    is_object = np.linalg.norm(in_unit, axis=1) < 1
    if plane is not None:
        is_object &= in_unit @ plane.normal > plane.offset + PLANE_THICKNESS
    if is_object.sum() < FEWEST_POINTS:
        return [Seeds(_central(p, scene), None) for p in photographs], plane
    return [_seeds(p, index, sparse, is_object) for index, p in enumerate(photographs)], plane


def supporting_plane(points: Float[np.ndarray, "p 3"], generator: np.random.Generator) -> Plane | None:
    """The plane under the object, None where no plane has all signs of one; by random sampling (RANSAC)."""
    points = points[np.linalg.norm(points, axis=1) < PLANE_REACH]
    if len(points) < FEWEST_POINTS:
        return None
    best, most = None, 0
    for _ in range(PLANE_TRIALS):
        a, b, c = points[generator.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < 1e-6:
            continue
        normal = normal / length
        near = int((np.abs(points @ normal - normal @ a) < PLANE_THICKNESS).sum())
        if near > most:
            best, most = (normal, float(normal @ a)), near
    if best is None:
        return None
    normal, offset = best
    on_plane = np.abs(points @ normal - offset) < PLANE_THICKNESS
    inside = np.linalg.norm(points, axis=1) < 1
    above = (points @ normal > offset)[inside & ~on_plane]
    if not len(above) or on_plane.mean() < PLANE_SHARE or (~inside)[on_plane].mean() < PLANE_BEYOND:
        return None
    if max(above.mean(), 1 - above.mean()) < PLANE_ONE_SIDE:
        return None
    sign = 1.0 if above.mean() > 0.5 else -1.0
    return Plane(sign * normal, sign * offset)


def _seeds(photograph: Photograph, index: int, sparse: SparseDepth, is_object: Bool[np.ndarray, "p"]) -> Seeds:
    from scipy import ndimage

    height, width = photograph.region.shape
    seen = np.arange(len(sparse.points))
    if sparse.visibility is not None:
        seen = sparse.visibility[sparse.visibility[:, 0] == index, 1]
    pixels, _ = photograph.camera.project(sparse.points[seen])
    column, row = np.floor(np.nan_to_num(pixels, nan=-1.0)).T
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row[within].astype(np.intp), column[within].astype(np.intp))
    labels = is_object[seen][within]
    spread = SPREAD * max(height, width)
    said = []
    for wanted in (True, False):
        dots = np.zeros((height, width), np.float32)
        np.add.at(dots, tuple(axis[labels == wanted] for axis in place), 1)
        said.append(ndimage.gaussian_filter(dots, spread, mode="constant") * np.float32(2 * np.pi * spread**2))
    hints = np.log((said[0] + DOUBT) / (said[1] + DOUBT))
    return Seeds(
        _nearest_label(photograph, place, labels), np.clip(hints, -MOST_BY_POINTS, MOST_BY_POINTS).astype(np.float32)
    )


def _nearest_label(
    photograph: Photograph, place: tuple[np.ndarray, np.ndarray], labels: Bool[np.ndarray, "p"]
) -> Bool[np.ndarray, "h w"]:
    """What the nearest point is; beyond the region of interest everything is background."""
    from scipy import ndimage

    distance = []
    for wanted in (True, False):
        elsewhere = np.ones(photograph.region.shape, bool)
        elsewhere[tuple(axis[labels == wanted] for axis in place)] = False
        if not wanted:
            elsewhere &= photograph.region
        if elsewhere.all():
            distance.append(np.full(elsewhere.shape, np.inf))
        else:
            distance.append(ndimage.distance_transform_edt(elsewhere))
    return (distance[0] < distance[1]) & photograph.region


def _central(photograph: Photograph, scene: Scene) -> Bool[np.ndarray, "h w"]:
    """The middle of the region of interest."""
    smaller = np.diag([1 / CENTRAL, 1 / CENTRAL, 1 / CENTRAL, 1.0]) @ scene.unit_from_world
    return sees_ball(photograph.camera, smaller)
