"""A textured ball before a textured wall, photographed from one side: a scene that has to do without masks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.synthetic import first_hit, random_similarity
from dvr_cli.scenes.synthetic_shapes import Shape, Sphere, solid_texture
from dvr_cli.scenes.views import Camera, LoadedView, Scene, View

RADIUS = 0.5
"""Of the ball, in the region of interest, which is the unit ball."""
WALL = -2.0
"""The wall is the plane z = WALL of unit space; the cameras are on the other side of the ball, 3.5 from its centre."""
SIZE = 96
WAVE = 0.13
"""Shortest wave of the ball's texture: five pixels; the wall is farther away and has longer ones."""


@dataclass(frozen=True)
class Room:
    """What was photographed."""

    views: list[LoadedView]
    """With exact masks of the ball."""
    world_from_unit: Float[np.ndarray, "4 4"]

    @property
    def unit_from_world(self) -> Float[np.ndarray, "4 4"]:
        return np.linalg.inv(self.world_from_unit)

    def without_masks(self, which: slice = slice(None)) -> list[LoadedView]:
        """The views, those of `which` without their masks."""
        bare = range(len(self.views))[which]
        return [unmasked(view) if index in bare else view for index, view in enumerate(self.views)]


def unmasked(view: LoadedView) -> LoadedView:
    return LoadedView(view.name, view.camera, view.image, None)


def make_room(views: int = 3) -> Room:
    """`views` x `views` photographs on a grid of directions, 10 degrees apart."""
    world_from_unit = random_similarity(np.random.default_rng(2))
    ball = Shape(Sphere(RADIUS), solid_texture(np.random.default_rng(0), WAVE, 32), RADIUS)
    wall = solid_texture(np.random.default_rng(1), 1.7 * WAVE, 32)
    angles = np.radians(10) * (np.arange(views) - (views - 1) / 2)
    loaded = []
    for index, (across, up) in enumerate((a, u) for a in angles for u in angles):
        centre = 3.5 * np.array([np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up)])
        loaded.append(_photograph(f"{index:02d}.png", centre, ball, wall, world_from_unit))
    return Room(loaded, world_from_unit)


def scene_of(room: Room) -> Scene:
    """The description that belongs to the views; nothing is on disk."""
    from pathlib import Path

    described = tuple(View(view.name, view.camera, Path(view.name)) for view in room.views)
    return Scene("room", Path(), "synthetic", described, room.unit_from_world, "the ball that was drawn")


def _photograph(
    name: str, centre: Float[np.ndarray, "3"], ball: Shape, wall: object, world_from_unit: Float[np.ndarray, "4 4"]
) -> LoadedView:
    camera_in_unit = Camera(
        np.array([[1.3 * SIZE, 0, 0.52 * SIZE], [0, 1.3 * SIZE, 0.49 * SIZE], [0, 0, 1.0]]), _look(centre), SIZE, SIZE
    )
    rows, columns = np.mgrid[:SIZE, :SIZE]
    offsets = [(x, y) for x in (0.25, 0.75) for y in (0.25, 0.75)]
    samples = []
    for x, y in offsets:
        origins, directions = camera_in_unit.rays(np.stack([columns.ravel() + x, rows.ravel() + y], axis=1))
        t_wall = (WALL - origins[:, 2]) / directions[:, 2]
        colour = wall.colour(origins + t_wall[:, None] * directions)  # type: ignore[attr-defined]
        t, hit = first_hit(ball, origins, directions)
        colour[hit] = ball.texture.colour(origins[hit] + t[hit, None] * directions[hit])
        samples.append(colour)
    pixel_centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    mask = first_hit(ball, *camera_in_unit.rays(pixel_centres))[1].reshape(SIZE, SIZE)
    scale = np.cbrt(np.linalg.det(world_from_unit[:3, :3]))
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = camera_in_unit.camera_from_world[:3, :3] @ world_from_unit[:3, :3].T / scale
    world_centre = world_from_unit[:3, :3] @ centre + world_from_unit[:3, 3]
    camera_from_world[:3, 3] = -camera_from_world[:3, :3] @ world_centre
    camera = Camera(camera_in_unit.intrinsics, camera_from_world, SIZE, SIZE)
    return LoadedView(name, camera, np.mean(samples, axis=0).reshape(SIZE, SIZE, 3).astype(np.float32), mask)


def _look(centre: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    """A camera that has the origin in its middle."""
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    camera_from_unit = np.eye(4)
    camera_from_unit[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    camera_from_unit[:3, 3] = -camera_from_unit[:3, :3] @ centre
    return camera_from_unit
