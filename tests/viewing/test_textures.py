"""Textures in pictures: as they are where pixels are fine, averaged where pixels are coarse."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dvr_cli.comparing.photographs import judge_images
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import sphere
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.texture import Texture
from dvr_cli.viewing.render import Painter, cast, render_mesh, surface_colours
from dvr_cli.viewing.texture_levels import TextureLevels
from tests.viewing.textured import as_texture, plane, plane_camera

GENERATOR = np.random.default_rng(2)


@pytest.fixture(scope="module")
def ball():
    """(views, mesh with vertex colours, the same colours as a texture and others at the vertices)."""
    described, views, shape = synthetic_scene(sphere(0.6), views=4, image_size=96)
    unit = extract(shape.value, shape.gradient, lambda points, _: shape.colour(points), resolution=20)
    mesh = to_world(unit, described.world_from_unit)
    # Extrapolation around the corners must stay within what 8 bits can hold.
    coloured = replace(mesh, colors=np.clip(0.3 + 0.4 * mesh.colors, 0, 1))
    return views, coloured, replace(as_texture(coloured), colors=np.zeros_like(coloured.colors))


def test_an_image_on_a_plane_is_seen_upright_and_texel_by_texel():
    image = GENERATOR.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    picture = render_mesh(plane(image), plane_camera(24), "colour", supersample=1)
    np.testing.assert_allclose(picture, image / 255, atol=1e-4)


def test_texture_of_the_same_colours_looks_like_vertex_colours(ball):
    views, coloured, textured = ball
    for view in views:
        one, other = (render_mesh(mesh, view.camera, "colour") for mesh in (coloured, textured))
        assert np.abs(one - other).max() < 1 / 255


def test_images_are_judged_by_the_texture_before_the_vertices(ball):
    views, coloured, textured = ball
    one, other = (judge_images(mesh, views, range(4)) for mesh in (coloured, textured))
    for before, after in zip(one.measures, other.measures, strict=True):
        assert after.value == pytest.approx(before.value, rel=2e-3), after.name
    assert one.settings["colours"] == "vertices" and other.settings["colours"] == "texture"
    height, width = textured.texture.image.shape[:2]
    assert other.settings["texture_size"] == f"{width}x{height}"


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_coarse_pixels_see_the_mean_of_their_texels(factor):
    """Texels of noise: one ray per pixel without levels would keep their full contrast."""
    image = GENERATOR.integers(0, 256, (192, 192, 3), dtype=np.uint8)
    camera = plane_camera(192 // factor)
    surface = cast(plane(image), camera)
    seen = surface_colours(plane(image), surface, camera)
    assert seen.std() < 1.5 * (image / 255).std() / factor
    assert seen.mean() == pytest.approx((image / 255).mean(), abs=0.01)


def test_anti_aliasing_converges():
    image = GENERATOR.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mesh, camera = plane(np.repeat(np.repeat(image, 4, axis=0), 4, axis=1)), plane_camera(37, distance=2.8)
    finest = render_mesh(mesh, camera, "colour", supersample=16)
    errors = [np.abs(render_mesh(mesh, camera, "colour", supersample=n) - finest).mean() for n in (1, 2, 4, 8)]
    assert all(fine < 0.8 * coarse for coarse, fine in pairwise(errors)), errors


def test_levels_exist_for_any_image_and_any_distance():
    for shape in ((1, 1), (1, 300), (37, 5), (129, 64)):
        image = np.full((*shape, 3), 200, dtype=np.uint8)
        mesh = plane(image)
        for length in (0.0, 1e-9, 0.01, 1.0, 1e9):
            weights = GENERATOR.dirichlet(np.ones(3), 50)
            found = TextureLevels(mesh).colours(np.zeros(50, dtype=np.int64), weights, np.full(50, length))
            np.testing.assert_allclose(found, 200 / 255, atol=1e-12)


def test_faces_without_extent_in_the_texture_or_in_the_world_do_no_harm():
    image = GENERATOR.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    vertices = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [0, 0, 0]])
    corners = np.zeros((2, 3, 2))
    mesh = Mesh(vertices, np.array([[0, 2, 1], [0, 2, 3]]), None, None, Texture(image, corners))
    picture = render_mesh(mesh, plane_camera(20), "colour", supersample=1)
    # All of the face has the colour of the image's lower left corner.
    np.testing.assert_allclose(picture[5, 15], image[-1, 0] / 255)


def test_strips_threads_and_neighbours_change_nothing(ball, monkeypatch):
    views, _, textured = ball
    whole = Painter(textured, threads=1).draw(views[0].camera, "colour", 3)
    monkeypatch.setattr("dvr_cli.viewing.render.STRIP_RAYS", 900)
    strips = Painter(textured, threads=2).draw(views[0].camera, "colour", 3)
    np.testing.assert_allclose(strips.colour, whole.colour, atol=1e-5)
    np.testing.assert_array_equal(strips.coverage, whole.coverage)
    assert strips.depth_range == pytest.approx(whole.depth_range)


def test_camera_inside_sees_the_object_from_within(ball):
    views, _, textured = ball
    matrix = views[0].camera.camera_from_world.copy()
    matrix[:3, 3] = -matrix[:3, :3] @ textured.vertices.mean(axis=0)
    inside = replace(views[0].camera, camera_from_world=matrix)
    layer = Painter(textured).draw(inside, "colour", 1)
    assert (layer.coverage == 1).all() and layer.depth_range[0] > 0
