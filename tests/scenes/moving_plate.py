"""A shape with a part that can stand elsewhere."""

import numpy as np

from dvr_cli.scenes.synthetic_shapes import Blend, RoundedBox, Shape, Sphere, solid_texture


def ball_with_plate(place: float) -> Shape:
    """A ball and, apart from it, a thin plate at x = `place` (0.3 to 0.55)."""
    plate = RoundedBox((0.03, 0.22, 0.22), 0.03, (place, 0.0, 0.0))
    both = Blend(Sphere(0.38, (-0.25, 0.0, 0.0)), plate, softness=0.02)
    return Shape(both, solid_texture(np.random.default_rng(0), 0.1), 0.8)
