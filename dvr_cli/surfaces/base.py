"""A flat base to stand on: the object without what lies below a plane, closed there.

The base is cut in the field, not in the mesh: the intersection of the object with a half space is the larger one of two
values, so what is extracted from it is closed by construction. The plane closes what it cuts and nothing else: a hollow
or a hole in the object's underside that ends above the plane stays, with its opening in the base. The rim of the base
is bevelled by up to one sample, as is every sharp edge that marching cubes extracts.
"""

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import ExportError
from dvr_cli.surfaces.extraction import PointFunction, in_chunks
from dvr_cli.surfaces.mesh import Mesh


def base_offset(mesh: Mesh, up: Float[np.ndarray, "3"], share: float) -> float:
    """Height along `up` (units of the mesh) below which a `share` of the mesh's extent along `up` lies.

    0 touches the lowest vertex, 0.5 is half way up. Raises ExportError for a share outside [0, 1), an empty mesh and a
    direction without length.
    """
    if not (np.isfinite(share) and 0 <= share < 1):
        raise ExportError(f"the base would cut off {share:g} of the height: expected a share from 0 to less than 1.")
    if not len(mesh.faces):
        raise ExportError("the mesh has no faces: there is nothing to cut a base from.")
    heights = mesh.vertices[np.unique(mesh.faces)] @ _unit(up)
    return float(heights.min() + share * np.ptp(heights))


def with_flat_base(
    value: PointFunction, gradient: PointFunction, up: Float[np.ndarray, "3"], offset: float
) -> tuple[PointFunction, PointFunction]:
    """Value and gradient of the field cut off where `up` . x < `offset`; `up` is made a unit vector.

    The value is max(value, offset - up . x), a lower bound of the distance if `value` is one; the gradient is that of
    the larger term, hence `-up` on the base. Raises ExportError for a direction without length.
    """
    direction = _unit(up)

    def depth(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p"]:
        return offset - points @ direction

    def cut_value(points: Float[np.ndarray, "p 3"]) -> np.ndarray:
        return np.maximum(in_chunks(value, points), depth(points))

    def cut_gradient(points: Float[np.ndarray, "p 3"]) -> np.ndarray:
        on_base = depth(points) > in_chunks(value, points)
        return np.where(on_base[:, None], -direction, in_chunks(gradient, points))

    return cut_value, cut_gradient


def _unit(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    length = float(np.linalg.norm(up))
    if not (np.isfinite(length) and length > 0):
        raise ExportError(f"the up direction {np.asarray(up).tolist()} has no length.")
    return np.asarray(up, dtype=np.float64) / length
