"""Texels of triangles: the centre decides, shared edges share nothing, seams show no seam, filling mixes nothing in."""

import numpy as np
import pytest

from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture
from dvr_cli.surfaces.unwrapping.texels import claimed_texels, covered_texels, fill_around, joined, texels_around


def sheet(side, rng, low=0.05, high=0.95):
    """Corners of a square of 2 side^2 triangles with wobbly inner vertices, some of them upside down."""
    line = np.linspace(low, high, side + 1)
    points = np.stack(np.meshgrid(line, line), axis=-1)
    points[1:-1, 1:-1] += rng.uniform(-0.3, 0.3, (side - 1, side - 1, 2)) * (high - low) / side
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    corners = np.concatenate([np.stack(three, axis=2).reshape(-1, 3, 2) for three in ((a, b, c), (a, c, d))])
    corners[::3] = corners[::3, ::-1]
    return corners


def centres(texels, size):
    return np.stack([(texels.column + 0.5) / size, 1 - (texels.row + 0.5) / size], axis=1)


def twin(corners, size):
    """For every texel the number of triangles that hold its centre strictly inside, by testing all."""
    line = (np.arange(size) + 0.5) / size
    points = np.stack(np.meshgrid(line, 1 - line), axis=-1).reshape(-1, 1, 2)
    sides = []
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge, offset = corners[:, end] - corners[:, start], points - corners[:, start]
        sides.append(edge[:, 0] * offset[..., 1] - edge[:, 1] * offset[..., 0])
    sides = np.stack(sides)
    return ((sides > 0).all(axis=0) | (sides < 0).all(axis=0)).reshape(size, size, len(corners))


def test_texels_are_those_whose_centre_lies_inside():
    corners = np.random.default_rng(0).uniform(-0.1, 1.1, (40, 3, 2))
    inside = twin(corners, 64)
    claimed = claimed_texels(corners, 64)
    found = np.zeros_like(inside)
    found[claimed.row, claimed.column, claimed.face] = True
    np.testing.assert_array_equal(found, inside)
    covered = covered_texels(corners, 64)
    owner = np.full((64, 64), -1)
    owner[covered.row, covered.column] = covered.face
    np.testing.assert_array_equal(owner, np.where(inside.any(axis=2), inside.argmax(axis=2), -1))
    assert len(covered) == (owner >= 0).sum()


def test_weights_give_the_centre_of_the_texel():
    corners = sheet(7, np.random.default_rng(1))
    texels = covered_texels(corners, 100)
    places = np.einsum("nk,nkc->nc", texels.weights, corners[texels.face])
    np.testing.assert_allclose(places, centres(texels, 100), atol=1e-6)
    assert texels.weights.min() >= 0


def test_triangles_that_share_edges_share_no_texel_and_leave_none_out():
    # Corners on texel centres on purpose: every edge of the first sheet passes through centres.
    on_centres = (np.round(sheet(8, np.random.default_rng(2)) * 64 - 0.5) + 0.5) / 64
    for corners in (on_centres, sheet(9, np.random.default_rng(3))):
        claimed = claimed_texels(corners, 64)
        count = np.zeros((64, 64), dtype=int)
        np.add.at(count, (claimed.row, claimed.column), 1)
        assert count.max() == 1
        filled = np.flatnonzero(count.any(axis=1))
        assert (count[filled[0] : filled[-1] + 1, filled[0] : filled[-1] + 1] == 1).all()


def test_the_first_row_of_the_image_is_its_top():
    texels = covered_texels(np.array([[[0.0, 1.0], [0.0, 0.75], [0.3, 1.0]]]), 8)
    assert texels.row.max() <= 1 and texels.column.max() <= 2 and len(texels) > 0


@pytest.mark.parametrize(
    "corners",
    [
        np.zeros((0, 3, 2)),
        np.full((3, 3, 2), 0.5),
        np.array([[[0.1, 0.1], [0.9, 0.9], [0.5, 0.5]]]),
        np.array([[[2.0, 2.0], [3.0, 2.0], [2.0, 3.0]]]),
    ],
    ids=["none", "points", "line", "outside"],
)
def test_triangles_without_texels(corners):
    texels = covered_texels(corners, 16)
    assert len(texels) == 0
    around = texels_around(texels, corners, 16)
    assert np.isfinite(around.weights).all() and (len(around) > 0) == (len(corners) > 0)
    np.testing.assert_allclose(around.weights.sum(axis=1), 1, atol=1e-5)


