"""The law of formats: the same scene, saved in any of them and read back, has the same rays, masks and points.

The scene has what formats like to lose: principal points off the middle, different focal lengths in x and y and from
view to view, names with spaces and letters beyond ASCII, an arbitrary world.
"""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dvr_cli.errors import SceneError
from dvr_cli.scenes.converted_views import converted_views
from dvr_cli.scenes.converting import check_target, convert_scene, target_format
from dvr_cli.scenes.images import load_view
from dvr_cli.scenes.readers import plain, read_scene
from dvr_cli.scenes.readers.table import READERS
from dvr_cli.scenes.views import SparseDepth
from dvr_cli.scenes.writing import PixelsToWrite
from tests.scenes.tiny_scenes import RADIUS, photograph, pixel_centres, ring, sphere_mask, world_from_unit

VIEWS = 5
NAMES = tuple(f"Größe {index} ab.png" for index in range(VIEWS))
RELATIVE = 1e-6
LOOSER: dict[str, float] = {}
"""Formats whose files have few digits, and what that leaves of a ray."""


def camera(index, base):
    """A camera with its own focal lengths and a principal point off the middle."""
    intrinsics = base.intrinsics.copy()
    # Wide enough for the object to keep clear of the edges, where resampling would cut its mask.
    intrinsics[0, 0] *= 0.75 + 0.01 * index
    intrinsics[1, 1] *= 0.7
    intrinsics[:2, 2] = 30.3 + index, 34.7
    return replace(base, intrinsics=intrinsics)


