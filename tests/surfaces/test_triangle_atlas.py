"""The atlas that cannot fail: every triangle owns texels, none two; padding where there is room; any mesh at all."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from sizes import largest

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture
from dvr_cli.surfaces.unwrapping.texels import claimed_texels, covered_texels, joined, texels_around
from dvr_cli.surfaces.unwrapping.triangle_atlas import triangle_corners, triangle_strip


def soup(count, rng, spread=1.5):
    """Triangles of very different sizes and shapes, far from the origin."""
    size = np.exp(rng.normal(0, spread, (count, 1, 1)))
    vertices = (rng.normal(size=(count, 1, 3)) * 5 + rng.normal(size=(count, 3, 3)) * size).reshape(-1, 3) + 100
    return Mesh(vertices, np.arange(3 * count).reshape(-1, 3))


def check(corners, size, count):
    """Everything in the image, counter-clockwise; each face owns a texel, each texel at most one face."""
    assert corners.shape == (count, 3, 2)
    assert np.isfinite(corners).all() and corners.min() > 0 and corners.max() < 1
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] > 0).all()
    texels = claimed_texels(corners, size)
    assert np.bincount(texels.row.astype(np.int64) * size + texels.column, minlength=1).max() == 1
    assert np.bincount(texels.face, minlength=count).min() >= 1
    return texels


@pytest.mark.parametrize("size", [64, 100, 257])
@pytest.mark.parametrize("count", [1, 2, 3, 50, 1001])
def test_every_face_owns_texels_of_its_own(count, size):
    check(triangle_corners(soup(count, np.random.default_rng(count)), size), size, count)


@pytest.mark.parametrize("count", [4096, 4095, 2500, 2048, 700])
def test_as_many_faces_as_texels_fit(count):
    check(triangle_corners(soup(count, np.random.default_rng(1)), 64), 64, count)


def test_more_faces_than_texels_is_an_error_that_names_the_size():
    with pytest.raises(ExportError, match=r"4097 faces .* at least 65 texels"):
        triangle_corners(soup(4097, np.random.default_rng(1)), 64)


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 4, 7])
def test_texels_of_two_faces_are_apart_by_the_padding(padding):
    size, mesh = 256, soup(40, np.random.default_rng(2), 0.5)
    texels = check(triangle_corners(mesh, size, padding), size, 40)
    owner = np.full((size, size), -1)
    owner[texels.row, texels.column] = texels.face
    for face in range(40):
        distance = distance_transform_edt(owner != face)
        assert distance[(owner >= 0) & (owner != face)].min() >= padding + 1


def test_padding_goes_when_there_is_no_room():
    corners = triangle_corners(soup(4096, np.random.default_rng(3)), 64, padding=8)
    check(corners, 64, 4096)


def test_meshes_that_are_no_meshes():
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert triangle_corners(nothing, 16).shape == (0, 3, 2)
    points = Mesh(np.ones((1, 3)), np.zeros((7, 3), dtype=np.int64))
    check(triangle_corners(points, 16), 16, 7)
    vertices = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan, 0, 0], [np.inf, 1, 2], [1e200, 0, 0], [1e-200, 0, 0]]
    )
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 2, 5], [0, 6, 6], [5, 5, 5]])
    check(triangle_corners(Mesh(vertices, faces), 64), 64, 6)


def test_texels_are_equally_large_on_large_and_small_faces():
    """Triangles of a shape that suits the cells, areas over a factor of 100: densities within the rounding of legs."""
    rng = np.random.default_rng(4)
    size = np.exp(rng.uniform(0, np.log(10), 200))
    shape = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    mesh = Mesh((shape * size[:, None, None]).reshape(-1, 3), np.arange(600).reshape(-1, 3))
    corners = triangle_corners(mesh, 1024)
    density = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1) / size
    assert density.max() / density.min() < 1.35


def test_a_look_up_reads_the_texels_of_its_own_face():
    """Each face has one colour; padding keeps it pure up to the face's edges, whatever lies next to it."""
    rng = np.random.default_rng(5)
    size, mesh = 128, soup(150, rng, 0.4)
    corners = triangle_corners(mesh, size, padding=2)
    seen = covered_texels(corners, size)
    texels = joined([seen, texels_around(seen, corners, size)])
    colours = rng.integers(0, 256, (150, 3), dtype=np.uint8)
    image = np.zeros((size, size, 3), dtype=np.uint8)
    image[texels.row, texels.column] = colours[texels.face]
    faces, weights = np.repeat(np.arange(150), 40), rng.dirichlet([0.4, 0.4, 0.4], 6000)
    np.testing.assert_allclose(Texture(image, corners).colours(faces, weights), colours[faces] / 255, atol=1e-9)


def test_a_strip_keeps_its_density_and_its_height():
    mesh = soup(30, np.random.default_rng(6), 0.2)
    corners, height = triangle_strip(mesh, 256, texels_per_unit=5.0)
    texels = check(corners, 256, 30)
    assert 256 - texels.row.min() <= height < 256
    corners, height = triangle_strip(mesh, 256, texels_per_unit=500.0)
    assert height > 256


@pytest.mark.slow
def test_millions_of_faces_have_a_texel_each():
    rng = np.random.default_rng(7)
    size, count = largest(4096, 2048), largest(5_000_000, 1_250_000)
    vertices = rng.normal(size=(100_000, 3))
    faces = rng.integers(0, len(vertices), (count, 3))
    check(triangle_corners(Mesh(vertices, faces), size), size, count)
