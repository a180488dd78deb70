"""Small sets of views for the kernels: a textured sphere, and a textured plane whose patches match exactly."""

import numpy as np
import torch

from dvr_cli.kernels.views import ViewArrays, stack_views
from dvr_cli.scenes.synthetic import sphere, synthetic_scene
from dvr_cli.scenes.synthetic_shapes import solid_texture
from dvr_cli.scenes.views import Camera, LoadedView

RADIUS = 0.6
CPU = torch.device("cpu")
PLANE_NORMAL = np.array([0.25, -0.15, -1.0]) / np.linalg.norm([0.25, -0.15, -1.0])
"""The plane through the origin faces the cameras, which stand at z around -3."""


def ball_views(views: int = 20, image_size: int = 96) -> ViewArrays:
    """Photographs of a sphere of radius `RADIUS` around the origin; the texture's shortest wave is five pixels long."""
    scene, loaded, _ = synthetic_scene(sphere(RADIUS, shortest_wave=9.0 / image_size), views, image_size)
    return stack_views(loaded, scene.unit_from_world, 1, CPU)


def ball_sdf(n: int, radius: float = RADIUS, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> torch.Tensor:
    """Distances to a sphere at the vertices of a grid, float32."""
    axis = torch.linspace(-1, 1, n, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    return ((points - torch.tensor(centre, dtype=torch.float64)).norm(dim=-1) - radius).float()


def ball_hit(origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(t, whether there is one) of the first hits of rays with the sphere; where there is none, t is the nearest."""
    along = (origins * directions).sum(dim=1)
    squared = along.square() - origins.square().sum(dim=1) + RADIUS**2
    return -along - squared.clamp(min=0).sqrt(), squared > 0


def plane_views(size: int = 64, shortest_wave: float = 0.6) -> ViewArrays:
    """Five views of a plane: the reference first, four around it, of unequal sizes and focal lengths."""
    texture = solid_texture(np.random.default_rng(3), shortest_wave)
    places = [(0.0, 0.0), (0.5, 0.1), (-0.5, 0.2), (0.1, 0.55), (-0.1, -0.6)]
    loaded = []
    for index, (x, y) in enumerate(places):
        width, height = size + 3 * index, size - 4 * index
        intrinsics = np.array([[1.8 * size, 0.3, 0.51 * width], [0, 1.75 * size, 0.48 * height], [0, 0, 1.0]])
        camera = Camera(intrinsics, _looking_at_origin(np.array([x, y, -3.0])), height, width)
        rows, columns = np.mgrid[:height, :width]
        origins, directions = camera.rays(np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1))
        t = -(origins @ PLANE_NORMAL) / (directions @ PLANE_NORMAL)
        image = texture.colour(origins + t[:, None] * directions).reshape(height, width, 3)
        loaded.append(LoadedView(f"{index}.png", camera, image.astype(np.float32), np.ones((height, width), bool)))
    return stack_views(loaded, np.eye(4), 1, CPU)


def _looking_at_origin(centre: np.ndarray) -> np.ndarray:
    forward = -centre / np.linalg.norm(centre)
    right = np.cross([0.05, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    camera_from_world[:3, 3] = -camera_from_world[:3, :3] @ centre
    return camera_from_world


def rays_at_ball(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins on a sphere of radius 3 and unit directions towards points within 0.9 of the centre; float32."""
    generator = torch.Generator().manual_seed(seed)
    origins = 3 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    targets = 0.9 * (2 * torch.rand(count, 3, generator=generator) - 1)
    return origins, torch.nn.functional.normalize(targets - origins, dim=1)
