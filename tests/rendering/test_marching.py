"""Equal steps through any field: brute force, bounded memory, early ends, rays of every kind."""

import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dvr_cli.fields.protocol import Field, KnowsEmptySpace, MarchesRays
from dvr_cli.rendering import marching
from dvr_cli.rendering.marching import march_equal_steps

HALF_WIDTH = 1.1
ROOT = 1e-6
"""Distance of a hit from the root in its bracket at 128 steps; one end of the bracket often stays where it is, so the
secant method may be slow. Measured: 4.8e-8, the next worst 3.2e-13."""
ROUNDING = 1e-12
"""The same samples in other chunks: the last bits of vectorised functions differ."""


class Waves:
    """A solid with many sheets, so that rays cross the surface often; implements `Field`. Records what it is asked."""

    half_width = HALF_WIDTH

    def __init__(self, level: float = 0.35):
        self.level, self.asked = level, []

    def value(self, points):
        self.asked.append(points)
        x, y, z = points.unbind(dim=1)
        return self.level - torch.sin(3 * x + 0.3) * torch.cos(4 * y) - 0.5 * torch.sin(5 * z + x)

    def gradient(self, points):
        raise AssertionError("marching needs no gradient")

    def colour(self, points, directions):
        raise AssertionError("marching needs no colour")

    @property
    def counts(self):
        return [len(points) for points in self.asked]


class Ball(Waves):
    """Distance to a ball of radius 0.6."""

    def value(self, points):
        self.asked.append(points)
        return points.norm(dim=1) - 0.6


class KnownBall(Ball):
    """A ball that is known to be nowhere beyond radius 0.75; implements `KnowsEmptySpace`."""

    def certainly_outside(self, points):
        return points.norm(dim=1) > 0.75


class Nothing(Waves):
    """Empty everywhere."""

    def value(self, points):
        self.asked.append(points)
        return torch.ones_like(points[:, 0])


