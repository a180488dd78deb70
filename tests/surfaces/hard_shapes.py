"""Surfaces that simplification breaks easily: thin, close to another, with handles, in many parts."""

import numpy as np

from dvr_cli.scenes.synthetic_shapes import Blend, RoundedBox, Sphere, Torus
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh

DOUBLE_TORUS = Blend(Torus(0.3, 0.12, (-0.32, 0.0, 0.0)), Torus(0.3, 0.12, (0.32, 0.0, 0.0)), softness=0.05)


def surface(shape, resolution=49, colour=None):
    return extract(shape.value, shape.gradient, colour, resolution=resolution)


def of_value(value, resolution):
    """The surface of a function without a gradient of its own."""

    def gradient(points, step=1e-5):
        offsets = step * np.eye(3)
        return np.stack([(value(points + axis) - value(points - axis)) / (2 * step) for axis in offsets], axis=1)

    return extract(value, gradient, resolution=resolution)


def thin_sheet(thickness=0.06, resolution=65):
    """A wavy square of side 1.4 in all directions of the plane, as thick as given along z."""

    def value(points):
        x, y, z = points.T
        wave = 0.2 * np.sin(4 * x) * np.cos(3 * y)
        return np.maximum(np.maximum(np.abs(x), np.abs(y)) - 0.7, np.abs(z - wave) - thickness / 2)

    return of_value(value, resolution)


def ball_in_a_shell(gap=0.06, resolution=65):
    """A ball of radius 0.5 and around it, at the distance `gap`, a shell up to radius 0.8: three close surfaces."""

    def value(points):
        radius = np.linalg.norm(points, axis=1)
        return np.minimum(radius - 0.5, np.maximum(0.5 + gap - radius, radius - 0.8))

    return of_value(value, resolution)


def many_balls(count, faces_resolution=8):
    """Small balls on a lattice of whole numbers, all alike."""
    ball = surface(Sphere(0.3), faces_resolution)
    side = int(np.ceil(np.cbrt(count)))
    middles = np.argwhere(np.ones((side,) * 3, dtype=bool))[:count].astype(np.float64)
    vertices = (ball.vertices[None] + middles[:, None]).reshape(-1, 3)
    faces = ball.faces[None] + (np.arange(count) * len(ball.vertices))[:, None, None]
    return Mesh(vertices, faces.reshape(-1, 3))


def bumpy_torus(around, across):
    """A torus of 2 x around x across faces with waves on it, made without a field."""
    long, short = np.meshgrid(
        np.arange(around) / around * 2 * np.pi, np.arange(across) / across * 2 * np.pi, indexing="ij"
    )
    radius = 0.3 + 0.02 * np.sin(13 * long) * np.cos(7 * short)
    ring = 1 + radius * np.cos(short)
    vertices = np.stack([ring * np.cos(long), ring * np.sin(long), radius * np.sin(short)], axis=-1).reshape(-1, 3)
    first = np.arange(around * across).reshape(around, across)
    second, fourth = np.roll(first, -1, axis=0), np.roll(first, -1, axis=1)
    third = np.roll(second, -1, axis=1)
    halves = [np.stack(corners, axis=-1).reshape(-1, 3) for corners in ((first, second, third), (first, third, fourth))]
    return Mesh(vertices, np.concatenate(halves))


SHAPES = {
    "sphere": lambda: surface(Sphere(0.6)),
    "torus": lambda: surface(Torus(0.5, 0.2)),
    "double torus": lambda: surface(DOUBLE_TORUS),
    "box": lambda: surface(RoundedBox((0.5, 0.4, 0.3), 0.05)),
    "thin sheet": thin_sheet,
    "ball in a shell": ball_in_a_shell,
}
