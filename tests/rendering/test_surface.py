"""First hits and the implicit gradient: finite differences of the rendered depth in float64, and the closed form."""

import pytest
import torch
from torch import nn

from dvr_cli.fields.grid import GridField
from dvr_cli.fields.protocol import Field, FindsSurface, MarchesRays
from dvr_cli.rendering.marching import cube_interval
from dvr_cli.rendering.surface import LEAST_SLOPE, first_hit, surface_at

RADIUS = 0.6
IMPLICIT_GRADIENT = 1e-5
"""Relative, away from grazing rays. Measured: 2.4e-8 (sphere), 4.8e-8 (network)."""
GRID_GRADIENT = 0.03
"""Relative L2 over rays, 65^3 vertices: the slope along the ray comes from differences over two voxels, the depth from
the slope within one. Measured: 0.017, with a bias of 0.004."""


class Ball(nn.Module):
    """Distance to a sphere; implements `Field`."""

    half_width = 1.0

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.centre = nn.Parameter(torch.tensor([0.05, -0.1, 0.02], dtype=dtype))
        self.radius = nn.Parameter(torch.tensor(RADIUS, dtype=dtype))

    def value(self, points):
        return (points - self.centre).norm(dim=1) - self.radius

    def gradient(self, points):
        return nn.functional.normalize(points - self.centre, dim=1).detach()

    def colour(self, points, directions):
        return points.sigmoid()


class Network(Ball):
    """A small network added to a sphere: no closed form, and not a distance."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 12), nn.Softplus(beta=5), nn.Linear(12, 1)).double()

    def value(self, points):
        return super().value(points) + 0.3 * self.layers(points)[:, 0]

    def gradient(self, points):
        with torch.enable_grad():
            at = points.detach().requires_grad_()
            return torch.autograd.grad(self.value(at).sum(), at)[0]


class Plane(nn.Module):
    """a . p - b with a short normal a: every ray grazes it."""

    half_width = 1.0

    def __init__(self, normal):
        super().__init__()
        self.normal, self.offset = torch.tensor(normal).double(), nn.Parameter(torch.zeros(()).double())

    def value(self, points):
        return points @ self.normal - self.offset

    def gradient(self, points):
        return self.normal.expand(len(points), 3)

    def colour(self, points, directions):
        return points


def rays(count: int, dtype=torch.float64, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    origins = 3 * nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=dtype), dim=1)
    targets = 0.8 * (2 * torch.rand(count, 3, generator=generator, dtype=dtype) - 1)
    return origins, nn.functional.normalize(targets - origins, dim=1)


def hits_of(field, count: int, least_slope: float = 0.3):
    """Rays that hit the surface at a clear angle, and where."""
    origins, directions = rays(count, next(field.parameters()).dtype)
    hits = first_hit(field, origins, directions)
    surface = surface_at(field, origins, directions, hits.t)
    clear = hits.hit & (surface.slope < -least_slope)
    return origins[clear], directions[clear], hits.t[clear]


def depth_along(field, direction: list, step: float, origins, directions):
    """Rendered distances with the parameters moved by `step` times `direction`."""
    with torch.no_grad():
        for parameter, change in zip(field.parameters(), direction, strict=True):
            parameter += step * change
        t = first_hit(field, origins, directions).t
        for parameter, change in zip(field.parameters(), direction, strict=True):
            parameter -= step * change
    return t


def implicit_derivative(field, direction: list, origins, directions, t):
    """The derivative of each ray's t along a direction in the space of parameters, by backward passes ray by ray."""
    derivatives = []
    for ray in range(len(t)):
        one = slice(ray, ray + 1)
        for parameter in field.parameters():
            parameter.grad = torch.zeros_like(parameter)
        surface_at(field, origins[one], directions[one], t[one]).t.sum().backward()
        pairs = zip(field.parameters(), direction, strict=True)
        derivatives.append(sum((parameter.grad * change).sum() for parameter, change in pairs))
    return torch.stack(derivatives)


def test_test_fields_follow_the_protocol():
    assert all(isinstance(field, Field) and not isinstance(field, MarchesRays) for field in (Ball(), Network()))


