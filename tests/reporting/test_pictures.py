"""Laws of the pictures: frames see what photographs see, errors are distances, the scale is one of lightness."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dvr_cli.reporting.framing import choose_views, frame_view
from dvr_cli.reporting.pictures import draw_pictures
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.viewing.error_colours import error_colours, error_scale, limit_of, round_up
from dvr_cli.viewing.render import cast
from tests.reporting.tiny_comparison import moved


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@pytest.fixture(scope="module")
def frames(comparison):
    return [frame_view(comparison.views, index, comparison.scene.world_from_unit, 80) for index in (0, 3)]


def only(comparison, mesh, reference=None):
    column = replace(comparison.columns[0], mesh=mesh)
    return replace(comparison, columns=(column,), reference=reference)


def test_frame_sees_the_pixels_that_it_cuts_out(comparison, frames):
    rng = np.random.default_rng(0)
    for frame in frames:
        view = comparison.views[frame.view]
        points = comparison.columns[0].mesh.vertices[rng.integers(0, 100, 20)]
        cut = frame.cut(view.image)
        factor = frame.camera.width / cut.shape[1]
        expected = (view.camera.project(points)[0] - (frame.left, frame.top)) * (
            factor,
            frame.camera.height / cut.shape[0],
        )
        np.testing.assert_allclose(frame.camera.project(points)[0], expected, atol=1e-9)
        assert max(frame.camera.width, frame.camera.height) == 80


def test_frame_holds_the_whole_object(comparison, frames):
    for frame in frames:
        hit = cast(comparison.columns[0].mesh, frame.camera).hit
        assert hit.any() and not (hit[0].any() or hit[-1].any() or hit[:, 0].any() or hit[:, -1].any())
        assert hit.mean() > 0.5


def test_frame_without_a_mask_holds_the_region_of_interest(comparison):
    views = [replace(view, mask=None) for view in comparison.views]
    frame = frame_view(views, 1, comparison.scene.world_from_unit, 60)
    hit = cast(comparison.columns[0].mesh, frame.camera).hit
    assert hit.any() and not (hit[0].any() or hit[-1].any())
    empty = [replace(view, mask=np.zeros_like(view.mask)) for view in comparison.views]
    assert frame_view(empty, 1, comparison.scene.world_from_unit, 60).camera.width == frame.camera.width


def test_views_are_chosen_from_different_sides(comparison):
    views = [*comparison.views[:1] * 3, *comparison.views[1:]]
    chosen = choose_views(views, range(len(views)), 4)
    assert len(set(chosen)) == 4 and chosen[0] == 0 and not {1, 2} & set(chosen)
    assert choose_views(views, (3, 4), 9) == [3, 4] or choose_views(views, (3, 4), 9) == [4, 3]
    assert choose_views(views, (), 4) == choose_views(views, (1, 2), 0) == []


def test_pictures_are_transparent_beside_the_mesh(comparison, frames):
    drawn = draw_pictures(only(comparison, comparison.columns[0].mesh), frames)
    for one in drawn.sets:
        hit = cast(comparison.columns[0].mesh, frames[one.frame].camera).hit
        assert set(one.uris) == {"shaded", "colour", "normals"}
        for uri in one.uris.values():
            opacity = decoded(uri)[..., 3]
            assert opacity.shape == hit.shape and (opacity[hit] > 60).all() and opacity[~hit].mean() < 20
    assert drawn.error_limit is None and drawn.missing_limit is None


@pytest.mark.parametrize("as_cloud", [False, True])
def test_errors_are_distances_to_the_reference(comparison, frames, as_cloud):
    mesh = comparison.columns[0].mesh
    reference = PointCloud(mesh.vertices) if as_cloud else mesh
    shift = 0.4
    drawn = draw_pictures(only(comparison, moved(mesh, shift), reference), frames)
    # Every error is the shift, to within the reach from a vertex to the next, so the scale ends just above it.
    assert shift * 0.9 <= drawn.error_limit <= 1.3 * shift
    assert (drawn.missing_limit is None) == as_cloud
    error = decoded(next(one.uris["error"] for one in drawn.sets if one.subject == 0))
    solid = error[..., 3] == 255
    expected = 255 * error_colours(np.array([shift]), drawn.error_limit)[0]
    if not as_cloud:
        assert np.abs(np.median(error[solid][:, :3], axis=0) - expected).max() < 12


def test_identical_meshes_have_no_error(comparison, frames):
    mesh = comparison.columns[0].mesh
    drawn = draw_pictures(only(comparison, mesh, mesh), frames)
    assert drawn.error_limit < 1e-5 * np.ptp(mesh.vertices)


def test_photographs_are_asked_without_a_reference(comparison, frames):
    asked = []

    def errors(mesh):
        def of_view(index):
            asked.append(index)
            return np.full(comparison.views[index].image.shape[:2], 0.2)

        return of_view

    drawn = draw_pictures(only(comparison, comparison.columns[0].mesh), frames, errors)
    assert asked == [frame.view for frame in frames] and drawn.error_limit == pytest.approx(0.2)


def test_scale_falls_evenly_in_lightness():
    scale = error_scale().astype(float) / 255
    linear = np.where(scale <= 0.04045, scale / 12.92, ((scale + 0.055) / 1.055) ** 2.4)
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    steps = np.diff(lightness)
    assert (steps < 1e-3).all() and lightness[0] > 0.88 and lightness[-1] < 0.42
    assert steps.min() > 4 * steps.mean()


def test_colours_and_limits_of_errors():
    scale = error_scale() / 255
    shown = error_colours(np.array([0.0, 2.0, 9.0, np.nan]), 2.0)
    np.testing.assert_array_equal(shown, scale[[0, 255, 255, 255]])
    assert limit_of([np.array([np.nan]), np.zeros(4)]) == 1.0
    assert limit_of([np.full(9, 0.9), np.full(9, 1.1), np.full(9, 500.0)]) == 1.2
    assert [round_up(value) for value in (0.021, 1.0, 7.0, 130.0)] == [0.025, 1.0, 8.0, 150.0]
