"""Cameras from projection matrices, and similarities between frames.

Notation: P = K [R | t], 3x4, takes homogeneous world points to pixels; K upper triangular with positive diagonal, R a
proper rotation; w is the third homogeneous coordinate, positive in front of the camera. P and -P project to the same
pixels, so the sign of P alone says nothing; a mirrored camera is one for which no sign gives both a proper rotation and
w > 0 at the object. Similarities are 4x4 `b_from_a` = [[s R, t], [0, 1]].
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from dvr_cli.errors import SceneError
from dvr_cli.scenes.views import Camera

# Determinant of the left 3x3 block with rows scaled to length one: about (f / image size)^2 for the widest lens in use,
# 1e-4, and 1e-16 for a matrix that has lost a dimension.
SINGULAR_DETERMINANT = 1e-9
# Matrices stored as float32 are orthogonal to about 1e-6.
ROTATION_TOLERANCE = 1e-3
LARGEST_VALUE = 1e100


def checked_projection(matrix: np.ndarray, where: str) -> Float[np.ndarray, "3 4"]:
    """The upper 3x4 block of a projection as float64; SceneError for another shape, NaN, or a singular matrix."""
    if matrix.shape not in ((3, 4), (4, 4)) or matrix.dtype.kind not in "fiu":
        raise SceneError(
            f"{where} has shape {matrix.shape} and type {matrix.dtype}: expected 4x4 (or 3x4) numbers K [R|t].\n"
            "Write the projection from world to pixels (docs/formats.md, section IDR)."
        )
    projection = np.asarray(matrix[:3, :4], dtype=np.float64)
    # What is larger would overflow when it is squared.
    usable = np.abs(projection) < LARGEST_VALUE
    if not usable.all():
        raise SceneError(
            f"{where} holds {int((~usable).sum())} values that are NaN or infinite: expected finite "
            "numbers.\nWrite the matrix again, or leave this view out with --views."
        )
    lengths = np.linalg.norm(projection[:, :3], axis=1, keepdims=True)
    rows = projection[:, :3] / np.where(lengths > 0, lengths, 1.0)
    determinant = np.linalg.det(rows)
    if not lengths.all() or abs(determinant) < SINGULAR_DETERMINANT:
        raise SceneError(
            f"{where} is singular (normalised determinant {determinant:.1e}): it does not project space to an image.\n"
            "Expected K [R|t] with a focal length above zero; write the matrix again, or leave this view out with "
            "--views."
        )
    return projection


def axes_meeting_point(projections: Float[np.ndarray, "n 3 4"]) -> Float[np.ndarray, "3"] | None:
    """The point nearest to all optical axes, in the least-squares sense; None when the axes are parallel.

    An axis is a line, so the result does not depend on the signs of the projections.
    """
    left = projections[:, :, :3]
    try:
        centres = -np.linalg.solve(left, projections[:, :, 3:])[:, :, 0]
    except np.linalg.LinAlgError:
        return None
    axes = left[:, 2] / np.linalg.norm(left[:, 2], axis=1, keepdims=True)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    normal_matrix = across.sum(axis=0)
    if np.linalg.eigvalsh(normal_matrix)[0] < 1e-4 * len(projections):
        return None
    return np.linalg.solve(normal_matrix, (across @ centres[:, :, None]).sum(axis=0)[:, 0])


def camera_from_projection(
    projection: Float[np.ndarray, "3 4"],
    height: int,
    width: int,
    object_point: Float[np.ndarray, "3"] | None = None,
    where: str = "the projection",
) -> Camera:
    """Split P into intrinsics and pose (RQ decomposition).

    `object_point`, a world point that the camera looks at, tells an overall minus sign (harmless) from a mirrored
    camera (SceneError); without it a negative determinant counts as the harmless sign.
    """
    projection = checked_projection(projection, where)
    if np.linalg.det(projection[:, :3]) < 0:
        w = 0.0 if object_point is None else projection[2, :3] @ object_point + projection[2, 3]
        if w > 0:
            raise SceneError(
                f"{where} is mirrored: its rotation has determinant -1 with the object in front of the camera.\n"
                "Expected a right-handed world with x right, y down, z forward in the camera (docs/conventions.md); "
                "flip one axis of the world in all matrices, or the sign of one row of [R|t]."
            )
        projection = -projection
    intrinsics, rotation = _rq(projection[:, :3])
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = rotation
    camera_from_world[:3, 3] = np.linalg.solve(intrinsics, projection[:, 3])
    return Camera(intrinsics / intrinsics[2, 2], camera_from_world, height, width)


def _rq(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper triangular K with positive diagonal and orthogonal R with K R = matrix."""
    # QR of the transposed matrix with its rows in reverse order, reversed back.
    orthogonal, triangular = np.linalg.qr(matrix[::-1].T)
    upper = triangular.T[::-1, ::-1]
    rotation = orthogonal.T[::-1]
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    return upper * signs, rotation * signs[:, None]


def projection_of(camera: Camera) -> Float[np.ndarray, "3 4"]:
    """K [R | t]: the inverse of `camera_from_projection`."""
    return camera.intrinsics @ camera.camera_from_world[:3]


def similarity_from_scale_mat(scale_mat: np.ndarray, where: str = "scale_mat") -> Float[np.ndarray, "4 4"]:
    """`world_from_unit` out of a 4x4 scale_mat; SceneError unless it is one positive scale, a rotation and a shift."""
    matrix = np.asarray(scale_mat, dtype=np.float64) if scale_mat.dtype.kind in "fiu" else np.full((4, 4), np.nan)
    if matrix.shape != (4, 4) or not (np.abs(matrix) < LARGEST_VALUE).all():
        raise SceneError(
            f"{where} has shape {scale_mat.shape} or values that are not finite: expected a 4x4 similarity from the "
            "unit sphere to the world.\nWrite it again, or leave all scale_mat_* out: masks then give the bounds."
        )
    scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
    rotation = matrix[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > ROTATION_TOLERANCE or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise SceneError(
            f"{where} is not a similarity: its 3x3 block must be a positive scale times a rotation, its last row 0 0 "
            "0 1.\n"
            "Write it again, or leave all scale_mat_* out to have the bounds found from masks."
        )
    return matrix


def ball_similarity(centre: Float[np.ndarray, "3"], radius: float) -> Float[np.ndarray, "4 4"]:
    """`unit_from_world` that takes the ball of this centre and radius to the unit ball."""
    unit_from_world = np.eye(4)
    unit_from_world[:3, :3] /= radius
    unit_from_world[:3, 3] = -np.asarray(centre) / radius
    return unit_from_world


def apply(b_from_a: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """Points of frame a in frame b."""
    return points @ b_from_a[:3, :3].T + b_from_a[:3, 3]


def similarity_scale(b_from_a: Float[np.ndarray, "4 4"]) -> float:
    """Length in frame b of a unit length in frame a."""
    return float(np.cbrt(np.linalg.det(b_from_a[:3, :3])))


def camera_in_frame(camera: Camera, b_from_world: Float[np.ndarray, "4 4"]) -> Camera:
    """The same camera seen from frame b: pixels stay, the pose is again a rigid motion, depths are in units of b."""
    scale = similarity_scale(b_from_world)
    camera_from_b = np.eye(4)
    camera_from_b[:3, :3] = camera.camera_from_world[:3, :3] @ (b_from_world[:3, :3] / scale).T
    centre = apply(b_from_world, camera.centre[None])[0]
    camera_from_b[:3, 3] = -camera_from_b[:3, :3] @ centre
    return replace(camera, camera_from_world=camera_from_b)
