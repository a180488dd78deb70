"""Laws of the synthetic scenes: what the photographs show is exactly what the shape is."""

import numpy as np
import pytest

from dvr_cli.scenes.synthetic import (
    Shape,
    cameras_around,
    demo_shape,
    first_hit,
    make_views,
    random_similarity,
    sphere,
    synthetic_scene,
    write_scene,
)


def sphere_depth(camera, centre, radius):
    """Closed form: camera z of the first intersection with a sphere at every pixel centre, NaN for a miss."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    origins, directions = camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
    offset = origins - centre
    along = np.sum(offset * directions, axis=1)
    discriminant = along**2 - np.sum(offset**2, axis=1) + radius**2
    t = -along - np.sqrt(np.where(discriminant > 0, discriminant, np.nan))
    return (t * (directions @ camera.camera_from_world[2, :3])).reshape(camera.height, camera.width)


def test_depth_and_mask_match_the_closed_form_on_a_sphere():
    scene, views, _ = synthetic_scene(sphere(0.6), views=3, image_size=64, seed=5, with_depth=True)
    scale = np.cbrt(np.linalg.det(scene.world_from_unit[:3, :3]))
    for view in views:
        expected = sphere_depth(view.camera, scene.world_from_unit[:3, 3], 0.6 * scale)
        # Grazing rays within the hit tolerance of the sphere count as hits.
        differing = np.isfinite(expected) != view.mask
        assert differing.mean() < 1e-3
        both = np.isfinite(expected) & view.mask
        assert both.sum() > 300
        # Measured worst case: 2e-5 inside, 1e-3 where the ray grazes the sphere.
        assert np.median(np.abs(view.depth - expected)[both]) < 1e-6
        assert np.max(np.abs(view.depth - expected)[both]) < 5e-3 * scale
        assert np.isnan(view.depth[~view.mask]).all()


@pytest.mark.parametrize("shape", [sphere(), demo_shape()], ids=["sphere", "demo"])
def test_distance_is_1_lipschitz_and_gradient_matches_differences(shape: Shape):
    generator = np.random.default_rng(0)
    first, second = generator.uniform(-1, 1, (2, 20000, 3))
    slope = np.abs(shape.value(first) - shape.value(second)) / np.linalg.norm(first - second, axis=1)
    assert slope.max() <= 1 + 1e-12
    step = 1e-6
    numeric = np.stack(
        [(shape.value(first + step * axis) - shape.value(first - step * axis)) / (2 * step) for axis in np.eye(3)],
        axis=1,
    )
    wrong = np.abs(numeric - shape.gradient(first)).max(axis=1) > 1e-5
    assert wrong.mean() < 1e-3  # a difference across a crease of the medial axis means nothing


def test_demo_surface_lies_inside_its_sphere_and_the_cube():
    shape = demo_shape()
    generator = np.random.default_rng(1)
    directions = generator.normal(size=(5000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = generator.uniform(shape.radius, 1.7, (5000, 1))
    assert (shape.value(directions * radii) > 0).all()


def test_demo_shape_has_a_hole_in_its_handle_and_a_bowl():
    shape = demo_shape()
    through_handle, in_bowl, in_body = [[0.38, 0.0, 0.0]], [[-0.16, 0.0, 0.3]], [[-0.1, 0.0, -0.2]]
    outside = shape.value(np.array(through_handle + in_bowl + in_body))
    assert outside[0] > 0.05 and outside[1] > 0.05 and outside[2] < -0.1


def test_surface_points_project_to_mask_pixels_and_never_before_the_depth():
    scene, views, shape = synthetic_scene(views=4, image_size=96, seed=2, with_depth=True)
    generator = np.random.default_rng(3)
    points = generator.uniform(-0.7, 0.7, (4000, 3))
    for _ in range(20):
        points = points - 0.9 * shape.value(points)[:, None] * shape.gradient(points)
    points = points[np.abs(shape.value(points)) < 1e-6]
    assert len(points) > 2000
    in_world = points @ scene.world_from_unit[:3, :3].T + scene.world_from_unit[:3, 3]
    for view in views:
        pixels, depth = view.camera.project(in_world)
        columns, rows = np.floor(pixels).astype(int).T
        padded = np.pad(np.where(view.mask, view.depth, np.inf), 1, constant_values=np.inf)
        height, width = view.mask.shape
        nearest = np.min([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)
        # The pixel itself is in the mask or, on the border, its neighbour.
        assert np.isfinite(nearest[rows, columns]).all()
        assert view.mask[rows, columns].mean() > 0.9
        # Nothing lies in front of the depth map; half a pixel of slant is 0.03 of the unit cube at this size.
        assert (nearest[rows, columns] - depth).max() < 0.03 * np.cbrt(np.linalg.det(scene.world_from_unit[:3, :3]))


def test_photographs_do_not_depend_on_the_world_they_stand_in():
    generator = np.random.default_rng(4)
    here = make_views(demo_shape(), views=2, image_size=48, seed=7, world_from_unit=np.eye(4))
    there = make_views(demo_shape(), views=2, image_size=48, seed=7, world_from_unit=random_similarity(generator))
    for one, other in zip(here, there, strict=True):
        assert (one.mask != other.mask).sum() <= 1
        np.testing.assert_allclose(one.image, other.image, atol=0.02)


def test_cameras_are_proper_and_off_centre():
    generator = np.random.default_rng(0)
    for camera in cameras_around(9, 100, generator, random_similarity(generator)):
        rotation = camera.camera_from_world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0
        assert camera.intrinsics[0, 2] != camera.width / 2 and camera.intrinsics[1, 2] != camera.height / 2


def test_photographs_of_a_point_agree_between_views():
    """Matte shading: the colour of a surface point is the same wherever it is seen from."""
    scene, views, shape = synthetic_scene(sphere(0.6), views=12, image_size=160, seed=1)
    unit = np.random.default_rng(0).normal(size=(3000, 3))
    points = 0.6 * unit / np.linalg.norm(unit, axis=1, keepdims=True)
    in_world = points @ scene.world_from_unit[:3, :3].T + scene.world_from_unit[:3, 3]
    expected = shape.colour(points)
    for view in views:
        towards = view.camera.centre - in_world
        facing = np.einsum("pi,pi->p", towards, in_world - scene.world_from_unit[:3, 3])
        facing = (
            facing / np.linalg.norm(towards, axis=1) / np.linalg.norm(in_world - scene.world_from_unit[:3, 3], axis=1)
        )
        seen = facing > 0.7
        columns, rows = np.floor(view.camera.project(in_world[seen])[0]).astype(int).T
        # Nearest-pixel look-up of a fine texture: correlation, not equality.
        correlation = np.corrcoef(view.image[rows, columns].ravel(), expected[seen].ravel())[0, 1]
        assert correlation > 0.9


def test_rays_that_miss_and_no_rays_at_all():
    shape = sphere(0.5)
    outwards = np.array([[2.0, 0, 0]]), np.array([[1.0, 0, 0]])
    assert not first_hit(shape, *outwards)[1].any()
    t, hit = first_hit(shape, np.zeros((0, 3)), np.zeros((0, 3)))
    assert t.shape == hit.shape == (0,)


def test_photographs_stay_in_range_without_clipping():
    for view in synthetic_scene(views=4, image_size=96, seed=0)[1]:
        assert view.image.min() > 0 and view.image.max() < 1
        assert view.image[view.mask].std() > 0.1


def test_same_seed_same_scene():
    one, other = synthetic_scene(views=2, image_size=32, seed=3), synthetic_scene(views=2, image_size=32, seed=3)
    np.testing.assert_array_equal(one[1][1].image, other[1][1].image)
    different = synthetic_scene(views=2, image_size=32, seed=4)
    assert not np.array_equal(one[0].unit_from_world, different[0].unit_from_world)


def test_written_cameras_project_as_the_layout_says(tmp_path):
    """world_mat = K [R|t] with whole numbers as pixel centres: its pixels are ours minus one half."""
    scene, views, _ = synthetic_scene(sphere(), views=2, image_size=32, seed=1)
    write_scene(tmp_path, views, scene.world_from_unit)
    points = np.random.default_rng(0).normal(size=(5, 3))
    with np.load(tmp_path / "cameras.npz", allow_pickle=False) as stored:
        for index, view in enumerate(views):
            world = points @ scene.world_from_unit[:3, :3].T + scene.world_from_unit[:3, 3]
            homogeneous = np.concatenate([world, np.ones((5, 1))], axis=1) @ stored[f"world_mat_{index}"].T
            np.testing.assert_allclose(
                homogeneous[:, :2] / homogeneous[:, 2:3] + 0.5, view.camera.project(world)[0], atol=1e-9
            )
            np.testing.assert_array_equal(stored[f"scale_mat_{index}"], scene.world_from_unit)
    assert sorted(path.name for path in (tmp_path / "image").iterdir()) == ["000.png", "001.png"]
    assert sorted(path.name for path in (tmp_path / "mask").iterdir()) == ["000.png", "001.png"]
