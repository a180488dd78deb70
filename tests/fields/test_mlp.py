"""The paper's network as a field: its layout, its derivatives in float64, the implicit gradient of rendered depth."""

import numpy as np
import pytest
import torch
from plain_network import ball_like_weights, network, random_weights, spatial_gradient
from torch import nn

from dvr_cli.fields.mlp import PAPER_FROM_CUBE, Decoder, NetworkField
from dvr_cli.fields.protocol import Field, KnowsEmptySpace, MarchesRays
from dvr_cli.rendering import marching
from dvr_cli.rendering.surface import first_hit, surface_at

STEP = 1e-6
"""Of finite differences, along directions of length one."""
STEPS = 64
"""Of marching."""
IMPLICIT_GRADIENT = 1e-5
"""Relative error per ray, away from grazing rays, of derivatives that are not much smaller than the usual one (0.01).
Measured: 3.3e-7."""
LEAST_SLOPE = 0.5
"""Rays that meet the surface at a smaller |grad value . w| graze it; head on the slope is about five."""


class SphereNetwork(nn.Module):
    """The logit k (r - |p - c|) in the paper's coordinates, with the latent code c as the centre; grey."""

    def __init__(self):
        super().__init__()
        self.radius = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.steepness = nn.Parameter(torch.tensor(7.0, dtype=torch.float64))

    def forward(self, inputs, code=None):
        logit = self.steepness * (self.radius - (inputs - code).norm(dim=1))
        return torch.cat([logit[:, None], torch.zeros_like(inputs)], dim=1)


def decoder_from(weights: dict[str, np.ndarray], **settings) -> Decoder:
    decoder = Decoder(**settings).double()
    decoder.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return decoder


def random_decoder(code_size: int = 0, seed: int = 0) -> tuple[Decoder, dict[str, np.ndarray]]:
    weights = random_weights(np.random.default_rng(seed), width=16, blocks=5, code_size=code_size)
    return decoder_from(weights, width=16, code_size=code_size), weights


def random_points(count: int, seed: int = 0):
    return 1.1 * (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1)


