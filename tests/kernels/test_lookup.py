"""Look-ups and scatters: against their twins, as adjoints of each other, and at the walls of the cube."""

import pytest
import torch

from dvr_cli.kernels import lookup, scatter
from dvr_cli.kernels.twins import grid as twins
from tests.tolerances import ROUNDING_OF_POSITIONS, assert_agree

N, M = 20, 10


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data():
    """Random grids, points inside the cube, unit directions and gradients of colours."""
    g = generator()
    return {
        "sdf": torch.randn(N, N, N, generator=g),
        "albedo": torch.randn(N, N, N, 3, generator=g),
        "sheen": torch.randn(M, M, M, 9, generator=g),
        "points": (torch.rand(3000, 3, generator=g) * 2 - 1) * 0.999,
        "directions": torch.nn.functional.normalize(torch.randn(3000, 3, generator=g), dim=1),
        "colour_gradient": torch.randn(3000, 3, generator=g),
    }


@pytest.fixture(scope="module")
def double(data):
    return {name: array.double() for name, array in data.items()}


def test_values_agree_with_the_twin(data, double):
    found = lookup.grid_value(data["sdf"], data["points"])
    assert_agree(found, twins.grid_value(double["sdf"], double["points"]), ROUNDING_OF_POSITIONS)


def test_values_at_vertices_are_the_vertices(data):
    axis = torch.linspace(-1, 1, N)[:-1]
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    found = lookup.grid_value(data["sdf"], points)
    assert_agree(found, data["sdf"][:-1, :-1, :-1].reshape(-1), ROUNDING_OF_POSITIONS)


def test_gradients_agree_with_the_twin(data, double):
    inner = 0.85
    found = lookup.grid_gradient(data["sdf"], inner * data["points"])
    assert_agree(found, twins.grid_gradient(double["sdf"], inner * double["points"]), ROUNDING_OF_POSITIONS)


def test_the_surface_on_rays_is_that_of_the_gradient(data):
    """Points, normals and slopes in one pass; slopes near zero are brought to the least one of their sign."""
    directions, t = data["directions"], torch.rand(3000, generator=generator(1)) + 0.5
    origins = 0.85 * data["points"] - t[:, None] * directions
    points, normals, slope = lookup.grid_surface(data["sdf"], origins, directions, t, 2.0)
    assert_agree(points, 0.85 * data["points"], ROUNDING_OF_POSITIONS)
    gradient = lookup.grid_gradient(data["sdf"], points)
    assert_agree(normals, torch.nn.functional.normalize(gradient, dim=1), ROUNDING_OF_POSITIONS)
    expected = (gradient * directions).sum(dim=1)
    flat = expected.abs() < 2.0
    assert 0.1 < flat.float().mean() < 0.9
    assert_agree(slope[~flat], expected[~flat], ROUNDING_OF_POSITIONS)
    assert torch.equal(slope[flat], 2.0 * torch.where(expected < 0, -1.0, 1.0)[flat])


def test_gradients_near_the_walls_agree_with_the_twin(data, double):
    """Beyond the cube the value is that of the wall, in the kernel of 0.001 voxels before it."""
    difference = lookup.grid_gradient(data["sdf"], data["points"]) - twins.grid_gradient(
        double["sdf"], double["points"]
    )
    assert difference.abs().max() < 0.001 * 2 * data["sdf"].abs().max() * (N - 1) / 2


def test_gradient_of_a_linear_field_is_its_slope():
    axis = torch.linspace(-1, 1, N)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = 0.85 * (torch.rand(500, 3, generator=generator()) * 2 - 1)
    found = lookup.grid_gradient(0.5 * x - 2 * y + 3 * z, points)
    assert torch.allclose(found, torch.tensor([0.5, -2.0, 3.0]).expand(500, 3), atol=1e-5)


def test_colours_agree_with_the_twin(data, double):
    names = ("albedo", "sheen", "points", "directions")
    found = lookup.grid_colour(*(data[name] for name in names))
    assert_agree(found, twins.grid_colour(*(double[name] for name in names)), ROUNDING_OF_POSITIONS)


def test_colour_slope_is_the_gradient_of_the_colours(data, double):
    points = double["points"].clone().requires_grad_()
    colours = twins.grid_colour(double["albedo"], double["sheen"], points, double["directions"])
    (expected,) = torch.autograd.grad((colours * double["colour_gradient"]).sum(), points)
    names = ("albedo", "sheen", "points", "directions", "colour_gradient")
    assert_agree(lookup.grid_colour_slope(*(data[name] for name in names)), expected, ROUNDING_OF_POSITIONS)
    passed_on = lookup.grid_colour_slope(*(data[name] for name in names), 0.25)
    assert_agree(passed_on, 0.25 * expected, ROUNDING_OF_POSITIONS)