def test_first_hit_matches_sphere():
    field, (origins, directions) = Ball(), rays(2000)
    offset = origins - field.centre
    along = (offset * directions).sum(dim=1)
    square = along.square() - offset.square().sum(dim=1) + RADIUS**2
    hits = first_hit(field, origins, directions)
    clear = square.abs() > 1e-3
    assert torch.equal(hits.hit[clear], (square > 0)[clear])
    found = hits.hit & clear
    assert found.sum() > 500
    assert (hits.t - (-along - square.clamp(min=0).sqrt()))[found].abs().max() < 1e-9


@pytest.mark.parametrize("make", [Ball, Network])
def test_implicit_gradient_is_that_of_the_rendered_depth(make):
    field = make()
    origins, directions, t = hits_of(field, 120)
    assert len(t) > 30
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in field.parameters()]
        step = 1e-5
        ahead = depth_along(field, direction, step, origins, directions)
        behind = depth_along(field, direction, -step, origins, directions)
        expected = (ahead - behind) / (2 * step)
        found = implicit_derivative(field, direction, origins, directions, t)
        assert ((found - expected).abs() <= IMPLICIT_GRADIENT * expected.abs().clamp(min=0.05)).all()


def test_implicit_gradient_on_a_sphere_is_the_closed_form():
    """|o + t w - c| = r gives dt/dr = 1 / (n.w) and dt/dc = n / (n.w), with n the outward normal."""
    field = Ball()
    origins, directions, t = hits_of(field, 60)
    for ray in range(len(t)):
        one = slice(ray, ray + 1)
        field.zero_grad()
        surface_at(field, origins[one], directions[one], t[one]).t.sum().backward()
        normal = (origins[ray] + t[ray] * directions[ray] - field.centre).detach() / RADIUS
        facing = normal @ directions[ray]
        assert torch.allclose(field.radius.grad, 1 / facing, rtol=1e-9)
        assert torch.allclose(field.centre.grad, normal / facing, rtol=1e-9)


def test_points_move_along_their_rays_alone():
    field = Ball()
    origins, directions, t = hits_of(field, 60)
    surface = surface_at(field, origins, directions, t)
    (by_points,) = torch.autograd.grad((surface.points * directions).sum(), field.radius, retain_graph=True)
    (by_t,) = torch.autograd.grad(surface.t.sum(), field.radius)
    assert torch.allclose(by_points, by_t)
    assert torch.allclose(surface.points, origins + t[:, None] * directions)
    assert torch.allclose(surface.normals.norm(dim=1), torch.ones_like(t))
    assert not surface.normals.requires_grad


def test_grid_gradient_is_that_of_the_rendered_depth():
    axis = torch.linspace(-1, 1, 65)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    field = GridField((x.square() + y.square() + z.square()).sqrt() - RADIUS)
    origins, directions, t = hits_of(field, 150)
    change = torch.sin(3 * x + 1) * torch.cos(2 * y) * torch.cos(z)
    direction = [change, torch.zeros_like(field.albedo), torch.zeros_like(field.sheen)]
    step = 2e-3
    ahead = depth_along(field, direction, step, origins, directions)
    behind = depth_along(field, direction, -step, origins, directions)
    expected = (ahead - behind) / (2 * step)
    found = implicit_derivative(field, direction, origins, directions, t)
    assert len(t) > 50
    assert (found - expected).norm() < GRID_GRADIENT * expected.norm()
    assert (found - expected).mean().abs() < 0.01 * expected.abs().mean()


class AskedAtPoints:
    """A grid that finds no surface by itself."""

    half_width = 1.0

    def __init__(self, grid):
        self.value, self.gradient, self.colour = grid.value, grid.gradient, grid.colour


