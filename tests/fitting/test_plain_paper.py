"""The plain implementation of the paper's step is right: closed forms on a half space, finite differences elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
from plain_network import (
    activations,
    ball_like_weights,
    network,
    network_backward,
    normal_at,
    normal_backward,
    random_weights,
    spatial_gradient,
)
from plain_paper import (
    PADDED,
    UNPADDED,
    Batch,
    LossWeights,
    cube_interval,
    depth_backward,
    detached_points,
    march,
    slope_along,
    training_step,
)

STEP = 1e-6
"""Of finite differences; directions have length one in each array."""
RELATIVE = 1e-5
"""Relative error of derivatives, away from grazing rays. Measured: 5.9e-8."""
LOSSES = tuple(vars(LossWeights()))
STEPS, SECANT_STEPS = 16, 25
"""Of marching. More of the second than in the paper: a finite difference needs depths without a remainder."""


def half_space(offset: float = 0.1, steepness: float = 4.0) -> dict[str, np.ndarray]:
    """F = steepness (offset - z): solid below z = offset. One block, which adds nothing; the colours are 1/2."""
    weights = {name: np.zeros_like(array) for name, array in random_weights(rng(), width=2, blocks=1).items()}
    # 1 - z is positive in the cube, so no ReLU is at its kink there.
    weights["fc_p.weight"][0, 2], weights["fc_p.bias"][0] = -1, 1
    weights["fc_out.weight"][0, 0], weights["fc_out.bias"][0] = steepness, steepness * (offset - 1)
    return weights


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def single_pixel(origin, direction, **changes) -> Batch:
    pixel = {
        "origins": np.array([origin], float),
        "directions": unit(np.array([direction], float)),
        "photograph": np.array([[0.2, 0.6, 0.9]]),
        "mask": np.array([True]),
        "known_depth": np.array([np.inf]),
        "shares": np.array([0.25]),
        "normal_offsets": np.zeros((1, 3)),
    }
    return Batch(**(pixel | changes))


def ball_scene(seed: int = 0):
    """Weights, code, and a batch that has every kind of pixel; no ray grazes, and no ReLU is at its kink."""
    g = rng(seed)
    code = g.normal(size=3)
    weights = ball_like_weights(g, width=16, blocks=2, code=code)
    # Colours that vary.
    weights["fc_out.weight"][1:] *= 4
    camera = np.array([0.3, -0.4, -1.6])
    # 5 x 5 patches of 2x2 pixels over the ball and around it.
    corners = np.stack(np.meshgrid(np.linspace(-0.42, 0.4, 5), np.linspace(-0.42, 0.4, 5)), -1).reshape(-1, 1, 2)
    pixels = (corners + 0.05 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])).reshape(-1, 2)
    targets = np.concatenate([pixels, np.zeros((len(pixels), 1))], axis=1)
    origins = np.tile(camera, (len(pixels), 1))
    # Some rays begin within the solid.
    origins[8:10], origins[64:66] = (0.02, 0.01, 0.0), (-0.05, 0.0, 0.03)
    keypoints = 0.32 * unit(g.normal(size=(12, 3)))
    patches = np.arange(len(pixels)).reshape(-1, 4)
    # The mask is a ball as well, but another one.
    mask = np.linalg.norm(pixels - (0.15, 0.1), axis=1) < 0.37
    known = np.where(g.random(len(pixels)) < 0.5, 1.35 + 0.3 * g.random(len(pixels)), np.inf)
    batch = Batch(
        origins,
        unit(targets - origins),
        g.random((len(pixels), 3)),
        mask,
        known,
        g.random(len(pixels)),
        0.05 * g.normal(size=(len(pixels), 3)),
        patches,
        np.tile(camera, (12, 1)),
        unit(keypoints - camera),
        keypoints + 0.02 * g.normal(size=(12, 3)),
    )
    return weights, code, batch


def crossings_of(weights, code, batch):
    pairs = zip(batch.origins, batch.directions, strict=True)
    return [march(weights, o, w, STEPS, code, SECANT_STEPS) for o, w in pairs]


def points_of_losses(weights, code, batch, detached):
    """Every point that a loss is evaluated at."""
    points = []
    for origins, directions in (
        (batch.origins, batch.directions),
        (batch.keypoint_origins, batch.keypoint_directions),
    ):
        for o, w in zip(origins, directions, strict=True):
            depth = march(weights, o, w, STEPS, code, SECANT_STEPS).depth
            points += [] if depth is None else [o + depth * w]
    for given in (detached.normal, detached.normal + batch.normal_offsets, detached.free_space, detached.occupancy):
        points += list(given[np.isfinite(given).all(axis=1)])
    return np.array(points)


def patterns(weights, code, points):
    """Which ReLUs are on."""
    return np.concatenate([x > 0 for x in activations(weights, points, code)], axis=1)


@pytest.fixture(scope="module")
def scene():
    weights, code, batch = ball_scene()
    crossings = crossings_of(weights, code, batch)
    # No ray had to be excluded for grazing. Measured: at least 4.07.
    for o, w, crossing in zip(batch.origins, batch.directions, crossings, strict=True):
        assert crossing.depth is None or slope_along(weights, o + crossing.depth * w, w, code) > 1
    detached = detached_points(batch, crossings)
    return weights, code, batch, detached, points_of_losses(weights, code, batch, detached)


def moved(weights, code, direction, step):
    changed = {name: array + step * direction.get(name, 0.0) for name, array in weights.items()}
    return changed, code + step * direction.get("code", 0.0)


def gradients_of(scene, losses=None):
    weights, code, batch, detached, _ = scene
    return training_step(
        weights, batch, STEPS, code, loss_weights=losses, secant_steps=SECANT_STEPS, detached=detached
    )[1]


def central_difference(scene, direction, losses=None):
    """The derivative of the total along a direction in the space of weights."""
    weights, code, batch, detached, points = scene
    options = {"loss_weights": losses, "secant_steps": SECANT_STEPS, "detached": detached}
    totals, on = [], []
    for step in (STEP, -STEP):
        changed = moved(weights, code, direction, step)
        totals.append(training_step(changed[0], batch, STEPS, changed[1], **options)[0]["total"])
        on.append(patterns(*changed, points))
    # No ray had to be excluded for this: at none of the losses' points does a ReLU switch within the step.
    assert np.array_equal(*on)
    return (totals[0] - totals[1]) / (2 * STEP)


def along(gradients, direction):
    return sum((gradients[name] * change).sum() for name, change in direction.items())


def random_direction(weights, code, seed):
    g = rng(seed)
    shapes = {name: array.shape for name, array in weights.items()} | {"code": code.shape}
    return {name: unit(g.normal(size=int(np.prod(shape)))).reshape(shape) for name, shape in shapes.items()}


def test_scene_has_every_kind_of_pixel(scene):
    weights, code, batch, detached, _ = scene
    crossings = crossings_of(weights, code, batch)
    hit = np.array([c.depth is not None for c in crossings])
    inside = np.array([c.starts_inside for c in crossings])
    known = np.isfinite(batch.known_depth)
    empty = ~hit & ~inside
    kinds = (hit & batch.mask & known, hit & batch.mask & ~known, hit & ~batch.mask, empty & ~batch.mask)
    assert all(kind.sum() >= 3 for kind in (*kinds, empty & batch.mask & known, empty & batch.mask & ~known))
    assert (inside & batch.mask).any()
    assert (inside & ~batch.mask).any()
    losses = training_step(weights, batch, STEPS, code, detached=detached)[0]
    assert all(losses[name] > 0 for name in LOSSES)


def test_gradient_of_the_total_by_every_array(scene):
    gradients = gradients_of(scene)
    for name, change in random_direction(scene[0], scene[1], 1).items():
        expected = central_difference(scene, {name: change})
        assert abs(expected) > 1e-2, name
        assert along(gradients, {name: change}) == pytest.approx(expected, rel=RELATIVE), name


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_each_loss(scene, loss):
    alone = LossWeights(**{name: float(name == loss) for name in LOSSES})
    gradients = gradients_of(scene, alone)
    for seed in (2, 3):
        direction = random_direction(scene[0], scene[1], seed)
        expected = central_difference(scene, direction, alone)
        assert abs(expected) > 1e-2
        assert along(gradients, direction) == pytest.approx(expected, rel=RELATIVE)


def test_spatial_gradient_and_points_gradient_are_the_derivative():
    g = rng(4)
    weights, code = random_weights(g, width=16, blocks=5, code_size=3), g.normal(size=3)
    points, by_logit, by_colour = g.uniform(-0.5, 0.5, (20, 3)), g.normal(size=20), g.normal(size=(20, 3))
    gradients = {name: np.zeros_like(array) for name, array in weights.items()} | {"code": np.zeros(3)}
    by_point = network_backward(weights, points, code, by_logit, by_colour, gradients)
    for axis in range(3):
        (ahead, colour_ahead), (behind, colour_behind) = (
            network(weights, points + side * STEP * np.eye(3)[axis], code) for side in (1, -1)
        )
        by_axis = [spatial_gradient(weights, point, code)[axis] for point in points]
        # Differences of numbers around one over 2e-6: about 1e-10 is rounding.
        assert np.allclose(by_axis, (ahead - behind) / (2 * STEP), rtol=1e-6, atol=1e-9)
        expected = by_logit * (ahead - behind) + (by_colour * (colour_ahead - colour_behind)).sum(axis=1)
        assert np.allclose(by_point[:, axis], expected / (2 * STEP), rtol=1e-6, atol=1e-9)


def test_normal_backward_is_the_derivative():
    g = rng(5)
    weights, point, by_normal = random_weights(g, width=16, blocks=5), g.uniform(-0.5, 0.5, 3), g.normal(size=3)
    gradients = {name: np.zeros_like(array) for name, array in weights.items()}
    normal_backward(weights, point, None, by_normal, gradients)
    for name, array in weights.items():
        change = unit(g.normal(size=array.size)).reshape(array.shape)
        ahead, behind = (normal_at(weights | {name: array + side * STEP * change}, point) for side in (1, -1))
        assert (gradients[name] * change).sum() == pytest.approx((ahead - behind) @ by_normal / (2 * STEP), abs=1e-8)


def test_half_space_is_hit_where_it_begins():
    weights = half_space(offset=0.1)
    origin, direction = np.array([0.1, -0.2, 2.0]), unit(np.array([0.1, 0.2, -1.0]))
    crossing = march(weights, origin, direction, 16)
    assert not crossing.starts_inside
    assert crossing.depth == pytest.approx((0.1 - 2.0) / direction[2], rel=1e-14)
    assert normal_at(weights, origin + crossing.depth * direction) == pytest.approx([0, 0, 1])
    assert slope_along(weights, origin + crossing.depth * direction, direction) == pytest.approx(-4 * direction[2])


@pytest.mark.parametrize(
    ("origin", "direction", "starts_inside"),
    [
        ((0.0, 0.0, -2.0), (0.0, 0.0, 1.0), True),  # from below
        ((0.0, 0.0, 0.0), (0.0, 1.0, 0.2), True),  # from within
        ((0.0, 0.0, 2.0), (0.0, 0.0, 1.0), False),  # the cube is behind
        ((0.0, 2.0, 0.0), (1.0, 0.0, 0.0), False),  # parallel to walls, beside the cube
        ((0.0, 0.0, 0.3), (1.0, 0.0, 0.0), False),  # within the cube, along the surface
    ],
)
def test_rays_without_a_hit(origin, direction, starts_inside):
    crossing = march(half_space(), np.array(origin), unit(np.array(direction)), 16)
    assert crossing.depth is None
    assert crossing.starts_inside is starts_inside


def test_a_ray_that_starts_inside_has_no_hit_behind():
    """F = 4 (|z| - 0.2): a gap between two solids."""
    weights = {name: np.zeros_like(array) for name, array in half_space().items()}
    weights["fc_p.weight"][:, 2], weights["fc_out.weight"][0], weights["fc_out.bias"][0] = (1, -1), 4, -0.8
    through = march(weights, np.array([0.1, 0.0, -2.0]), np.array([0.0, 0.0, 1.0]), 16)
    assert through.depth is None
    assert through.starts_inside
    assert march(weights, np.array([0.1, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]), 16).depth == pytest.approx(0.2)


def test_cube_intervals_of_straight_rays():
    assert cube_interval(np.array([0.1, 0, -2.0]), np.array([0, 0, 1.0]), PADDED) == pytest.approx((1.45, 2.55))
    assert cube_interval(np.array([0.1, 0, 0.2]), np.array([0, 0, 1.0]), UNPADDED) == pytest.approx((0.0, 0.3))
    assert cube_interval(np.array([0.1, 0, 2.0]), np.array([0, 0, 1.0]), PADDED) is None
    assert cube_interval(np.array([0.52, 0, -2.0]), np.array([0, 0, 1.0]), UNPADDED) is None


def test_losses_of_a_pixel_on_the_half_space():
    """A hit in the mask, at z = 0.1 from z = 2, with colours of 1/2 and a known depth that is 0.3 short."""
    pixel = single_pixel((0, 0, 2), (0, 0, -1), known_depth=np.array([1.6]))
    losses, _ = training_step(half_space(), pixel, 16)
    assert losses["rgb"] == pytest.approx(0.3 + 0.1 + 0.4)
    assert losses["depth"] == pytest.approx(0.3)
    assert [losses[name] for name in ("image_gradient", "sparse_depth", "free_space", "occupancy", "normal")] == [0] * 5
    assert losses["total"] == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("origin", "direction", "mask", "known", "loss", "height"),
    [
        ((0, 0, 2), (0, 0, -1), False, np.inf, "free_space", 0.1),  # at the hit
        ((0, -2, 0.3), (0, 1, 0), False, np.inf, "free_space", 0.3),  # in the empty half
        ((0, 0, -2), (0, 0, 1), False, np.inf, "free_space", -0.55 + 0.25 * 1.1),  # the start is inside
        ((0, 0, 0.2), (0, 0, 1), True, 0.1, "occupancy", 0.3),  # at the known depth
        ((0, 0, 0.2), (0, 0, 1), True, np.inf, "occupancy", 0.2 + 0.25 * 0.3),  # in the cube without padding
    ],
)
def test_occupancy_losses_on_the_half_space(origin, direction, mask, known, loss, height):
    pixel = single_pixel(origin, direction, mask=np.array([mask]), known_depth=np.array([known]))
    losses, _ = training_step(half_space(), pixel, 16)
    logit = 4 * (0.1 - height)
    assert losses[loss] == pytest.approx(np.log(1 + np.exp(-logit if mask else logit)))
    assert losses["total"] == pytest.approx(losses[loss])


@pytest.mark.parametrize("origin", [(0, 0, -2), (0, 0, 0)])
def test_a_pixel_of_the_mask_that_starts_inside_has_no_loss(origin):
    losses, gradients = training_step(half_space(), single_pixel(origin, (0, 0, 1)), 16)
    assert losses["total"] == 0
    assert not any(array.any() for array in gradients.values())


def test_image_gradients_leave_patches_alone_that_are_not_whole():
    four = [(0, 0, -1), (0.02, 0, -1), (0, 0.02, -1), (0.02, 0.02, -1)]
    photograph = np.zeros((4, 3))
    photograph[1, 0], photograph[2, 0], photograph[3] = 0.3, -0.4, 1.0
    batch = Batch(
        np.tile((0.0, 0.0, 2.0), (4, 1)),
        unit(np.array(four)),
        photograph,
        np.ones(4, bool),
        np.full(4, np.inf),
        np.zeros(4),
        np.zeros((4, 3)),
        np.array([[0, 1, 2, 3]]),
    )
    assert training_step(half_space(), batch, 16)[0]["image_gradient"] == pytest.approx(0.5)
    for pixel in range(4):
        broken = replace(batch, mask=np.arange(4) != pixel)
        assert training_step(half_space(), broken, 16)[0]["image_gradient"] == 0


@pytest.mark.parametrize("least_slope", [0.05, 0.1, 3.0])
@pytest.mark.parametrize("steepness", [-0.15, 0.15, 4.0])
def test_grazing_depths_have_bounded_gradients_of_the_right_sign(steepness, least_slope):
    weights, direction = half_space(steepness=steepness), np.array([0.0, 0.0, -1.0])
    gradients = {name: np.zeros_like(array) for name, array in weights.items()}
    depth_backward(weights, np.array([0.1, 0.2, 0.1]), direction, None, 1.0, gradients, least_slope)
    # F changes by 1 with the offset of the last layer.
    bounded = np.copysign(max(abs(steepness), 2 * least_slope), steepness)
    assert gradients["fc_out.bias"] == pytest.approx([-1 / bounded, 0, 0, 0])
