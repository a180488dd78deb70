"""Laws of visibility: the visible part of a sphere in closed form, hidden parts, picture edges, chunks."""

import numpy as np
import pytest

from dvr_cli.comparing import visibility
from dvr_cli.comparing.visibility import in_picture, sees, views_that_see
from dvr_cli.scenes.synthetic import cameras_around
from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster

RADIUS, SLACK = 0.5, 1e-3
CAMERAS = cameras_around(12, 64, np.random.default_rng(3), np.eye(4))


def ball(radius=RADIUS, centre=(0.0, 0.0, 0.0)):
    mesh = extract(Sphere(radius).value, Sphere(radius).gradient, resolution=64)
    return Mesh(mesh.vertices + np.asarray(centre), mesh.faces)


def joined(first, second):
    return Mesh(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, second.faces + len(first.vertices)]),
    )


def directions(count=2000):
    found = np.random.default_rng(0).normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def heights_above_the_horizon(points):
    """Of each point (column) for each camera (row); the sphere's horizon is the plane p . c = r^2."""
    return np.stack([points @ camera.centre - RADIUS**2 for camera in CAMERAS])


# Just past the horizon a chord is shallower than the slack and the polyhedron's distance from its sphere (6e-4): with
# normals only the rounding counts; without, the angle past the horizon must exceed sqrt(2 * 1.6e-3 / r) = 0.08.
@pytest.mark.parametrize(("with_normals", "margin"), [(True, 1e-6), (False, 0.2)])
def test_cameras_see_the_cap_of_a_sphere_before_their_horizon(with_normals, margin):
    """A camera at c sees a point p of the sphere when p . c > r^2, normals or not: a closed body hides its back."""
    normals = directions()
    points = RADIUS * normals
    heights = heights_above_the_horizon(points)
    counts = views_that_see(RayCaster(ball()), points, normals if with_normals else None, CAMERAS, SLACK)
    clear = (np.abs(heights) > margin).all(axis=0)
    assert clear.sum() > 300
    np.testing.assert_array_equal(counts[clear], (heights > 0).sum(axis=0)[clear])


def test_normals_turned_inwards_are_seen_by_nobody():
    normals = directions()
    clear = (np.abs(heights_above_the_horizon(RADIUS * normals)) > 0.2).all(axis=0)
    counts = views_that_see(RayCaster(ball()), RADIUS * normals, -normals, CAMERAS, SLACK)
    assert (counts[clear] == 0).all()


def test_what_lies_inside_another_surface_is_hidden():
    inner = ball(0.3)
    both = RayCaster(joined(ball(), inner))
    normals = inner.vertices / np.linalg.norm(inner.vertices, axis=1, keepdims=True)
    assert (views_that_see(both, inner.vertices, normals, CAMERAS, SLACK) == 0).all()
    assert (views_that_see(RayCaster(inner), inner.vertices, normals, CAMERAS, SLACK) > 0).all()


def test_what_stands_behind_the_camera_hides_nothing():
    camera = CAMERAS[0]
    behind = ball(0.2, centre=1.5 * camera.centre)
    point = RADIUS * camera.centre[None] / np.linalg.norm(camera.centre)
    assert sees(RayCaster(joined(ball(), behind)), camera, point, SLACK).all()
    between = ball(0.2, centre=0.5 * camera.centre)
    assert not sees(RayCaster(joined(ball(), between)), camera, point, SLACK).any()


def test_picture_ends_at_its_edges():
    camera = CAMERAS[0]
    pixels = np.array([[0.01, 0.01], [63.99, 47.99], [-0.01, 5], [5, -0.01], [64.01, 5], [5, 48.01]])
    origins, ray_directions = camera.rays(pixels)
    np.testing.assert_array_equal(in_picture(camera, origins + ray_directions), [True, True] + 4 * [False])
    assert not in_picture(camera, origins - ray_directions).any()
    assert not in_picture(camera, origins + ray_directions, margin=0.5).any()


def test_scale_and_place_of_the_world_change_nothing():
    normals = directions(500)
    here = views_that_see(RayCaster(ball()), RADIUS * normals, normals, CAMERAS, SLACK)
    world_from_unit = np.diag([400.0, 400, 400, 1])
    world_from_unit[:3, 3] = [3000, -200, 50]
    cameras = cameras_around(12, 64, np.random.default_rng(3), world_from_unit)
    mesh = Mesh(ball().vertices * 400 + world_from_unit[:3, 3], ball().faces)
    points = RADIUS * normals * 400 + world_from_unit[:3, 3]
    there = views_that_see(RayCaster(mesh), points, normals, cameras, 400 * SLACK)
    assert (here != there).mean() < 0.01  # single precision decides at the horizon


def test_chunks_change_nothing(monkeypatch):
    normals = directions()
    arguments = RayCaster(ball()), RADIUS * normals, normals, CAMERAS, SLACK
    whole = views_that_see(*arguments)
    monkeypatch.setattr(visibility, "_CHUNK", 37)
    np.testing.assert_array_equal(views_that_see(*arguments), whole)


def test_no_points_and_no_cameras():
    caster, nothing = RayCaster(ball()), np.zeros((0, 3))
    assert views_that_see(caster, nothing, nothing, CAMERAS, SLACK).shape == (0,)
    assert sees(caster, CAMERAS[0], nothing, SLACK).shape == (0,)
    np.testing.assert_array_equal(views_that_see(caster, np.ones((2, 3)), None, [], SLACK), [0, 0])