def random_rays(count: int, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    origins = 3 * nn.functional.normalize(torch.randn(count, 3, generator=g, dtype=torch.float64), dim=1)
    targets = 0.55 * (2 * torch.rand(count, 3, generator=g, dtype=torch.float64) - 1)
    return origins, nn.functional.normalize(targets - origins, dim=1)


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices as small as these are no faster on two threads, and much slower where the other one is taken."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ball_field():
    """A network of width 32 with a code of six numbers, whose surface is a lumpy ball of radius 0.6."""
    rng = np.random.default_rng(0)
    code = rng.normal(size=6)
    decoder = decoder_from(ball_like_weights(rng, width=32, blocks=5, code=code), width=32, code_size=6)
    return NetworkField(decoder, code=torch.from_numpy(code).requires_grad_())


@pytest.fixture
def exact_depth(monkeypatch):
    """More secant steps than the paper's, because a finite difference needs depths without a remainder."""
    monkeypatch.setattr(marching, "SECANT_STEPS", 30)


def clear_hits(field, count: int):
    """Rays that hit the surface without grazing it, their distances, and how many graze it."""
    origins, directions = random_rays(count)
    hits = first_hit(field, origins, directions, STEPS)
    slope = surface_at(field, origins, directions, hits.t).slope
    clear = hits.hit & (slope.abs() > LEAST_SLOPE)
    return origins[clear], directions[clear], hits.t[clear], int((hits.hit & ~clear).sum())


def variables_of(field) -> dict[str, torch.Tensor]:
    """Everything that the depth depends on: the parameters, and the code as `code`."""
    return dict(field.network.named_parameters()) | {"code": field.code}


def derivatives_of_depth(field, origins, directions, t) -> dict[str, torch.Tensor]:
    """dt / d variable of each ray (n, ...) by the implicit gradient."""
    variables = variables_of(field)
    rows = []
    for ray in range(len(t)):
        depth = surface_at(field, origins[ray : ray + 1], directions[ray : ray + 1], t[ray : ray + 1]).t.sum()
        rows.append(torch.autograd.grad(depth, list(variables.values()), allow_unused=True, materialize_grads=True))
    return {name: torch.stack(parts) for name, parts in zip(variables, zip(*rows, strict=True), strict=True)}


def active_relus(field, points):
    """(p, ...) which ReLUs of a decoder are on at points."""
    found, decoder = [], field.network
    hooks = [
        block.fc_0.register_forward_hook(lambda _, inputs, output: found.extend([inputs[0] > 0, output > 0]))
        for block in decoder.blocks
    ]
    hooks.append(decoder.fc_out.register_forward_hook(lambda _, inputs, output: found.append(inputs[0] > 0)))
    # Without gradient blocks are evaluated in place, past their layers.
    with torch.enable_grad():
        field.value(points)
    for hook in hooks:
        hook.remove()
    assert len(found) == 2 * len(decoder.blocks) + 1
    return torch.cat(found, dim=1)


def moved_depths(field, variable, change, origins, directions):
    """Central difference of the rendered depth along a direction, and of which rays the ReLUs stay as they are."""
    depths, patterns = [], []
    for step in (STEP, -2 * STEP, STEP):
        with torch.no_grad():
            variable += step * change
        hits = first_hit(field, origins, directions, STEPS)
        assert hits.hit.all()
        depths.append(hits.t)
        patterns.append(active_relus(field, origins + hits.t[:, None] * directions))
    same = ((patterns[0] == patterns[1]) & (patterns[0] == patterns[2])).all(dim=1)
    return (depths[0] - depths[1]) / (2 * STEP), same


def test_the_published_size():
    decoder = Decoder()
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 2_630_660
    shapes = {"fc_p.weight": (512, 3), "fc_p.bias": (512,), "fc_out.weight": (4, 512), "fc_out.bias": (4,)}
    for i in range(5):
        for layer in ("fc_0", "fc_1"):
            shapes |= {f"blocks.{i}.{layer}.weight": (512, 512), f"blocks.{i}.{layer}.bias": (512,)}
    assert {name: tuple(array.shape) for name, array in decoder.state_dict().items()} == shapes


def test_the_layout_with_a_code():
    decoder = Decoder(width=8, blocks=2, code_size=3)
    shapes = {"fc_p.weight": (8, 3), "fc_p.bias": (8,), "fc_out.weight": (4, 8), "fc_out.bias": (4,)}
    for i in range(2):
        shapes |= {f"fc_c.{i}.weight": (8, 3), f"fc_c.{i}.bias": (8,)}
        for layer in ("fc_0", "fc_1"):
            shapes |= {f"blocks.{i}.{layer}.weight": (8, 8), f"blocks.{i}.{layer}.bias": (8,)}
    assert {name: tuple(array.shape) for name, array in decoder.state_dict().items()} == shapes


def test_blocks_begin_as_the_identity_up_to_an_offset():
    decoder = Decoder(width=16)
    x = torch.randn(10, 16, generator=torch.Generator().manual_seed(0))
    for block in decoder.blocks:
        assert not block.fc_1.weight.any()
        assert block.fc_0.weight.any()
        assert torch.allclose(block(x), x + block.fc_1.bias)


@pytest.mark.parametrize("code_size", [0, 6])
def test_values_and_colours_are_those_of_the_plain_network(code_size):
    decoder, weights = random_decoder(code_size)
    code = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) if code_size else None
    field, points = NetworkField(decoder, code=code), random_points(200)
    logits, colours = network(weights, PAPER_FROM_CUBE * points.numpy(), None if code is None else code.numpy())
    assert np.allclose(field.value(points).detach(), -logits, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        before = points.clone()
        assert np.allclose(field.value(points), -logits, rtol=1e-12, atol=1e-12)
        assert np.allclose(field.colour(points, points), colours, rtol=1e-12)
        assert torch.equal(points, before)
    directions = nn.functional.normalize(points, dim=1)
    assert np.allclose(field.colour(points, directions).detach(), colours, rtol=1e-12)
    assert torch.equal(field.colour(points, directions), field.colour(points, -directions))


def test_network_follows_the_protocols():
    field = NetworkField(Decoder(width=8))
    assert isinstance(field, Field)
    assert isinstance(field, KnowsEmptySpace)
    assert not isinstance(field, MarchesRays)
    assert field.half_width == pytest.approx(1.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_are_of_the_networks_kind_for_any_number_of_points(dtype):
    field = NetworkField(Decoder(width=8).to(dtype))
    for count in (0, 1, 5):
        points = random_points(count).to(dtype)
        for result, shape in (
            (field.value(points), (count,)),
            (field.gradient(points), (count, 3)),
            (field.colour(points, points), (count, 3)),
        ):
            assert result.dtype == dtype
            assert result.shape == shape


def test_a_code_is_needed_where_it_is_asked_for_and_only_there():
    points = random_points(3).float()
    with pytest.raises(ValueError, match="6 numbers"):
        NetworkField(Decoder(width=8, code_size=6)).value(points)
    with pytest.raises(ValueError, match="0 numbers"):
        NetworkField(Decoder(width=8), code=torch.zeros(6)).value(points)


def test_another_code_is_another_shape_of_the_same_weights():
    decoder, _ = random_decoder(6)
    points, codes = random_points(20), torch.eye(6, dtype=torch.float64)[:2]
    field = NetworkField(decoder, code=codes[0])
    other = field.with_code(codes[1])
    assert all(a is b for a, b in zip(field.network.parameters(), other.network.parameters(), strict=True))
    assert other.half_width == field.half_width
    assert not torch.allclose(field.value(points), other.value(points))
    assert torch.equal(field.value(points), NetworkField(decoder, code=codes[0]).value(points))


@pytest.mark.parametrize("code_size", [0, 6])
def test_gradient_is_the_derivative_of_the_value(code_size):
    decoder, weights = random_decoder(code_size)
    code = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) if code_size else None
    field, points = NetworkField(decoder, code=code), random_points(100)
    with torch.no_grad():
        found = field.gradient(points)
        axes = STEP * torch.eye(3, dtype=torch.float64)
        expected = [(field.value(points + axis) - field.value(points - axis)) / (2 * STEP) for axis in axes]
    # Values around one differ by 1e-6: rounding is 1e-10 of the difference. No ReLU switches within the step.
    assert torch.allclose(found, torch.stack(expected, dim=1), rtol=1e-6, atol=1e-9)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in decoder.parameters())
    code = None if code is None else code.numpy()
    plain = [spatial_gradient(weights, point, code) for point in PAPER_FROM_CUBE * points.numpy()]
    assert np.allclose(found, -PAPER_FROM_CUBE * np.array(plain), rtol=1e-12, atol=1e-12)


