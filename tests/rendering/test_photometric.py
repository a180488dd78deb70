"""The photometric loss is differentiable with respect to t alone, with the kernel's slope times a weight."""

from dataclasses import replace

import pytest
import torch
from marched_fields import Ball

from dvr_cli.fitting.initial import mask_pixels
from dvr_cli.kernels.patches import patch_ncc
from dvr_cli.kernels.worth import MOST_TRUST
from dvr_cli.rendering.photometric import Guesses, photometric_loss, surface_bends
from dvr_cli.rendering.surface import Surface
from tests.kernels.tiny_views import PLANE_NORMAL, ball_hit, ball_views, plane_views


def arguments():
    stack = plane_views()
    pixels = torch.tensor([[20, 20], [30, 32], [40, 25], [1, 1]], dtype=torch.int32)
    views = torch.zeros(4, dtype=torch.int32)
    origins, directions = stack.rays(views, pixels)
    normals = torch.tensor(PLANE_NORMAL).float().expand(4, 3).contiguous()
    t = 0.04 - (origins * normals).sum(dim=1) / (directions * normals).sum(dim=1)
    sources = torch.tensor([1, 2, 3, 4], dtype=torch.int32).expand(4, 4).contiguous()
    options = {"keep": 2, "radius": 3, "noise": 0.01}
    return (stack, views, pixels, directions), t, (normals, torch.zeros(4, 2), sources), options


def test_gradient_of_the_loss_is_the_kernels_slope_times_its_worth():
    """NCC / (1 - NCC), bounded, and half where the sources' wishes are `agreement` apart."""
    before, t, after, options = arguments()
    variable = t.clone().requires_grad_()
    found = patch_ncc(*before, t, *after, **options)
    agreement = float(found.discord[0])
    loss, curvature = photometric_loss(*before, variable, *after, **options, agreement=agreement)
    worth = ((1 - found.loss) / found.loss.clamp(min=1e-6)).clamp(max=MOST_TRUST)
    worth = worth / (1 + (found.discord / agreement) ** 2)
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])
    (loss * weights).sum().backward()
    assert torch.equal(loss.detach(), found.loss)
    torch.testing.assert_close(curvature, worth * found.curvature)
    torch.testing.assert_close(variable.grad, weights * worth * found.slope)
    assert torch.all(found.slope[:3] != 0)
    assert worth[0] <= MOST_TRUST / 2
    assert worth[1] != worth[2]


def test_the_worse_the_match_the_less_it_counts():
    """The ratio of the curvature to the kernel's falls as noise of the source views grows."""
    (stack, *rest), t, after, options = arguments()
    generator = torch.Generator().manual_seed(3)
    disturbance = torch.randn(len(stack.gray), generator=generator)
    disturbance[: stack.starts[1]] = 0
    ratios = []
    for noise in (0.0, 0.1, 0.2):
        noisy = replace(stack, gray=stack.gray + noise * disturbance)
        _, curvature = photometric_loss(noisy, *rest, t - 0.04, *after, **options, agreement=1e9)
        ratios.append((curvature / patch_ncc(noisy, *rest, t - 0.04, *after, **options).curvature)[:3])
    assert torch.all(ratios[0] == MOST_TRUST)
    assert ratios[0].mean() > ratios[1].mean() > ratios[2].mean() > 0


def test_rays_that_cannot_be_compared_have_no_gradient():
    before, t, after, options = arguments()
    variable = t.clone().requires_grad_()
    loss, curvature = photometric_loss(*before, variable, *after, **options, agreement=0.01)
    loss.sum().backward()
    assert loss[3] == 0
    assert curvature[3] == 0
    assert variable.grad[3] == 0


def test_a_better_patch_elsewhere_pulls_the_ray_there():
    """From so far off that nothing matches, a guess at the true depth wins, with the curvature that it has there."""
    before, t, after, options = arguments()
    truth, options = t - 0.04, options | {"noise": 0.0}
    away = torch.full_like(t, -2.5)
    variable = (truth + away).requires_grad_()
    assert torch.all(patch_ncc(*before, variable, *after, **options)[2][:3] == 0)
    guesses = Guesses(-away, after[0], 0.1)
    loss, curvature = photometric_loss(*before, variable, *after, **options, agreement=1e9, guesses=guesses)
    loss.sum().backward()
    found, _, there, _ = patch_ncc(*before, truth, *after, **options)
    torch.testing.assert_close(loss, found, atol=1e-5, rtol=0)
    torch.testing.assert_close(curvature, there, atol=0, rtol=1e-4)
    torch.testing.assert_close(variable.grad, there * 0.1 * away.sign(), atol=0, rtol=1e-4)
    assert torch.all(variable.grad[:3] != 0)


def test_a_worse_patch_elsewhere_changes_nothing():
    before, t, after, options = arguments()
    gradients = []
    for guesses in (None, Guesses(torch.full_like(t, -2.5), after[0], 0.1)):
        variable = t.clone().requires_grad_()
        photometric_loss(*before, variable, *after, **options, agreement=0.01, guesses=guesses)[0].sum().backward()
        gradients.append(variable.grad)
    assert torch.equal(*gradients)


def test_only_rays_that_may_try_a_guess_are_pulled():
    """Every ray has a better patch elsewhere; those that may not try it stay as they are without guesses."""
    before, t, after, options = arguments()
    options = options | {"noise": 0.0, "agreement": 1e9}
    truth, away = t - 0.04, torch.full_like(t, -2.5)
    may = torch.arange(len(t)) % 2 == 0
    found = []
    for allowed in (None, may, torch.zeros_like(may)):
        guesses = Guesses(-away, after[0], 0.1, allowed)
        found.append(photometric_loss(*before, truth + away, *after, **options, guesses=guesses)[1])
    everyone, some, nobody = found
    assert (everyone[:3] > 0).all() and (nobody == 0).all()
    assert torch.equal(some, torch.where(may, everyone, nobody))


@pytest.mark.parametrize("reach", [0.01, 0.05])
def test_bends_are_how_far_a_sphere_curves_away_from_its_tangent_plane(reach):
    """Two pixels along x or y, a neighbour's ray meets the sphere behind the plane by four times the bend."""
    stack, field, generator = ball_views(), Ball(), torch.Generator().manual_seed(0)
    views, pixels = mask_pixels(stack, 3)
    chosen = torch.randint(len(views), (500,), generator=generator)
    views, pixels = views[chosen], pixels[chosen]
    origins, directions = stack.rays(views, pixels)
    t, inside = ball_hit(origins, directions)
    points = origins + t[:, None] * directions
    normals = torch.nn.functional.normalize(points, dim=1)
    slope = (normals * directions).sum(dim=1)
    bends = surface_bends(field, stack, views, pixels, Surface(t, points, normals, slope), directions, reach)
    for axis in range(2):
        behind = []
        for side in (-2, 2):
            beside = stack.rays(views, pixels + side * torch.eye(2, dtype=torch.int32)[axis])[1]
            plane_t = ((points - origins) * normals).sum(dim=1) / (beside * normals).sum(dim=1)
            sphere_t, meets = ball_hit(origins, beside)
            behind.append(sphere_t - plane_t)
            inside = inside & meets
        # Grazing rays see a curve that is no parabola any more.
        frontal = inside & (slope < -0.5)
        expected = 0.5 * (behind[0] + behind[1])[frontal]
        assert frontal.sum() > 200
        assert torch.all(bends[frontal, axis] > 0)
        torch.testing.assert_close(4 * bends[frontal, axis], expected, rtol=0.15, atol=1e-6)
