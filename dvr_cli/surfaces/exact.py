"""The exact surface of a synthetic shape as a mesh: what a reconstruction of it is measured against."""

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.synthetic_shapes import Shape
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh

REFERENCE_RESOLUTION = 300
"""Samples per side: the vertices are exact, and faces so small stay within 1e-5 of the cube of a round shape."""


def exact_surface(
    shape: Shape, world_from_unit: Float[np.ndarray, "4 4"], resolution: int = REFERENCE_RESOLUTION
) -> Mesh:
    """The zero level of the shape as a fine mesh in world units, coloured as photographed."""
    mesh = extract(shape.value, shape.gradient, lambda points, _: shape.colour(points), resolution=resolution)
    return to_world(mesh, world_from_unit)
