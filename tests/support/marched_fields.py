"""Fields with known surfaces that record what they are asked, and rays of every kind, for tests of marching."""

import torch
from torch.nn.functional import normalize

from dvr_cli.rendering import marching

HALF_WIDTH = 1.1
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


def ray_along_x(height: float):
    """The ray from x = -3 at y = `height`, z = 0."""
    return torch.tensor([[-3.0, height, 0.0]], dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:1]


def camera_rays(count: int):
    """Rays from one camera towards the ball and past it."""
    g = torch.Generator().manual_seed(0)
    origins = torch.tensor([[0.0, 0.0, -3.0]], dtype=torch.float64).expand(count, 3)
    targets = torch.zeros(count, 3, dtype=torch.float64)
    targets[:, :2] = 0.55 * (2 * torch.rand(count, 2, generator=g, dtype=torch.float64) - 1)
    return origins, normalize(targets - origins, dim=1)


def most_points(monkeypatch, count: int) -> None:
    monkeypatch.setattr(marching, "MOST_POINTS", {"cpu": count, "cuda": count})