def test_around_a_seam_the_plane_goes_on():
    """A colour linear on the surface is looked up exactly up to the rims of two charts that lie apart and askew."""
    angle = np.deg2rad(27)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    vertices = np.pad(np.concatenate([square, square[1:3] + np.eye(2)[0]]), ((0, 0), (0, 1)))
    faces = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]])
    flat = vertices[faces][..., :2]
    corners = np.concatenate([flat[:2] @ turn.T * 0.31 + [0.31, 0.13], (flat[2:] - [1, 0]) * 0.3 + [0.65, 0.6]])
    size = 41
    seen = covered_texels(corners, size)
    texels = joined([seen, texels_around(seen, corners, size)])
    points = np.einsum("nk,nkc->nc", texels.weights, flat[texels.face])
    image = np.zeros((size, size, 3))
    image[texels.row, texels.column, 0] = 40 * (points[:, 0] + 1) + 30 * (points[:, 1] + 1)
    mesh = Mesh(vertices, faces, texture=Texture(np.round(image).astype(np.uint8), corners))
    rng = np.random.default_rng(4)
    weights = rng.dirichlet([0.3, 0.3, 0.3], 4000)
    asked = rng.integers(0, 4, 4000)
    x, y = np.einsum("nk,nkc->nc", weights, flat[asked]).T
    expected = (40 * (x + 1) + 30 * (y + 1)) / 255
    np.testing.assert_allclose(mesh.texture.colours(asked, weights)[:, 0], expected, atol=0.51 / 255)


def test_a_face_too_small_to_own_a_texel_still_has_its_texels():
    tiny = np.array([[[0.51, 0.51], [0.512, 0.51], [0.511, 0.512]]])
    texels = covered_texels(tiny, 16)
    assert len(texels) == 0
    around = texels_around(texels, tiny, 16, rings=0)
    assert set(zip(around.row.tolist(), around.column.tolist(), strict=True)) == {(7, 7), (7, 8), (8, 7), (8, 8)}
    assert np.isfinite(around.weights).all() and np.abs(around.weights).max() <= 3


def test_rings_take_free_texels_only_once():
    corners = sheet(3, np.random.default_rng(5), 0.3, 0.6)
    seen = covered_texels(corners, 50)
    for rings in (1, 3):
        texels = joined([seen, texels_around(seen, corners, 50, rings)])
        taken = np.zeros((50, 50), dtype=int)
        np.add.at(taken, (texels.row, texels.column), 1)
        assert taken.max() == 1
        rows = np.flatnonzero(taken.any(axis=1))
        core = np.unique(seen.row)
        assert (rows[0], rows[-1]) == (core[0] - rings, core[-1] + rings)


def test_filling_keeps_what_is_known_and_stays_in_its_range():
    rng = np.random.default_rng(6)
    image, known = rng.uniform(0.3, 0.7, (45, 70, 3)), rng.random((45, 70)) < 0.02
    filled = fill_around(image, known)
    np.testing.assert_array_equal(filled[known], image[known].astype(np.float32))
    for channel in range(3):
        values = image[known][:, channel]
        assert filled[..., channel].min() >= values.min() - 1e-6 and filled[..., channel].max() <= values.max() + 1e-6


def test_averaging_down_mixes_nothing_in():
    """Every block of a smaller image is the mean of what its smallest known parts say: one colour stays one colour."""
    image, known = np.zeros((64, 64, 3)), np.zeros((64, 64), dtype=bool)
    image[:30, 5:40] = 0.8
    known[:30, 5:40] = True
    smaller = fill_around(image, known)
    while len(smaller) > 1:
        np.testing.assert_allclose(smaller, 0.8, atol=1e-6)
        smaller = smaller.reshape(len(smaller) // 2, 2, len(smaller) // 2, 2, 3).mean(axis=(1, 3))


def test_blocks_of_the_filled_image_are_means_of_the_known():
    image, known = np.random.default_rng(7).random((8, 8, 1)), np.zeros((8, 8), dtype=bool)
    known[1, 2] = known[0, 3] = known[6, 6] = True
    filled = fill_around(image, known, rings=0)
    block = (image[1, 2] + image[0, 3]) / 2
    np.testing.assert_allclose(filled[0, 2], block, atol=1e-6)
    np.testing.assert_allclose(filled[:4, :2].reshape(-1), np.full(8, block), atol=1e-6)
    np.testing.assert_allclose(filled[7, 0], (block + image[6, 6]) / 2, atol=1e-6)


def test_nothing_known_is_black():
    assert (fill_around(np.ones((6, 5, 3)), np.zeros((6, 5), dtype=bool)) == 0).all()