def random_rays(count: int, seed: int = 0):
    """Rays from outside the cube, from within it, away from it, and along the axes."""
    g = torch.Generator().manual_seed(seed)
    origins = 3 * normalize(torch.randn(count, 3, generator=g, dtype=torch.float64), dim=1)
    targets = HALF_WIDTH * (2 * torch.rand(count, 3, generator=g, dtype=torch.float64) - 1)
    origins[: count // 4] = HALF_WIDTH * (2 * torch.rand(count // 4, 3, generator=g, dtype=torch.float64) - 1)
    directions = normalize(targets - origins, dim=1)
    directions[count // 4 : count // 3] *= -1
    straight = torch.eye(3, dtype=torch.float64)[torch.arange(count // 8) % 3]
    origins[-(count // 8) :] = targets[-(count // 8) :] - 3 * straight
    directions[-(count // 8) :] = straight
    return origins, directions


def parallel_rays(count: int):
    """Rays along z through the ball and beside it, each in a column of its own (x, y)."""
    place = torch.linspace(-0.85, 0.85, count, dtype=torch.float64)
    origins = torch.stack([place, 0.3 * torch.sin(20 * place), torch.full_like(place, -2.0)], dim=1)
    return origins, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(count, 3).contiguous()


def most_points(monkeypatch, count: int) -> None:
    monkeypatch.setattr(marching, "MOST_POINTS", {"cpu": count, "cuda": count})


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
    origin, direction = (
        torch.tensor([[-3.0, height, 0.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64),
    )
    found = march_equal_steps(Ball(), origin, direction, 257)
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


@pytest.mark.parametrize("make", [Waves, Ball, KnownBall])
def test_chunk_size_changes_nothing(make, monkeypatch):
    rays = random_rays(48)
    results = []
    for most in (1, 7, 64, 1 << 20):
        most_points(monkeypatch, most)
        field = make()
        results.append(march_equal_steps(field, *rays, 20))
        assert max(field.counts) <= most
    for other in results[:-1]:
        assert torch.equal(other.hit, results[-1].hit)
        assert torch.equal(other.starts_inside, results[-1].starts_inside)
        for name in ("t", "nearest_t", "nearest_value"):
            assert torch.allclose(getattr(other, name), getattr(results[-1], name), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("make", [Waves, Nothing])
@pytest.mark.parametrize("count", [8, 100, 9000])
def test_evaluations_stay_small_whatever_the_number_of_rays_and_steps(make, count):
    for steps in (16, 40 if count > 100 else 4096):
        field = make()
        march_equal_steps(field, *(array.float() for array in random_rays(count)), steps)
        assert max(field.counts) <= marching.MOST_POINTS["cpu"]


PEAK_MEMORY = """
import torch
from dvr_cli.rendering import marching

class Wide:
    half_width = 1.1
    layer = torch.ones(3, 64)
    def value(self, points):
        return torch.tanh(points @ self.layer).sum(dim=1).abs() + 1
    def gradient(self, points): ...
    def colour(self, points, directions): ...

torch.set_num_threads(1)
origins = torch.tensor([[0.1, 0.2, -3.0]]).expand(512, 3)
targets = torch.rand(512, 3, generator=torch.Generator().manual_seed(0))
directions = torch.nn.functional.normalize(targets - origins, dim=1)
for steps, most in ((16, None), (4096, None), (1024, 1 << 20)):
    if most:
        marching.MOST_POINTS["cpu"] = most
    marching.march_equal_steps(Wide(), origins, directions, steps)
    print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Prints the process's highest memory in KiB so far: after few steps, after many, and with all samples at once."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the highest memory of a process is read from /proc")
def test_peak_memory_does_not_depend_on_the_number_of_steps():
    result = subprocess.run([sys.executable, "-c", PEAK_MEMORY], capture_output=True, text=True, check=True)
    few, many, at_once = (int(line) / 1024 for line in result.stdout.split())
    print(f"highest memory: {few:.1f} MiB after 16 steps, {many:.1f} after 4096; {at_once:.1f} with 1024 at once")
    # Measured: 6 MiB.
    assert many - few < 16
    # What is measured can be seen: 512 x 1024 points of 64 numbers are 128 MiB.
    assert at_once - few > 100


@pytest.mark.parametrize("most", [1, 50, 400, 1 << 13])
def test_nothing_is_asked_behind_a_hit_beyond_its_block(most, monkeypatch):
    most_points(monkeypatch, most)
    field, (origins, directions) = Ball(), parallel_rays(40)
    found = march_equal_steps(field, origins, directions, 65)
    assert 0 < found.hit.sum() < 40
    samples = torch.linspace(-HALF_WIDTH, HALF_WIDTH, 65, dtype=torch.float64)
    deepest = torch.full((40,), torch.nan, dtype=torch.float64)
    for points in field.asked:
        ray = (points[:, None, 0] - origins[None, :, 0]).abs().argmin(dim=1)
        for index in ray.unique():
            z = points[ray == index, 2]
            # Once a sample behind the surface is known, only the secant method within the bracket goes on.
            if not deepest[index].isnan():
                assert z.max() <= deepest[index] + 1e-9
            elif found.hit[index] and z.max() > found.t[index] - 2:
                deepest[index] = z[z > found.t[index] - 2].min()
    bracket = samples[torch.searchsorted(samples, found.t[found.hit] - 2)]
    assert torch.allclose(deepest[found.hit], bracket)


def test_fewer_points_are_asked_for_where_surfaces_are_hit_early(monkeypatch):
    most_points(monkeypatch, 64)
    origins, directions = parallel_rays(33)
    field, empty = Ball(), Nothing()
    found = march_equal_steps(field, origins, directions, 129)
    march_equal_steps(empty, origins, directions, 129)
    assert sum(empty.counts) == 33 * 129
    before = ((found.t[found.hit] - 2 + HALF_WIDTH) / (2 * HALF_WIDTH) * 128).ceil() + 1
    misses = (~found.hit).sum() * 129
    # Each hit costs its samples up to the surface, what is left of a block (2 to 4 steps here) and the secant steps.
    assert sum(field.counts) <= before.sum() + misses + found.hit.sum() * (4 + marching.SECANT_STEPS)


@pytest.mark.parametrize("most", [64, 1 << 13])
def test_known_empty_space_changes_no_hit_and_saves_points(most, monkeypatch):
    most_points(monkeypatch, most)
    rays = random_rays(120, seed=2)
    field, known = Ball(), KnownBall()
    expected, found = march_equal_steps(field, *rays, 64), march_equal_steps(known, *rays, 64)
    assert expected.hit.sum() > 20
    assert torch.equal(found.hit, expected.hit)
    assert torch.equal(found.starts_inside, expected.starts_inside)
    assert torch.allclose(found.t, expected.t, rtol=0, atol=ROUNDING)
    assert sum(known.counts) < 0.7 * sum(field.counts)
    # A nearest sample is one that was evaluated, or none.
    same = found.nearest_value.isfinite()
    assert torch.allclose(found.nearest_value[same], expected.nearest_value[same], rtol=0, atol=ROUNDING)
    assert torch.all(expected.nearest_value[~same] > 0.75 - 0.6 - ROUNDING)


def test_known_empty_space_may_end_within_a_step():
    """The sample before the surface was never evaluated: the secant method asks for it."""
    origin, direction = (
        torch.tensor([[-3.0, 0.1, 0.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64),
    )
    found = march_equal_steps(KnownBall(), origin, direction, 4)
    assert found.hit.item()
    assert found.t.item() == pytest.approx(3 - math.sqrt(0.36 - 0.01), abs=1e-6)
