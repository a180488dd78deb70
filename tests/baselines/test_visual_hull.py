"""The visual hull of a sphere, and colours from photographs."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.baselines.colouring import colour_from_views
from dvr_cli.baselines.visual_hull import visual_hull
from dvr_cli.errors import CompareError
from dvr_cli.scenes.cameras import apply
from dvr_cli.scenes.synthetic import make_views, sphere, synthetic_scene
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.normals import vertex_normals
from dvr_cli.surfaces.topology import faces_outward, signed_volume

RADIUS, RESOLUTION, PIXEL = 0.6, 40, 0.033
"""Width of a pixel on the sphere, in unit space."""


@pytest.fixture(scope="module")
def scene():
    return synthetic_scene(sphere(RADIUS, shortest_wave=0.15), views=24, image_size=64)


@pytest.fixture(scope="module")
def hull(scene):
    return visual_hull(scene[1], scene[0].unit_from_world, RESOLUTION)


def radii(mesh, scene):
    return np.linalg.norm(apply(scene[0].unit_from_world, mesh.vertices), axis=1)


def unit_volume(mesh, scene):
    return signed_volume(mesh) * np.linalg.det(scene[0].unit_from_world[:3, :3])


def test_hull_of_many_views_is_the_sphere(scene, hull):
    assert faces_outward(hull)
    found = radii(hull, scene)
    # Pixels whose centre sees the sphere end up to half a pixel inside of it, and cones stand off between views.
    assert found.min() > RADIUS - 0.6 * PIXEL
    assert found.max() < RADIUS + 1.5 * PIXEL
    assert unit_volume(hull, scene) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.04)
    outwards = apply(scene[0].unit_from_world, hull.vertices)
    assert np.mean(np.einsum("vi,vi->v", hull.normals @ scene[0].unit_from_world[:3, :3].T, outwards) > 0) == 1


def test_fewer_views_allow_more(scene, hull):
    wider = visual_hull(scene[1][::4], scene[0].unit_from_world, RESOLUTION)
    assert unit_volume(wider, scene) > 1.02 * unit_volume(hull, scene)
    assert faces_outward(wider)


def test_hull_holds_the_object(scene):
    described, views, shape = synthetic_scene(views=12, image_size=64)
    mesh = visual_hull(views, described.unit_from_world, 32)
    from dvr_cli.surfaces.raycasting import RayCaster

    points = np.random.default_rng(0).uniform(-1, 1, (20000, 3))
    deep = apply(described.world_from_unit, points[shape.value(points) < -1.5 * PIXEL])
    # Straight up from a point inside a closed mesh the first face is seen from within.
    found = RayCaster(mesh).cast(deep, np.tile([[0.0, 0.0, 1.0]], (len(deep), 1)))
    corners = mesh.vertices[mesh.faces[found.face]]
    up = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    assert len(deep) > 500
    assert np.isfinite(found.t).all() and (up > 0).all()


def test_a_hole_in_one_mask_is_filled(scene, hull):
    described, views, _ = scene
    mask = views[7].mask.copy()
    rows, columns = np.argwhere(mask).mean(axis=0).astype(int)
    mask[rows - 5 : rows + 5, columns - 5 : columns + 5] = False
    torn = [replace(view, mask=mask) if index == 7 else view for index, view in enumerate(views)]
    mended = visual_hull(torn, described.unit_from_world, RESOLUTION)
    assert unit_volume(mended, scene) == pytest.approx(unit_volume(hull, scene), rel=0.01)


def test_views_without_masks_have_no_say(scene):
    described, views, _ = scene
    more = [*views[:6], replace(views[6], mask=None)]
    with_it, without = (visual_hull(some, described.unit_from_world, 16) for some in (more, views[:6]))
    assert np.array_equal(with_it.vertices, without.vertices)


def test_no_masks_no_hull(scene):
    described, views, _ = scene
    with pytest.raises(CompareError, match="none of the 3 views has a mask"):
        visual_hull([replace(view, mask=None) for view in views[:3]], described.unit_from_world)


def test_empty_hull(scene):
    described, views, _ = scene
    black = [replace(view, mask=np.zeros_like(view.mask)) for view in views[:5]]
    with pytest.raises(CompareError, match="visual hull is empty"):
        visual_hull(black, described.unit_from_world, 32)


def test_no_mask_is_contradicted(scene, hull):
    # A mask shrunk from one side must cut the hull on that side, and the rest stays.
    described, views, _ = scene
    half = views[3].mask & (np.arange(views[3].mask.shape[1]) < 0.5 * views[3].mask.shape[1])
    few = [replace(view, mask=half) if index == 3 else view for index, view in enumerate(views[:12])]
    mesh = visual_hull(few, described.unit_from_world, 32)
    for view in few:
        columns, rows = np.floor(view.camera.project(mesh.vertices)[0].T).astype(int)
        near = view.mask | np.roll(view.mask, 1, 0) | np.roll(view.mask, -1, 0)
        near |= np.roll(near, 1, 1) | np.roll(near, -1, 1)
        seen = (rows >= 0) & (rows < near.shape[0]) & (columns >= 0) & (columns < near.shape[1])
        assert near[rows[seen], columns[seen]].all()
    assert 0.3 < unit_volume(mesh, scene) / unit_volume(hull, scene) < 0.8


# Colours.


def test_colours_are_those_of_the_surface(scene, hull):
    described, views, shape = scene
    coloured = colour_from_views(hull, views)
    in_unit = apply(described.unit_from_world, hull.vertices)
    true = shape.colour(in_unit * RADIUS / np.linalg.norm(in_unit, axis=1, keepdims=True))
    # The contrast is about 0.3. Measured: 0.016 and 0.06.
    error = np.abs(coloured.colors - true)
    assert error.mean() < 0.025
    assert np.quantile(error, 0.99) < 0.1
    assert np.array_equal(coloured.vertices, hull.vertices)


def test_hidden_surface_takes_the_nearest_colour(scene):
    # A ball inside the ball: no photograph shows it, whatever it projects to.
    described, views, _ = scene
    outer = visual_hull(views[:8], described.unit_from_world, 16)
    centre = described.world_from_unit[:3, 3]
    inner = centre + 0.5 * (outer.vertices - centre)
    both = Mesh(np.concatenate([outer.vertices, inner]), np.concatenate([outer.faces, outer.faces + len(inner)]))
    coloured = colour_from_views(both, views).colors
    alone = colour_from_views(outer, views).colors
    assert np.allclose(coloured[: len(inner)], alone)
    from scipy.spatial import cKDTree

    assert np.array_equal(coloured[len(inner) :], alone[cKDTree(outer.vertices).query(inner)[1]])


def test_surface_that_no_view_shows_is_grey(scene):
    behind = Mesh(np.eye(3) * 0.01 + 1e4, np.array([[0, 1, 2]]))
    assert (colour_from_views(behind, scene[1][:1]).colors == 0.5).all()


def test_normals_of_a_corner():
    mesh = Mesh(np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [9, 9, 9.0]]), np.array([[0, 1, 2]]))
    assert np.array_equal(vertex_normals(mesh), [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]])


def test_chunks_of_views_change_nothing(scene, hull, monkeypatch):
    views = make_views(sphere(RADIUS, shortest_wave=0.15), views=4, image_size=40)
    whole = colour_from_views(hull, views).colors
    monkeypatch.setattr("dvr_cli.baselines.colouring.CHUNK", 1000)
    assert np.array_equal(colour_from_views(hull, views).colors, whole)
