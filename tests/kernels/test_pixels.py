"""What is known of drawn pixels: against the twin, and against the photographs themselves."""

import torch

from dvr_cli.kernels import pixels as kernels
from dvr_cli.kernels.twins import pixels as twins
from dvr_cli.kernels.twins.cameras import in_double, project
from dvr_cli.kernels.views import ViewArrays
from tests.tolerances import ROUNDING, assert_agree


def table(stack: ViewArrays, count: int) -> tuple[torch.Tensor, ...]:
    """Random pixels of random views, some of them at an edge."""
    g = torch.Generator().manual_seed(0)
    views = torch.randint(stack.count, (count,), generator=g, dtype=torch.int32)
    size = torch.stack([stack.widths, stack.heights], dim=1)[views.long()]
    pixels = (torch.rand(count, 2, generator=g) * size).int()
    return views, pixels, torch.rand(count, generator=g) < 0.3


def test_looks_agree_with_the_twin(ball):
    views, pixels, at_edge = table(ball, 5000)
    drawn = torch.randint(5000, (3000,), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    found, expected = kernels.look(ball, views, pixels, at_edge, drawn), twins.look(ball, views, pixels, at_edge, drawn)
    for name in ("views", "pixels", "at_edge", "origins", "masks", "rgb"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.at_edge.dtype == torch.bool and 0 < found.at_edge.float().mean() < 1
    assert 0 < (found.masks > 0).float().mean() < 1
    directions = twins.look(in_double(ball), views, pixels, at_edge, drawn).directions
    assert_agree(found.directions, directions, ROUNDING)


def test_rays_project_to_their_pixels(ball):
    views, pixels, at_edge = table(ball, 500)
    found = kernels.look(ball, views, pixels, at_edge, torch.arange(500, dtype=torch.int32))
    position, depth = project(ball, found.views, found.origins + 2.5 * found.directions)
    assert (depth > 0).all()
    torch.testing.assert_close(position, pixels + 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(500))


def test_nothing_drawn_is_nothing_seen(ball):
    found = kernels.look(ball, *table(ball, 5), torch.zeros(0, dtype=torch.int32))
    assert [len(each) for each in found] == [0] * 7
