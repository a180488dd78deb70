"""What comparisons are worth: against the twin, and where one can say what must come out."""

import torch

from dvr_cli.kernels import worth as kernels
from dvr_cli.kernels.patches import Comparison
from dvr_cli.kernels.twins import worth as twins
from tests.tolerances import ROUNDING, ROUNDING_OF_POSITIONS, assert_agree

AGREEMENT = 0.01


def comparison(count: int, seed: int) -> Comparison:
    """Losses from 0 to 2, and a fifth of the rays that nothing could be compared with."""
    g = torch.Generator().manual_seed(seed)
    loss, curvature, discord = torch.rand(3, count, generator=g)
    loss, curvature = 2 * loss**2, 50 * (curvature - 0.2).clamp(min=0)
    loss[curvature == 0] = 0.0
    return Comparison(loss, torch.randn(count, generator=g), curvature, 3 * AGREEMENT * discord)


def in_double(found: Comparison) -> Comparison:
    return Comparison(*(part.double() for part in found))


def test_weights_and_bounds_agree_with_the_twin():
    found = comparison(3000, 0)
    expected, expected_bound = twins.weigh(in_double(found), AGREEMENT)
    bound = kernels.weigh(found, AGREEMENT)
    for part, twin in zip((*found, bound), (*expected, expected_bound), strict=True):
        assert_agree(part, twin, ROUNDING_OF_POSITIONS)
    assert (bound == kernels.GOOD).any() and (bound < 0).any() and found.slope.any()


def test_better_patches_take_the_place_of_the_surface():
    """As in the twin; and nothing else changes."""
    found, other = comparison(2000, 1), comparison(900, 2)
    g = torch.Generator().manual_seed(3)
    tried, offsets = torch.randperm(2000, generator=g)[:900].sort().values, 0.1 * torch.randn(2000, generator=g)
    bound = twins.bound_to_beat(found.loss, found.curvature)
    expected = twins.prefer_better(
        in_double(found), bound.double(), tried, offsets.double(), in_double(other), AGREEMENT, 0.05
    )
    before = found.loss.clone()
    kernels.prefer_better(found, bound, tried, offsets, other, AGREEMENT, 0.05)
    for part, twin in zip(found[:3], expected, strict=True):
        assert_agree(part, twin, ROUNDING_OF_POSITIONS)
    changed = found.loss != before
    assert 50 < changed.sum() < 900 and set(changed.nonzero().squeeze(1).tolist()) <= set(tried.tolist())
    assert (found.slope[changed].abs() <= 0.05001 * found.curvature[changed]).all()


def test_guesses_agree_with_the_twin():
    g = torch.Generator().manual_seed(4)
    normals, directions = torch.nn.functional.normalize(torch.randn(2, 500, 3, generator=g), dim=2)
    found = kernels.guess(6, normals, directions, 0.2)
    expected = twins.guess(6, normals.double(), directions.double(), 0.2)
    assert_agree(found[0], expected[0], ROUNDING)
    assert_agree(found[1], expected[1], ROUNDING_OF_POSITIONS)
    assert found[0].abs().max() <= 0.2 and found[0].min() < -0.1 and found[0].max() > 0.1


def test_guesses_face_between_the_normal_and_the_camera():
    """Normals point up and rays look along y: guesses face anywhere in between, and nowhere else."""
    normals, directions = (torch.tensor([axis]).expand(2000, 3).contiguous() for axis in ([0.0, 0, 1], [0.0, 1, 0]))
    offsets, found = kernels.guess(7, normals, directions, 0.2)
    angles = torch.atan2(-found[:, 1], found[:, 2]).rad2deg()
    assert not found[:, 0].any() and (angles >= 0).all() and (angles <= 90).all()
    assert angles.min() < 2 and angles.max() > 88 and abs(angles.mean() - 45) < 2
    assert abs(torch.corrcoef(torch.stack([offsets, angles]))[0, 1]) < 0.07
