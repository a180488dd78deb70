"""Turning, scaling and centring are exact, and the text says what was done."""

import numpy as np
import pytest
from textured_mesh import textured_sphere

from dvr_cli.surfaces.export import FileOptions, read_mesh, write_mesh
from dvr_cli.surfaces.files.placement import (
    CONVENTIONAL,
    Y_FROM_UP,
    Placement,
    placed,
    rotation_to_y,
    rounding_note,
    stated,
)
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import faces_outward, signed_volume

AXES = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]}


@pytest.fixture(scope="module")
def mesh():
    return textured_sphere()


@pytest.mark.parametrize("up", Y_FROM_UP)
def test_what_points_up_becomes_y(up):
    rotation = Placement(up).file_from_scene(".glb", np.zeros(3))[:3, :3]
    direction = np.array(AXES[up[-1]]) * (-1 if up.startswith("-") else 1)
    np.testing.assert_array_equal(rotation @ direction, [0, 1, 0])
    np.testing.assert_array_equal(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == 1
    assert set(np.abs(rotation).ravel()) == {0, 1}


@pytest.mark.parametrize("suffix", CONVENTIONAL)
@pytest.mark.parametrize("up", Y_FROM_UP)
def test_turned_mesh_is_the_same_shape(mesh, up, suffix):
    turned = placed(mesh, Placement(up), suffix)
    rotation = np.array(Y_FROM_UP[up])
    np.testing.assert_array_equal(turned.vertices, mesh.vertices @ rotation.T)
    np.testing.assert_array_equal(turned.normals, mesh.normals @ rotation.T)
    assert faces_outward(turned)
    assert turned.texture is mesh.texture and turned.colors is mesh.colors


def test_a_millimetre_is_a_thousandth(mesh):
    scaled = placed(mesh, Placement("z", "mm"), ".glb")
    assert signed_volume(scaled) == pytest.approx(signed_volume(mesh) * 1e-9)
    np.testing.assert_allclose(np.linalg.norm(scaled.normals, axis=1), 1)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl"])
def test_formats_without_conventions_keep_the_scene(mesh, suffix):
    assert placed(mesh, Placement("z", "mm"), suffix) is mesh


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb"])
def test_centre_goes_to_the_origin_of_every_file(mesh, tmp_path, suffix):
    placement = Placement("-x", "mm", center=True)
    write_mesh(mesh, tmp_path / f"a{suffix}", FileOptions(placement))
    vertices = read_mesh(tmp_path / f"a{suffix}").vertices
    np.testing.assert_allclose(vertices.min(axis=0) + vertices.max(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(placement.shift(mesh), [-200, -210, -220], atol=1e-6)


def test_matrix_says_where_a_point_went(mesh):
    placement = Placement("z", "mm", center=True)
    matrix = placement.file_from_scene(".glb", placement.shift(mesh))
    moved = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(placed(mesh, placement, ".glb").vertices, moved, atol=1e-12)


def test_nothing_said_nothing_moved(mesh):
    assert placed(mesh, Placement(), ".glb") is mesh
    np.testing.assert_array_equal(Placement().shift(mesh), 0)


@pytest.mark.parametrize(
    ("placement", "name", "text"),
    [
        (Placement("z", "m"), "a.glb", "a.glb: y up, metres"),
        (Placement("y", "mm"), "a.USDZ", "a.USDZ: y up, metres"),
        (Placement("z", "m"), "a.b.ply", "a.b.ply: axes and units of the scene"),
        (Placement(), "a.obj", "a.obj: axes and units of the scene"),
        (Placement(), "a.glb", "a.glb: axes and units of the scene (viewers take y for up and units for metres; "
                               "say --up and --units)"),
        (Placement("z"), "a.glb", "a.glb: y up, units of the scene (viewers take them for metres; say --units)"),
        (Placement(units="m"), "a.glb", "a.glb: metres, axes of the scene (viewers take y for up; say --up)"),
        (Placement(center=True), "a.stl", "a.stl: axes and units of the scene; centred, (1, -2.5, 0) of the scene "
                                          "added to its coordinates"),
    ],
)  # fmt: skip
def test_text(placement, name, text):
    assert stated(placement, name, np.array([1.0, -2.5, 0.0])) == text


@pytest.mark.parametrize(("offset", "noted"), [(0.0, False), (100.0, False), (5e5, True)])
def test_rounding_far_from_the_origin_is_noted(offset, noted):
    """At 500 km single precision has steps of 31 mm, which a box of 2 m shows."""
    vertices = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]) + offset
    mesh = Mesh(vertices, np.array([[0, 1, 2]]))
    note = rounding_note(mesh)
    assert (note is not None) == noted
    assert not noted or ("0.016 units" in note and "--center" in note)
    assert rounding_note(placed(mesh, Placement(center=True), ".ply")) is None


def test_no_vertices():
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    np.testing.assert_array_equal(Placement(center=True).shift(empty), 0)
    assert rounding_note(empty) is None


@pytest.mark.parametrize("up", [(0, 1, 0), (0, -1, 0), (0, 0, 1), (1, 0, 0), (0.2, -0.9, 0.3), (-3, 1, 2)])
def test_any_direction_can_be_up(up):
    rotation = rotation_to_y(np.array(up, dtype=np.float64))
    np.testing.assert_allclose(rotation @ up, [0, np.linalg.norm(up), 0], atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    # The smallest rotation leaves what is perpendicular to both alone.
    axis = np.array([-up[2], 0, up[0]], dtype=np.float64)
    if axis.any():
        np.testing.assert_allclose(rotation @ axis, axis, atol=1e-12)


def test_a_direction_turns_as_the_axis_it_lies_on_does():
    by_axis, by_direction = Placement(up="-x"), Placement(direction=(-2.0, 0.0, 0.0))
    np.testing.assert_allclose(
        by_direction.file_from_scene(".glb", np.zeros(3))[1],
        by_axis.file_from_scene(".glb", np.zeros(3))[1],
        atol=1e-12,
    )
    assert "y up" in stated(by_direction, "a.glb", np.zeros(3))
