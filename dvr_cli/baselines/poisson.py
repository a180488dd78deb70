"""Screened Poisson surface reconstruction of an oriented cloud, and trimming by sampling density.

Kazhdan and Hoppe, "Screened Poisson Surface Reconstruction" (2013), through Open3D, which holds the authors' code. The
surface is closed wherever the points leave a hole; *trimming* takes such caps away. The *density* at a vertex is the
depth of the octree at which the points around it would be stored: one level more for four times as many points per
area. Its scale is the cloud's own: at depth d a cell is 2^-d of the cube, 1.1 times as wide as the cloud.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.baselines.trimming import trim_by_density
from dvr_cli.errors import CompareError
from dvr_cli.matching.quiet import silent_libraries
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh

DEFAULT_DEPTH = 10
DEPTHS = (4, 12)
FEWEST_POINTS = 20
MOST_POINTS = 5_000_000
"""More are thinned at random: they would need more memory than they add detail at the depths allowed."""


@dataclass(frozen=True)
class PoissonSurface:
    """The whole surface, before anything is trimmed."""

    mesh: Mesh
    """World coordinates; closed unless it runs into the walls of the octree's cube."""
    density: Float[np.ndarray, "v"]
    """Octree depth that the points around each vertex would have."""
    depth: int
    """Deepest level of the octree."""
    points: int
    """Number of points that it was made from."""

    def trimmed(self, trim: float) -> Mesh:
        """The part whose density is at least `trim`, cut along the line where it falls below (see `trim_by_density`).

        0 removes nothing. The depths 5, 7 and 10 are those of the DVR paper's table (Niemeyer et al. 2020). Raises
        CompareError, with the range of densities, when nothing or almost nothing is left.
        """
        if not (np.isfinite(trim) and 0 <= trim <= 20):
            raise CompareError(f"trim {trim} is out of range: expected an octree depth from 0 (nothing removed) to 20.")
        if trim == 0:
            return self.mesh
        mesh = trim_by_density(self.mesh, self.density, trim)
        if not len(mesh.faces):
            low, middle, high = np.percentile(self.density, (5, 50, 95))
            raise CompareError(
                f"trim {trim:g} removes the whole surface: the {self.points} points reach octree depths of {low:.1f} "
                f"to {high:.1f} (middle {middle:.1f}).\nChoose trims below {middle:.1f}, or give a denser cloud: one "
                "level takes four times as many points."
            )
        return mesh


def screened_poisson(cloud: PointCloud, depth: int = DEFAULT_DEPTH, threads: int = 1) -> PoissonSurface:
    """The surface through an oriented cloud; vertex colours come along where the cloud has some.

    `depth` bounds the octree (4 to 12). With one thread the result is the same every time; Open3D is known to crash now
    and then with more, and is no faster with two. Clouds without normals get them from their neighbours, turned
    consistently and outwards (`baselines.normals`). Points that are not finite, or whose normal has no length, are left
    out. Raises CompareError for fewer than 20 points, for points in one place, and when
    the reconstruction fails.
    """
    if not DEPTHS[0] <= depth <= DEPTHS[1]:
        raise CompareError(f"Poisson depth {depth} is out of range: expected {DEPTHS[0]} to {DEPTHS[1]}.")
    usable = _usable(cloud)
    low, high = usable.points.min(axis=0), usable.points.max(axis=0)
    centre, half = (low + high) / 2, float((high - low).max()) / 2
    # Open3D solves in single precision: the cloud is moved to the origin and scaled to [-1, 1]^3 for it.
    local = PointCloud((usable.points - centre) / half, usable.normals, usable.colors)
    found = _reconstructed(local, depth, threads)
    mesh = Mesh(found["vertices"] * half + centre, found["faces"], None, found.get("colors"))
    return PoissonSurface(mesh, found["density"], depth, len(usable.points))


def _usable(cloud: PointCloud) -> PointCloud:
    """Finite points with unit normals, at most MOST_POINTS; CompareError if they cannot span a surface."""
    kept = np.isfinite(cloud.points).all(axis=1)
    if cloud.normals is not None:
        lengths = np.linalg.norm(cloud.normals, axis=1)
        kept &= np.isfinite(lengths) & (lengths > 1e-12)
    index = np.flatnonzero(kept)
    if len(index) > MOST_POINTS:
        index = np.sort(np.random.default_rng(0).choice(index, MOST_POINTS, replace=False))
    if len(index) < FEWEST_POINTS:
        raise CompareError(
            f"the cloud has {len(index)} usable points of {len(cloud.points)}: screened Poisson needs at least "
            f"{FEWEST_POINTS} finite points with normals.\nGive another cloud, or check how this one was made."
        )
    points = cloud.points[index].astype(np.float64)
    if not float(np.ptp(points, axis=0).max()) > 1e-9 * float(np.abs(points).max()):
        raise CompareError(f"all {len(index)} points of the cloud lie in one place: no surface goes through them.")
    colors = None if cloud.colors is None else np.clip(cloud.colors[index], 0, 1).astype(np.float64)
    if cloud.normals is None:
        from dvr_cli.baselines.normals import outward_normals

        return PointCloud(points, outward_normals(points), colors)
    return PointCloud(points, (cloud.normals[index] / lengths[index, None]).astype(np.float64), colors)


def _reconstructed(cloud: PointCloud, depth: int, threads: int) -> dict[str, np.ndarray]:
    """Vertices, faces, density and perhaps colours of a cloud in [-1, 1]^3; CompareError when there is no surface."""
    import open3d

    converted = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(cloud.points))
    converted.normals = open3d.utility.Vector3dVector(np.asarray(cloud.normals))
    if cloud.colors is not None:
        converted.colors = open3d.utility.Vector3dVector(cloud.colors)
    create = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson
    try:
        # The C++ code prints its warnings.
        with silent_libraries():
            mesh, density = create(converted, depth=depth, n_threads=threads)
    except RuntimeError as cause:
        raise CompareError(
            f"screened Poisson of {len(cloud.points)} points failed: {cause}.\n"
            "Look at the cloud in a viewer: normals must point outwards; a smaller depth needs less memory."
        ) from cause
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles).astype(np.int64)
    if not len(faces) or not np.isfinite(vertices).all():
        raise CompareError(
            f"screened Poisson found no surface through {len(cloud.points)} points: their normals cancel.\n"
            "Look at the cloud in a viewer: normals must point outwards."
        )
    found = {"vertices": vertices, "faces": faces, "density": np.asarray(density, dtype=np.float64)}
    # Without colours in the cloud the library makes all vertices black.
    if cloud.colors is not None:
        found["colors"] = np.clip(np.asarray(mesh.vertex_colors), 0, 1)
    return found
