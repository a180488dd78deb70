"""The grid field: its protocol, its gradients in place, and resizing."""

import pytest
import torch

from dvr_cli.fields.grid import GridField
from dvr_cli.fields.protocol import Field, MarchesRays
from dvr_cli.kernels.twins import grid as twins
from tests.tolerances import ROUNDING_OF_POSITIONS, assert_agree

N = 17


def random_field(seed: int = 0) -> GridField:
    g = torch.Generator().manual_seed(seed)
    shapes = [(N, N, N), (N, N, N, 3), (9, 9, 9, 9)]
    return GridField(*(torch.randn(shape, generator=g) for shape in shapes))


def random_points(count: int = 500, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    points = 0.99 * (2 * torch.rand(count, 3, generator=g) - 1)
    return points, torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=1)


def linear_field(n: int) -> GridField:
    def ramp(m: int) -> torch.Tensor:
        axis = torch.linspace(-1, 1, m)
        x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
        return 0.3 * x - 0.5 * y + 0.7 * z + 0.1

    scales = torch.arange(1.0, 10.0)
    return GridField(ramp(n), ramp(n)[..., None] * scales[:3], ramp((n + 1) // 2)[..., None] * scales)


def test_grid_follows_the_protocols():
    assert isinstance(random_field(), Field)
    assert isinstance(random_field(), MarchesRays)


def test_value_gradient_is_scattered_in_place():
    field, (points, _) = random_field(), random_points()
    buffer = field.sdf.grad
    weights = torch.randn(500, generator=torch.Generator().manual_seed(2))
    (field.value(points) * weights).sum().backward()
    assert field.sdf.grad is buffer
    sdf = field.sdf.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad((twins.grid_value(sdf, points.double()) * weights.double()).sum(), sdf)
    assert_agree(buffer, expected, ROUNDING_OF_POSITIONS)
    (field.value(points) * weights).sum().backward()
    assert_agree(buffer, 2 * expected, ROUNDING_OF_POSITIONS)


def test_colour_gradients_are_those_of_the_twin():
    field, (points, directions) = random_field(), random_points()
    weights = torch.randn(500, 3, generator=torch.Generator().manual_seed(2))
    variable = points.clone().requires_grad_()
    (field.colour(variable, directions) * weights).sum().backward()
    inputs = [field.albedo.detach().double(), field.sheen.detach().double(), points.double()]
    inputs = [array.requires_grad_() for array in inputs]
    expected = torch.autograd.grad((twins.grid_colour(*inputs, directions.double()) * weights.double()).sum(), inputs)
    for found, other in zip((field.albedo.grad, field.sheen.grad, variable.grad), expected, strict=True):
        assert_agree(found, other, ROUNDING_OF_POSITIONS)


def test_points_get_the_share_of_the_gradient_that_is_passed_on():
    """The colours get all of theirs."""
    found = []
    for share in (1.0, 0.25, 0.0):
        field, (points, directions) = random_field(), random_points()
        variable = points.requires_grad_()
        field.colour(variable, directions, share).square().sum().backward()
        found.append((variable.grad, field.albedo.grad, field.sheen.grad))
    for _, *of_grids in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(of_grids, found[0][1:], strict=True))
    assert found[0][0].abs().max() > 1
    torch.testing.assert_close(found[1][0], 0.25 * found[0][0])
    assert not found[2][0].any()


def test_colour_takes_gradients_of_expanded_sums():
    """`sum().backward()` hands an expanded tensor back; it is not contiguous."""
    field, (points, directions) = random_field(), random_points(50)
    (field.colour(points, directions).sum() + field.value(points).sum()).backward()
    assert field.sdf.grad.sum().item() == pytest.approx(50, rel=1e-5)
    assert field.albedo.grad.sum().item() == pytest.approx(150, rel=1e-5)


def test_curvature_goes_to_the_vertices_around():
    field, (points, _) = random_field(), random_points()
    curvature = torch.rand(500, generator=torch.Generator().manual_seed(3))
    field.add_curvature(points, curvature)
    field.add_colour_curvature(points, curvature)
    for grid in (field.sdf_curvature, field.albedo_curvature, field.sheen_curvature):
        expected = twins.scatter(torch.zeros_like(grid).double(), points.double(), curvature.double())
        assert_agree(grid, expected, ROUNDING_OF_POSITIONS)


@pytest.mark.parametrize("voxels", [33, 16, 9])
def test_resizing_keeps_a_linear_field(voxels):
    field = linear_field(N)
    resized, (points, directions) = field.resized(voxels), random_points()
    assert resized.voxels == voxels
    assert resized.sheen.shape[0] == (voxels + 1) // 2
    assert torch.allclose(resized.value(points), field.value(points), atol=1e-5)
    assert torch.allclose(resized.colour(points, directions), field.colour(points, directions), atol=2e-4)


def test_resizing_to_twice_the_cells_keeps_every_value():
    field, (points, _) = random_field(), random_points()
    assert torch.allclose(field.resized(2 * N - 1).value(points), field.value(points), atol=1e-4)


def test_resizing_starts_without_gradients():
    field, (points, _) = random_field(), random_points()
    field.value(points).sum().backward()
    resized = field.resized(33)
    assert not any(parameter.grad.any() for parameter in resized.parameters())
    assert not resized.sdf_curvature.any()
