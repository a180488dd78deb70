"""A closed mesh with a texture whose colour at every point is known."""

from dataclasses import replace

import numpy as np

from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture

CELL = 32
"""Texels across one of the six charts, which lie in two rows of three."""


def asymmetric_image() -> np.ndarray:
    """An image like no mirror image or rotation of itself: red grows to the right, green upwards, blue by chart."""
    rows, columns = np.mgrid[0 : 2 * CELL, 0 : 3 * CELL]
    red = 40 + 2 * columns
    green = 40 + 3 * (2 * CELL - 1 - rows)
    blue = 40 * (columns // CELL + 3 * (rows // CELL))
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def colour_at(coordinates: np.ndarray) -> np.ndarray:
    """Red and green in 0..255 that the image has at texture coordinates (..., 2), v upwards, away from its edges."""
    width, height = 3 * CELL, 2 * CELL
    return np.stack([40 + 2 * (coordinates[..., 0] * width - 0.5), 40 + 3 * (coordinates[..., 1] * height - 0.5)], -1)


def textured_sphere(resolution: int = 16) -> Mesh:
    """A sphere around (200, 210, 220) with normals, vertex colours and six charts, one for each side of a box."""
    shape = Sphere(0.6)
    unit = extract(shape.value, shape.gradient, lambda points, _: 0.5 + 0.5 * points, resolution=resolution)
    middle = unit.vertices[unit.faces].mean(axis=1)
    axis = np.abs(middle).argmax(axis=1)
    side = 2 * axis + (middle[np.arange(len(middle)), axis] < 0)
    across = np.array([[1, 2], [2, 0], [0, 1]])[axis]
    local = np.take_along_axis(unit.vertices[unit.faces], across[:, None, :].repeat(3, axis=1), axis=2)
    corners = (np.stack([side % 3, side // 3], axis=1)[:, None] + 0.5 + 0.6 * local) / [3, 2]
    world = unit.vertices * 37.0 + [200.0, 210.0, 220.0]
    return Mesh(world, unit.faces, unit.normals, unit.colors, Texture(asymmetric_image(), corners))


def without_texture(mesh: Mesh) -> Mesh:
    """The mesh with its vertex colours alone."""
    return replace(mesh, texture=None)


def points_on(mesh: Mesh, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Faces and barycentric weights of points on the mesh."""
    generator = np.random.default_rng(0)
    return generator.integers(0, len(mesh.faces), count), generator.dirichlet([1.0, 1.0, 1.0], count)
