"""Laws of baking, on a box and a sphere whose colours are known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dvr_cli.errors import ExportError
from dvr_cli.scenes.synthetic import cameras_around, make_views, sphere
from dvr_cli.scenes.views import Camera, LoadedView
from dvr_cli.surfaces.baking.bake import bake, bake_field, vertex_colours
from dvr_cli.surfaces.baking.focus import POWER, TOLERANCE, sharpness
from dvr_cli.surfaces.baking.gains import gains
from dvr_cli.surfaces.baking.local_surface import divided, local_surface
from dvr_cli.surfaces.baking.settings import BakeSettings
from dvr_cli.surfaces.baking.weights import chosen
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.surfaces.raycasting import RayCaster
from dvr_cli.surfaces.unwrapping.texels import Texels, covered_texels

SIZE = 128
RED, BLUE = np.array([200, 40, 40]) / 255, np.array([40, 60, 220]) / 255


def quad(centre, across, up):
    """Two triangles of a rectangle that faces `across` x `up`; half sizes."""
    centre, across, up = (np.asarray(vector, dtype=np.float64) for vector in (centre, across, up))
    vertices = np.stack([centre - across - up, centre + across - up, centre + across + up, centre - across + up])
    return vertices, np.array([[0, 1, 2], [0, 2, 3]])


def joined(*parts):
    """One mesh of several (vertices, faces)."""
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    faces = [faces + offset for (_, faces), offset in zip(parts, offsets, strict=False)]
    return Mesh(np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces))


def grid_atlas(mesh):
    """Face corners for quads side by side, each upright in its own cell of 2 x 2 cells."""
    corners = np.zeros((len(mesh.faces), 3, 2))
    square = np.array([[0.02, 0.02], [0.48, 0.02], [0.48, 0.48], [0.02, 0.48]])
    for face in range(len(mesh.faces)):
        cell = np.array([(face // 2) % 2, face // 4]) * 0.5
        corners[face] = square[[[0, 1, 2], [0, 2, 3]][face % 2]] + cell
    return corners


def camera_at(centre, target=(0.0, 0.0, 0.0), size=96):
    """A square camera that looks at the target, with y up in its picture."""
    centre, target = np.asarray(centre, dtype=np.float64), np.asarray(target, dtype=np.float64)
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    camera_from_world[:3, 3] = -camera_from_world[:3, :3] @ centre
    intrinsics = np.array([[1.2 * size, 0, size / 2], [0, 1.2 * size, size / 2], [0, 0, 1]])
    return Camera(intrinsics, camera_from_world, size, size)


def photographed(mesh, colour_of, cameras, background=(0.0, 1.0, 0.0), masks=True, rays=3):
    """Views of a mesh; `colour_of(points, faces)` gives RGB. The background is green, which no surface here is."""
    caster, views = RayCaster(mesh), []
    for index, camera in enumerate(cameras):
        fine = camera.resized(camera.height * rays, camera.width * rays)
        rows, columns = np.mgrid[0 : fine.height, 0 : fine.width] + 0.5
        origins, directions = fine.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
        found = caster.cast(origins, directions)
        hit = found.face >= 0
        image = np.tile(np.asarray(background), (len(hit), 1))
        points = origins[hit] + found.t[hit, None] * directions[hit]
        image[hit] = colour_of(points, found.face[hit])
        image = image.reshape(camera.height, rays, camera.width, rays, 3).mean(axis=(1, 3))
        share = hit.reshape(camera.height, rays, camera.width, rays).mean(axis=(1, 3))
        views.append(LoadedView(f"{index}.png", camera, image.astype(np.float32), share > 0.5 if masks else None))
    return views


def plate():
    """A square of side 2 that faces +z."""
    return joined(quad([0, 0, 0], [1, 0, 0], [0, 1, 0]))


def pattern(points, faces=None):
    """A smooth colour that differs along x and y, so that a mirrored texture is found out."""
    x, y = points[:, 0], points[:, 1]
    return np.stack([0.5 + 0.3 * np.sin(3 * x + 1), 0.5 + 0.3 * np.cos(2 * y - x), 0.4 + 0.2 * x], axis=1)


def front_cameras(size=96):
    return [camera_at(centre, size=size) for centre in ([0, 0, 4], [1.2, 0.4, 4], [-1, 0.6, 3.8], [0.3, -1.3, 4])]


def texel_points(mesh, corners, size=SIZE):
    texels = covered_texels(corners, size)
    return texels, np.einsum("nk,nkc->nc", texels.weights, mesh.vertices[mesh.faces[texels.face]])


def at(baked, texels):
    return baked.texture.image[texels.row, texels.column] / 255


def test_colours_of_a_plate_are_those_that_were_photographed():
    mesh, corners = plate(), grid_atlas(plate())
    baked = bake(mesh, corners, SIZE, photographed(mesh, pattern, front_cameras()))
    texels, points = texel_points(mesh, corners)
    inner = np.abs(points).max(axis=1) < 0.85
    error = np.abs(at(baked, texels) - pattern(points))[inner]
    # Two roundings to 1/255 and the pixels' own averaging; measured 0.006.
    assert error.max() < 0.012
    assert baked.seen > 0.8


def test_colours_of_a_sphere_are_those_that_were_photographed():
    shape = sphere(0.7)
    views = make_views(shape, views=14, image_size=160, world_from_unit=np.eye(4))
    mesh = sphere_mesh(0.7)
    found = vertex_colours(mesh, views)
    error = found.mesh.colors - shape.colour(mesh.vertices)
    # The texture's waves are 2 pixels long here, so photographs blur it; a wrong place would give 0.1.
    assert np.sqrt((error**2).mean()) < 0.04
    assert np.abs(error.mean(axis=0)).max() < 0.01
    assert found.seen == 1.0


def sphere_mesh(radius, count=48):
    """A sphere of latitude and longitude."""
    import trimesh

    made = trimesh.creation.uv_sphere(radius=radius, count=[count, count])
    return Mesh(np.asarray(made.vertices, dtype=np.float64), np.asarray(made.faces, dtype=np.int64))


@pytest.mark.parametrize("views", [1, 4])
def test_constant_colour_is_exact(views):
    mesh, corners = plate(), grid_atlas(plate())
    taken = photographed(mesh, lambda points, faces: np.tile(RED, (len(points), 1)), front_cameras()[:views])
    baked = bake(mesh, corners, SIZE, taken)
    texels, _ = texel_points(mesh, corners)
    assert (baked.texture.image[texels.row, texels.column] == np.round(RED * 255)).all()


def occluded():
    """A blue wall and a small red plate before it, which hides other parts of the wall from each camera."""
    return joined(quad([0, 0, 0], [1, 0, 0], [0, 1, 0]), quad([0, 0, 0.6], [0.3, 0, 0], [0, 0.3, 0]))


def red_before_blue(points, faces):
    return np.where((faces < 2)[:, None], BLUE, RED)


def test_hidden_surface_does_not_get_the_colour_of_what_hides_it():
    mesh = occluded()
    corners = grid_atlas(mesh)
    baked = bake(mesh, corners, SIZE, photographed(mesh, red_before_blue, front_cameras()))
    texels, _ = texel_points(mesh, corners)
    error = np.abs(at(baked, texels) - red_before_blue(None, texels.face)).max(axis=1)
    assert error[texels.face < 2].max() < 0.02
    assert error[texels.face >= 2].max() < 0.02


@pytest.mark.parametrize("masks", [True, False])
def test_background_does_not_leak_in(masks):
    mesh, corners = plate(), grid_atlas(plate())
    taken = photographed(mesh, lambda points, faces: np.tile(RED, (len(points), 1)), front_cameras(), masks=masks)
    baked = bake(mesh, corners, SIZE, taken)
    # Not even beside the charts is any texel green.
    assert np.abs(baked.texture.image / 255.0 - RED).max() < 0.005


def test_gains_are_recovered_up_to_their_mean():
    generator = np.random.default_rng(0)
    surface = generator.uniform(0.1, 0.25, (500, 3))
    factors = np.array([0.5, 1.0, 2.0, 1.3, 0.9])
    colour = (surface * factors[:, None, None]).astype(np.float32)
    colour[2, :40] = 0.9  # a highlight
    trust = (generator.uniform(size=(5, 500)) < 0.7).astype(np.float32)
    found = gains(colour, trust)
    expected = 1 / factors
    expected /= np.exp(np.log(expected).mean())
    assert np.abs(found / expected - 1).max() < 0.01


def test_photograph_without_overlap_keeps_its_level():
    colour = np.full((3, 200, 3), 0.3, dtype=np.float32)
    colour[1] = 0.6
    trust = np.ones((3, 200), dtype=np.float32)
    trust[2, :] = 0
    assert gains(colour, trust) == pytest.approx([np.sqrt(2), 1 / np.sqrt(2), 1.0])


def test_saturated_and_black_values_have_no_say_in_gains():
    colour = np.full((2, 400, 3), 0.3, dtype=np.float32)
    colour[1, 200:] = 1.0
    colour[0, :50] = 0.0
    assert gains(colour, np.ones((2, 400), dtype=np.float32)) == pytest.approx([1.0, 1.0])


def test_exposures_that_differ_by_a_factor_of_four_give_the_same_texture():
    mesh, corners = plate(), grid_atlas(plate())
    views = photographed(mesh, lambda points, faces: 0.5 * pattern(points), front_cameras())
    plain = bake(mesh, corners, SIZE, views)
    factors = [0.5, 2.0, 1.0, 1.0]
    changed = [replace(view, image=view.image * np.float32(f)) for view, f in zip(views, factors, strict=True)]
    baked = bake(mesh, corners, SIZE, changed)
    expected = 1 / np.array(factors)
    assert np.array(list(baked.gains.values())) == pytest.approx(expected / np.exp(np.log(expected).mean()), rel=0.01)
    texels, _ = texel_points(mesh, corners)
    # The dark photograph has steps of 2/255 of its own.
    assert np.abs(at(baked, texels) - at(plain, texels)).max() < 0.02


def test_black_photograph_is_ignored_and_named():
    mesh, corners = plate(), grid_atlas(plate())
    views = photographed(mesh, pattern, front_cameras())
    black = replace(views[1], image=np.zeros_like(views[1].image), name="black.png")
    without = bake(mesh, corners, SIZE, [views[0], views[2], views[3]])
    baked = bake(mesh, corners, SIZE, [views[0], black, views[2], views[3]])
    assert (baked.texture.image == without.texture.image).all()
    assert "black.png" not in baked.gains
    assert any("black.png" in note for note in baked.notes)
    assert without.notes == ()


def fine_pattern(points, faces=None):
    """Waves of about six pixels."""
    wave = 0.5 + 0.4 * np.sin(20 * points[:, 0]) * np.cos(17 * points[:, 1] + 1)
    return np.stack([wave, 0.5 * wave, 1 - wave], axis=1)


def blurred(view, radius):
    image = gaussian_filter(view.image, (radius, radius, 0))
    return replace(view, image=image.astype(np.float32))


def test_blurred_photograph_loses_its_say():
    mesh, corners = plate(), grid_atlas(plate())
    views = photographed(mesh, fine_pattern, front_cameras())
    # The blurred one looks straight on and would weigh most.
    with_blurred = [blurred(views[0], 3.0), *views[1:]]
    texels, points = texel_points(mesh, corners)
    inner = np.abs(points).max(axis=1) < 0.8

    def error(baked):
        return np.abs(at(baked, texels) - fine_pattern(points))[inner].mean()

    found = bake(mesh, corners, SIZE, with_blurred)
    unaware = bake(mesh, corners, SIZE, with_blurred, BakeSettings(focus=False))
    without = bake(mesh, corners, SIZE, views[1:])
    assert error(unaware) > 1.5 * error(without)
    # Of what the blurred one spoils, little is left; measured 0.03.
    assert error(found) - error(without) < 0.2 * (error(unaware) - error(without))


def test_sharpness_compares_with_the_middle_photograph():
    contrast = np.random.default_rng(0).uniform(0.02, 0.1, (1, 200)) * np.array([1, 1.2, 0.8, 0.25, 1.1])[:, None]
    contrast, trust = contrast.astype(np.float32), np.ones((5, 200), dtype=np.float32)
    share = sharpness(contrast, trust, np.ones(5))
    np.testing.assert_allclose(share, [1, 1, 1, (0.25 * np.exp(TOLERANCE)) ** POWER, 1], rtol=1e-3)
    # Half the exposure is half the contrast, and no blur.
    exposed = np.array([1, 1, 1, 0.25, 1], dtype=np.float32)
    np.testing.assert_allclose(sharpness(contrast * exposed[:, None], trust, 1 / exposed), share, rtol=1e-5)
    # A surface without any texture tells nothing.
    np.testing.assert_array_equal(sharpness(1e-4 * contrast, trust, np.ones(5)), 1)
    assert sharpness(np.zeros((0, 9), dtype=np.float32), np.zeros((0, 9), dtype=np.float32), np.ones(0)).shape == (0,)


def test_camera_inside_the_object_paints_nothing():
    mesh = sphere_mesh(0.7)
    outside = cameras_around(6, 96, np.random.default_rng(0), np.eye(4))
    views = photographed(mesh, lambda points, faces: np.tile(RED, (len(points), 1)), outside)
    inside = LoadedView("inside.png", camera_at([0, 0, 0.1]), np.full((96, 96, 3), BLUE, dtype=np.float32), None)
    found = vertex_colours(mesh, [*views, inside])
    assert np.abs(found.mesh.colors - RED).max() < 0.005
    assert "inside.png" not in found.gains


def test_unseen_texels_come_from_the_fallback_at_the_level_around():
    mesh = joined(quad([0, 0, 0], [1, 0, 0], [0, 1, 0]), quad([0, 0, -0.5], [-1, 0, 0], [0, 1, 0]))
    corners = grid_atlas(mesh)
    red = photographed(mesh, lambda points, faces: np.tile(RED, (len(points), 1)), front_cameras())
    texels, _ = texel_points(mesh, corners)
    behind = texels.face >= 2
    darker = bake(mesh, corners, SIZE, red, fallback=lambda points, directions: np.tile(RED - 0.1, (len(points), 1)))
    # The fallback is darker by 0.1 where both are known, so it is brought to the photographs' level.
    assert np.abs(at(darker, texels)[behind] - RED).max() < 0.01
    assert darker.seen == pytest.approx(0.5, abs=0.1)


def test_without_views_the_field_alone_is_baked():
    mesh, corners = plate(), grid_atlas(plate())
    seen_along = []

    def field(points, directions):
        seen_along.append(directions)
        return pattern(points)

    baked = bake_field(mesh, corners, SIZE, field)
    texels, points = texel_points(mesh, corners)
    assert np.abs(at(baked, texels) - pattern(points)).max() < 0.004
    assert np.allclose(np.concatenate(seen_along), [0, 0, -1])
    assert baked.seen == 0.0
    assert baked.gains == {}


def test_without_views_and_fallback_all_is_grey():
    mesh = plate()
    baked = bake(mesh, grid_atlas(mesh), 16, [])
    assert (baked.texture.image == 128).all()


def test_field_that_is_not_finite_is_black_there():
    mesh = plate()
    baked = bake_field(mesh, grid_atlas(mesh), 16, lambda points, directions: np.full((len(points), 3), np.nan))
    assert (baked.texture.image == 0).all()


def test_threads_chunks_and_reports():
    mesh = occluded()
    corners, views = grid_atlas(mesh), photographed(occluded(), red_before_blue, front_cameras())
    shares = []
    one = bake(mesh, corners, SIZE, views, report=shares.append, threads=1)
    other = bake(mesh, corners, SIZE, views, BakeSettings(texels_at_a_time=777), threads=3)
    assert (one.texture.image == other.texture.image).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_order_of_views_changes_rounding_at_most():
    mesh, corners = plate(), grid_atlas(plate())
    views = photographed(mesh, pattern, front_cameras())
    forth, back = bake(mesh, corners, SIZE, views), bake(mesh, corners, SIZE, views[::-1])
    difference = forth.texture.image.astype(int) - back.texture.image
    assert np.abs(difference).max() <= 1


def test_place_in_the_world_changes_rounding_at_most():
    mesh, corners = plate(), grid_atlas(plate())
    views = photographed(mesh, pattern, front_cameras())
    shift = np.array([5000.0, -3000.0, 800.0])

    def moved(view):
        matrix = view.camera.camera_from_world.copy()
        matrix[:3, 3] -= matrix[:3, :3] @ shift
        return replace(view, camera=replace(view.camera, camera_from_world=matrix))

    here = bake(mesh, corners, SIZE, views)
    there = bake(replace(mesh, vertices=mesh.vertices + shift), corners, SIZE, [moved(view) for view in views])
    texels, points = texel_points(mesh, corners)
    inner = np.abs(points).max(axis=1) < 0.85
    assert np.abs(at(here, texels) - at(there, texels))[inner].max() < 0.01


def test_mesh_without_faces_is_refused():
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(ExportError, match="no faces"):
        bake(empty, np.zeros((0, 3, 2)), 16, [])


def test_chosen_weights_fall_to_zero_where_another_takes_over():
    quality = np.array([[3.0, 3.0], [2.0, 2.0], [1.0, 1.999]], dtype=np.float32)
    weights = chosen(quality, 2)
    assert weights.photograph.tolist() == [[0, 1], [0, 1]]
    assert weights.weight[1, 1] < 0.001 < weights.weight[0, 1]


def test_division_leaves_points_where_they_are():
    mesh = plate()
    surface = local_surface(mesh)
    generator = np.random.default_rng(1)
    weights = generator.dirichlet([1, 1, 1], 400).astype(np.float32)
    none = np.zeros(400, dtype=np.int32)
    texels = Texels(none, none, generator.integers(0, 2, 400).astype(np.int32), weights)
    finer, moved, order = divided(surface, texels)
    assert len(finer.faces) >= 20_000
    assert np.abs(finer.points(moved) - surface.points(texels)[order]).max() < 1e-5
    assert moved.weights.min() > -1e-3