def test_slope_is_differentiable_by_the_parameters():
    """For the normal loss: the derivative of the normals' weighted sum, against finite differences."""
    decoder, _ = random_decoder()
    field, points = NetworkField(decoder), random_points(50)
    weights = random_points(50, seed=1)

    def total():
        return (nn.functional.normalize(field.slope(points), dim=1) * weights).sum()

    parameters = dict(decoder.named_parameters())
    gradients = torch.autograd.grad(total(), list(parameters.values()), allow_unused=True, materialize_grads=True)
    g = torch.Generator().manual_seed(2)
    for parameter, gradient in zip(parameters.values(), gradients, strict=True):
        change = nn.functional.normalize(torch.randn(parameter.shape, generator=g, dtype=torch.float64), dim=-1)
        sums = []
        for step in (STEP, -2 * STEP, STEP):
            with torch.no_grad():
                parameter += step * change
            sums.append(total().item())
        # Measured: 2.1e-9.
        assert (gradient * change).sum().item() == pytest.approx((sums[0] - sums[1]) / (2 * STEP), abs=1e-6)


@pytest.mark.slow
def test_implicit_gradient_is_that_of_the_rendered_depth(ball_field, exact_depth):
    """Of every parameter and of the code, each array along a direction of its own, ray by ray."""
    origins, directions, t, grazing = clear_hits(ball_field, 60)
    assert len(t) > 40
    derivatives = derivatives_of_depth(ball_field, origins, directions, t)
    assert len(derivatives) == 2 + 5 * 6 + 2 + 1
    g, switching, worst, compared = torch.Generator().manual_seed(1), 0, 0.0, 0
    for name, variable in variables_of(ball_field).items():
        change = torch.randn(variable.shape, generator=g, dtype=torch.float64)
        change = change / change.norm()
        expected, same = moved_depths(ball_field, variable, change, origins, directions)
        found = (derivatives[name] * change).flatten(1).sum(dim=1)
        assert expected.abs().max() > 0.01, name
        error = ((found - expected).abs() / expected.abs().clamp(min=0.01))[same]
        assert error.max() <= IMPLICIT_GRADIENT, name
        switching += int((~same).sum())
        worst, compared = max(worst, error.max().item()), compared + int(same.sum())
    # Where a ReLU switches within the step the depth has a kink, and there is no derivative to compare with.
    # Measured: one grazing ray of 54, none at a kink.
    print(f"{compared} derivatives, worst {worst:.1e}; {grazing} grazing rays, {switching} at a kink")
    assert grazing <= 3
    assert switching <= 5


