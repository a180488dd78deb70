"""A point cloud as three arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class PointCloud:
    """Points in the world, possibly with normals and colours."""

    points: Float[np.ndarray, "p 3"]
    """World coordinates, float64."""
    normals: Float[np.ndarray, "p 3"] | None = None
    """Unit normals, outwards."""
    colors: Float[np.ndarray, "p 3"] | None = None
    """RGB in [0, 1]."""
