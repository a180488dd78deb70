"""What marching asks of a field: bounded memory, nothing behind hits, nothing where space is known to be empty."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from marched_fields import (
    HALF_WIDTH,
    ROUNDING,
    Ball,
    KnownBall,
    Nothing,
    Waves,
    camera_rays,
    most_points,
    parallel_rays,
    random_rays,
)

from dvr_cli.rendering import marching
from dvr_cli.rendering.marching import march_equal_steps


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
    # Measured: 6 to 8 MiB.
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
    field, empty, rays = Ball(), Nothing(), parallel_rays(33)
    found = march_equal_steps(field, *rays, 129)
    march_equal_steps(empty, *rays, 129)
    assert sum(empty.counts) == 33 * 129
    misses = int((~found.hit).sum())
    up_to_hits = ((found.t[found.hit] - 2 + HALF_WIDTH) / (2 * HALF_WIDTH) * 128).ceil() + 1
    # Each hit costs its samples up to the surface, the rest of a block of 64 points at most, and the secant steps.
    rest = 64 // (misses + 1) + marching.SECANT_STEPS
    assert sum(field.counts) <= up_to_hits.sum() + 129 * misses + rest * found.hit.sum()


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


@pytest.mark.parametrize(("count", "steps", "most"), [(512, 128, 1 << 12), (2048, 64, 1 << 13)])
def test_known_empty_space_saves_points_when_there_are_several_blocks(count, steps, most, monkeypatch):
    most_points(monkeypatch, most)
    field, known, rays = Ball(), KnownBall(), camera_rays(count)
    march_equal_steps(field, *rays, steps)
    march_equal_steps(known, *rays, steps)
    # Measured: 39207 and 30825, 86160 and 69550; up to the hits 11437 and 31467 are needed.
    assert sum(known.counts) < sum(field.counts)
