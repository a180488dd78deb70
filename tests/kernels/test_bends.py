"""Bends against their twin; what they mean is tested with the photometric loss, on a sphere."""

import pytest
import torch

from dvr_cli.fitting.initial import mask_pixels
from dvr_cli.kernels import bends as kernels
from dvr_cli.kernels.twins import bends as twins
from dvr_cli.kernels.twins.cameras import in_double
from tests.kernels.tiny_views import ball_hit
from tests.tolerances import BEND_POINTS, BEND_STEPS, ROUNDING, assert_agree

REACH = 0.02


@pytest.fixture(scope="module")
def rays(ball):
    """Views, pixels, directions, and points and normals of the sphere that they meet."""
    views, pixels = mask_pixels(ball, 2)
    origins, directions = ball.rays(views, pixels)
    t, _ = ball_hit(origins, directions)
    points = origins + t[:, None] * directions
    return views, pixels, directions, points, torch.nn.functional.normalize(points, dim=1)


def test_points_to_ask_agree_with_the_twin(ball, rays):
    views, pixels, _, points, normals = rays
    asked, lengths = kernels.points_around(ball, views, pixels, points, normals, REACH)
    double = points.double(), normals.double()
    also, expected = twins.points_around(in_double(ball), views, pixels, *double, REACH)
    assert_agree(asked, also, BEND_POINTS)
    assert_agree(asked - asked[:, 4:], also - also[:, 4:], BEND_STEPS)
    facing = -(normals * rays[2]).sum(dim=1) > 0.1
    assert facing.float().mean() > 0.9
    assert_agree(lengths[facing], expected[facing], BEND_STEPS)


def test_points_lie_in_the_tangent_plane_at_the_reach(ball, rays):
    views, pixels, _, points, normals = rays
    asked, _ = kernels.points_around(ball, views, pixels, points, normals, REACH)
    offsets = asked[:, :4] - points[:, None]
    torch.testing.assert_close(offsets.norm(dim=2), torch.full_like(offsets[..., 0], REACH), atol=1e-6, rtol=1e-4)
    assert (offsets * normals[:, None]).sum(dim=2).abs().max() < 1e-3 * REACH
    torch.testing.assert_close(offsets[:, 0::2], -offsets[:, 1::2], atol=1e-6, rtol=0)
    assert torch.equal(asked[:, 4], points)


def test_bends_agree_with_the_twin(rays):
    _, _, directions, _, normals = rays
    g = torch.Generator().manual_seed(0)
    # A tenth of the lifts are cut, at either end.
    values = 0.3 * REACH * torch.randn(len(normals), kernels.POINTS, generator=g)
    lengths = REACH * (0.1 + torch.rand(len(normals), 2, generator=g))
    found = kernels.bends_of(values, lengths, normals, directions, REACH)
    doubled = (tensor.double() for tensor in (values, lengths, normals, directions))
    assert_agree(found, twins.bends_of(*doubled, REACH), ROUNDING)
    cut = (0.5 * (values[:, 0] + values[:, 1]) - values[:, 4]).abs() > 0.5 * REACH
    assert 0.05 < cut.float().mean() < 0.5


def test_no_rays_have_no_bends(ball):
    nothing = torch.zeros(0, 3)
    views, pixels = torch.zeros(0, dtype=torch.int32), torch.zeros(0, 2, dtype=torch.int32)
    asked, lengths = kernels.points_around(ball, views, pixels, nothing, nothing, REACH)
    assert asked.shape == (0, 5, 3)
    assert kernels.bends_of(torch.zeros(0, 5), lengths, nothing, nothing, REACH).shape == (0, 2)
