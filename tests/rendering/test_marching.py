"""Equal steps through any field: the first hits are those of brute force, for rays of every kind."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from marched_fields import HALF_WIDTH, ROUNDING, Ball, KnownBall, Nothing, Waves, most_points, random_rays, ray_along_x

from dvr_cli.fields.protocol import Field, KnowsEmptySpace, MarchesRays
from dvr_cli.rendering.marching import march_equal_steps

ROOT = 1e-6
"""Distance of a hit from the root in its bracket at 128 steps; one end of the bracket often stays where it is, so the
secant method may be slow. Measured: 4.8e-8, the next worst 3.2e-13."""


def interval_of(origin, direction):
    """Slabs, in plain numbers; None for a ray that misses the cube."""
    near, far = 0.0, math.inf
    for o, w in zip(origin.tolist(), direction.tolist(), strict=True):
        if w == 0:
            if abs(o) > HALF_WIDTH:
                return None
        else:
            entry, leave = sorted(((-HALF_WIDTH - o) / w, (HALF_WIDTH - o) / w))
            near, far = max(near, entry), min(far, leave)
    return (near, far) if near < far else None


class Expected(NamedTuple):
    """What is on one ray, from all its samples at once."""

    hit: bool = False
    starts_inside: bool = False
    nearest_t: float = math.nan
    nearest_value: float = math.inf
    bracket: tuple[float, float] = (0.0, 0.0)


def brute_force(field, origin, direction, steps) -> Expected:
    interval = interval_of(origin, direction)
    if interval is None:
        return Expected()
    t = np.linspace(*interval, steps)
    values = field.value(origin + torch.from_numpy(t)[:, None] * direction).numpy()
    first = next((i for i in range(steps - 1) if values[i] >= 0 > values[i + 1]), None)
    # What is nearest is looked for up to the hit, the sample behind it included.
    least = values[: None if first is None else first + 2].argmin()
    bracket = (0.0, 0.0) if first is None else (t[first], t[first + 1])
    return Expected(first is not None, bool(values[0] < 0), t[least], values[least], bracket)


def bisect(field, origin, direction, low: float, high: float) -> float:
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if field.value((origin + middle * direction)[None]).item() >= 0 else (low, middle)
    return (low + high) / 2


def test_test_fields_follow_the_protocols():
    for field in (Waves(), Ball(), KnownBall(), Nothing()):
        assert isinstance(field, Field)
        assert not isinstance(field, MarchesRays)
        assert isinstance(field, KnowsEmptySpace) == isinstance(field, KnownBall)


@pytest.mark.parametrize("steps", [2, 16, 128])
@pytest.mark.parametrize("most", [1 << 13, 100])
def test_hits_are_those_of_brute_force(steps, most, monkeypatch):
    most_points(monkeypatch, most)
    field, (origins, directions) = Waves(), random_rays(400)
    found = march_equal_steps(field, origins, directions, steps)
    expected = Expected(
        *zip(*(brute_force(field, o, w, steps) for o, w in zip(origins, directions, strict=True)), strict=True)
    )
    assert found.hit.tolist() == list(expected.hit)
    assert found.starts_inside.tolist() == list(expected.starts_inside)
    assert 30 < found.hit.sum() < 350
    assert found.starts_inside.sum() > 50
    assert found.nearest_value.numpy() == pytest.approx(expected.nearest_value, abs=ROUNDING)
    meets = found.nearest_value.isfinite().numpy()
    assert 300 < meets.sum() < 400
    assert found.nearest_t.numpy()[meets] == pytest.approx(np.array(expected.nearest_t)[meets], abs=ROUNDING)
    low, high = torch.tensor(expected.bracket, dtype=torch.float64).unbind(dim=1)
    # A ray without a hit has t = 0, as has its bracket here.
    assert torch.all((low - ROUNDING <= found.t) & (found.t <= high + ROUNDING))


def test_hits_are_roots():
    field, (origins, directions) = Waves(), random_rays(200, seed=4)
    found = march_equal_steps(field, origins, directions, 128)
    assert found.hit.sum() > 100
    for ray in found.hit.nonzero().squeeze(1):
        o, w = origins[ray], directions[ray]
        root = bisect(field, o, w, *brute_force(field, o, w, 128).bracket)
        assert found.t[ray].item() == pytest.approx(root, abs=ROOT)


def test_a_ray_that_starts_inside_has_no_hit_before_it_left():
    field = Waves()
    origins, directions = random_rays(2000, seed=1)
    found = march_equal_steps(field, origins, directions, 256)
    again = found.starts_inside & found.hit
    assert again.sum() > 50
    assert (found.starts_inside & ~found.hit).sum() > 50
    for ray in again.nonzero().squeeze(1)[:50]:
        near, _ = interval_of(origins[ray], directions[ray])
        t = torch.linspace(near, found.t[ray].item(), 400, dtype=torch.float64)
        values = field.value(origins[ray] + t[:, None] * directions[ray])
        left = (values >= 0).nonzero()[0, 0]
        assert torch.all(values[:left] < 0)
        # Outside from there to the hit. Between two samples of the march a sheet may be missed, but not in this field.
        assert torch.all(values[left:-1] >= 0)
    inside = march_equal_steps(Ball(), torch.zeros(1, 3), torch.tensor([[0.0, 0.6, 0.8]]), 32)
    assert inside.starts_inside.item()
    assert not inside.hit.item()
    assert inside.t.item() == 0


@pytest.mark.parametrize("height", [0.6 - 1e-9, 0.6 - 1e-4, 0.6 + 1e-9, 0.65])
def test_grazing_rays_are_hit_if_a_sample_is_inside(height):
    """With an odd number of samples the middle one is where the ray is deepest in the ball."""
    found = march_equal_steps(Ball(), *ray_along_x(height), 257)
    assert found.hit.item() is (height < 0.6)
    if height < 0.6:
        # The secant method is slow where the value hardly changes, but it does not leave the bracket.
        assert found.t.item() == pytest.approx(3 - math.sqrt(0.36 - height**2), abs=2.2 / 256)
        assert height - 0.6 <= found.nearest_value.item() < 0
    else:
        assert found.nearest_value.item() == pytest.approx(height - 0.6, abs=ROUNDING)
        assert found.nearest_t.item() == pytest.approx(3, abs=ROUNDING)


def test_rays_that_miss_the_cube_ask_nothing():
    field = Ball()
    origins = torch.tensor([[3.0, 0, 0], [0, 0, 3.0], [0, 2.0, 0]])
    directions = torch.tensor([[1.0, 0, 0], [0, 0.6, 0.8], [1.0, 0, 0]])
    found = march_equal_steps(field, origins, directions, 16)
    assert not field.asked
    assert not (found.hit | found.starts_inside).any()
    assert torch.all(found.nearest_value == torch.inf)
    assert torch.all(found.t == 0)


def test_no_rays():
    field, none = Waves(), torch.zeros(0, 3)
    assert [len(array) for array in vars(march_equal_steps(field, none, none, 16)).values()] == [0] * 5
    assert not field.asked


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_fewer_than_two_steps_are_refused(steps):
    with pytest.raises(ValueError, match="at least two"):
        march_equal_steps(Waves(), *random_rays(8), steps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_of_the_rays_kind_and_without_gradient(dtype):
    origins, directions = (array.to(dtype) for array in random_rays(50))
    found = march_equal_steps(Waves(), origins.requires_grad_(), directions, 16)
    assert [found.t.dtype, found.nearest_t.dtype, found.nearest_value.dtype] == [dtype] * 3
    assert not (found.t.requires_grad or found.nearest_value.requires_grad)


def test_known_empty_space_may_end_within_a_step():
    """The sample before the surface was never evaluated: the secant method asks for it."""
    found = march_equal_steps(KnownBall(), *ray_along_x(0.1), 4)
    assert found.hit.item()
    assert found.t.item() == pytest.approx(3 - math.sqrt(0.36 - 0.01), abs=1e-6)
