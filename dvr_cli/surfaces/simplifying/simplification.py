"""Fewer faces for the same surface: quadric edge collapses, taken back wherever they would break it.

fast-simplification merges vertices quickly and well, but looks neither at the topology nor at other parts of the
surface: it pinches thin handles and lets close sheets through each other, at a handful of places on a mesh of usual
size. Its merges are kept as a forest (`merge_tree`), and the clusters at a fault (`soundness`) are halved until there
is none; in the limit that is the original, so the result is at least as sound as what was given.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.simplifying.deviation import Original
from dvr_cli.surfaces.simplifying.merged_mesh import MergedMesh
from dvr_cli.surfaces.simplifying.soundness import broken_clusters, faulty_clusters

SCALES = (10.0, 1.0, 0.1)
"""Mean length of an edge in the units that the library is given. Its thresholds are absolute: the finer they are, the
more nearly the cheapest edges go first, but the sooner it stops. When it stops above the target, the next is tried."""
ATTEMPTS = 3
"""Targets that are tried so that, with what soundness adds, no more faces are left than asked for."""
TIMES_BY_ROUND = (*[1] * 16, *[2] * 6, *[4] * 4)
"""How often the clusters at a fault are halved, round by round; after that they are taken apart."""
SHATTERED = 0.05
"""Share of broken clusters from which a target is out of reach: mending would cost more than a larger target."""
BISECTIONS = 6
PROBES = 60_000
"""Points of the original at which the bisection measures."""
SHARE_WITHIN = 0.99
"""Share of the points that the bisection wants within the allowed error; collapses at the others are taken back."""
FEWEST_FACES = 4


@dataclass(frozen=True)
class Simplified:
    """A mesh of fewer faces, and how far it is from the one it was made of."""

    mesh: Mesh
    """Normals and colours come from the nearest points of the original; a texture is not kept."""
    faces_before: int
    error: float
    """Largest measured distance between the two surfaces, units of the vertices (see `deviation`)."""
    note: str | None = None
    """Why there are more faces than asked for, if so."""


def simplify(mesh: Mesh, faces: int | None = None, error: float | None = None) -> Simplified:
    """The mesh with at most `faces` faces, or with few faces and no point farther than `error` from where it was.

    `error` is in the units of the vertices. The topology stays: components, handles, closedness; no part folds over or
    passes through another unless it did before. Where that needs more faces than asked for, they are left and `note`
    says so. A mesh that has no more than `faces` faces is returned as it is. Raises ExportError for an empty mesh,
    vertices that are not finite and limits out of range.
    """
    if (faces is None) == (error is None):
        raise ValueError("simplify wants either a number of faces or an error")
    _check(mesh, faces, error)
    if faces is not None and len(mesh.faces) <= faces:
        return Simplified(mesh, len(mesh.faces), 0.0)
    work = _Work(mesh)
    if error is not None:
        return work.finished(work.to_error(error), None)
    return work.finished(work.to_faces(faces or 0), faces)


class _Work:
    """The mesh as the library gets it: moved to the origin, one unit per mean edge, without unused vertices."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        named = np.zeros(len(mesh.vertices), dtype=bool)
        named[mesh.faces] = True
        used, numbers = np.flatnonzero(named), (np.cumsum(named) - 1)[mesh.faces]
        faces = numbers.reshape(-1, 3).astype(np.int32)
        proper = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
        if not proper.any():
            raise ExportError("every face of the mesh names a vertex twice: there is no surface to simplify.")
        self.faces = faces[proper]
        self.centre = mesh.vertices[used].mean(axis=0)
        vertices = mesh.vertices[used] - self.centre
        lengths = np.linalg.norm(vertices[self.faces[:, 0]] - vertices[self.faces[:, 1]], axis=1)
        self.unit = float(lengths.mean()) or 1.0
        self.vertices = vertices / self.unit
        self.original = Original(Mesh(self.vertices, self.faces))

    def to_faces(self, faces: int) -> MergedMesh:
        """Sound, with at most `faces` faces if that is possible."""
        merged, target = self._merged(faces), faces
        if not made_sound(merged, SHATTERED):
            merged = self._fewest(faces, lambda attempt: share_broken(attempt) <= SHATTERED)
            made_sound(merged)
            return merged
        for _ in range(ATTEMPTS - 1):
            excess = merged.count() - faces
            if excess <= 0:
                break
            target = max(FEWEST_FACES, target - int(1.2 * excess) - 2)
            other = self._merged(target)
            if not made_sound(other, SHATTERED):
                break
            merged = min(merged, other, key=MergedMesh.count)
        return merged

    def to_error(self, error: float) -> MergedMesh:
        """Sound, and within the error at every measured point."""
        allowed = error / self.unit
        probe = Original(Mesh(self.vertices, self.faces), PROBES)

        def within(attempt: MergedMesh) -> bool:
            mesh = attempt.mesh()[0]
            return len(mesh.faces) > 0 and float(np.quantile(probe.deviation(mesh).all(), SHARE_WITHIN)) <= allowed

        merged = self._fewest(FEWEST_FACES, within)
        made_sound(merged, original=self.original, allowed=allowed)
        return merged

    def _fewest(self, least: int, acceptable: Callable[[MergedMesh], bool]) -> MergedMesh:
        """By bisection, the smallest target of at least `least` whose collapses are acceptable."""
        best = None
        low, high = np.log(least), np.log(len(self.faces))
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            attempt = self._merged(int(np.exp(middle)))
            if acceptable(attempt):
                best, high = attempt, middle
            else:
                low = middle
        return best or self._merged(len(self.faces))

    def finished(self, merged: MergedMesh, asked: int | None) -> Simplified:
        """Back in the units of the mesh, with what the original's vertices carry."""
        result = merged.mesh()[0]
        deviation = self.original.deviation(result).largest * self.unit
        vertices = result.vertices * self.unit + self.centre
        carried = _carried(self.mesh, Mesh(vertices, result.faces))
        note = None
        if asked is not None and len(result.faces) > asked:
            note = (
                f"{len(result.faces)} faces are left instead of {asked}: fewer would break the surface, "
                "tear a handle or make a part vanish."
            )
        return Simplified(carried, len(self.mesh.faces), deviation, note)

    def _merged(self, target: int) -> MergedMesh:
        return MergedMesh(self.vertices, self.faces, *_collapses(self.vertices, self.faces, target))