@pytest.mark.parametrize("channels", [0, 1, 3, 9])
def test_scatter_agrees_with_the_twin(double, channels):
    shape = (channels,) if channels else ()
    before = torch.randn(M, M, M, *shape, generator=generator(1))
    values = torch.randn(3000, *shape, generator=generator(2))
    found = before.clone()
    scatter.scatter(found, double["points"].float(), values)
    assert_agree(found, twins.scatter(before.double(), double["points"], values.double()), ROUNDING_OF_POSITIONS)


def test_scatter_by_axis_is_the_scatter_of_all_products(data, double):
    found = torch.zeros(M, M, M, 9)
    scatter.scatter_by_axis(found, data["points"], data["directions"], data["colour_gradient"])
    products = (double["directions"][:, :, None] * double["colour_gradient"][:, None, :]).reshape(-1, 9)
    expected = twins.scatter(torch.zeros(M, M, M, 9).double(), double["points"], products)
    assert_agree(found, expected, ROUNDING_OF_POSITIONS)


@pytest.mark.parametrize("of_t", [False, True])
@pytest.mark.parametrize("of_points", [False, True])
def test_the_implicit_gradient_is_that_of_a_distance(data, double, of_t, of_points):
    """Of what depends on t and on o + t w, with t = -value / slope about the surface: by autograd."""
    value, origins = torch.zeros(3000, dtype=torch.float64, requires_grad=True), double["points"]
    slope = double["albedo"].reshape(-1)[:3000].abs() + 0.5
    t = -value / slope
    weights, points = double["sdf"].reshape(-1)[:3000], origins + t[:, None] * double["directions"]
    depends = of_t * (weights * t).sum() + of_points * (double["colour_gradient"] * points).sum()
    (expected,) = torch.autograd.grad(depends, value)
    given = [weights.float() if of_t else None, data["colour_gradient"] if of_points else None]
    assert_agree(lookup.implicit_gradient(*given, data["directions"], slope.float()), expected, ROUNDING_OF_POSITIONS)


def test_scatter_is_the_adjoint_of_a_look_up(data):
    """<scatter(v), g> = <v, gather(g)>."""
    values = torch.randn(3000, generator=generator(3))
    scattered = torch.zeros(N, N, N)
    scatter.scatter(scattered, data["points"], values)
    left = (scattered.double() * data["sdf"].double()).sum()
    right = (values.double() * lookup.grid_value(data["sdf"], data["points"]).double()).sum()
    scale = values.double().norm() * data["sdf"].double().norm()
    assert abs(left - right) <= 1e-7 * scale


def test_scatter_keeps_the_sum(data):
    """The eight weights of a point add up to one."""
    scattered = torch.zeros(N, N, N)
    values = torch.rand(3000, generator=generator(4))
    scatter.scatter(scattered, data["points"], values)
    assert scattered.double().sum() == pytest.approx(float(values.double().sum()), rel=1e-6)


def test_points_outside_are_clamped_to_the_walls(data):
    points = 3 * torch.randn(500, 3, generator=generator(5))
    # The kernel stays 0.001 voxels inside the last cell, which is worth up to 0.001 of a difference between vertices.
    difference = lookup.grid_value(data["sdf"], points) - lookup.grid_value(data["sdf"], points.clamp(-1, 1))
    expected = twins.grid_value(data["sdf"].double(), points.double())
    assert difference.abs().max() == 0
    assert (lookup.grid_value(data["sdf"], points) - expected).abs().max() < 0.003 * data["sdf"].abs().max() * 2


def test_no_points_are_no_trouble(data):
    none = torch.zeros(0, 3)
    before = data["sdf"].clone()
    scatter.scatter(data["sdf"], none, torch.zeros(0))
    assert torch.equal(before, data["sdf"])
    assert lookup.grid_value(data["sdf"], none).shape == (0,)
    assert lookup.grid_gradient(data["sdf"], none).shape == (0, 3)
    assert lookup.grid_colour(data["albedo"], data["sheen"], none, none).shape == (0, 3)


@pytest.mark.parametrize("n", [2, 3])
def test_smallest_grids(n):
    grid, points = torch.randn(n, n, n, generator=generator()), torch.rand(50, 3, generator=generator()) * 2 - 1
    expected = twins.grid_value(grid.double(), points.double())
    assert_agree(lookup.grid_value(grid, points), expected, ROUNDING_OF_POSITIONS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
def test_no_point_leads_out_of_the_grid(bad):
    """Look-ups do without the test of indices: whatever a coordinate is, it is clamped to the cube."""
    grid, points, directions = torch.rand(17, 17, 17), torch.full((50, 3), bad), torch.ones(50, 3)
    found = [lookup.grid_value(grid, points), lookup.grid_gradient(grid, points)]
    albedo, sheen = torch.rand(17, 17, 17, 3), torch.rand(9, 9, 9, 9)
    found.append(lookup.grid_colour(albedo, sheen, points, directions))
    assert all(each.isfinite().all() for each in found)
    total = torch.zeros(17, 17, 17)
    scatter.scatter(total, points, torch.ones(50))
    assert total.sum().item() == pytest.approx(50)
