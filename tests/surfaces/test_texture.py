"""Looking up colours: texel centres, the upright direction, linear interpolation, edges."""

import numpy as np

from dvr_cli.surfaces.cleaning import keep_faces
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture


def whole_image(image):
    """Two faces that show the whole image: lower right and upper left half."""
    corners = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], dtype=np.float64)
    return Texture(image, corners)


def weights_at(u, v):
    """Weights of the lower right face's corners (0, 0), (1, 0), (1, 1) at a point with u >= v."""
    return np.array([[1 - u, u - v, v]])


def test_texel_centres_give_the_texels_upright():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    texture = whole_image(image)
    for row, column in ((3, 4), (0, 4), (2, 3)):
        u, v = (column + 0.5) / 5, 1 - (row + 0.5) / 4
        face, weights = (0, weights_at(u, v)) if u >= v else (1, np.array([[1 - v, u, v - u]]))
        np.testing.assert_allclose(texture.colours(np.array([face]), weights)[0], image[row, column] / 255, atol=1e-12)


def test_colours_are_linear_between_centres():
    image = np.array([[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], [255, 255, 0]]], dtype=np.uint8)
    found = whole_image(image).colours(np.array([0]), weights_at(0.5, 0.5))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0]], atol=1e-12)


def test_beyond_the_outer_centres_the_edge_goes_on():
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[1, 1] = 200
    found = whole_image(image).colours(np.array([0, 0]), np.concatenate([weights_at(1.0, 0.0), weights_at(0.8, 0.1)]))
    np.testing.assert_allclose(found, 200 / 255)


def test_no_points_have_no_colours():
    texture = whole_image(np.zeros((2, 2, 3), dtype=np.uint8))
    assert texture.colours(np.zeros(0, dtype=np.int64), np.zeros((0, 3))).shape == (0, 3)


def test_kept_faces_keep_their_place_in_the_image():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = Mesh(vertices, faces, texture=whole_image(np.zeros((2, 2, 3), dtype=np.uint8)))
    kept = keep_faces(mesh, np.array([False, True]))
    np.testing.assert_array_equal(kept.texture.corners, mesh.texture.corners[1:])
