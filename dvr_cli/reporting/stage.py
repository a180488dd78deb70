"""The part of the page with meshes in three dimensions, as the template and viewer.js take it."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.comparison import Comparison
from dvr_cli.reporting.distances import distance_to
from dvr_cli.reporting.framing import Frame
from dvr_cli.reporting.gallery import Scale, scale_of
from dvr_cli.reporting.viewer_meshes import Ball, ball_around, pack_mesh
from dvr_cli.scenes.views import LoadedView
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.viewing.error_colours import error_scale

ALL_FACES = 480_000
"""Of all meshes of the view together; each gets the same share within FEWEST_FACES and MOST_FACES."""
FEWEST_FACES, MOST_FACES = 12_000, 60_000


def stage_of(
    comparison: Comparison,
    frames: Sequence[Frame],
    error_limit: float | None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any] | None:
    """Values of the template's `viewer`; None when no mesh has a face."""
    named = [(column.name, column.mesh) for column in comparison.columns if len(column.mesh.faces)]
    if not named:
        return None
    reference = comparison.reference
    meshes = [*named, ("reference", reference)] if isinstance(reference, Mesh) and len(reference.faces) else named
    ball = ball_around([reference] if meshes is not named and isinstance(reference, Mesh) else [m for _, m in named])
    share = max(FEWEST_FACES, min(ALL_FACES // len(meshes), MOST_FACES))
    distance = distance_to(reference) if reference is not None and error_limit is not None else None
    packed_meshes = []
    for number, (name, mesh) in enumerate(meshes):
        if report:
            report(f"Packing {name} for the interactive view")
        to_reference = distance if number < len(named) else None
        packed_meshes.append({"name": name} | pack_mesh(mesh, ball, share, to_reference, error_limit or 1.0))
    modes = [("shaded", "shaded"), ("colour", "textured"), ("normals", "normals")]
    modes += [("error", "error")] if distance is not None else []
    return {
        "names": [name for name, _ in meshes],
        "panes": [0, len(meshes) - 1],
        "modes": modes,
        "cameras": [comparison.views[frame.view].name for frame in frames] or ["the side"],
        "scales": [_legend(error_limit, reference)] if distance is not None and error_limit is not None else [],
        "data": {
            "meshes": packed_meshes,
            "cameras": [_camera(comparison.views[frame.view], ball) for frame in frames],
            "up": _up(comparison.views).tolist(),
            "scale": base64.b64encode(error_scale().tobytes()).decode("ascii"),
        },
    }


def _legend(error_limit: float, reference: Mesh | PointCloud | None) -> Scale:
    return scale_of("error", "Error: distance from the mesh to the reference", error_limit, reference)


def _camera(view: LoadedView, ball: Ball) -> dict[str, Any]:
    """Where a photograph was taken from, in the viewer's space."""
    return {"name": view.name, "position": ((view.camera.centre - ball.centre) / ball.radius).tolist()}


def _up(views: Sequence[LoadedView]) -> Float[np.ndarray, "3"]:
    """The mean of what is up in the photographs; that of the first where they disagree."""
    if not views:
        return np.array([0.0, 0.0, 1.0])
    ups = -np.stack([view.camera.camera_from_world[1, :3] for view in views])
    mean = ups.mean(axis=0)
    chosen = mean if np.linalg.norm(mean) > 0.3 else ups[0]
    return chosen / np.linalg.norm(chosen)
