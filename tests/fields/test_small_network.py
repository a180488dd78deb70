"""The small network: its grids of features, its encoding, and the mask of empty space."""

import math

import pytest
import torch

from dvr_cli.config import MLP_SMALL, Network
from dvr_cli.fields.kinds import make_network_field
from dvr_cli.fields.mlp import EMPTY_LOGIT, NetworkField
from dvr_cli.fields.protocol import Field, KnowsEmptySpace
from dvr_cli.fields.small_network import REACH, FeatureGrid
from dvr_cli.rendering.surface import first_hit


def random_points(count: int, reach: float = 1.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return reach * (2 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1)


def grid_with_numbers(vertices: int, features: int) -> FeatureGrid:
    grid = FeatureGrid(vertices, features).double()
    with torch.no_grad():
        grid.table.copy_(torch.randn(grid.table.shape, generator=torch.Generator().manual_seed(1)).double())
    return grid


def test_features_are_interpolated_as_torch_does():
    grid, points = grid_with_numbers(7, 3), random_points(500, REACH)
    volume = grid.table.reshape(7, 7, 7, 3).permute(3, 0, 1, 2)[None]
    places = (points / REACH).flip(1)[None, :, None, None]
    expected = torch.nn.functional.grid_sample(volume, places, align_corners=True)[0, :, :, 0, 0].T
    # The last cell ends 1e-4 of a cell early.
    assert (grid(points) - expected).abs().max() < 1e-3
    assert (grid(0.95 * points) - torch.nn.functional.grid_sample(
        volume, 0.95 * places, align_corners=True
    )[0, :, :, 0, 0].T).abs().max() < 1e-12  # fmt: skip


def test_features_are_those_of_the_vertices_and_linear_along_edges():
    grid = grid_with_numbers(5, 2)
    spacing = 2 * REACH / 4
    corner = torch.tensor([[1.0, 2.0, 3.0]]).double() * spacing - REACH
    along = corner + torch.tensor([[0.0, 0.0, 0.25 * spacing]]).double()
    index = (1 * 5 + 2) * 5 + 3
    assert torch.allclose(grid(corner)[0], grid.table[index], atol=1e-12)
    # Vertex 4 is the last: three quarters of the way back.
    assert torch.allclose(grid(along)[0], 0.75 * grid.table[index] + 0.25 * grid.table[index + 1], atol=1e-12)


def test_features_have_first_and_second_derivatives():
    grid, points = grid_with_numbers(4, 2), random_points(6).requires_grad_()
    assert torch.autograd.gradcheck(grid, (points,))
    assert torch.autograd.gradgradcheck(grid, (points,))


def small_field(seed: int = 0) -> NetworkField:
    torch.manual_seed(seed)
    return make_network_field("mlp-small", MLP_SMALL.network).double()


def test_field_follows_the_protocol_and_its_gradient_is_the_derivative():
    field, points = small_field(), random_points(60)
    assert isinstance(field, Field) and isinstance(field, KnowsEmptySpace) and field.kind == "mlp-small"
    assert field.colour(points, points).shape == (60, 3)
    step = 1e-6
    columns = []
    for axis in range(3):
        move = step * torch.eye(3, dtype=torch.float64)[axis]
        columns.append((field.value(points + move) - field.value(points - move)).detach() / (2 * step))
    found, expected = field.gradient(points), torch.stack(columns, dim=1)
    # ReLUs whose kink lies within the step differ; measured: none of 60.
    assert ((found - expected).abs().amax(dim=1) < 1e-5 * expected.abs().max()).sum() >= 58


@pytest.mark.parametrize("frequencies", [0, 3])
def test_inputs_of_the_decoder_are_point_sines_cosines_and_features(frequencies):
    settings = Network(width=8, blocks=1, frequencies=frequencies, feature_grids=(4, 6), features=2)
    network = make_network_field("mlp-small", settings).network
    assert network.decoder.fc_p.weight.shape == (8, 3 + 6 * frequencies + 4)
    assert torch.equal(network.octaves, torch.tensor([2.0**i * math.pi for i in range(frequencies)]))
    assert "octaves" not in network.state_dict()


class Lump(torch.nn.Module):
    """Logits of a ball; steep, so that most of the cube is clearly empty."""

    def __init__(self):
        super().__init__()
        self.centre = torch.nn.Parameter(torch.tensor([0.1, -0.05, 0.15]).double())

    def forward(self, points, code=None):
        logit = 40 * (0.15 - (points - self.centre).norm(dim=1))
        return torch.cat([logit[:, None], points], dim=1)


def test_empty_cells_hold_nothing_and_most_of_the_rest_is_empty():
    field = NetworkField(Lump())
    points = random_points(20000, field.half_width)
    assert not field.certainly_outside(points).any()
    field.find_empty_space(24)
    empty = field.certainly_outside(points)
    assert torch.all(field.value(points)[empty] > -EMPTY_LOGIT)
    assert empty.double().mean() > 0.8
    # Points beyond the padded cube count as those at its walls.
    assert field.certainly_outside(torch.tensor([[5.0, 5.0, 5.0]]).double()).all()


def test_rays_hit_the_same_with_empty_cells():
    field = NetworkField(Lump())
    origins = 3 * torch.nn.functional.normalize(random_points(300, seed=2), dim=1)
    directions = torch.nn.functional.normalize(random_points(300, 0.5, seed=3) - origins, dim=1)
    before = first_hit(field, origins, directions, 64)
    field.find_empty_space(24)
    after = first_hit(field, origins, directions, 64)
    assert before.hit.sum() > 50
    assert torch.equal(before.hit, after.hit)
    assert torch.allclose(before.t, after.t, rtol=0, atol=1e-9)
