"""A coarse visual hull by voting: which sample points of the unit ball do the masks call object, and which background?

A view votes on a point only if the point projects into its image. Masks are shrunk until a sample spacing is about a
pixel, keep a pixel if any of it was object, and grow by one pixel: a point with a background vote is then outside the
object together with its whole voxel. For questions about the scene (bounds, checks), not for reconstruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dvr_cli.scenes.cameras import projection_of, similarity_scale
from dvr_cli.scenes.views import Camera, LoadedView

FULL = 0.995
"""Share of the image that is object, from which on a mask says nothing; less than that is a close photograph."""


@dataclass(frozen=True)
class Silhouette:
    """One mask at the resolution of the samples."""

    name: str
    projection: Float[np.ndarray, "3 4"]
    """Pixels of `mask` from points of the unit ball, homogeneous; float32."""
    mask: Bool[np.ndarray, "h w"]
    """True = may be object."""


@dataclass(frozen=True)
class Votes:
    """How many views call each sample point object or background."""

    points: Float[np.ndarray, "p 3"]
    """Samples in the unit ball."""
    background: Int[np.ndarray, "p"]
    object: Int[np.ndarray, "p"]

    def inside(self, dissenting: int = 0) -> Bool[np.ndarray, "p"]:
        """Points that at least two views (or the only one) call object and at most `dissenting` background."""
        enough = min(2, int(self.object.max(initial=1)))
        return (self.background <= dissenting) & (self.object >= max(enough, 1))

    def well_seen(self, share: float) -> Bool[np.ndarray, "p"]:
        """Points that many views call object: at least `share` of the views that see the best-seen point.

        Where hardly any camera looks nothing is carved, and stray parts of the hull remain.
        """
        return self.object >= max(1.0, share * float((self.object + self.background).max(initial=0)))


def is_full(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Whether a mask is object all over: it has no background that would say where the object ends."""
    return bool(mask.mean() > FULL)


def ball_samples(samples_per_side: int) -> Float[np.ndarray, "p 3"]:
    """Centres of the voxels of [-1, 1]^3 that lie in the unit ball, float32."""
    centres = (np.arange(samples_per_side, dtype=np.float32) + 0.5) * (2 / samples_per_side) - 1
    grid = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[(grid**2).sum(axis=1) <= 1]


def silhouettes(
    views: Sequence[LoadedView], unit_from_world: Float[np.ndarray, "4 4"], samples_per_side: int, grow: bool = True
) -> list[Silhouette]:
    """The masks of all views that have one, with a spacing of 2 / samples_per_side about a pixel.

    `grow=False` samples the masks instead of widening them: right for areas, wrong for carving.
    """
    world_from_unit = np.linalg.inv(unit_from_world)
    found: list[Silhouette] = []
    for view in views:
        if view.mask is None:
            continue
        height, width = _shrunk_shape(view.camera, world_from_unit, samples_per_side)
        camera = view.camera.resized(height, width)
        mask = _any_pooled(view.mask, height, width) if grow else sampled(view.mask, height, width)
        found.append(
            Silhouette(
                view.name,
                (projection_of(camera) @ world_from_unit).astype(np.float32),
                grown(mask) if grow else mask,
            )
        )
    return found


def look_up(
    silhouette: Silhouette, points: Float[np.ndarray, "p 3"]
) -> tuple[Bool[np.ndarray, "p"], Bool[np.ndarray, "p"]]:
    """Whether each point projects into the image, and whether it projects onto the mask."""
    pixel, seen = pixels_of(silhouette, points)
    return seen, silhouette.mask.reshape(-1)[pixel] & seen


def pixels_of(
    silhouette: Silhouette, points: Float[np.ndarray, "p 3"]
) -> tuple[Int[np.ndarray, "p"], Bool[np.ndarray, "p"]]:
    """Flat index of the pixel that each point projects to (0 where unseen), and whether it is seen at all."""
    height, width = silhouette.mask.shape
    column, row, w = silhouette.projection[:, :3] @ points.T + silhouette.projection[:, 3:]
    seen = w > 0
    # Points that are not seen may have no place at all, or one that no whole number holds; it is set to 0 in the end.
    with np.errstate(all="ignore"):
        column /= w
        row /= w
        for inside in (column >= 0, column < width, row >= 0, row < height):
            seen &= inside
        pixel = row.astype(np.int32)
        pixel *= np.int32(width)
        pixel += column.astype(np.int32)
    pixel *= seen
    return pixel, seen


