"""Laws of cutting by masks: inside stays, outside goes, what no picture shows stays, and more pixels keep more."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dvr_cli.errors import CompareError
from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces import culling
from dvr_cli.surfaces.cleaning import face_areas
from dvr_cli.surfaces.culling import MaskCuller, cull_by_masks, dilated
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh
from tests.scenes.tiny_scenes import RADIUS, ring, sphere_mask, world_from_unit


def ball(radius, centre=(0.0, 0.0, 0.0)):
    mesh = extract(Sphere(radius).value, Sphere(radius).gradient, resolution=48)
    return to_world(replace(mesh, vertices=mesh.vertices + np.asarray(centre)), world_from_unit())


def views_with(masks):
    return [
        LoadedView(f"{index}.png", camera, np.zeros((camera.height, camera.width, 3), np.float32), mask)
        for index, (camera, mask) in enumerate(zip(ring(), masks, strict=True))
    ]


@pytest.fixture(scope="module")
def views():
    """Masks of a sphere of radius RADIUS."""
    return views_with([sphere_mask(camera) for camera in ring()])


def test_what_lies_inside_all_masks_stays_whole(views):
    mesh = ball(0.9 * RADIUS)
    found = MaskCuller(views, 0).cull(mesh)
    assert found.mesh is mesh and found.removed_faces == 0 and found.removed_share == 0


def test_what_one_mask_leaves_out_goes(views):
    """A second ball beside the object is in no mask, whatever the order of the faces."""
    inner, outer = ball(0.5 * RADIUS), ball(0.1, centre=(0.0, 0.95, 0.0))
    both = Mesh(
        np.concatenate([outer.vertices, inner.vertices]),
        np.concatenate([outer.faces, inner.faces + len(outer.vertices)]),
        colors=np.linspace(0, 1, len(outer.vertices) + len(inner.vertices))[:, None].repeat(3, axis=1),
    )
    found = MaskCuller(views, 1).cull(both)
    np.testing.assert_array_equal(found.mesh.vertices, inner.vertices)
    np.testing.assert_array_equal(found.mesh.faces, inner.faces)
    np.testing.assert_array_equal(found.mesh.colors, both.colors[len(outer.vertices) :])
    areas = [face_areas(outer).sum(), face_areas(inner).sum()]
    assert found.removed_share == pytest.approx(areas[0] / sum(areas))
    assert found.removed_faces == len(outer.faces)


def test_vertex_on_the_silhouette_stays_within_the_radius_and_goes_beyond():
    """A mask of one pixel; vertices lie on rays through the centres of the pixels beside it."""
    camera = ring()[0]
    mask = np.zeros((camera.height, camera.width), dtype=bool)
    mask[20, 30] = True
    columns = 30 + np.arange(0, 8)
    origins, directions = camera.rays(np.stack([columns + 0.5, np.full(8, 20.5)], axis=1))
    points = origins + 10 * directions
    view = LoadedView("a", camera, np.zeros((*mask.shape, 3), np.float32), mask)
    for radius in (0, 1, 3, 5):
        np.testing.assert_array_equal(MaskCuller([view], radius).keeps(points), np.arange(8) <= radius)


def test_faces_need_all_their_vertices(views):
    """A triangle from the middle of the object to far outside."""
    centre = world_from_unit()[:3, 3]
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0.98, 0]]) @ world_from_unit()[:3, :3].T + centre
    found = cull_by_masks(Mesh(corners, np.array([[0, 1, 3], [0, 1, 2]])), views, 0)
    np.testing.assert_array_equal(found.vertices, corners[:3])


def test_what_is_outside_of_a_picture_or_behind_the_camera_stays():
    camera = ring()[0]
    nothing = LoadedView("a", camera, np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), dtype=bool))
    origins, directions = camera.rays(np.array([[-1.0, 20], [70, 20], [30, -1], [30, 49], [30, 20]]))
    np.testing.assert_array_equal(MaskCuller([nothing], 3).keeps(origins + directions), [True] * 4 + [False])
    assert MaskCuller([nothing], 3).keeps(origins - directions).all()


def test_larger_radius_keeps_what_a_smaller_one_keeps(views):
    mesh = ball(1.1 * RADIUS)
    culler = [MaskCuller(views, radius) for radius in (0, 1, 2, 4, 8)]
    kept = [each.keeps(mesh.vertices) for each in culler]
    for smaller, larger in pairwise(kept):
        assert (smaller <= larger).all()
    assert kept[0].sum() < kept[2].sum() < kept[-1].sum() == len(mesh.vertices)


@pytest.mark.parametrize("radius", [0, 0.5, 1, 1.5, 3, 7])
def test_dilation_is_by_a_disk(radius):
    """Against the distance of every pixel to every pixel of the mask."""
    mask = np.random.default_rng(0).random((20, 30)) < 0.01
    mask[0, 29] = True
    assert mask.sum() > 2
    pixels, objects = np.argwhere(np.ones_like(mask)), np.argwhere(mask)
    distance = np.linalg.norm(pixels[:, None] - objects[None], axis=-1).min(axis=1)
    np.testing.assert_array_equal(dilated(mask, radius).ravel(), distance <= radius)


def test_dilation_of_nothing_and_of_everything():
    for mask in (np.zeros((5, 6), dtype=bool), np.ones((5, 6), dtype=bool)):
        np.testing.assert_array_equal(dilated(mask, 3), mask)


def test_views_without_mask_have_no_say(views):
    unmasked = [*views, replace(views[0], name="x", mask=None)]
    mesh = ball(1.05 * RADIUS)
    np.testing.assert_array_equal(cull_by_masks(mesh, unmasked, 1).vertices, cull_by_masks(mesh, views, 1).vertices)
    with pytest.raises(CompareError, match="No view has a mask"):
        cull_by_masks(mesh, [replace(view, mask=None) for view in views], 1)


def test_nothing_left_is_an_error_that_names_radius_and_units(views):
    far = ball(0.1, centre=(0.0, 0.95, 0.0))
    with pytest.raises(CompareError, match=r"Nothing remains.*12 masks dilated by 1 pixels.*\n.*world units"):
        cull_by_masks(far, views, 1)
    with pytest.raises(CompareError, match="Nothing remains"):
        cull_by_masks(Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)), views, 1)


def test_chunks_change_nothing(views, monkeypatch):
    mesh = ball(1.03 * RADIUS)
    whole = cull_by_masks(mesh, views, 1)
    assert 0 < len(whole.faces) < len(mesh.faces)
    monkeypatch.setattr(culling, "_CHUNK", 71)
    again = cull_by_masks(mesh, views, 1)
    np.testing.assert_array_equal(again.vertices, whole.vertices)
    np.testing.assert_array_equal(again.faces, whole.faces)
