"""Mistakes of whole sets of cameras, found by putting them right: other axes, another image size, another unit.

Each is tried only where masks and cameras do not agree as they are, and believed only when they agree afterwards.
Without masks, what the cameras look at has to do: the point nearest to their axes must lie in front of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from dvr_cli.diagnosis.agreement import AGREES, best_covering, covering
from dvr_cli.diagnosis.findings import Finding
from dvr_cli.scenes.cameras import apply, axes_meeting_point, projection_of
from dvr_cli.scenes.views import Camera, LoadedView, Scene

CLEARLY_BETTER = 0.2
"""That a correction must win in `covering`."""
UNIT_FACTORS = (1e-3, 1e3, 1e-2, 1e2, 1e-1, 1e1)
"""Metres, centimetres, millimetres."""
OFF_SIZE = 1.25
"""Size for which intrinsics seem to be made over the real one, or the inverse, from which on it is no chance."""

OPENGL = np.diag([1.0, -1.0, -1.0])
UPSIDE_DOWN = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Convention:
    """One way in which poses may be written otherwise."""

    words: str
    """How they are now, it seems."""
    advice: str
    mend: Callable[[Camera], Camera]


def _turned(matrix: Float[np.ndarray, "3 3"], invert: bool = False) -> Callable[[Camera], Camera]:
    """The camera with its axes (not its place) multiplied by a rotation, after its pose was inverted or not."""

    def mend(camera: Camera) -> Camera:
        pose = camera.world_from_camera if invert else camera.camera_from_world
        turned = np.eye(4)
        turned[:3] = matrix @ pose[:3]
        return replace(camera, camera_from_world=turned)

    return mend


_GL = "multiply every camera_from_world from the left by diag(1, -1, -1, 1)"
CONVENTIONS = (
    Convention("with y up and looking along -z (OpenGL, Blender)", _GL[0].upper() + _GL[1:], _turned(OPENGL)),
    Convention(
        "as camera-to-world matrices where world-to-camera is expected",
        "Invert every pose",
        _turned(np.eye(3), invert=True),
    ),
    Convention(
        "as camera-to-world matrices with y up and looking along -z (OpenGL, Blender)",
        f"Invert every pose, then {_GL}",
        _turned(OPENGL, invert=True),
    ),
    Convention(
        "upside down (x to the left, y up)",
        "Multiply every camera_from_world from the left by diag(-1, -1, 1, 1), or turn the photographs half around",
        _turned(UPSIDE_DOWN),
    ),
    Convention(
        "with x to the left and looking along -z",
        "Multiply every camera_from_world from the left by diag(-1, 1, -1, 1)",
        _turned(np.diag([-1.0, 1.0, -1.0])),
    ),
)


def correction_findings(scene: Scene, views: Sequence[LoadedView], bounds_given: bool) -> list[Finding]:
    """The one correction after which masks and cameras agree, if any; nothing where they agree already.

    `views` are those with masks. `bounds_given`: the format itself says where the object is.
    """
    if len(views) < 2:
        return []
    before = covering(views, scene.unit_from_world)
    if before >= AGREES:
        # In a ball that holds the cameras as well, nearly anything agrees.
        smaller = _smaller_unit(scene, views) if bounds_given and _cameras_within(scene) else None
        return [] if smaller is None else [smaller]
    if best_covering(scene, views) >= AGREES:
        # Masks and cameras agree about an object, which is not where the bounds say.
        finding = _other_unit(scene, views, before) if bounds_given else None
    else:
        finding = _other_size(scene, views, before) or _other_axes(scene, views, before)
    return [] if finding is None else [finding]


def _cameras_within(scene: Scene) -> bool:
    """Whether most cameras stand within the region of interest, where an object with an outline would be."""
    centres = apply(scene.unit_from_world, np.stack([view.camera.centre for view in scene.views]))
    return bool(np.median(np.linalg.norm(centres, axis=1)) < 1)


def axes_without_masks(scene: Scene) -> list[Finding]:
    """Cameras that look away from where their axes meet, for scenes without masks; points have the last word."""
    cameras = [view.camera for view in scene.views]
    target = _what_cameras_see(scene, cameras)
    if target is None or len(cameras) < 3:
        return []
    behind = np.mean([camera.project(target[None])[1][0] < 0 for camera in cameras])
    if behind < 0.8:
        return []
    text = f"What the cameras turn to lies behind {behind:.0%} of them: they seem to be written {CONVENTIONS[0].words}"
    return [Finding("axis-convention", "fatal", text, CONVENTIONS[0].advice)]


def size_without_masks(scene: Scene) -> list[Finding]:
    """Principal points that are in the middle of images of another size, as a warning."""
    factor = size_factor([view.camera for view in scene.views])
    if factor is None:
        return []
    return [Finding("intrinsics-size", "warning", _size_text(scene, factor), _size_advice(factor))]


def size_factor(cameras: Sequence[Camera]) -> float | None:
    """Size that the intrinsics seem to be made for, over the size of the images; None when that is 1, or unclear.

    From the principal points, which lie near the middle of an image. 2: they were made for images twice as large.
    """
    shares = np.array([[c.intrinsics[0, 2] / (0.5 * c.width), c.intrinsics[1, 2] / (0.5 * c.height)] for c in cameras])
    x, y = np.median(shares, axis=0)
    spread = np.abs(shares - np.median(shares, axis=0)).max()
    if min(x, y) <= 0 or spread > 0.1 * max(x, y) or max(x / y, y / x) > 1.2:
        return None
    factor = float(np.sqrt(x * y))
    return factor if not 1 / OFF_SIZE < factor < OFF_SIZE else None


def _other_size(scene: Scene, views: Sequence[LoadedView], before: float) -> Finding | None:
    factor = size_factor([view.camera for view in views])
    if factor is None:
        return None
    mended = [replace(view, camera=_rescaled(view.camera, 1 / factor)) for view in views]
    after = best_covering(scene, mended)
    if after < max(AGREES, before + CLEARLY_BETTER):
        return None
    return Finding("intrinsics-size", "fatal", _size_text(scene, factor), _size_advice(factor))


def _rescaled(camera: Camera, factor: float) -> Camera:
    return replace(camera, intrinsics=np.diag([factor, factor, 1.0]) @ camera.intrinsics)


def _size_text(scene: Scene, factor: float) -> str:
    camera = scene.views[0].camera
    return (
        f"The intrinsics seem to be those of images {factor:.2g} times as large: the principal point of "
        f"{scene.views[0].name} is ({camera.intrinsics[0, 2]:.0f}, {camera.intrinsics[1, 2]:.0f}), its size "
        f"{camera.width}x{camera.height}"
    )


def _size_advice(factor: float) -> str:
    return f"Multiply the first two rows of the intrinsics by {1 / factor:.3g}, or use the photographs of that size"


def _other_axes(scene: Scene, views: Sequence[LoadedView], before: float) -> Finding | None:
    scores = []
    for convention in CONVENTIONS:
        mended = [replace(view, camera=convention.mend(view.camera)) for view in views]
        scores.append(best_covering(scene, mended))
    best = int(np.argmax(scores))
    if scores[best] < max(AGREES, before + CLEARLY_BETTER):
        return None
    text = (
        f"The cameras seem to be written {CONVENTIONS[best].words}: masks and cameras agree when that is put right "
        f"(their hull then covers {scores[best]:.0%} of the masks, now {before:.0%})"
    )
    return Finding("axis-convention", "fatal", text, CONVENTIONS[best].advice)


def _other_unit(scene: Scene, views: Sequence[LoadedView], before: float) -> Finding:
    for factor in UNIT_FACTORS:
        if _covering_in_unit(scene, views, factor) >= max(AGREES, before + CLEARLY_BETTER):
            return _unit_finding(scene, factor)
    text = (
        f"The object is not where the region of interest (from {scene.bounds_source}) has it: the masks agree about "
        "one elsewhere"
    )
    advice = "Write the region of interest again, or leave scale_mat out so that the masks say where the object is"
    return Finding("object-outside", "fatal", text, advice)


def _smaller_unit(scene: Scene, views: Sequence[LoadedView]) -> Finding | None:
    """A region of interest that is a hundred or a thousand times too large."""
    for factor in (1e-3, 1e-2):
        if _covering_in_unit(scene, views, factor) >= AGREES:
            return _unit_finding(scene, factor)
    return None


def _covering_in_unit(scene: Scene, views: Sequence[LoadedView], factor: float) -> float:
    scaled = np.diag([factor, factor, factor, 1.0]) @ scene.world_from_unit
    return covering(views, np.linalg.inv(scaled))


def _unit_finding(scene: Scene, factor: float) -> Finding:
    text = (
        f"The region of interest (from {scene.bounds_source}) is in other units than the cameras: multiplied by "
        f"{factor:g} it lies where the masks want it"
    )
    advice = "Write both in the same units, or leave scale_mat out so that the masks say where the object is"
    return Finding("scale-mismatch", "fatal", text, advice)


def _what_cameras_see(scene: Scene, cameras: Sequence[Camera]) -> Float[np.ndarray, "3"] | None:
    """A point that should lie in front of the cameras: the middle of the points, or where the axes meet."""
    if scene.sparse_depth is not None and len(scene.sparse_depth.points) >= 20:
        return np.median(scene.sparse_depth.points, axis=0)
    return axes_meeting_point(np.stack([projection_of(camera) for camera in cameras]))


def scaled_about_origin(scene: Scene, factor: float) -> Float[np.ndarray, "p 3"]:
    """The scene's points, multiplied, in the unit ball's frame."""
    assert scene.sparse_depth is not None
    return apply(scene.unit_from_world, factor * scene.sparse_depth.points)