def projected(silhouette: Silhouette, points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of the silhouette that some of the points project to."""
    pixel, seen = pixels_of(silhouette, points)
    hit = np.zeros(silhouette.mask.size, dtype=bool)
    hit[pixel[seen]] = True
    return hit.reshape(silhouette.mask.shape)


def dissents(silhouette_list: Sequence[Silhouette], points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "views p"]:
    """Which silhouette calls which point background."""
    found = np.zeros((len(silhouette_list), len(points)), dtype=bool)
    for index, silhouette in enumerate(silhouette_list):
        seen, on_mask = look_up(silhouette, points)
        found[index] = seen & ~on_mask
    return found


def count_votes(silhouette_list: Sequence[Silhouette], points: Float[np.ndarray, "p 3"]) -> Votes:
    """Ask every silhouette about every point."""
    background = np.zeros(len(points), dtype=np.int32)
    object_votes = np.zeros(len(points), dtype=np.int32)
    for silhouette in silhouette_list:
        seen, on_mask = look_up(silhouette, points)
        background += seen & ~on_mask
        object_votes += on_mask
    return Votes(points, background, object_votes)


def covered(
    silhouette_list: Sequence[Silhouette], hull: Float[np.ndarray, "p 3"], samples: Float[np.ndarray, "q 3"]
) -> Float[np.ndarray, "views"]:
    """For each view, the share of its mask that the hull projects onto, of the part that all samples could reach.

    Zero for a mask that no sample reaches.
    """
    shares = np.zeros(len(silhouette_list))
    for index, silhouette in enumerate(silhouette_list):
        reached, reachable = (int((projected(silhouette, p) & silhouette.mask).sum()) for p in (hull, samples))
        shares[index] = reached / max(reachable, 1)
    return shares


def conflicting_views(silhouette_list: Sequence[Silhouette], votes: Votes, dissenting: int | None = None) -> list[str]:
    """Names of a set of `dissenting` views without whose masks some points would be inside.

    A point is outside because of exactly the views that call it background; among the points with that many such views
    the set that most of them share is named. Points that hardly any view calls object do not count. Without
    `dissenting` the set is the smallest that there is.
    """
    candidates = votes.well_seen(0.25) & (votes.background > 0)
    if dissenting is not None:
        candidates &= votes.background == dissenting
    if not candidates.any():
        return [silhouette.name for silhouette in silhouette_list]
    fewest = votes.background[candidates].min()
    points = votes.points[candidates & (votes.background == fewest)]
    patterns, counts = np.unique(dissents(silhouette_list, points).T, axis=0, return_counts=True)
    return [
        silhouette.name
        for silhouette, conflicts in zip(silhouette_list, patterns[counts.argmax()], strict=True)
        if conflicts
    ]


def carved_alone(silhouette_list: Sequence[Silhouette], votes: Votes) -> Float[np.ndarray, "views"]:
    """For each view, the volume that its mask alone removes, as a fraction of that volume and the hull together."""
    contested = votes.points[votes.inside(1) & (votes.background == 1)]
    hull_volume = int(votes.inside().sum())
    alone = dissents(silhouette_list, contested).sum(axis=1)
    return alone / np.maximum(alone + hull_volume, 1)


def grown(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The mask widened by one pixel, diagonals included."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def sampled(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask of another size, by the pixel at each centre."""
    rows, columns = mask.shape
    row_index = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
    column_index = ((np.arange(width) + 0.5) * columns / width).astype(np.intp)
    return mask[row_index[:, None], column_index[None, :]]


def _shrunk_shape(camera: Camera, world_from_unit: np.ndarray, samples_per_side: int) -> tuple[int, int]:
    """Image size at which the unit ball is about `samples_per_side` pixels wide, never larger than the image."""
    depth = camera.camera_from_world[2, :3] @ world_from_unit[:3, 3] + camera.camera_from_world[2, 3]
    radius = similarity_scale(world_from_unit)
    ball_pixels = 2 * radius * max(camera.intrinsics[0, 0], camera.intrinsics[1, 1]) / max(depth, radius)
    factor = min(1.0, samples_per_side / max(ball_pixels, 1e-6))
    return max(1, round(camera.height * factor)), max(1, round(camera.width * factor))


def _any_pooled(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink a mask; a pixel is True if any pixel that it touches was."""
    rows, columns = mask.shape
    if (rows, columns) == (height, width):
        return mask
    by_row = np.logical_or.reduceat(mask, np.arange(height) * rows // height, axis=0)
    return np.logical_or.reduceat(by_row, np.arange(width) * columns // width, axis=1)