def points():
    """Points on the sphere, seen by two views each."""
    directions = np.random.default_rng(2).normal(size=(40, 3))
    unit = RADIUS * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    matrix = world_from_unit()
    pairs = np.array([(view, point) for point in range(40) for view in sorted({point % VIEWS, (point + 1) % VIEWS})])
    return SparseDepth(
        unit @ matrix[:3, :3].T + matrix[:3, 3],
        pairs[np.lexsort(pairs.T[::-1])],
        np.linspace(0.1, 2, 40),
        np.random.default_rng(3).integers(0, 256, (40, 3)) / 255,
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The scene as it is before it is saved in another format."""
    folder = tmp_path_factory.mktemp("scenes") / "scene"
    cameras = [camera(index, base) for index, base in enumerate(ring()[:VIEWS])]
    views = [PixelsToWrite(name, c, photograph(c), sphere_mask(c)) for name, c in zip(NAMES, cameras, strict=True)]
    plain.write(folder, views, world_from_unit())
    return replace(read_scene(folder, masks=True), sparse_depth=points())


@pytest.fixture(scope="module", params=READERS, ids=lambda reader: reader.name)
def saved(request, scene, tmp_path_factory):
    """A format, the folder with the scene in it, and what the conversion says."""
    folder = tmp_path_factory.mktemp("saved") / "saved scene"
    return request.param, folder, convert_scene(scene, request.param, folder)


def assert_same_rays(camera, other, tolerance):
    assert (camera.width, camera.height) == (other.width, other.height)
    pixels = pixel_centres(camera)[::97]
    (origins, directions), (others, other_directions) = camera.rays(pixels), other.rays(pixels)
    distance = np.linalg.norm(origins - world_from_unit()[:3, 3], axis=1).max()
    np.testing.assert_allclose(others, origins, atol=tolerance * distance)
    np.testing.assert_allclose(other_directions, directions, atol=tolerance)


def test_same_rays_masks_and_points(saved, scene):
    reader, folder, _ = saved
    found = read_scene(folder, masks=True)
    assert found.format == reader.name and len(found.views) == VIEWS
    for view, other in zip(converted_views(scene, reader, bool), found.views, strict=True):
        assert_same_rays(view.camera, other.camera, LOOSER.get(reader.name, RELATIVE))
        loaded = load_view(other, None)
        # The mask of the camera that was written, where the photograph shows anything: a pixel at its edge may differ.
        differing = (loaded.mask != sphere_mask(view.camera)).mean()
        assert differing == 0 if view.camera is view.view.camera else differing < 0.02
    if found.sparse_depth is not None:
        order, expected = np.lexsort(found.sparse_depth.points.T), np.lexsort(points().points.T)
        np.testing.assert_allclose(found.sparse_depth.points[order], points().points[expected], rtol=RELATIVE)
        np.testing.assert_allclose(found.sparse_depth.colors[order], points().colors[expected], atol=0.5 / 255)
        if found.sparse_depth.visibility is not None:
            assert pairs(found.sparse_depth, order) == pairs(points(), expected)


def pairs(sparse, order):
    """Which view saw which point, points counted in this order."""
    place = np.argsort(order)
    return {(view, int(place[point])) for view, point in sparse.visibility.tolist()}


def test_photographs_show_what_the_rays_say(saved, scene):
    reader, folder, _ = saved
    for view in read_scene(folder).views:
        loaded = load_view(view, None).image
        # Beyond the old photograph the new one is black, which the pattern never is in all three colours.
        shown = loaded.max(axis=2) > 0
        error = np.abs(loaded - photograph(view.camera))[shown]
        assert shown.mean() > 0.5 and error.mean() < 0.004, (reader.name, shown.mean(), error.mean())


def test_the_format_can_be_forced_and_its_file_be_named(saved):
    reader, folder, _ = saved
    assert read_scene(folder, format_name=reader.name).format == reader.name
    camera_file = reader.find(folder)
    assert reader.accepts(camera_file)
    assert read_scene(folder, cameras=camera_file, format_name=reader.name).format == reader.name
    assert read_scene(folder, cameras=camera_file).format == reader.name


def test_what_is_lost_is_said(saved, scene):
    reader, folder, conversion = saved
    found, said = read_scene(folder, masks="any"), " ".join(conversion.losses)
    assert conversion.views == conversion.masks == VIEWS and conversion.largest_deviation < 0.01
    assert ("region of interest" in said) == (not found.region_given)
    assert ("other names" in said) == ([view.name for view in found.views] != list(NAMES))
    sparse = found.sparse_depth
    complete = sparse is not None and sparse.visibility is not None and sparse.error is not None
    assert ("point" in said) != complete
    assert conversion.resampled == (0 if reader.needs == "pinhole" else VIEWS)
    # Blender's masks are in the photographs.
    assert conversion.copied == (0 if reader.name == "blender" else VIEWS - conversion.resampled)


def test_there_and_back_again(saved, tmp_path):
    """What a format holds once, it holds for good: nothing drifts when a scene goes on to the plain format."""
    reader, folder, _ = saved
    found = read_scene(folder, masks=True)
    again = convert_scene(found, target_format("plain"), tmp_path / "again")
    assert again.copied == VIEWS and again.resampled == 0, reader.name
    for view, other in zip(found.views, read_scene(tmp_path / "again", masks=True).views, strict=True):
        assert_same_rays(view.camera, other.camera, 1e-12)
        assert view.image_path.read_bytes() == other.image_path.read_bytes()


@pytest.mark.parametrize("place", [".", "inside", ".."])
def test_a_target_inside_the_scene_or_around_it_is_refused(tmp_path, place):
    root = tmp_path / "a" / "scene"
    root.mkdir(parents=True)
    with pytest.raises(SceneError, match="inside the scene"):
        check_target(root / place, root, overwrite=True)


def test_a_target_with_something_in_it_needs_overwrite(tmp_path):
    root, folder = tmp_path / "scene", tmp_path / "out"
    root.mkdir()
    folder.mkdir()
    check_target(folder, root, overwrite=False)
    (folder / "a").write_text("")
    with pytest.raises(SceneError, match="not empty"):
        check_target(folder, root, overwrite=False)
    check_target(folder, root, overwrite=True)
    with pytest.raises(SceneError, match="is a file"):
        check_target(folder / "a", root, overwrite=True)


def test_photographs_left_over_from_before_are_noticed(scene, tmp_path):
    folder = tmp_path / "out"
    (folder / "image").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(folder / "image" / "zzz.png")
    with pytest.raises(SceneError, match="mpty"):
        convert_scene(scene, target_format("idr"), folder)


def test_an_unknown_format_is_named_with_the_known_ones():
    with pytest.raises(SceneError, match="colmap"):
        target_format("obj")
