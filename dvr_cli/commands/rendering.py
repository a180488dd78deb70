"""What `dvr render` does: find the mesh and its scene, draw the turntable, the views, or both, and write them."""

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dvr_cli.commands.scene_views import SceneChoice, SceneViews, find_scene, run_of
from dvr_cli.commands.surface_of_run import mesh_of_run
from dvr_cli.console import Output, Report
from dvr_cli.errors import DvrError, ExportError, SceneError
from dvr_cli.files import disk_errors
from dvr_cli.fitting.events import StepReport

if TYPE_CHECKING:
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.scenes.views import Camera, View
    from dvr_cli.surfaces.mesh import Mesh
    from dvr_cli.viewing.render import Layer, Painter, What
    from dvr_cli.viewing.turntable import Turntable

TURNTABLE_SIZE, LARGEST_VIEW = 800, 1600
DEFAULT_SECONDS = 6.0
ERROR_LIMIT = 0.2
"""Of the scale of errors: the same in all pictures, so that they can be compared."""
_MISSED, _BEYOND = np.array([0.16, 0.32, 0.85]), np.array([0.70, 0.66, 0.80])


@dataclass(frozen=True)
class Rendering:
    """What the command line asks for."""

    source: Path | None
    turntable: Path | None
    views: str | None
    what: str | None
    size: int | None
    samples: int
    background: str
    out: Path | None
    seconds: float | None
    frames: int | None
    fps: float | None
    elevation: float
    up: str | None
    scene: SceneChoice
    threads: int | None


@dataclass
class Result:
    """What was drawn and written."""

    source: Path
    what: str
    next: str
    turntable: dict[str, Any] | None = None
    pictures: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """One object with plain values."""
        return {
            "source": str(self.source),
            "what": self.what,
            "turntable": self.turntable,
            "pictures": self.pictures,
            "next": self.next,
        }

    def as_text(self) -> str:
        """What was written, and what it shows."""
        lines = []
        if self.turntable is not None:
            found = self.turntable
            lines.append(
                f"Wrote {found['file']}: {found['frames']} frames of {found['width']}x{found['height']} pixels, "
                f"{found['seconds']:.3g} s, up is {found['up']}."
            )
        if self.pictures:
            folder, count = Path(self.pictures[0]["file"]).parent, len(self.pictures)
            lines.append(f"Wrote {count} picture{'s' if count > 1 else ''} ({self.what}) to {folder}.")
        errors = [picture["mean_error"] for picture in self.pictures if picture.get("mean_error") is not None]
        if errors:
            lines.append(
                f"Mean error {np.mean(errors):.4f} of 1; dark is {ERROR_LIMIT:g} or more, blue what the mesh misses."
            )
        return "\n".join([*lines, f"Next: {self.next}"])


def render(rendering: Rendering, output: Output) -> Result:
    """Draw as asked; DvrError for whatever cannot be drawn."""
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.viewing.animation import check_animation
    from dvr_cli.viewing.render import Painter

    if rendering.turntable is not None:
        check_animation(rendering.turntable, rendering.background == "transparent")
    path = rendering.source
    if path is None:
        latest = RunFolder.latest()
        output.note(f"Run: {latest.path} (the latest; name another run or a mesh)")
    run = latest if path is None else run_of(path)
    found = _scene(rendering, run, output.note)
    chosen = () if rendering.views is None or found is None else chosen_views(rendering.views, found)
    if path is None or run is not None:
        assert run is not None
        mesh, source = mesh_of_run(run, None, "supported", output.note), run.path
    else:
        from dvr_cli.surfaces.export import read_mesh

        mesh, source = read_mesh(path, output.note), path
    what = _what(rendering, mesh, source)
    result = Result(source, what, _next_step(rendering))
    painter = Painter(mesh, threads=rendering.threads)
    with output.progress() as report:
        if rendering.turntable is not None:
            result.turntable = _turn(rendering, painter, found, what, report)
        if found is not None and chosen:
            _check_belongs(mesh, found)
            folder = rendering.out or (source / "renders" if run else source.with_name(f"{source.stem}_renders"))
            result.pictures = _draw_views(rendering, painter, found, chosen, what, folder, report)
    return result


def chosen_views(text: str, found: SceneViews) -> tuple[int, ...]:
    """Indices out of `all` or a range such as 0,8,16-20; SceneError when there are no such views."""
    from dvr_cli.scenes.readers.files import selected_indices

    return selected_indices(None if text.strip() == "all" else text, len(found.scene.views))


