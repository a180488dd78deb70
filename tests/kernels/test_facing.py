"""How squarely cameras look at a surface: against the twin, and on a sphere, where it is known."""

import torch

from dvr_cli.kernels.band import find_band
from dvr_cli.kernels.facing import best_facing
from dvr_cli.kernels.twins import facing as twins
from tests.kernels.tiny_views import ball_sdf
from tests.tolerances import ROUNDING, assert_agree

CENTRES = torch.tensor([[0.0, 0.0, 3.0], [2.0, -1.0, 2.5], [0.4, 3.0, -0.2]])


def test_facing_agrees_with_the_twin():
    sdf = ball_sdf(40, 0.6) + 0.02 * torch.rand(40, 40, 40, generator=torch.Generator().manual_seed(0))
    vertices = find_band(sdf, 0.1)
    found = best_facing(sdf, vertices, CENTRES)
    assert_agree(found, twins.best_facing(sdf.double(), vertices, CENTRES.double()), ROUNDING)


def test_a_sphere_faces_along_its_radius():
    n = 64
    sdf = ball_sdf(n, 0.6)
    vertices = find_band(sdf, 0.05)
    places = torch.stack([vertices // n**2, vertices // n % n, vertices % n], dim=1) * (2 / (n - 1)) - 1
    to_camera = torch.nn.functional.normalize(CENTRES[:1] - places, dim=1)
    expected = (to_camera * torch.nn.functional.normalize(places, dim=1)).sum(dim=1)
    torch.testing.assert_close(best_facing(sdf, vertices, CENTRES[:1]), expected, atol=5e-3, rtol=0)


def test_another_camera_never_makes_a_place_less_seen():
    sdf = ball_sdf(32, 0.6)
    vertices = find_band(sdf, 0.1)
    assert (best_facing(sdf, vertices, CENTRES) >= best_facing(sdf, vertices, CENTRES[:2])).all()


def test_no_vertices_and_no_cameras():
    sdf = ball_sdf(16, 0.6)
    assert len(best_facing(sdf, torch.zeros(0, dtype=torch.int32), CENTRES)) == 0
    vertices = find_band(sdf, 0.1)
    assert (best_facing(sdf, vertices, CENTRES[:0]) == -1).all()
