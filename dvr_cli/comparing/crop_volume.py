"""The crop volume of the Tanks and Temples toolbox: a polygon, drawn out along one axis of the world.

The file is Open3D's `SelectionPolygonVolume` as JSON: `orthogonal_axis` ("X", "Y" or "Z"), `axis_min`, `axis_max` along
it, and `bounding_polygon`, a list of 3D points of which the other two coordinates count.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.errors import CompareError

LARGEST_FILE = 10_000_000
MOST_CORNERS = 10_000


@dataclass(frozen=True)
class CropVolume:
    """What lies inside counts."""

    axis: int
    """0, 1 or 2: that along which the polygon is drawn out."""
    axis_min: float
    axis_max: float
    polygon: Float[np.ndarray, "c 2"]
    """Corners in the two other coordinates, in the order of the axes."""

    def contains(self, points: Float[np.ndarray, "p 3"]) -> Bool[np.ndarray, "p"]:
        """Whether each point is inside; a ray in the plane then crosses the polygon an odd number of times."""
        along = points[:, self.axis]
        inside = np.flatnonzero((along >= self.axis_min) & (along <= self.axis_max))
        across, up = np.delete(points[inside], self.axis, axis=1).T
        odd = np.zeros(len(inside), dtype=bool)
        for (x0, y0), (x1, y1) in zip(self.polygon, np.roll(self.polygon, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            crossed = (up < y0) != (up < y1)
            odd ^= crossed & (across < x0 + (up - y0) * (x1 - x0) / (y1 - y0))
        result = np.zeros(len(points), dtype=bool)
        result[inside[odd]] = True
        return result

    def box(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """The corners of the box around the volume."""
        lower = np.insert(self.polygon.min(axis=0), self.axis, self.axis_min)
        upper = np.insert(self.polygon.max(axis=0), self.axis, self.axis_max)
        return lower, upper


def read_crop_volume(path: Path) -> CropVolume:
    """The volume in a file; CompareError if it is missing or not one."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE // 1_000_000} MB")
        values = json.loads(path.read_text(encoding="utf-8"))
        if (
            not isinstance(values, dict)
            or values.get("class_name", "SelectionPolygonVolume") != "SelectionPolygonVolume"
        ):
            raise ValueError("it is no JSON object of class SelectionPolygonVolume")
        axis = "XYZ".find(str(values["orthogonal_axis"]).upper()[:1] or "?")
        corners = np.array(values["bounding_polygon"], dtype=np.float64)
        limits = float(values["axis_min"]), float(values["axis_max"])
        if axis < 0:
            raise ValueError(f"orthogonal_axis is {values['orthogonal_axis']!r}, and not X, Y or Z")
        if corners.ndim != 2 or corners.shape[1] != 3 or not 3 <= len(corners) <= MOST_CORNERS:
            raise ValueError("bounding_polygon is no list of at least three points [x, y, z]")
        if not (np.isfinite(corners).all() and np.isfinite(limits).all() and limits[0] < limits[1]):
            raise ValueError("its numbers are not finite, or axis_min is not below axis_max")
    except FileNotFoundError:
        raise CompareError(f"{path} does not exist: expected the JSON file of a crop volume. Check --crop.") from None
    except KeyError as error:
        raise CompareError(f"{path} is no crop volume: it has no key {error}.\n{_EXPECTED}") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CompareError(f"{path} is no crop volume: {error}.\n{_EXPECTED}") from error
    return CropVolume(axis, limits[0], limits[1], np.delete(corners, axis, axis=1))


_EXPECTED = (
    "Expected Open3D's SelectionPolygonVolume with orthogonal_axis, axis_min, axis_max and bounding_polygon, as Tanks "
    "and Temples gives one per scene."
)
