"""A triangle mesh as plain arrays. Faces are counter-clockwise seen from outside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dvr_cli.surfaces.texture import Texture


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh."""

    vertices: Float[np.ndarray, "v 3"]
    """World coordinates, float64."""
    faces: Int[np.ndarray, "f 3"]
    """Vertex indices, counter-clockwise from outside."""
    normals: Float[np.ndarray, "v 3"] | None = None
    """Unit normals at the vertices, outwards."""
    colors: Float[np.ndarray, "v 3"] | None = None
    """RGB in [0, 1]."""
    texture: Texture | None = None
    """Colours finer than the vertices; where there is one it goes before `colors`."""
