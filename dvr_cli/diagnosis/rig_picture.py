"""A picture of a scene before it is reconstructed: cameras, region of interest, hull and points, from above and aside.

Both halves are orthographic and share one scale. Cameras of views that findings blame are red, with their names; those
that stand far outside are drawn at the border.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dvr_cli.diagnosis.findings import Diagnosis
from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.scenes.cameras import apply, similarity_scale
from dvr_cli.scenes.rig import front_direction, up_direction
from dvr_cli.scenes.views import Camera, Scene

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

HALF_SIZE = 800
"""Pixels a side of each half."""
MARGIN = 60
MOST_POINTS = 3000
FRUSTUM = 0.12
"""Length of a drawn camera, as a share of the usual distance to the object."""
BACKGROUND, INK, FAINT = (255, 255, 255), (40, 44, 52), (200, 204, 210)
CAMERA, CULPRIT = (45, 90, 160), (205, 30, 40)
POINT, REGION = (90, 140, 90), (150, 150, 160)


@dataclass(frozen=True)
class _Plane:
    """One direction of looking: pixels of world points."""

    right: Float[np.ndarray, "3"]
    up: Float[np.ndarray, "3"]
    towards: Float[np.ndarray, "3"]
    """At the viewer."""
    centre: Float[np.ndarray, "3"]
    pixels_per_unit: float
    left_edge: int

    def pixels(self, points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 2"]:
        offsets = points - self.centre
        x = self.left_edge + HALF_SIZE / 2 + self.pixels_per_unit * (offsets @ self.right)
        y = HALF_SIZE / 2 - self.pixels_per_unit * (offsets @ self.up)
        return np.stack([x, y], axis=1)

    def held_inside(self, pixel: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        """The nearest place within the half."""
        low = np.array([self.left_edge + MARGIN / 2, MARGIN / 2])
        return np.clip(pixel, low, low + HALF_SIZE - MARGIN)


def write_rig_picture(path: Path, scene: Scene, diagnosis: Diagnosis) -> None:
    """Write the picture as PNG, under a temporary name first; SceneError when that fails."""
    advice = "Free some space, or name another file with --picture."
    with disk_errors(path, SceneError, advice):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            rig_picture(scene, diagnosis).save(temporary, format="PNG")


def rig_picture(scene: Scene, diagnosis: Diagnosis) -> "Image":
    """Both halves beside each other, RGB, 2 HALF_SIZE by HALF_SIZE pixels."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (2 * HALF_SIZE, HALF_SIZE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    known_up = up_direction([view.camera for view in scene.views]) is not None
    titles = ("from above", "from the side") if known_up else ("along the cameras' mean axis", "across it")
    for plane, title in zip(_planes(scene), titles, strict=True):
        _draw_region(draw, plane, scene)
        _draw_points(draw, plane, scene, diagnosis)
        _draw_cameras(draw, plane, scene, set(diagnosis.culprits()))
        draw.text((plane.left_edge + 14, 10), title, fill=INK, font=_font(18))
    draw.line([(HALF_SIZE, 0), (HALF_SIZE, HALF_SIZE)], fill=FAINT)
    draw.text((14, HALF_SIZE - 28), _caption(scene, diagnosis), fill=INK, font=_font(16))
    return image


def _planes(scene: Scene) -> tuple[_Plane, _Plane]:
    cameras = [view.camera for view in scene.views]
    centre = scene.world_from_unit[:3, 3]
    up = up_direction(cameras)
    if up is None:
        up = -np.mean([camera.camera_from_world[2, :3] for camera in cameras], axis=0)
        up = up / np.linalg.norm(up) if np.linalg.norm(up) > 1e-6 else np.array([0.0, 0.0, 1.0])
    front = front_direction(cameras, centre, up)
    if front is None or abs(front @ up) > 0.9:
        front = np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])
    front = front - (front @ up) * up
    front = front / np.linalg.norm(front)
    right = np.cross(up, front)
    distances = np.array([np.linalg.norm(camera.centre - centre) for camera in cameras])
    # A camera that is far off must not shrink all the others.
    usual = float(np.median(distances))
    extent = max(float(distances[distances <= 3 * usual].max(initial=0.0)), similarity_scale(scene.world_from_unit))
    scale = (HALF_SIZE / 2 - MARGIN) / max(extent * (1 + FRUSTUM), 1e-300)
    return (
        _Plane(right, -front, up, centre, scale, 0),
        _Plane(right, up, front, centre, scale, HALF_SIZE),
    )


def _draw_region(draw: "ImageDraw", plane: _Plane, scene: Scene) -> None:
    radius = similarity_scale(scene.world_from_unit) * plane.pixels_per_unit
    x, y = plane.pixels(scene.world_from_unit[None, :3, 3])[0]
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=REGION, width=2)


def _draw_points(draw: "ImageDraw", plane: _Plane, scene: Scene, diagnosis: Diagnosis) -> None:
    """The hull, shaded by depth, and the sparse points of the region of interest."""
    hull = diagnosis.hull_points
    if hull is not None and len(hull):
        height = hull @ plane.towards
        order = np.argsort(height, kind="stable")
        shade = (height - height.min()) / max(float(np.ptp(height)), 1e-300)
        for index, (x, y) in zip(order, plane.pixels(hull)[order], strict=True):
            grey = int(120 + 100 * shade[index])
            draw.rectangle([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill=(grey, grey, min(255, grey + 10)))
    if scene.sparse_depth is None:
        return
    points = scene.sparse_depth.points
    points = points[np.linalg.norm(apply(scene.unit_from_world, points), axis=1) <= 1]
    for x, y in plane.pixels(points[:: -(-len(points) // MOST_POINTS) or 1]):
        draw.rectangle([x, y, x + 1, y + 1], fill=POINT)


def _draw_cameras(draw: "ImageDraw", plane: _Plane, scene: Scene, culprits: set[str]) -> None:
    usual = float(np.median([np.linalg.norm(v.camera.centre - plane.centre) for v in scene.views]))
    # The blamed ones last, so that they lie on top.
    for view in sorted(scene.views, key=lambda view: view.name in culprits):
        blamed = view.name in culprits
        colour = CULPRIT if blamed else CAMERA
        apex = plane.pixels(view.camera.centre[None])[0]
        shown = plane.held_inside(apex)
        corners = plane.pixels(_frustum(view.camera, FRUSTUM * usual)) + (shown - apex)
        for index in range(4):
            first, second = tuple(corners[index]), tuple(corners[(index + 1) % 4])
            draw.line([tuple(shown), first], fill=colour, width=1)
            draw.line([first, second], fill=colour, width=2 if blamed else 1)
        if blamed:
            draw.text((shown[0] + 5, shown[1] + 3), view.name, fill=CULPRIT, font=_font(14))


def _frustum(camera: Camera, length: float) -> Float[np.ndarray, "4 3"]:
    """The corners of the image, in the world, at this depth."""
    corners = np.array([[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]], np.float64)
    rays = np.concatenate([corners, np.ones((4, 1))], axis=1) @ np.linalg.inv(camera.intrinsics).T
    return apply(camera.world_from_camera, length * rays)


def _caption(scene: Scene, diagnosis: Diagnosis) -> str:
    parts = [f"{len(scene.views)} cameras", "circle: region of interest"]
    if diagnosis.hull_points is not None:
        parts.append("grey: hull of the masks")
    if scene.sparse_depth is not None:
        parts.append("green: sparse points")
    if diagnosis.culprits():
        parts.append("red: named by findings")
    return ", ".join(parts)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
