"""Laws of packed meshes: unpacking as viewer.js does gives the mesh back, up to what was rounded and left out."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.comparing.metrics import surface_distance
from dvr_cli.reporting.stage import stage_of
from dvr_cli.reporting.viewer_meshes import Ball, ball_around, pack_mesh
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.normals import vertex_normals

BALL = Ball(np.array([1.0, 2.0, 3.0]), 4.0)


def inflated(text, kind):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=kind)


def channels(text, kind, count, width):
    """The twin of `channels` in viewer.js."""
    differences = inflated(text, kind).reshape(width, count)
    return np.cumsum(differences, axis=1, dtype=kind).T


def unpacked(packed, ball):
    """The twin of `decoded` in viewer.js."""
    count, faces = packed["vertices"], packed["faces"]
    kind = {16: "<u2", 32: "<u4"}[packed["index_bits"]]
    first, second, third = inflated(packed["indices"], kind).reshape(3, faces)
    first = np.cumsum(first, dtype=kind)
    corners = np.stack([first, first + second, first + third], axis=1).astype(kind).astype(np.int64)
    share = channels(packed["positions"], "<u2", count, 3) / 65535
    positions = (np.array(packed["low"]) + share * packed["size"]) * ball.radius + ball.centre
    normals = channels(packed["normals"], "u1", count, 3).view(np.int8) / 127
    colours = None if packed["colours"] is None else channels(packed["colours"], "u1", count, 3) / 255
    return Mesh(positions, corners, normals, colours)


def rows_sorted(array):
    return array[np.lexsort(array.T)]


@pytest.fixture(scope="module")
def mesh(comparison):
    return comparison.columns[0].mesh


def test_small_mesh_comes_back(mesh):
    result = unpacked(pack_mesh(mesh, BALL, len(mesh.faces)), BALL)
    step = np.ptp(mesh.vertices, axis=0).max() / 65535
    # Corners of faces, so that the order of vertices does not matter; the orientation of faces does.
    for a, b, tolerance in (
        (mesh.vertices, result.vertices, step),
        (mesh.normals, result.normals, 0.5 / 127 + 1e-9),
        (mesh.colors, result.colors, 0.5 / 255 + 1e-9),
    ):
        nearest = np.argmin(np.linalg.norm(mesh.vertices[:, None] - result.vertices[None], axis=2), axis=1)
        np.testing.assert_allclose(b[nearest], a, atol=tolerance)
    nearest = np.argmin(np.linalg.norm(result.vertices[:, None] - mesh.vertices[None], axis=2), axis=1)
    named = nearest[result.faces]
    turned = [np.roll(row, -int(np.argmin(row))) for row in named]
    expected = [np.roll(row, -int(np.argmin(row))) for row in mesh.faces]
    np.testing.assert_array_equal(rows_sorted(np.array(turned)), rows_sorted(np.array(expected)))


def test_decimation_keeps_the_shape_and_the_orientation(mesh):
    target = len(mesh.faces) // 4
    packed = pack_mesh(mesh, BALL, target)
    result = unpacked(packed, BALL)
    assert packed["all_faces"] == len(mesh.faces) and 0.7 * target <= packed["faces"] <= 1.1 * target
    distance = surface_distance(result, mesh, 2000, np.random.default_rng(0))
    assert distance.chamfer_percent < 0.6
    corners = result.vertices[result.faces] - result.vertices.mean(axis=0)
    assert np.linalg.det(corners).sum() > 0
    outwards = result.vertices - result.vertices.mean(axis=0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert (np.einsum("vi,vi->v", outwards, result.normals) > 0.95).all()


def test_open3d_decimates_where_the_faster_library_is_missing(mesh, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    test_decimation_keeps_the_shape_and_the_orientation(mesh)


def test_many_vertices_take_wide_indices():
    count = 30_000
    corners = np.random.default_rng(0).normal(size=(3 * count, 3))
    soup = Mesh(corners, np.arange(3 * count).reshape(-1, 3))
    packed = pack_mesh(soup, BALL, count)
    assert packed["index_bits"] == 32 and packed["faces"] == count
    result = unpacked(packed, BALL)
    area = np.linalg.norm(np.cross(*(np.diff(soup.vertices[soup.faces], axis=1).transpose(1, 0, 2))), axis=1)
    kept = np.linalg.norm(np.cross(*(np.diff(result.vertices[result.faces], axis=1).transpose(1, 0, 2))), axis=1)
    np.testing.assert_allclose(np.sort(kept), np.sort(area), atol=0.01)


def test_errors_are_those_of_the_vertices(mesh):
    packed = pack_mesh(mesh, BALL, len(mesh.faces), lambda points: np.linalg.norm(points, axis=1), 20.0)
    errors = channels(packed["errors"], "u1", packed["vertices"], 1)[:, 0] / 255
    expected = np.linalg.norm(unpacked(packed, BALL).vertices, axis=1) / 20.0
    np.testing.assert_allclose(errors, np.clip(expected, 0, 1), atol=0.5 / 255 + 1e-3)


def test_normals_are_made_where_a_mesh_has_none(mesh):
    made = vertex_normals(mesh)
    assert np.einsum("vi,vi->v", made, mesh.normals).min() > 0.98
    bare = unpacked(pack_mesh(Mesh(mesh.vertices, mesh.faces), BALL, len(mesh.faces)), BALL)
    assert bare.colors is None and np.linalg.norm(bare.normals, axis=1).min() > 0.98


def test_unused_vertices_and_flat_meshes_pack():
    flat = Mesh(np.array([[0.0, 0, 0], [9, 9, 9], [1, 0, 0], [0, 1, 0]]), np.array([[0, 2, 3]]))
    packed = pack_mesh(flat, BALL, 100)
    assert packed["vertices"] == 3
    np.testing.assert_allclose(
        rows_sorted(unpacked(packed, BALL).vertices), rows_sorted(flat.vertices[[0, 2, 3]]), atol=1e-4
    )


def test_ball_ignores_parts_flung_off(mesh):
    flung = Mesh(
        np.concatenate([mesh.vertices, mesh.vertices[:3] + 1000]),
        np.concatenate([mesh.faces, [[len(mesh.vertices), len(mesh.vertices) + 1, len(mesh.vertices) + 2]]]),
    )
    ball, plain = ball_around([flung, flung]), ball_around([mesh])
    assert ball.radius < 1.1 * plain.radius
    assert ball_around([Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))]).radius == 1.0


def test_meshes_without_faces_are_left_out(comparison):
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    columns = (replace(comparison.columns[0], mesh=empty), comparison.columns[1])
    stage = stage_of(replace(comparison, columns=columns), [], None)
    assert stage["names"] == [comparison.columns[1].name, "reference"]
    assert stage_of(replace(comparison, columns=columns[:1]), [], None) is None
