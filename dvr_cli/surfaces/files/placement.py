"""Where a mesh lies in a file: which way is up, how long a unit is, where the origin is.

`up` and `units` say something about the scene: "its z axis points up", "one unit of it is a millimetre". glTF and USD
have conventions (y up, metres), so .glb and .usdz are turned and scaled when these are said; .ply, .obj and .stl have
none and keep the axes and units of the scene. What is not said is not guessed. Centring moves every file.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from dvr_cli.surfaces.mesh import Mesh

Up = Literal["x", "-x", "y", "-y", "z", "-z"]
Units = Literal["m", "mm", "scene"]

CONVENTIONAL = (".glb", ".usdz")
"""Suffixes of the formats that define which way is up and how long a unit is."""

METRES: dict[Units, float] = {"m": 1.0, "mm": 0.001, "scene": 1.0}

# Rotations that take the scene's up to +y. Entries are 0 and +-1, so that turning changes no digit.
Y_FROM_UP: dict[Up, tuple[tuple[int, int, int], ...]] = {
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def axis_vector(up: Up) -> Float[np.ndarray, "3"]:
    """The unit vector that points up in the scene."""
    return np.array(Y_FROM_UP[up][1], dtype=np.float64)


@dataclass(frozen=True)
class Placement:
    """What is known about the scene, and whether the mesh is moved to the origin."""

    up: Up | None = None
    """The axis of the scene that points up; None: not said."""
    units: Units = "scene"
    """What one unit of the scene is; "scene": not said."""
    center: bool = False
    """Move the centre of the bounding box to the origin."""
    direction: tuple[float, float, float] | None = None
    """Up in the scene where it is no axis, as when the cameras tell; of any length, goes before `up`."""

    @property
    def y_from_scene(self) -> Float[np.ndarray, "3 3"]:
        """The rotation that takes the scene's up to +y; the identity when up is not said."""
        if self.direction is not None:
            return rotation_to_y(np.array(self.direction))
        return np.array(Y_FROM_UP[self.up or "y"], dtype=np.float64)

    @property
    def says_up(self) -> bool:
        """Whether it is known which way is up."""
        return self.up is not None or self.direction is not None

    def shift(self, mesh: Mesh) -> Float[np.ndarray, "3"]:
        """What is added to the mesh's coordinates, in the scene's axes and units; zero without `center`."""
        if not self.center or not len(mesh.vertices):
            return np.zeros(3)
        return -(mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2

    def file_from_scene(self, suffix: str, shift: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
        """The similarity that takes coordinates of the scene to those of a file with this suffix."""
        scaled = np.eye(3)
        if suffix.lower() in CONVENTIONAL:
            scaled = METRES[self.units] * self.y_from_scene
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = scaled, scaled @ shift
        return matrix


def rotation_to_y(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes the direction `up` (any length but zero) to +y."""
    x, y, z = np.asarray(up, dtype=np.float64) / np.linalg.norm(up)
    if y < -1 + 1e-12:
        return np.array(Y_FROM_UP["-y"], dtype=np.float64)
    # Rodrigues' formula for the angle between up and +y about their common perpendicular (-z, 0, x).
    cross = np.array([[0, -x, 0], [x, 0, z], [0, -z, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + y)


AS_IS = Placement()
"""Nothing is said, nothing is moved."""


def placed(mesh: Mesh, placement: Placement, suffix: str) -> Mesh:
    """The mesh with the coordinates and normals that a file with this suffix holds."""
    matrix = placement.file_from_scene(suffix, placement.shift(mesh))
    if np.array_equal(matrix, np.eye(4)):
        return mesh
    turned = placement.y_from_scene
    # Shifted before it is scaled: large coordinates cancel while they still have all their digits.
    vertices = (mesh.vertices + placement.shift(mesh)) @ matrix[:3, :3].T
    normals = None if mesh.normals is None else mesh.normals @ turned.T
    return Mesh(vertices, mesh.faces, normals, mesh.colors, mesh.texture)


def stated(placement: Placement, name: str, shift: Float[np.ndarray, "3"]) -> str:
    """Axes, units and shift of the file `name` as one line, e.g. "mesh.glb: y up, metres"."""
    suffix = name[name.rfind(".") :].lower()
    conventional = suffix in CONVENTIONAL
    turned, scaled = conventional and placement.says_up, conventional and placement.units != "scene"
    if turned and scaled:
        text = "y up, metres"
    elif turned:
        text = "y up, units of the scene (viewers take them for metres; say --units)"
    elif scaled:
        text = "metres, axes of the scene (viewers take y for up; say --up)"
    elif conventional:
        text = "axes and units of the scene (viewers take y for up and units for metres; say --up and --units)"
    else:
        text = "axes and units of the scene"
    if not placement.center:
        return f"{name}: {text}"
    moved = ", ".join(f"{length:.9g}" for length in shift)
    return f"{name}: {text}; centred, ({moved}) of the scene added to its coordinates"


def rounding_note(mesh: Mesh) -> str | None:
    """One sentence when single precision (.ply, .stl, .glb, .usdz) rounds the vertices visibly; None when it does not.

    Visibly: by more than a 20,000th of the mesh's longest side, as with geographic coordinates.
    """
    if not len(mesh.vertices):
        return None
    lower, upper = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # np.spacing is the gap between neighbouring numbers; rounding errs by half of it.
    error = float(np.spacing(np.float32(np.abs([lower, upper]).max()))) / 2
    if error * 20_000 <= float((upper - lower).max()):
        return None
    return f"Far from the origin, single precision rounds the vertices by up to {error:.2g} units: pass --center."
