"""PSNR and SSIM are scikit-image's, silhouettes are compared by hand-made masks, and what is missing is said."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dvr_cli.comparing.photographs import (
    image_scores,
    intersection_over_union,
    judge_images,
    judge_silhouettes,
    mean_similarity,
    peak_signal_to_noise,
)
from dvr_cli.errors import CompareError, ExportError
from dvr_cli.scenes.synthetic import synthetic_scene
from dvr_cli.scenes.synthetic_shapes import sphere
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.viewing.render import cast

GENERATOR = np.random.default_rng(4)
EVERYWHERE = np.ones((30, 41), dtype=bool)


def pictures():
    photograph = GENERATOR.random((30, 41, 3)).astype(np.float32)
    return np.clip(photograph + GENERATOR.normal(scale=0.1, size=photograph.shape), 0, 1), photograph


@pytest.fixture(scope="module")
def scene():
    """(views, exact mesh with its colours) of a textured sphere."""
    described, views, shape = synthetic_scene(sphere(0.6), views=6, image_size=96)
    mesh = extract(shape.value, shape.gradient, lambda points, _: shape.colour(points), resolution=128)
    return views, to_world(mesh, described.world_from_unit)


def test_psnr_and_ssim_of_whole_pictures_are_those_of_scikit_image():
    picture, photograph = pictures()
    wide = photograph.astype(np.float64)
    assert peak_signal_to_noise(picture, photograph, EVERYWHERE) == pytest.approx(
        peak_signal_noise_ratio(wide, picture, data_range=1.0), rel=1e-9
    )
    assert mean_similarity(picture, photograph, EVERYWHERE) == pytest.approx(
        structural_similarity(picture, wide, channel_axis=-1, data_range=1.0), rel=1e-9
    )


def test_equal_pictures_are_as_good_as_can_be():
    _, photograph = pictures()
    assert peak_signal_to_noise(photograph, photograph, EVERYWHERE) == pytest.approx(120)
    assert mean_similarity(photograph, photograph, EVERYWHERE) == pytest.approx(1)


def test_ssim_of_a_region_is_the_mean_of_the_map_over_it():
    picture, photograph = pictures()
    region = np.zeros((30, 41), dtype=bool)
    region[9:20, 12:30] = GENERATOR.random((11, 18)) < 0.5
    _, similarity = structural_similarity(picture, photograph.astype(float), channel_axis=-1, data_range=1.0, full=True)
    assert mean_similarity(picture, photograph, region) == pytest.approx(similarity[region].mean(), rel=1e-9)


def test_what_lies_outside_the_mask_has_no_say(scene):
    view = scene[0][0]
    covered = np.ones_like(view.mask)
    noisy = np.clip(view.image + GENERATOR.normal(scale=0.1, size=view.image.shape), 0, 1)
    other = replace(view, image=np.where(view.mask[..., None], view.image, np.float32(0.9)))
    spoilt = np.where(view.mask[..., None], noisy, 0.3)
    assert image_scores(spoilt, covered, other) == image_scores(noisy, covered, view)


def test_constant_error_has_its_closed_form(scene):
    """PSNR of an error of 0.1 everywhere is 20 dB; half of the mask missed adds the photograph's own squares."""
    view = scene[0][0]
    covered = view.mask.copy()
    scores = image_scores(view.image - 0.1, covered, view)
    assert scores["psnr"] == pytest.approx(20, abs=1e-4) and scores["psnr_covered"] == pytest.approx(20, abs=1e-4)
    assert scores["missed"] == 0
    covered[::2] = False
    scores = image_scores(view.image - 0.1, covered, view)
    missed = view.mask & ~covered
    share = missed.sum() / view.mask.sum()
    squares = (view.image[missed].astype(np.float64) ** 2).mean()
    assert scores["missed"] == pytest.approx(share)
    assert scores["psnr"] == pytest.approx(-10 * np.log10(share * squares + (1 - share) * 0.01), abs=1e-4)
    assert scores["psnr_covered"] == pytest.approx(20, abs=1e-4)


def test_exact_surface_with_its_colours_looks_like_the_photographs(scene):
    views, mesh = scene
    found = judge_images(mesh, views, [0, 3])
    # Measured: 29.6 dB, 0.97. A picture is sampled at pixel centres; photographs this small average where they vary.
    assert found.value("psnr_covered") > 28 and found.value("ssim") > 0.95
    assert found.value("missed") < 0.01
    grey = replace(mesh, colors=np.full_like(mesh.colors, 0.5))
    assert judge_images(grey, views, [0, 3]).value("psnr") < found.value("psnr") - 10
    assert found.settings["views"] == [views[0].name, views[3].name]
    assert found.settings["image_sizes"] == ["96x72"]


