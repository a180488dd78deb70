"""Distance of any points to a reference, mesh or cloud."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

Distance = Callable[[Float[np.ndarray, "p 3"]], Float[np.ndarray, "p"]]


def distance_to(reference: Mesh | PointCloud) -> Distance:
    """A function from world points to their distance, world units; the search structure is built once, here."""
    if isinstance(reference, Mesh):
        return RayCaster(reference).distance
    from scipy.spatial import cKDTree

    tree = cKDTree(reference.points)

    def nearest(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        return np.asarray(tree.query(points)[0], dtype=np.float64)

    return nearest
