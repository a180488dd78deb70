"""Which depths other views confirm, and what becomes of them: against the twin, and on a sphere."""

import math

import pytest
import torch

from dvr_cli.kernels import fusion as kernels
from dvr_cli.kernels import launch
from dvr_cli.kernels.twins import fusion as twins
from dvr_cli.kernels.twins.cameras import in_double
from tests.kernels.test_patchmatch import Maps
from tests.kernels.tiny_views import RADIUS

AGREEMENT = kernels.Agreement(depth_tolerance=0.005, pixel_tolerance=1.0, least_cosine=math.cos(math.radians(30)))
ERROR = 0.002


@pytest.fixture(scope="module")
def fused(ball):
    """True planes with errors in all views, some not believed; what agrees and what is made of it."""
    maps = Maps(ball)
    maps.guess(size=ERROR)
    believed = (maps.planes[:, 0] > 0).to(torch.uint8)
    believed[::11] = 0
    listed = maps.matching, maps.views, maps.pixels, maps.planes, believed
    count = kernels.count_agreeing(*listed, maps.sources, AGREEMENT)
    found = kernels.fuse(*listed, ball.rgb, maps.sources, AGREEMENT)
    return maps, believed, count, found


def test_counts_agree_with_the_twin(ball, fused):
    maps, believed, count, _ = fused
    stack = in_double(ball)
    planes = maps.planes.double()
    expected = twins.count_agreeing(stack, maps.views, maps.pixels, planes, believed, maps.sources, AGREEMENT)
    assert (count != expected).float().mean() < 2e-3
    assert count.max() >= 3
    assert torch.all(count[believed[maps.places] == 0] == 0)


def test_points_agree_with_the_twin(ball, fused):
    maps, believed, _, (emitted, *values) = fused
    arguments = maps.views, maps.pixels, maps.planes.double(), believed, ball.rgb.double(), maps.sources, AGREEMENT
    also, *expected = twins.fuse(in_double(ball), *arguments)
    assert (emitted != also).float().mean() < 2e-3
    both = emitted & also
    assert both.float().mean() > 0.1
    for value, other in zip(values, expected, strict=True):
        # Where a witness is on the edge of agreeing, the mean may be with or without it.
        assert ((value - other).abs()[both] < 1e-4).all(dim=1).float().mean() > 0.99


def test_points_are_nearer_to_the_sphere_than_single_depths(fused):
    maps, _, count, (emitted, points, normals, _) = fused
    chosen = emitted & (count >= 2)
    single = maps.stack.centres[maps.views.long()]
    rays = torch.nn.functional.normalize(points - single, dim=1)
    own = maps.planes[maps.places, 0]
    forward = (rays * maps.stack.rotations[maps.views.long(), 2]).sum(dim=1)
    alone = (single + rays / (own * forward)[:, None]).norm(dim=1) - RADIUS
    together = points.norm(dim=1) - RADIUS
    assert together[chosen].square().mean() < 0.7 * alone[chosen].square().mean()
    cosine = (normals * torch.nn.functional.normalize(points, dim=1)).sum(dim=1)[chosen]
    assert cosine.median() > 0.995


def test_a_place_gives_about_one_point(fused):
    """Views that agree emit one point between them."""
    _, _, count, (emitted, *_) = fused
    assert emitted.sum() < 0.6 * (count >= 1).sum()
    assert emitted.sum() > 0.1 * (count >= 1).sum()


def test_a_wrong_view_confirms_nothing(ball):
    maps = Maps(ball)
    maps.guess(size=0.0)
    pixels = slice(int(ball.starts[3]), int(ball.starts[4]))
    maps.planes[pixels, 0] *= 1.02
    believed = (maps.planes[:, 0] > 0).to(torch.uint8)
    count = kernels.count_agreeing(
        maps.matching, maps.views, maps.pixels, maps.planes, believed, maps.sources, AGREEMENT
    )
    assert torch.all(count[maps.views == 3] == 0)
    assert count[maps.views != 3].float().mean() > 1


def test_no_witnesses_confirm_nothing(ball):
    maps = Maps(ball, step=4)
    maps.guess(size=0.0)
    believed = (maps.planes[:, 0] > 0).to(torch.uint8)
    nobody = torch.full((ball.count, 3), -1, dtype=torch.int32)
    listed = maps.matching, maps.views, maps.pixels, maps.planes, believed
    assert torch.all(kernels.count_agreeing(*listed, nobody, AGREEMENT) == 0)
    emitted, points, _, _ = kernels.fuse(*listed, ball.rgb, nobody, AGREEMENT)
    assert torch.equal(emitted, believed[maps.places] > 0)
    assert (points[emitted].norm(dim=1) - RADIUS).abs().max() < 1e-4


def test_threads_change_nothing(fused, ball):
    maps, believed, _, found = fused
    launch.set_threads(3)
    listed = maps.matching, maps.views, maps.pixels, maps.planes, believed
    again = kernels.fuse(*listed, ball.rgb, maps.sources, AGREEMENT)
    assert all(torch.equal(value, other) for value, other in zip(found, again, strict=True))
