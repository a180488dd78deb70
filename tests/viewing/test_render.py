"""Laws of the renderer: its rays are the camera's rays, and pictures show what the mesh is."""

import numpy as np
import pytest

from dvr_cli.scenes.synthetic import demo_shape, make_views, synthetic_scene
from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.viewing.render import BACKGROUNDS, cast, render_mesh, render_values


@pytest.fixture(scope="module")
def scene():
    return synthetic_scene(views=3, image_size=96, seed=0, with_depth=True)


@pytest.fixture(scope="module")
def mesh(scene):
    shape = demo_shape(0)
    unit = extract(shape.value, shape.gradient, lambda points, _: shape.colour(points), resolution=128)
    return to_world(unit, scene[0].world_from_unit)


def test_cast_agrees_with_the_photographs(scene, mesh):
    """Half a pixel of disagreement between the two ray casters would show in mask and depth."""
    scale = np.cbrt(np.linalg.det(scene[0].world_from_unit[:3, :3]))
    for view in scene[1]:
        surface = cast(mesh, view.camera)
        assert (surface.hit != view.mask).mean() < 2e-3
        both = surface.hit & view.mask
        assert np.median(np.abs(surface.depth - view.depth)[both]) < 1e-3 * scale


def test_colours_of_the_exact_mesh_reproduce_the_photographs(scene, mesh):
    for view in scene[1]:
        picture = render_mesh(mesh, view.camera, "colour")
        assert np.abs(picture - view.image)[view.mask].mean() < 0.04


def test_normals_face_the_camera_and_depth_is_brightest_where_nearest(scene, mesh):
    view = scene[1][0]
    normals = 2 * render_mesh(mesh, view.camera, "normals", supersample=1) - 1
    surface = cast(mesh, view.camera)
    np.testing.assert_allclose(np.linalg.norm(normals[surface.hit], axis=1), 1, atol=1e-6)
    rows, columns = np.nonzero(surface.hit)
    directions = view.camera.rays(np.stack([columns, rows], axis=1) + 0.5)[1]
    # Interpolated normals may look away by a little at the very border.
    assert (np.einsum("ni,ni->n", normals[surface.hit], directions) < 0.1).all()
    brightness = render_mesh(mesh, view.camera, "depth", supersample=1)[..., 0]
    nearest = np.unravel_index(np.argmin(np.where(surface.hit, surface.depth, np.inf)), surface.hit.shape)
    assert brightness[surface.hit].max() == brightness[nearest] == 1


def test_shading_is_plain_and_darker_towards_the_rim():
    shape = Sphere(0.6)
    view = make_views(demo_shape(), views=1, image_size=64, seed=0, world_from_unit=np.eye(4))[0]
    mesh = extract(shape.value, shape.gradient, resolution=48)
    picture = render_mesh(mesh, view.camera)
    hit = cast(mesh, view.camera).hit
    rows, columns = np.nonzero(hit)
    middle = picture[int(rows.mean()), int(columns.mean())]
    lowest_rim = picture[rows.max() - 1, columns[rows == rows.max()][0]]
    assert middle.min() > 1.3 * lowest_rim.max()
    np.testing.assert_allclose(picture[0, 0], BACKGROUNDS["light"])
    np.testing.assert_allclose(render_mesh(mesh, view.camera, background="dark")[0, 0], BACKGROUNDS["dark"])


def test_flat_shading_without_normals_and_clay_without_colours():
    shape = Sphere(0.6)
    view = make_views(demo_shape(), views=1, image_size=48, seed=0, world_from_unit=np.eye(4))[0]
    mesh = extract(shape.value, shape.gradient, resolution=96)
    bare = Mesh(mesh.vertices, mesh.faces)
    np.testing.assert_allclose(render_mesh(bare, view.camera), render_mesh(mesh, view.camera), atol=0.1)
    np.testing.assert_array_equal(render_mesh(bare, view.camera, "colour"), render_mesh(bare, view.camera))


def test_mesh_behind_the_camera_is_not_seen():
    shape = Sphere(0.2, (0.0, 0.0, 0.0))
    view = make_views(demo_shape(), views=1, image_size=32, seed=0, world_from_unit=np.eye(4))[0]
    mesh = extract(shape.value, shape.gradient, resolution=24)
    behind = Mesh(mesh.vertices + 2 * view.camera.centre, mesh.faces, mesh.normals)
    for what in ("shaded", "normals", "depth"):
        picture = render_mesh(behind, view.camera, what)
        np.testing.assert_allclose(picture, np.broadcast_to(BACKGROUNDS["light"], picture.shape))


def test_values_are_red_above_blue_below_white_at_zero():
    shape = Sphere(0.6)
    view = make_views(demo_shape(), views=1, image_size=32, seed=0, world_from_unit=np.eye(4))[0]
    mesh = extract(shape.value, shape.gradient, resolution=24)
    ones = np.ones(len(mesh.vertices))
    hit = cast(mesh, view.camera).hit
    row, column = (int(index.mean()) for index in np.nonzero(hit))
    above, below, zero = (render_values(mesh, view.camera, s * ones, limit=0.5)[row, column] for s in (9, -9, 0))
    assert above[0] > 2 * above[2] and below[2] > 2 * below[0] and zero.min() > 0.9
