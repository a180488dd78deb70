"""Random choices: those of the twin, in the right shares, and none that may not be."""

import pytest
import torch

from dvr_cli.kernels import draws as kernels
from dvr_cli.kernels.twins import draws as twins

CPU = torch.device("cpu")
TABLE = torch.tensor([[1, 2, 3, -1, 4], [0, 2, 3, 4, -1]], dtype=torch.int32)


@pytest.mark.parametrize(("count", "available"), [(3000, 1_000_003), (500, 500), (700, 13), (4, 1)])
def test_items_are_spread_as_by_the_twin(count, available):
    found = kernels.spread(count, available, 5, CPU)
    assert torch.equal(found.long(), twins.spread(count, available, 5))
    assert (found.diff() >= 0).all() and found.min() >= 0 and found.max() < available
    # One in each of as many equal stretches.
    stretch = available / count
    begin = torch.arange(count).double() * stretch
    assert (found >= begin.floor()).all() and (found <= begin + stretch).all()


def test_every_item_is_as_likely_as_any_other():
    """Also where stretches begin within items: 300 draws of 48 from 100, so 144 of each are expected."""
    counts = torch.zeros(100)
    for seed in range(300):
        counts += torch.bincount(kernels.spread(48, 100, seed, CPU), minlength=100)
    # Six standard deviations of a count of independent draws.
    assert (counts - 144).abs().max() < 6 * 12


def test_more_items_than_a_float_can_count():
    found = kernels.spread(1000, 2_000_000_000, 1, CPU)
    assert len({int(item) % 64 for item in found}) == 64 and found.max() < 2_000_000_000


def test_nothing_cannot_be_drawn_from():
    with pytest.raises(ValueError, match="nothing to draw from"):
        kernels.spread(10, 0, 1, CPU)
    assert len(kernels.spread(0, 0, 1, CPU)) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_shares_are_tossed_as_by_the_twin(share):
    found = kernels.toss(20_000, share, 11, CPU)
    assert torch.equal(found, twins.toss(20_000, share, 11))
    assert abs(float(found.float().mean()) - share) <= 0.015 * (0 < share < 1)


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_sources_are_those_of_the_twin(count, share):
    g = torch.Generator().manual_seed(0)
    views, slopes = torch.randint(2, (5000,), generator=g, dtype=torch.int32), torch.randn(5000, generator=g)
    found = kernels.choose_sources(TABLE, views, slopes, count, share, 3)
    assert torch.equal(found, twins.choose_sources(TABLE, views, slopes, count, share, 3))
    compared = (found != -1).any(dim=1)
    assert not compared[slopes >= 0].any()
    # With one column per group a ray may be left with -1s alone.
    assert abs(float(compared[slopes < 0].float().mean()) - share) < (0.25 if count == 1 else 0.03)


def test_sources_come_from_their_groups():
    views = torch.zeros(2000, dtype=torch.int32)
    found = kernels.choose_sources(TABLE, views, -torch.ones(2000), 2, 1.0, 8)
    assert [sorted(set(column.tolist())) for column in found.T] == [[1, 2], [-1, 3]]
    assert abs(float((found[:, 0] == 1).float().mean()) - 0.5) < 0.05


def test_seeds_are_of_their_own():
    a, b = (kernels.toss(20_000, 0.5, seed, CPU) for seed in (1, 2))
    assert abs(float((a == b).float().mean()) - 0.5) < 0.02


def test_no_rays_have_no_sources():
    nobody = torch.zeros(0, dtype=torch.int32)
    assert kernels.choose_sources(TABLE, nobody, torch.zeros(0), 2, 1.0, 0).shape == (0, 2)