def test_mesh_without_colours_has_no_picture(scene):
    views, mesh = scene
    found = judge_images(replace(mesh, colors=None), views, [0])
    assert {measure.value for measure in found.measures} == {None}
    assert "no colours" in found.notes[0]


def test_view_without_mask_is_judged_over_the_silhouette(scene):
    views, mesh = scene
    unmasked = [replace(views[0], mask=cast(mesh, views[0].camera).hit), replace(views[0], mask=None)]
    with_mask, without = judge_images(mesh, unmasked, [0]), judge_images(mesh, unmasked, [1])
    assert with_mask.value("psnr") == without.value("psnr") and with_mask.value("ssim") == without.value("ssim")
    assert "No mask in 1 of 1 view:" in without.notes[0] and not with_mask.notes


def test_view_with_a_black_mask_is_left_out_of_the_means(scene):
    views, mesh = scene
    both = [views[0], replace(views[1], name="black", mask=np.zeros_like(views[1].mask))]
    found = judge_images(mesh, both, [0, 1])
    assert found.value("psnr") == judge_images(mesh, both, [0]).value("psnr")
    assert "left out of the means: black" in found.notes[0]
    assert judge_images(mesh, both, [1]).value("psnr") is None


def test_intersection_over_union_of_hand_made_masks():
    one, other = np.zeros((4, 6), dtype=bool), np.zeros((4, 6), dtype=bool)
    one[:, :4], other[:, 2:] = True, True
    assert intersection_over_union(one, other) == pytest.approx(8 / 24)
    assert intersection_over_union(one, one) == 1
    assert intersection_over_union(one, ~one) == 0
    assert np.isnan(intersection_over_union(one & False, one & False))


def test_silhouettes_name_the_worst_view(scene):
    views, mesh = scene
    hits = [cast(mesh, view.camera).hit for view in views[:3]]
    halved = hits[1].copy()
    rows = np.flatnonzero(hits[1].any(axis=1))
    halved[rows[0] : rows[len(rows) // 2]] = False
    made = [
        replace(views[0], mask=hits[0]),
        replace(views[1], name="halved", mask=halved),
        replace(views[2], mask=None),
    ]
    found = judge_silhouettes(mesh, made, [0, 1, 2])
    expected = halved.sum() / hits[1].sum()
    assert found.value("iou_worst") == pytest.approx(expected) and 0.3 < expected < 0.7
    assert found.value("iou") == pytest.approx((1 + expected) / 2)
    assert (
        found.notes[0].startswith("Left out for want of a mask: 1 of 3 views.")
        and "worst view is halved" in found.notes[1]
    )
    assert judge_silhouettes(mesh, made, [2]).value("iou") is None


def test_exact_surface_has_the_silhouettes_of_the_masks(scene):
    views, mesh = scene
    # At 96 pixels, a polyhedron a fifth of a pixel inside its sphere.
    assert judge_silhouettes(mesh, views, range(6)).value("iou_worst") > 0.98


@pytest.mark.parametrize("judge", [judge_images, judge_silhouettes])
def test_no_views_or_no_faces_are_refused(scene, judge):
    views, mesh = scene
    with pytest.raises(CompareError, match="no view to judge"):
        judge(mesh, views, [])
    with pytest.raises(CompareError, match="no view 6"):
        judge(mesh, views, [0, 6])
    with pytest.raises(ExportError, match="no faces"):
        judge(Mesh(mesh.vertices, mesh.faces[:0], colors=mesh.colors), views, [0])


def test_lpips_that_is_not_installed_says_how_to_get_it(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(CompareError, match=r"pip install dvr-cli\[lpips\]"):
        judge_images(scene[1], scene[0], [0], lpips=True)


def test_lpips_that_does_not_fit_the_torch_installed_is_no_bug_of_ours(scene, monkeypatch, tmp_path):
    """What a torchvision for another torch does when it is imported."""
    (tmp_path / "lpips.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    with pytest.raises(CompareError, match=r"does not work with the torch installed.*nms"):
        judge_images(scene[1], scene[0], [0], lpips=True)


def test_pictures_smaller_than_a_window_have_no_ssim():
    small = np.ones((5, 9, 3))
    assert np.isnan(mean_similarity(small, small, np.ones((5, 9), dtype=bool)))