def test_implicit_gradient_of_a_sphere_is_the_closed_form(exact_depth):
    """|(o + t w) / 2 - c| = r gives dt/dr = 2 / (n . w) and dt/dc = 2 n / (n . w); the steepness has no say."""
    centre = torch.tensor([0.03, -0.05, 0.02], dtype=torch.float64, requires_grad=True)
    field = NetworkField(SphereNetwork(), code=centre)
    origins, directions, t, _ = clear_hits(field, 60)
    assert len(t) > 30
    derivatives = derivatives_of_depth(field, origins, directions, t)
    normals = nn.functional.normalize(PAPER_FROM_CUBE * (origins + t[:, None] * directions) - centre.detach(), dim=1)
    facing = (normals * directions).sum(dim=1)
    assert torch.allclose(derivatives["radius"], 2 / facing, rtol=1e-9)
    assert torch.allclose(derivatives["code"], 2 * normals / facing[:, None], rtol=1e-9, atol=1e-12)
    assert torch.allclose(derivatives["steepness"], torch.zeros_like(t), atol=1e-12)


@pytest.mark.parametrize("cells", [8, 24])
def test_empty_space_is_where_the_solid_is_not(cells):
    """A ball beside the middle, at a place of its own on each axis; points up to the walls."""
    field = NetworkField(SphereNetwork(), code=torch.tensor([0.3, -0.15, 0.05], dtype=torch.float64))
    field.find_empty_space(cells)
    points = torch.cat([random_points(20_000), 1.1 * random_points(100).sign()])
    empty = field.certainly_outside(points)
    assert empty.double().mean() > 0.2
    assert torch.all(field.value(points)[empty] > 0)
    # Beyond the margin, which is a cell, its neighbours and a logit of one, space is known to be empty.
    margin = PAPER_FROM_CUBE * 2 * 3**0.5 * (2.2 / cells) + 1 / 7
    far = (PAPER_FROM_CUBE * points - field.code).norm(dim=1) > 0.3 + margin
    assert far.sum() > 1000
    assert empty[far].all()


def test_empty_space_changes_no_hit(ball_field):
    looked_at = ball_field.with_code(ball_field.code)
    assert not looked_at.certainly_outside(random_points(50)).any()
    looked_at.find_empty_space(16)
    rays = random_rays(100)
    expected, found = first_hit(ball_field, *rays, 64), first_hit(looked_at, *rays, 64)
    assert expected.hit.sum() > 50
    assert torch.equal(found.hit, expected.hit)
    assert torch.allclose(found.t, expected.t, rtol=0, atol=1e-12)