def test_what_a_grid_finds_by_itself_is_what_any_field_gives():
    """Values, and the gradient of what depends on distances and on points."""
    axis = torch.linspace(-1, 1, 33)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    field = GridField((x.square() + y.square() + z.square()).sqrt() - RADIUS)
    origins, directions, t = hits_of(field, 200, least_slope=0.0)
    weights = torch.randn(len(t), 4, generator=torch.Generator().manual_seed(0))
    found = []
    for each in (field, AskedAtPoints(field)):
        field.sdf.grad.zero_()
        surface = surface_at(each, origins, directions, t)
        ((weights[:, 0] * surface.t).sum() + (weights[:, 1:] * surface.points).sum()).backward()
        found.append([*(part.detach() for part in vars(surface).values()), field.sdf.grad.clone()])
        assert not surface.normals.requires_grad and not surface.slope.requires_grad
    assert isinstance(field, FindsSurface) and not isinstance(AskedAtPoints(field), FindsSurface)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
    assert found[0][-1].any()


@pytest.mark.parametrize("slope", [-0.5, -0.1, -0.01, 0.0, 0.01, 0.5])
def test_grazing_rays_have_bounded_gradients_of_the_right_sign(slope):
    field = Plane([slope, 0.7, 0.0])
    origin, direction = torch.zeros(1, 3).double(), torch.tensor([[1.0, 0, 0]]).double()
    surface = surface_at(field, origin, direction, torch.zeros(1).double())
    surface.t.sum().backward()
    bounded = max(abs(slope), LEAST_SLOPE) * (-1 if slope < 0 else 1)
    assert surface.slope.item() == pytest.approx(bounded)
    assert field.offset.grad.item() == pytest.approx(1 / bounded)


@pytest.mark.parametrize(
    ("origin", "direction", "hit"),
    [
        ((3.0, 0.0, 0.0), (1.0, 0.0, 0.0), False),  # the cube is behind the camera
        ((0.0, 3.0, 0.0), (1.0, 0.0, 0.0), False),  # parallel to walls, beside the cube
        ((0.95, 0.95, 0.95), (-1.0, 0.0, 0.0), False),  # from inside the cube past the ball
        ((0.95, 0.0, 0.0), (-1.0, 0.0, 0.0), True),  # from inside the cube
        ((0.05, -0.1, 0.02), (0.0, 1.0, 0.0), False),  # from inside the ball: no entry
        ((0.05, -0.1 + RADIUS + 1e-6, -3.0), (0.0, 0.0, 1.0), False),  # just past the ball
    ],
)
def test_single_rays(origin, direction, hit):
    hits = first_hit(Ball(), torch.tensor([origin]).double(), torch.tensor([direction]).double())
    assert hits.hit.item() is hit
    assert (hits.t.item() > 0) is hit
    assert hits.nearest_t.isfinite().all()
    assert not hits.nearest_value.isnan().any()


def test_no_rays_and_nothing_to_hit():
    field = Ball()
    none = torch.zeros(0, 3).double()
    assert [len(array) for array in vars(first_hit(field, none, none)).values()] == [0, 0, 0, 0, 0]
    assert len(surface_at(field, none, none, none[:, 0]).t) == 0
    origins, directions = rays(50)
    hits = first_hit(field, origins, -directions)
    assert not hits.hit.any()
    assert torch.all(hits.t == 0)
    assert torch.all(hits.nearest_value == torch.inf)


def test_nearest_sample_of_a_miss_is_where_the_ray_passes():
    field = Ball()
    origin, direction = torch.tensor([[-3.0, 0.7, 0.02]]).double(), torch.tensor([[1.0, 0.0, 0.0]]).double()
    hits = first_hit(field, origin, direction)
    assert hits.nearest_t.item() == pytest.approx(3.05, abs=0.02)
    assert hits.nearest_value.item() == pytest.approx(0.2, abs=1e-3)


def test_cube_interval_is_where_the_ray_is_inside():
    origins, directions = rays(500, seed=3)
    near, far = cube_interval(origins, directions)
    meets = near < far
    assert 100 < meets.sum() <= 500
    for share in (1e-6, 0.3, 1 - 1e-6):
        points = origins + (near + share * (far - near))[:, None] * directions
        assert torch.all(points[meets].abs() <= 1 + 1e-9)
    beyond = origins + (far + 1e-6)[:, None] * directions
    assert torch.all(beyond[meets].abs().amax(dim=1) > 1)
