"""Questions to ask before two shapes are compared: same units, same place, in the cameras' pictures at all?

The limits are wide, since a partial reference is legitimate, and so is a mesh with some background. What is refused
would give numbers that say nothing.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.shapes import Shape, positions
from dvr_cli.comparing.visibility import in_picture
from dvr_cli.errors import CompareError
from dvr_cli.scenes.listing import count_of
from dvr_cli.scenes.views import Camera

ABSURD_RATIO = 50.0
"""Diagonals that differ by more are in different units: metres for mm are 1000, a normalised scene 100 and more."""
SUSPICIOUS_RATIO = 3.0
CONVERSIONS = {1000.0: "metres and millimetres", 100.0: "metres and centimetres", 25.4: "inches and millimetres"}
_PROBES = 100_000
_STRAY_PERCENT = 1.0
"""On each side and axis: points beyond do not count as extent."""


def check_extents(shape: Shape, reference: Shape) -> tuple[str, ...]:
    """Notes about sizes and places that look wrong; CompareError for those that cannot be right."""
    lower, upper = _extent(shape)
    lower_reference, upper_reference = _extent(reference)
    size, reference_size = _length(upper - lower), _length(upper_reference - lower_reference)
    offset = 0.5 * (lower + upper) - 0.5 * (lower_reference + upper_reference)
    gap = _length(np.maximum(0, np.maximum(lower - upper_reference, lower_reference - upper)))
    notes = []
    if size > 0 and reference_size > 0:
        ratio = size / reference_size
        larger = max(ratio, 1 / ratio)
        told = (
            f"The mesh's diagonal is {size:.4g} and the reference's {reference_size:.4g} (ratio {ratio:.4g}), "
            f"and their centres are {_vector(offset)} = {_length(offset):.4g} apart."
        )
        if larger > ABSURD_RATIO:
            raise CompareError(
                f"Mesh and reference are not in the same units. {told}\n"
                f"Expected about the same size, in the world units of the scene's cameras.{_conversion(ratio)} "
                "Scale one of them, or, with --protocol tanks, try --align."
            )
        if larger > SUSPICIOUS_RATIO:
            notes.append(f"{told} Is one of them a part of the other?{_conversion(ratio)}")
    if gap > max(size, reference_size):
        raise CompareError(
            f"The mesh is far away from the reference: their centres are {_vector(offset)} = {_length(offset):.4g} "
            f"apart, with diagonals of {size:.4g} and {reference_size:.4g}.\n"
            "Expected both in the same coordinates, those of the scene's cameras. Move one of them, or, with "
            "--protocol tanks, try --align."
        )
    if gap > 0:
        notes.append(f"The bounding boxes of mesh and reference do not touch: they are {gap:.4g} apart.")
    return tuple(notes)


def check_cameras(shape: Shape, cameras: Sequence[Camera], name: str) -> None:
    """Raise CompareError when no camera has any of the shape in its picture."""
    points = _probes(shape)
    if any(in_picture(camera, points).any() for camera in cameras):
        return
    lower, upper = _extent(shape)
    centres = np.stack([camera.centre for camera in cameras])
    raise CompareError(
        f"None of {count_of(len(cameras), 'camera')} has any of {name} in its picture: it spans {_vector(lower)} to "
        f"{_vector(upper)}, the cameras stand between {_vector(centres.min(axis=0))} and "
        f"{_vector(centres.max(axis=0))}.\n"
        "Expected it in the world coordinates of the scene. Check that it belongs to this scene."
    )


def _probes(shape: Shape) -> Float[np.ndarray, "p 3"]:
    found = positions(shape)
    return found[:: max(1, len(found) // _PROBES)]


def _extent(shape: Shape) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Corners of the bounding box without stray points."""
    lower, upper = np.percentile(_probes(shape), [_STRAY_PERCENT, 100 - _STRAY_PERCENT], axis=0)
    return lower, upper


def _length(vector: Float[np.ndarray, "3"]) -> float:
    return float(np.linalg.norm(vector))


def _vector(values: Float[np.ndarray, "3"]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _conversion(ratio: float) -> str:
    """A sentence on the units that the ratio looks like, or nothing."""
    larger = max(ratio, 1 / ratio)
    for factor, units in CONVERSIONS.items():
        if factor / 1.3 < larger < factor * 1.3:
            return f" The ratio looks like {units} (factor {factor:g})."
    return ""