def _scene(rendering: Rendering, run: "RunFolder | None", note: Callable[[str], None]) -> SceneViews | None:
    """The scene; views need one, a turntable only takes up and front from its cameras."""

    def lost(error: DvrError) -> None:
        note(f"The run's scene cannot be read, so its cameras do not say what is up. {str(error).splitlines()[0]}")

    found = find_scene(rendering.scene, run, None if rendering.views is not None else lost)
    if found is None and rendering.views is not None:
        raise SceneError(
            f"--views {rendering.views}: a mesh does not know the cameras it is to be seen from.\n"
            "Pass --scene FOLDER with the scene that it belongs to."
        )
    return found


def _what(rendering: Rendering, mesh: "Mesh", source: Path) -> str:
    from dvr_cli.viewing.shading import has_colours

    if rendering.what in ("texture", "error") and not has_colours(mesh):
        raise ExportError(
            f"{source} has neither a texture nor vertex colours, so --what {rendering.what} has nothing to show.\n"
            "Use --what shaded, or export the mesh with colours (.glb, .obj or .ply)."
        )
    return rendering.what or ("texture" if has_colours(mesh) else "shaded")


def _as_painted(what: str) -> "What":
    kinds: dict[str, What] = {"shaded": "shaded", "normals": "normals", "depth": "depth"}
    return kinds.get(what, "colour")


def _check_belongs(mesh: "Mesh", found: SceneViews) -> None:
    from dvr_cli.comparing.sanity import check_cameras

    check_cameras(mesh, [view.camera for view in found.scene.views], "the mesh")


def _turn(
    rendering: Rendering, painter: "Painter", found: SceneViews | None, what: str, report: Report
) -> dict[str, Any]:
    from dvr_cli.viewing.animation import DEFAULT_RATE, check_size, write_animation
    from dvr_cli.viewing.turntable import make_turntable

    path = rendering.turntable
    assert path is not None
    rate = rendering.fps or DEFAULT_RATE[path.suffix.lower()]
    count = rendering.frames or max(2, round((rendering.seconds or DEFAULT_SECONDS) * rate))
    points = painter.mesh.vertices[np.unique(painter.mesh.faces)]
    up, front, said = _directions(rendering, found, points)
    table = make_turntable(points, up, front, rendering.elevation, rendering.size or TURNTABLE_SIZE)
    check_size(path, count, table.height, table.width, rate)
    write_animation(path, _frames(rendering, painter, table, count, what, report), rate)
    return {
        "file": str(path), "frames": count, "width": table.width, "height": table.height, "fps": rate,
        "seconds": count / rate, "elevation": rendering.elevation, "up": said,
        "up_vector": [float(value) for value in table.up],
    }  # fmt: skip


def _frames(
    rendering: Rendering, painter: "Painter", table: "Turntable", count: int, what: str, report: Report
) -> Iterator[np.ndarray]:
    started = time.monotonic()
    for index in range(count):
        # One range of depths for all frames, or brightness would pump.
        layer = painter.draw(table.camera(index / count), _as_painted(what), rendering.samples, table.depth_range)
        yield finished(layer, rendering.background)
        _report(report, "turntable", index + 1, count, started)


def _report(report: Report, stage: str, done: int, count: int, started: float) -> None:
    left = (time.monotonic() - started) / done * (count - done)
    report(StepReport(stage, done, count, {}, None, None, left))