def made_sound(
    merged: MergedMesh, patience: float = 1.0, original: Original | None = None, allowed: float = np.inf
) -> bool:
    """Take clusters apart until there is no fault that the original has not, nor a point farther than `allowed`.

    False, with nothing done, if more than a share `patience` of the clusters is broken.
    """
    marked = merged.tree.all_clusters()
    unseen = marked
    cut = broken_clusters(merged, marked)
    if len(cut) > patience * marked.sum():
        return False
    for times in itertools.chain(TIMES_BY_ROUND, itertools.repeat(None)):
        if not len(cut):
            cut, unseen = faulty_clusters(merged, unseen), np.zeros_like(unseen)
        if not len(cut) and original is not None:
            cut = _too_far(merged, original, allowed)
        if not len(cut):
            break
        marked = merged.cut(cut, times)
        unseen = unseen | marked
        cut = broken_clusters(merged, marked)
    return True


def share_broken(merged: MergedMesh) -> float:
    """Share of the clusters that break the surface."""
    marked = merged.tree.all_clusters()
    return len(broken_clusters(merged, marked)) / float(marked.sum())


def _too_far(merged: MergedMesh, original: Original, allowed: float) -> Int[np.ndarray, "r"]:
    """Clusters of several vertices at points that are farther from the original than allowed."""
    mesh, used = merged.mesh()
    deviation = original.deviation(mesh)
    lost = original.corners[deviation.from_original > allowed]
    moved = deviation.corners[deviation.to_original > allowed]
    clusters = np.unique(np.concatenate([merged.tree.root[lost].ravel(), used[moved].ravel()]))
    return clusters[clusters >= len(merged.vertices)]


def _collapses(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], target: int
) -> tuple[Int[np.ndarray, "c 2"], Float[np.ndarray, "w 3"]]:
    """The library's collapses towards a number of faces and its vertices, at the first scale that gets there."""
    import fast_simplification

    for scale in SCALES:
        positions, left, collapses = fast_simplification.simplify(
            vertices * scale, faces, target_count=min(target, len(faces)), return_collapses=True
        )
        if len(left) <= target:
            break
    return np.asarray(collapses, dtype=np.int32).reshape(-1, 2), positions / scale


def _carried(original: Mesh, mesh: Mesh) -> Mesh:
    """The mesh with normals and colours of the nearest points of the original."""
    if original.normals is None and original.colors is None:
        return mesh
    from dvr_cli.surfaces.raycasting import RayCaster

    nearest = RayCaster(original).nearest(mesh.vertices)[1]
    weights = _barycentric(mesh.vertices, original.vertices[original.faces[nearest]])
    corners = original.faces[nearest]
    if original.normals is not None:
        normals = np.einsum("vc,vci->vi", weights, original.normals[corners])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 1e-6, normals / np.maximum(length, 1e-6), original.normals[corners[:, 0]])
        mesh = replace(mesh, normals=normals)
    if original.colors is not None:
        mesh = replace(mesh, colors=np.einsum("vc,vci->vi", weights, original.colors[corners]))
    return mesh


def _barycentric(points: Float[np.ndarray, "p 3"], triangles: Float[np.ndarray, "p 3 3"]) -> Float[np.ndarray, "p 3"]:
    """Weights of the corners for the points' feet on the triangles' planes, moved into the triangle."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = np.cross(first, second)
    square = np.maximum((normal**2).sum(axis=1), 1e-300)
    offset = points - triangles[:, 0]
    second_weight = np.einsum("pi,pi->p", np.cross(offset, second), normal) / square
    third_weight = np.einsum("pi,pi->p", np.cross(first, offset), normal) / square
    weights = np.clip(np.stack([1 - second_weight - third_weight, second_weight, third_weight], axis=1), 0, 1)
    return weights / weights.sum(axis=1, keepdims=True)


def _check(mesh: Mesh, faces: int | None, error: float | None) -> None:
    """Raise ExportError for what cannot be simplified."""
    if not len(mesh.faces):
        raise ExportError("the mesh has no faces: there is nothing to simplify.")
    if not np.isfinite(mesh.vertices).all():
        raise ExportError("the mesh has vertices that are not finite: it cannot be simplified.")
    if faces is not None and faces < FEWEST_FACES:
        raise ExportError(f"{faces} faces cannot close a surface: ask for {FEWEST_FACES} or more.")
    if error is not None and not (np.isfinite(error) and error > 0):
        raise ExportError(f"the allowed error is {error:g}: expected a positive length.")
