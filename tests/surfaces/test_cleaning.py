"""Laws of cleaning: what masks contradict goes, what they show stays, and the checks mean what they say."""

from dataclasses import replace

import numpy as np
import pytest

from dvr_cli.scenes.synthetic import make_views, sphere
from dvr_cli.scenes.synthetic_shapes import Sphere
from dvr_cli.surfaces.cleaning import clean, face_areas
from dvr_cli.surfaces.extraction import extract
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.topology import euler_characteristic, face_components, faces_outward, is_watertight, signed_volume


def ball(radius, centre=(0.0, 0.0, 0.0), resolution=48):
    shape = Sphere(radius, centre)
    return extract(shape.value, shape.gradient, lambda points, _: np.abs(points), resolution=resolution)


def joined(*meshes):
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.colors for mesh in meshes]),
    )


def inside_out(mesh):
    return Mesh(mesh.vertices, mesh.faces[:, ::-1].copy(), -mesh.normals, mesh.colors)


@pytest.fixture(scope="module")
def views():
    """Photographs of a sphere of radius 0.5 at the origin; world and unit space are the same."""
    return make_views(sphere(0.5), views=6, image_size=80, seed=0, world_from_unit=np.eye(4))


def test_component_outside_the_masks_goes_and_the_object_stays(views):
    object_mesh, blob = ball(0.5), ball(0.15, (0.75, 0.0, 0.1))
    cleaned = clean(joined(blob, object_mesh), views)
    assert (cleaned.components, cleaned.unsupported, cleaned.specks, cleaned.cavities) == (2, 1, 0, 0)
    np.testing.assert_array_equal(cleaned.mesh.vertices, object_mesh.vertices)
    np.testing.assert_array_equal(cleaned.mesh.normals, object_mesh.normals)
    np.testing.assert_array_equal(cleaned.mesh.colors, object_mesh.colors)
    assert faces_outward(cleaned.mesh)


def test_all_components_inside_the_masks_stay(views):
    parts = joined(ball(0.2, (-0.25, 0.0, 0.0)), ball(0.15, (0.25, 0.0, 0.0)))
    cleaned = clean(parts, views)
    assert cleaned.components == 2
    assert cleaned.unsupported == 0
    np.testing.assert_array_equal(cleaned.mesh.vertices, parts.vertices)


def test_one_wrong_mask_removes_nothing(views):
    parts = joined(ball(0.3, (-0.15, 0.0, 0.0)), ball(0.1, (0.3, 0.0, 0.0)))
    spoiled = [replace(views[0], mask=np.zeros_like(views[0].mask)), *views[1:]]
    assert clean(parts, spoiled).unsupported == 0


def test_component_that_hardly_any_view_sees_goes(views):
    parts = joined(ball(0.5), ball(0.15, (0.0, 0.0, 0.8)))
    narrow = [
        replace(
            view,
            camera=replace(view.camera, width=4, height=4),
            image=view.image[:4, :4],
            mask=np.zeros((4, 4), dtype=bool),
        )
        for view in views
    ]
    assert clean(parts, narrow).unsupported == 1
    assert clean(parts, narrow[:0]).unsupported == 0


def test_specks_and_cavities_go_without_any_mask():
    object_mesh = ball(0.6)
    speck, bubble = ball(0.012, (0.8, 0.0, 0.0), resolution=200), inside_out(ball(0.2))
    cleaned = clean(joined(speck, bubble, object_mesh))
    assert (cleaned.specks, cleaned.cavities, cleaned.unsupported) == (1, 1, 0)
    np.testing.assert_array_equal(cleaned.mesh.vertices, object_mesh.vertices)


def test_largest_keeps_one_and_all_keeps_everything(views):
    large, small = ball(0.3, (-0.2, 0.0, 0.0)), ball(0.15, (0.3, 0.0, 0.0))
    both = joined(small, large)
    assert len(clean(both, views, keep="largest").mesh.faces) == len(large.faces)
    assert clean(both, views, keep="all").mesh is both


def test_largest_component_stays_even_against_the_masks(views):
    outside = ball(0.3, (0.0, 0.0, 0.69))
    assert len(clean(outside, views).mesh.faces) == len(outside.faces)


def test_checks_tell_closed_open_and_inside_out_apart():
    mesh = ball(0.5)
    assert faces_outward(mesh) and euler_characteristic(mesh) == 2
    assert is_watertight(inside_out(mesh)) and not faces_outward(inside_out(mesh))
    opened = Mesh(mesh.vertices, mesh.faces[1:])
    assert not is_watertight(opened)
    one_flipped = mesh.faces.copy()
    one_flipped[0] = one_flipped[0, ::-1]
    assert not is_watertight(Mesh(mesh.vertices, one_flipped))
    doubled = Mesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces]))
    assert not is_watertight(doubled)
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert not is_watertight(nothing) and signed_volume(nothing) == 0


def test_volume_does_not_depend_on_where_the_mesh_is():
    mesh = ball(0.5)
    far = Mesh(mesh.vertices + 1e6, mesh.faces)
    assert signed_volume(far) == pytest.approx(signed_volume(mesh), rel=1e-6)
    assert signed_volume(inside_out(mesh)) == pytest.approx(-signed_volume(mesh))


def test_area_of_a_sphere_and_components_of_two():
    mesh = ball(0.5, resolution=96)
    assert face_areas(mesh).sum() == pytest.approx(np.pi, rel=5e-3)
    count, of_face = face_components(joined(ball(0.2, (-0.5, 0.0, 0.0)), ball(0.2, (0.5, 0.0, 0.0))))
    assert count == 2
    assert np.bincount(of_face).tolist() == [len(of_face) // 2] * 2


def test_empty_mesh_passes_through():
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert clean(nothing).mesh is nothing
