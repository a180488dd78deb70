"""A step of the networks against the paper's equations written out in plain NumPy (tests/support/plain_paper.py)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_paper import LossWeights, training_step

from dvr_cli.config import Network, NetworkLosses
from dvr_cli.fields.mlp import Decoder, NetworkField
from dvr_cli.fitting import published_losses
from dvr_cli.fitting.network_step import Draws, KnownPoints, Pixels, draw_patches, step_losses
from dvr_cli.kernels.views import BACKGROUND, DISREGARDED, OBJECT, UNKNOWN
from tests.fitting.test_plain_paper import LOSSES, ball_scene
from tests.kernels.tiny_views import ball_views

REACH = 0.2
"""Wider than the paper's, at which the normals of a small network never differ."""
AGREEMENT = 1e-12
"""Relative. Measured: 2e-16 of the total, 6e-16 of the gradients (L2)."""


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def both(monkeypatch, steps: int, losses: NetworkLosses):
    """(losses, gradients) of the library and of the plain implementation for one step, float64."""
    weights, code, batch = ball_scene()
    neighbours = np.random.default_rng(9).random(batch.normal_offsets.shape)
    monkeypatch.setattr(published_losses, "NEIGHBOUR_REACH", REACH)
    batch = replace(batch, normal_offsets=(neighbours - 0.5) * REACH)
    decoder = Decoder(width=16, blocks=2, code_size=3).double()
    decoder.load_state_dict({name: tensor(array) for name, array in weights.items()})
    own_code = tensor(code).requires_grad_()
    field = NetworkField(decoder, code=own_code)
    known = tensor(batch.known_depth)
    pixels = Pixels(
        2 * tensor(batch.origins),
        tensor(batch.directions),
        tensor(batch.photograph),
        torch.where(tensor(batch.mask), OBJECT, BACKGROUND).to(torch.uint8),
        torch.where(known.isfinite(), 2 * known, 0.0),
    )
    draws = Draws(tensor(batch.shares), tensor(batch.shares), tensor(neighbours))
    points = KnownPoints(
        2 * tensor(batch.keypoint_origins), tensor(batch.keypoint_directions), 2 * tensor(batch.keypoints)
    )
    total, reported = step_losses(field, pixels, draws, Network(losses=losses), steps, points)
    variables = dict(decoder.named_parameters()) | {"code": own_code}
    found = torch.autograd.grad(total, list(variables.values()), allow_unused=True)
    gradients = {
        name: np.zeros(variable.shape) if gradient is None else gradient.numpy()
        for (name, variable), gradient in zip(variables.items(), found, strict=True)
    }
    values = {name: float(value) * len(batch.mask) for name, value in reported.items()} | {"total": total.item()}
    return (values, gradients), training_step(
        weights, batch, steps, code, loss_weights=LossWeights(**losses.model_dump())
    )


@pytest.mark.parametrize("steps", [16, 64])
def test_step_is_that_of_the_equations(steps, monkeypatch):
    (values, gradients), (plain_values, plain_gradients) = both(monkeypatch, steps, NetworkLosses())
    for name in (*LOSSES, "total"):
        assert plain_values[name] > 0, name
        assert values[name] == pytest.approx(plain_values[name], rel=AGREEMENT), name
    assert gradients.keys() == plain_gradients.keys()
    for name, gradient in gradients.items():
        assert np.linalg.norm(gradient - plain_gradients[name]) <= AGREEMENT * np.linalg.norm(plain_gradients[name])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_selected(name, monkeypatch):
    """Alone with a weight of 2: its gradient, twice, and of the others none."""
    weights = dict.fromkeys(NetworkLosses.model_fields, 0.0) | {name: 2.0}
    (values, gradients), (plain_values, plain_gradients) = both(monkeypatch, 16, NetworkLosses(**weights))
    assert values["total"] == pytest.approx(2 * values[name], rel=AGREEMENT)
    assert values["total"] == pytest.approx(plain_values["total"], rel=AGREEMENT)
    for key, gradient in gradients.items():
        difference = np.linalg.norm(gradient - plain_gradients[key])
        assert difference <= AGREEMENT * max(np.linalg.norm(plain_gradients[key]), 1e-3), key


def test_hull_says_where_to_be_occupied_unless_depth_is_known():
    """An empty network, and one ray of an object: the loss is that of the logit at the place that is named."""
    decoder = Decoder(width=8, blocks=1).double()
    field = NetworkField(decoder)
    with torch.no_grad():
        decoder.fc_out.bias[0] = -3.0
    origin, direction = torch.tensor([[0.1, 0.2, -3.0]]).double(), torch.tensor([[0.0, 0.0, 1.0]]).double()
    mask, rgb = torch.tensor([OBJECT], dtype=torch.uint8), torch.zeros(1, 3).double()
    draws = Draws(*(torch.full((1,), 0.3, dtype=torch.float64) for _ in range(2)), torch.zeros(1, 3).double())
    only = NetworkLosses(**dict.fromkeys(NetworkLosses.model_fields, 0.0) | {"occupancy": 1.0})
    for hull_t, known_t, expected in ((0.0, 0.0, 2.0 + 2 * 0.3), (2.5, 0.0, 2.5), (2.5, 3.4, 3.4), (0.0, 3.4, 3.4)):
        depth = [torch.tensor([value], dtype=torch.float64) for value in (known_t, hull_t)]
        pixels = Pixels(origin, direction, rgb, mask, *depth)
        total, _ = step_losses(field, pixels, draws, Network(losses=only), 16)
        logit = -field.value(origin + expected * direction)
        assert total.item() == pytest.approx(torch.nn.functional.softplus(-logit).sum().item(), rel=1e-12)


@pytest.mark.parametrize("label", [UNKNOWN, DISREGARDED])
def test_unknown_pixels_have_no_say_about_silhouettes(label):
    field = NetworkField(Decoder(width=8, blocks=1).double())
    origins = torch.tensor([[0.1, 0.2, -3.0]]).double().expand(8, 3)
    directions = torch.tensor([[0.0, 0.0, 1.0]]).double().expand(8, 3)
    pixels = Pixels(origins, directions, torch.zeros(8, 3).double(), torch.full((8,), label, dtype=torch.uint8))
    total, reported = step_losses(field, pixels, Draws.of(8, torch.Generator(), origins.device), Network(), 16)
    assert reported["free_space"] == 0 and reported["occupancy"] == 0 and "iou" not in reported
    total.backward()


def test_patches_are_squares_within_one_photograph():
    stack = ball_views(6, 40)
    views, pixels = draw_patches(stack, 3, 384, torch.Generator().manual_seed(0))
    assert len(views) == 384 and len(views.unique()) <= 3
    of_patch, places = views.reshape(-1, 4), pixels.reshape(-1, 4, 2)
    assert torch.all(of_patch == of_patch[:, :1])
    expected = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    assert torch.equal(places - places[:, :1], expected.int().expand(len(places), 4, 2))
    assert pixels.min() == 0 and pixels[:, 0].max() == int(stack.widths[0]) - 1
    again = draw_patches(stack, 3, 384, torch.Generator().manual_seed(0))
    assert torch.equal(views, again[0]) and torch.equal(pixels, again[1])
