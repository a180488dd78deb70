"""What masks ask of a surface: against the loss of the twin, and ray by ray where one can say what must come out."""

import pytest
import torch

from dvr_cli.kernels import silhouettes as kernels
from dvr_cli.kernels.march import march
from dvr_cli.kernels.pixels import Looks
from dvr_cli.kernels.scatter import scatter
from dvr_cli.kernels.twins import silhouettes as twins
from dvr_cli.kernels.views import BACKGROUND, OBJECT, UNKNOWN
from tests.kernels.tiny_views import RADIUS, ball_sdf
from tests.tolerances import ROUNDING, ROUNDING_OF_POSITIONS, SMALL_RESIDUALS, assert_agree

N = 48
VOXEL = 2 / (N - 1)
WEIGHTS = {"exact_masks": 2.0, "free_space": 3.0, "occupancy": 5.0, "margin": 0.5}
TRUST = torch.tensor(0.6)


def parallel_rays(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays along x, most of them within three voxels of the sphere's outline, some past the cube."""
    g = torch.Generator().manual_seed(seed)
    angle, away = torch.rand(2, count, generator=g)
    radius = RADIUS + (6 * away - 3) * VOXEL
    radius[::50] = 2.0
    origins = torch.stack([torch.full_like(angle, -2.0), radius * (7 * angle).cos(), radius * (7 * angle).sin()], dim=1)
    return origins, torch.tensor([[1.0, 0.0, 0.0]]).repeat(count, 1)


def looks_at(origins: torch.Tensor, directions: torch.Tensor, seed: int = 1) -> Looks:
    """Random labels, a third of them at edges."""
    g = torch.Generator().manual_seed(seed)
    count = len(origins)
    labels = torch.tensor([BACKGROUND, OBJECT, UNKNOWN], dtype=torch.uint8)
    masks = labels[torch.randint(3, (count,), generator=g)]
    at_edge = torch.rand(count, generator=g) < 1 / 3
    nothing = torch.zeros(count, dtype=torch.int32)
    return Looks(nothing, nothing[:, None].repeat(1, 2), at_edge, origins, directions, masks, torch.zeros(count, 3))


@pytest.fixture(scope="module")
def case():
    """(sdf, looks, hits) of 4000 rays."""
    sdf, looks = ball_sdf(N), looks_at(*parallel_rays(4000))
    return sdf, looks, march(sdf, looks.origins, looks.directions)[:4]


def in_double(looks: Looks, hits: tuple[torch.Tensor, ...]) -> tuple[Looks, tuple[torch.Tensor, ...]]:
    doubled = looks._replace(origins=looks.origins.double(), directions=looks.directions.double())
    return doubled, tuple(part.double() if part.is_floating_point() else part for part in hits)


def test_gradients_and_curvatures_are_those_of_the_loss(case):
    """Its gradient by autograd in float64, at every vertex of the grid."""
    sdf, looks, hits = case
    found = kernels.ask_masks(sdf, looks, hits, TRUST, **WEIGHTS)
    double = sdf.double().requires_grad_()
    loss, points, curvature = twins.ask_masks(double, *in_double(looks, hits), TRUST.double(), **WEIGHTS)
    (expected,) = torch.autograd.grad(loss.sum(), double)
    gradient = torch.zeros_like(sdf)
    scatter(gradient, found.points, found.gradient)
    assert_agree(gradient, expected, SMALL_RESIDUALS)
    assert_agree(found.points, points, ROUNDING)
    assert_agree(found.curvature, curvature, ROUNDING_OF_POSITIONS)
    for some in (loss > 0, curvature > 0):
        assert 0.05 < some.float().mean() < 0.6


@pytest.mark.parametrize("away", [-1.0, 1.0])
@pytest.mark.parametrize("label", [BACKGROUND, OBJECT, UNKNOWN])
def test_a_ray_that_is_wrong_is_pulled_to_its_side(away, label):
    """By its distance plus the margin, in voxels; a step against the gradient grows or shrinks the sphere."""
    origin = torch.tensor([[-2.0, RADIUS + away * VOXEL, 0.0]])
    looks = looks_at(origin, torch.tensor([[1.0, 0.0, 0.0]]))._replace(
        masks=torch.tensor([label], dtype=torch.uint8), at_edge=torch.tensor([False])
    )
    sdf = ball_sdf(N)
    hits = march(sdf, looks.origins, looks.directions)[:4]
    assert hits[1].item() is (away < 0)
    found = kernels.ask_masks(sdf, looks, hits, torch.ones(()), **WEIGHTS | {"exact_masks": 0.0})
    wrong = label != UNKNOWN and hits[1].item() is (label == BACKGROUND)
    if not wrong:
        assert found.gradient == 0 and found.curvature == 0
    elif label == BACKGROUND:
        # The value at a hit is zero, so the margin alone is left.
        assert found.gradient.item() == pytest.approx(-3.0 * 0.5 / VOXEL, rel=1e-3)
        assert found.curvature.item() == pytest.approx(3.0 / VOXEL**2)
    else:
        assert found.gradient.item() == pytest.approx(5.0 * (1 + 0.5) / VOXEL, rel=0.05)
        assert found.curvature.item() == pytest.approx(5.0 / VOXEL**2)


def test_edges_that_are_right_are_held_without_a_pull(case):
    sdf, looks, hits = case
    found = kernels.ask_masks(sdf, looks, hits, TRUST, **WEIGHTS)
    right = (hits[1] == (looks.masks == OBJECT)) & (looks.masks != UNKNOWN)
    held = right & looks.at_edge & (hits[1] | (hits[3] < 1.4 * VOXEL))
    assert held.sum() > 100 and (found.curvature[held] > 0).all()
    assert not found.gradient[right].any() and not found.curvature[right & ~looks.at_edge].any()


def test_shares_are_counted(case):
    _, looks, hits = case
    found = kernels.ask_masks(case[0], looks, hits, TRUST, **WEIGHTS)
    counted = [float(total / number) for total, number in kernels.tally(found.answers)]
    expected = [float(share) for share in twins.shares(looks.masks, looks.at_edge, hits[1])]
    assert counted == pytest.approx(expected, rel=1e-6)
    assert all(0.1 < share < 0.9 for share in expected)


def test_no_rays_ask_nothing():
    sdf, looks = ball_sdf(8), looks_at(*parallel_rays(0))
    found = kernels.ask_masks(sdf, looks, march(sdf, looks.origins, looks.directions)[:4], TRUST, **WEIGHTS)
    assert [len(part) for part in found] == [0, 0, 0, 0]
    assert [float(number) for _, number in kernels.tally(found.answers)] == [0.0, 0.0, 0.0]
