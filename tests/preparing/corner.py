"""Photographs of the corner of a room whose three walls carry noise: cheap to draw, rich in features, exactly known.

The walls lie in x = 0, y = 0 and z = 0; cameras stand about 3 away and look into the corner.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

TEXELS = 640
SIZE = 2.4
"""Length of a wall; beyond it lies a grey that is even."""
FOCAL = 1.15
"""Focal length in widths of the image."""


@dataclass(frozen=True)
class Tour:
    """What was photographed from where."""

    pixels: list
    camera_from_world: np.ndarray
    focal_length: float

    def centres(self):
        rotations = self.camera_from_world[:, :3, :3]
        return -np.einsum("vji,vj->vi", rotations, self.camera_from_world[:, :3, 3])

    def save(self, folder, name="{:03d}.png", chosen=None, **options):
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(len(self.pixels)) if chosen is None else chosen:
            Image.fromarray(self.pixels[index]).save(folder / name.format(index), **options)
        return folder


def tour(views=9, width=320, height=240, span=50.0, seed=0):
    """Views along an arc that also rises and falls; `span` in degrees."""
    generator = np.random.default_rng(seed)
    walls = [_texture(generator) for _ in range(3)]
    focal = FOCAL * width
    motions, pixels = [], []
    for step in np.linspace(-0.5, 0.5, views):
        around, above = np.radians(45 + span * step), np.radians(33 + 8 * np.sin(9 * step))
        outwards = np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
        motion = look_at(3.0 * outwards + 0.5, np.array([0.5, 0.5, 0.5]))
        motions.append(motion)
        pixels.append(_draw(walls, motion, focal, width, height))
    return Tour(pixels, np.stack(motions), focal)


def look_at(centre, target):
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    motion = np.eye(4)
    motion[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    motion[:3, 3] = -motion[:3, :3] @ centre
    return motion


def _texture(generator):
    noise = [gaussian_filter(generator.normal(size=(TEXELS, TEXELS)), blur, mode="wrap") for blur in (2.0, 5.0, 12.0)]
    summed = sum(layer / layer.std() for layer in noise)
    return np.clip(128 + 40 * summed, 0, 255)


def _draw(walls, camera_from_world, focal, width, height):
    """Four samples per pixel; the nearest of the three walls."""
    rows, columns = np.mgrid[0 : 2 * height, 0 : 2 * width] / 2 + 0.25
    rays = np.stack([(columns - width / 2) / focal, (rows - height / 2) / focal, np.ones_like(rows)], axis=-1)
    rotation = camera_from_world[:3, :3]
    centre = -rotation.T @ camera_from_world[:3, 3]
    directions = rays @ rotation
    nearest, grey = np.full(rows.shape, np.inf), np.full(rows.shape, 90.0)
    for axis in range(3):
        with np.errstate(divide="ignore", invalid="ignore"):
            along = -centre[axis] / directions[..., axis]
        place = centre + along[..., None] * directions
        others = np.delete(place, axis, axis=-1)
        hit = (along > 0) & (along < nearest) & ((others > -1e-9) & (others < SIZE)).all(axis=-1)
        texels = others[hit] / SIZE * (TEXELS - 1)
        grey[hit] = map_coordinates(walls[axis], texels.T, order=1) * (0.75 + 0.12 * axis)
        nearest[hit] = along[hit]
    mean = grey.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return np.clip(mean[..., None] * np.array([1.0, 0.92, 0.8]), 0, 255).round().astype(np.uint8)


def disagreement(found, true):
    """Largest angle in degrees and largest distance (of the true spread) between poses after a similarity.

    Both (v, 4, 4), camera_from_world; the similarity is the least-squares one of the centres (Umeyama 1991).
    """
    rotations = [poses[:, :3, :3] for poses in (found, true)]
    centres = [
        -np.einsum("vji,vj->vi", turn, poses[:, :3, 3]) for turn, poses in zip(rotations, (found, true), strict=True)
    ]
    middles = [places.mean(axis=0) for places in centres]
    first, second = centres[0] - middles[0], centres[1] - middles[1]
    left, size, right = np.linalg.svd(second.T @ first)
    sign = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    turn, scale = left @ sign @ right, (size * np.diag(sign)).sum() / (first**2).sum()
    moved = scale * first @ turn.T
    spread = np.linalg.norm(second, axis=1).mean()
    relative = np.einsum("vij,jk,vlk->vil", rotations[0], turn.T, rotations[1])
    angles = np.degrees(np.arccos(np.clip((np.trace(relative, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return angles, np.linalg.norm(moved - second, axis=1) / spread
