"""A camera that goes once around an object, so that the object seems to turn in front of it.

Seen from above the object turns counter-clockwise: what faces the viewer moves to the right. `up`, `front` and the
height of the camera above the horizon are given; where the axis stands, how far the camera is and how much it sees
follow from the object, so that all of it stays in the picture at every angle, in the middle and as large as it can be.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dvr_cli.scenes.views import Camera

MARGIN = 0.04
"""Room at every side, as a share of the picture."""
DISTANCE = 3.2
"""From the axis, in radii of the object's ball: an angle of view of some 36 degrees, as a portrait lens has it."""
WIDEST, NARROWEST = 16 / 9, 9 / 16
"""Width by height of the picture at most and at least; in between it follows the object."""
_BINS = 256
_AROUND = np.linspace(0, 2 * np.pi, 180, endpoint=False)


@dataclass(frozen=True)
class Turntable:
    """All cameras of one turn."""

    centre: Float[np.ndarray, "3"]
    """On the axis, half-way up the object."""
    front: Float[np.ndarray, "3"]
    """Unit, horizontal: from the centre to where the camera stands first."""
    side: Float[np.ndarray, "3"]
    """Unit, horizontal: to the right of the first picture."""
    up: Float[np.ndarray, "3"]
    elevation: float
    """Of the camera above the horizon, degrees."""
    distance: float
    radius: float
    """Of a ball around the centre that holds the object."""
    intrinsics: Float[np.ndarray, "3 3"]
    height: int
    width: int

    def camera(self, turn: float) -> Camera:
        """The camera after a share of a full turn; 0 and 1 are the same."""
        # The camera goes clockwise, so that the object turns counter-clockwise.
        angle, elevation = -2 * np.pi * (turn % 1.0), np.radians(self.elevation)
        level = np.cos(angle) * self.front + np.sin(angle) * self.side
        forward = -(np.cos(elevation) * level + np.sin(elevation) * self.up)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        matrix[:3, 3] = -matrix[:3, :3] @ (self.centre - self.distance * forward)
        return Camera(self.intrinsics, matrix, self.height, self.width)

    @property
    def depth_range(self) -> tuple[float, float]:
        """What depths can occur in the whole turn."""
        return self.distance - self.radius, self.distance + self.radius


def make_turntable(
    points: Float[np.ndarray, "p 3"],
    up: Float[np.ndarray, "3"],
    front: Float[np.ndarray, "3"],
    elevation: float = 15.0,
    longest: int = 800,
) -> Turntable:
    """The turntable for the points of an object, at least one of them.

    `up` and `front` need not be unit or perpendicular, but not parallel. `elevation` is between -90 and 90 degrees,
    both excluded. The picture's longer side is `longest` pixels, made even, as is the other: video wants that.
    """
    up = up / np.linalg.norm(up)
    front = front - (front @ up) * up
    front = front / np.linalg.norm(front)
    side = np.cross(up, front)
    local = points @ np.stack([front, side, up], axis=1)
    axis = _middle_of_disk(local[:, :2])
    radii, heights = np.linalg.norm(local[:, :2] - axis, axis=1), local[:, 2]
    middle = 0.5 * (heights.min() + heights.max())
    radius = max(float(np.hypot(radii, heights - middle).max()), 1e-12)
    centre = axis[0] * front + axis[1] * side + middle * up
    plain = Turntable(centre, front, side, up, elevation, DISTANCE * radius, radius, np.eye(3), 1, 1)
    swept = _swept(radii, heights - middle)
    low, high = _extent(plain, swept)
    intrinsics, height, width = _framing(low, high, longest)
    return Turntable(centre, front, side, up, elevation, DISTANCE * radius, radius, intrinsics, height, width)


def _framing(low: Float[np.ndarray, "2"], high: Float[np.ndarray, "2"], longest: int) -> tuple[np.ndarray, int, int]:
    """Intrinsics, height and width that show a rectangle of directions (x / z, y / z) in the middle of the picture."""
    across, down = np.maximum(high - low, 1e-9)
    shape = float(np.clip(across / down, NARROWEST, WIDEST))
    sides = longest * np.array([min(1.0, shape), min(1.0, 1 / shape)])
    width, height = (max(2, 2 * round(float(side) / 2)) for side in sides)
    focal = (1 - 2 * MARGIN) * min(width / across, height / down)
    principal = np.array([width, height]) / 2 - focal * (low + high) / 2
    return np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1.0]]), height, width


def _extent(table: Turntable, swept: Float[np.ndarray, "c 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest x / z and y / z of circles (radius, height) around the axis."""
    radius, height = swept[:, 0, None], swept[:, 1, None]
    flat = np.stack(np.broadcast_arrays(radius * np.cos(_AROUND), radius * np.sin(_AROUND), height), axis=-1)
    world = table.centre + flat.reshape(-1, 3) @ np.stack([table.front, table.side, table.up])
    directions, _ = table.camera(0).project(world)
    return directions.min(axis=0), directions.max(axis=0)


def _swept(radii: Float[np.ndarray, "p"], heights: Float[np.ndarray, "p"]) -> Float[np.ndarray, "c 2"]:
    """Circles (radius, height) whose hull holds what the points sweep: the widest of each slice at both its ends."""
    low, high = float(heights.min()), float(heights.max())
    step = max((high - low) / _BINS, 1e-300)
    slices = np.minimum(((heights - low) / step).astype(np.int64), _BINS - 1)
    widest = np.full(_BINS, -1.0)
    np.maximum.at(widest, slices, radii)
    filled = np.flatnonzero(widest >= 0)
    ends = np.concatenate([filled, filled + 1]) * step + low
    return np.stack([np.tile(widest[filled], 2), np.minimum(ends, high)], axis=1)


def _middle_of_disk(points: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "2"]:
    """Centre of the smallest disk around the points, to about 0.1 % of its radius (Badoiu and Clarkson 2003)."""
    some = points[:: max(1, len(points) // 100_000)]
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    # Only the outermost can lie on the disk's edge.
    outer = some[[int(np.argmax(some @ (np.cos(angle), np.sin(angle)))) for angle in angles]]
    centre = outer.mean(axis=0)
    for step in range(2, 2000):
        offsets = outer - centre
        centre = centre + offsets[np.argmax(np.einsum("pk,pk->p", offsets, offsets))] / step
    return centre
