"""Meshes with a texture for the tests: a plane, and shapes whose texture says what their vertices say."""

from dataclasses import replace

import numpy as np

from dvr_cli.scenes.views import Camera
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture


def plane(image):
    """The square [-1, 1]^2 at z = 0 with an image on it, as a camera that looks along +z sees it."""
    vertices = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    corners = np.array([[[0.0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]]])
    # The camera's y points down, so the image's top (v = 1) is at y = -1.
    return Mesh(vertices, np.array([[0, 2, 1], [0, 3, 2]]), None, None, Texture(image, corners[:, [0, 2, 1]]))


def plane_camera(size, distance=3.0):
    """Sees the plane, just filling the picture, from z = -distance."""
    matrix = np.eye(4)
    matrix[2, 3] = distance
    focal = 0.5 * size * distance
    return Camera(np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]), matrix, size, size)


def as_texture(mesh, cell=8):
    """The mesh with its vertex colours in a texture: a right triangle of texels per face, linear as on the face.

    Corners lie on texel centres two texels inside the cell and colours go on linearly around them, so that bilinear
    look-up gives back what interpolation between vertices gives, up to the 8 bits of the image.
    """
    count = len(mesh.faces)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    row, column = np.divmod(np.arange(count), columns)
    legs = cell - 5
    first, second, third = (mesh.colors[mesh.faces[:, k]] for k in range(3))
    down, right = (np.mgrid[0:cell, 0:cell] - 2) / legs
    values = (
        first[:, None, None]
        + right[..., None] * (second - first)[:, None, None]
        + down[..., None] * (third - first)[:, None, None]
    )
    image = np.zeros((rows * cell, columns * cell, 3), dtype=np.uint8)
    tiles = image.reshape(rows, cell, columns, cell, 3)
    tiles[row, :, column] = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    height, width = image.shape[:2]
    places = np.array([[2.5, 2.5], [2.5 + legs, 2.5], [2.5, 2.5 + legs]])
    texels = places + cell * np.stack([column, row], axis=1)[:, None]
    corners = np.stack([texels[..., 0] / width, 1 - texels[..., 1] / height], axis=-1)
    return replace(mesh, texture=Texture(image, corners))