def _directions(
    rendering: Rendering, found: SceneViews | None, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """Up, front, and in words where up comes from."""
    from dvr_cli.scenes.rig import front_direction, up_direction

    cameras = [] if found is None else [view.camera for view in found.scene.views]
    up, said = None, ""
    if rendering.up is not None:
        up, said = _axis(rendering.up), f"{rendering.up} (--up)"
    elif cameras:
        up = up_direction(cameras)
        said = f"({', '.join(f'{value:.3g}' for value in up)}), as the cameras were held" if up is not None else ""
    if up is None:
        from dvr_cli.surfaces.files.placement import CONVENTIONAL

        suffix = "" if rendering.source is None else rendering.source.suffix.lower()
        axis = "y" if suffix in CONVENTIONAL else "z"
        up, said = _axis(axis), f"{axis} (assumed; --up names another axis)"
    front = front_direction(cameras, points.mean(axis=0), up)
    if front is None:
        # From where modellers call it the front: -y where z is up (Blender), z where y is up (glTF).
        front = np.array([0.0, -1.0, 0.0]) if abs(up[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    return up, front, said


def _axis(name: str) -> np.ndarray:
    axis = np.zeros(3)
    axis["xyz".index(name[-1])] = -1.0 if name.startswith("-") else 1.0
    return axis


def finished(layer: "Layer", background: str, photograph: np.ndarray | None = None) -> np.ndarray:
    """A layer in front of its background as 8-bit RGB, or RGBA when that is transparent."""
    from dvr_cli.viewing.render import BACKGROUNDS

    if background == "transparent":
        picture = np.concatenate([layer.colour, layer.coverage[..., None]], axis=-1)
    else:
        picture = layer.over(np.array(BACKGROUNDS[background]) if photograph is None else photograph)
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _draw_views(
    rendering: Rendering,
    painter: "Painter",
    found: SceneViews,
    chosen: tuple[int, ...],
    what: str,
    folder: Path,
    report: Report,
) -> list[dict[str, Any]]:
    from dvr_cli.viewing.sheet import write_picture

    started, written = time.monotonic(), []
    for done, index in enumerate(chosen, start=1):
        view = found.scene.views[index]
        picture, facts = draw_view(rendering, painter, view, what)
        file = folder / f"{index:03d}_{Path(view.name).stem}_{what}.png"
        with disk_errors(file, ExportError, "Free some space, or name another folder with --out."):
            write_picture(file, picture)
        size = {"width": picture.shape[1], "height": picture.shape[0]}
        written.append({"file": str(file), "view": view.name, "index": index, **size, **facts})
        _report(report, "views", done, len(chosen), started)
    return written


def draw_view(rendering: Rendering, painter: "Painter", view: "View", what: str) -> tuple[np.ndarray, dict[str, Any]]:
    """The picture from one camera, and what is to be said about it."""
    from dvr_cli.scenes.images import load_view

    # A photograph is never enlarged, and the picture is as large as it.
    compared = what == "error" or rendering.background == "photograph"
    loaded = load_view(view, rendering.size or LARGEST_VIEW) if compared else None
    camera = _sized(view.camera, rendering.size) if loaded is None else loaded.camera
    layer = painter.draw(camera, _as_painted(what), rendering.samples)
    if loaded is not None and what == "error":
        return error_picture(layer, loaded.image, loaded.mask, rendering.background)
    facts = {"depth_range": layer.depth_range} if what == "depth" else {}
    return finished(layer, rendering.background, None if loaded is None else loaded.image), facts


def error_picture(
    layer: "Layer", photograph: np.ndarray, mask: np.ndarray | None, background: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Mean absolute difference of the three channels as colours, where the mesh covers a pixel of the mask.

    Pixels of the mask that it misses are blue, those that it covers beyond the mask are grey.
    """
    from dataclasses import replace

    from dvr_cli.viewing.error_colours import error_colours

    covered = layer.coverage > 0.5
    inside = covered if mask is None else mask
    error = np.abs(layer.colour - photograph).mean(axis=-1)
    colours = np.where(inside[..., None], error_colours(error, ERROR_LIMIT), _BEYOND)
    colours[inside & ~covered] = _MISSED
    judged = inside & covered
    shown = replace(layer, colour=colours, coverage=(inside | covered).astype(np.float64))
    photo = photograph if background == "photograph" else None
    return finished(shown, background, photo), {
        "mean_error": float(error[judged].mean()) if judged.any() else None,
        "missed": float((inside & ~covered).sum() / inside.sum()) if inside.any() else None,
    }


def _sized(camera: "Camera", size: int | None) -> "Camera":
    """The camera for a picture with this longest side; None: its own, LARGEST_VIEW at most."""
    longest = max(camera.height, camera.width)
    factor = (size or min(longest, LARGEST_VIEW)) / longest
    return camera.resized(max(1, round(camera.height * factor)), max(1, round(camera.width * factor)))


def _next_step(rendering: Rendering) -> str:
    named = [] if rendering.source is None else [str(rendering.source)]
    if rendering.scene.scene is not None:
        named += ["--scene", str(rendering.scene.scene)]
    elif rendering.views is None and rendering.source is not None and not rendering.source.is_dir():
        return f"open {rendering.turntable}; with --scene, --views all --what error shows where it is wrong"
    if rendering.views is None:
        return shlex.join(["dvr", "render", *named, "--views", "all", "--what", "error"]) + " shows where it is wrong"
    if rendering.turntable is None:
        return shlex.join(["dvr", "render", *named, "--turntable", "turn.webp"])
    return f"open {rendering.turntable}"
