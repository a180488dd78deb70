"""What `dvr export` does: shape, colours, files, and how well the result looks like the photographs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dvr_cli.commands.export_request import Components, ExportRequest
from dvr_cli.commands.scene_views import SceneChoice, find_scene
from dvr_cli.commands.surface_of_run import FlatBase, RunSurface
from dvr_cli.commands.texturing import Photographs, TextureOptions, coloured, find_photographs, judged
from dvr_cli.console import Output
from dvr_cli.errors import ExportError, SceneError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.surfaces.files.placement import Placement
    from dvr_cli.surfaces.mesh import Mesh


@dataclass(frozen=True)
class ShapeOptions:
    """Where the shape comes from and what of it stays."""

    mesh: Path | None
    """A mesh file that takes the place of the run's surface."""
    resolution: int | None
    components: Components
    base: float | None
    """Share of the height that is cut off below; None: nothing."""


@dataclass(frozen=True)
class ExportOptions:
    """Everything that the command line says."""

    request: ExportRequest
    shape: ShapeOptions
    texture: TextureOptions
    image_format: Literal["png", "jpeg", "webp"]
    image_limit: int | None
    """Bytes of the texture's file, at most."""
    placement: "Placement"
    up_from_cameras: bool
    """Whether up is as the cameras were held, which `placement` does not know yet."""
    scene: Path | None
    """Where the run's scene lies now."""
    judge: bool | None
    """None: where colours come from photographs."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    values: dict[str, Any]
    """Ready for JSON."""
    text: str


def export(run: "RunFolder", options: ExportOptions, output: Output) -> Exported:
    """Make, colour and write the mesh as asked; DvrError for whatever cannot be made or written."""
    kinds = options.request.kinds
    for path in options.request.lesser:
        output.note(f"{path} cannot hold --texture {options.request.texture}: {options.request.kind_of(path)} instead.")
    photographs = _photographs(run, options, output)
    if options.up_from_cameras:
        x, y, z = _up(run, options, photographs).tolist()
        output.note(f"Up is ({x:.4g}, {y:.4g}, {z:.4g}), as the cameras were held")
        options = replace(options, placement=replace(options.placement, direction=(x, y, z)))
    surface = RunSurface(run, output.note)
    mesh, about_shape = _shape(run, surface, options, photographs, output)
    facts: dict[str, Any] = {}
    if kinds != {"none"}:
        mesh, facts = coloured(mesh, kinds, photographs, surface.colour(), options.texture, output)
    written = _write(mesh, options, output)
    quality = _quality(mesh, photographs, options, output)
    values = {
        "run": str(run.path),
        "files": [str(path) for path in options.request.files],
        "written": [str(path) for path in written],
        **describe_mesh(mesh),
        **about_shape,
        "texture": facts or None,
        "quality": quality,
        "placement": _placements(mesh, options),
    }
    return Exported(values, as_text(values))


def _photographs(run: "RunFolder", options: ExportOptions, output: Output) -> Photographs | None:
    """The photographs, if colours come from them or are judged by them; None, and a note, when they are gone."""
    kinds = options.request.kinds - {"none"}
    if not kinds or not (options.judge or any(options.texture.from_photographs(kind) for kind in kinds)):
        return None
    try:
        return find_photographs(run, options.scene, options.texture, output)
    except SceneError as error:
        # A folder that was named must be right; one that the run remembers may be gone.
        if options.scene is not None:
            raise
        reason = str(error).splitlines()[0]
        output.note(f"The photographs cannot be read, so colours come from the run's own texture alone. {reason}")
        return None


def _shape(
    run: "RunFolder", surface: RunSurface, options: ExportOptions, photographs: Photographs | None, output: Output
) -> "tuple[Mesh, dict[str, Any]]":
    """The mesh in world units, simplified as asked, and what simplification did."""
    from dvr_cli.surfaces.export import read_mesh

    shape = options.shape
    if shape.mesh is not None:
        # Its own colours would stand where the field's are asked for.
        mesh = replace(read_mesh(shape.mesh, output.note), colors=None, texture=None)
    else:
        base = None if shape.base is None else FlatBase(_up(run, options, photographs), shape.base)
        mesh = surface.mesh(shape.resolution, shape.components, output.note, base)
    simplified, about = _simplified(mesh, options.request, output.note)
    if simplified is not mesh and shape.mesh is None:
        simplified = surface.onto_level_set(simplified)
    return simplified, about


def _up(run: "RunFolder", options: ExportOptions, photographs: Photographs | None) -> "Float[np.ndarray, '3']":
    """Up in the world: the axis that was named, or else as the cameras were held."""
    import numpy as np

    from dvr_cli.scenes.rig import up_direction
    from dvr_cli.surfaces.files.placement import axis_vector

    if options.placement.direction is not None:
        return np.array(options.placement.direction)
    if options.placement.up is not None:
        return axis_vector(options.placement.up)
    if photographs is not None:
        cameras = [view.camera for view in photographs.views]
    else:
        found = find_scene(SceneChoice(options.scene), run)
        assert found is not None  # A run always knows its scene.
        cameras = [view.camera for view in found.scene.views]
    up = up_direction(cameras)
    if up is None:
        raise ExportError(
            "The cameras do not tell which way is up: too few, or held anyhow.\n"
            "Name the axis of the scene that points up, e.g. --up z."
        )
    return up


def _simplified(mesh: "Mesh", request: ExportRequest, note: Callable[[str], None]) -> "tuple[Mesh, dict[str, Any]]":
    """The mesh with fewer faces where the request calls for it."""
    import numpy as np

    from dvr_cli.surfaces.simplifying.simplification import simplify

    diagonal = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    if request.error is not None:
        found = simplify(mesh, error=request.error.of(diagonal))
    elif request.target_faces is not None and request.target_faces < len(mesh.faces):
        found = simplify(mesh, faces=request.target_faces)
    else:
        return mesh, {"simplified_from": None}
    if found.note is not None:
        note(found.note)
    asked = "" if request.faces is not None or request.error is not None else " (--faces all keeps them all)"
    share = 100 * found.error / diagonal
    note(
        f"Simplified from {found.faces_before} to {len(found.mesh.faces)} faces; no point moved by more than "
        f"{found.error:.3g} ({share:.2g} % of the diagonal){asked}"
    )
    about = {"simplified_from": found.faces_before, "simplification_error": found.error}
    return found.mesh, about


def _write(mesh: "Mesh", options: ExportOptions, output: Output) -> list[Path]:
    """All files, with the texture encoded once for each kind of image; every path written."""
    from dvr_cli.surfaces.export import FileOptions, write_mesh
    from dvr_cli.surfaces.files.placement import rounding_note
    from dvr_cli.surfaces.files.texture_images import encode_image

    image = None
    if mesh.texture is not None:
        output.note("Encoding the texture")
        image = encode_image(mesh.texture.image, options.image_format, options.image_limit)
        if image.note:
            output.note(image.note)
    if not options.placement.center and (note := rounding_note(mesh)):
        output.note(note)
    written: list[Path] = []
    for path in options.request.files:
        kind = options.request.kind_of(path)
        held = replace(
            mesh,
            colors=mesh.colors if kind == "vertex" else None,
            texture=mesh.texture if kind == "atlas" else None,
        )
        file_options = FileOptions(options.placement, image if kind == "atlas" else None)
        written += write_mesh(held, path, file_options)
    return written


def _quality(
    mesh: "Mesh", photographs: Photographs | None, options: ExportOptions, output: Output
) -> dict[str, Any] | None:
    """PSNR and SSIM of the colours re-rendered beside photographs; None when there is nothing to judge by."""
    if photographs is None or options.judge is False:
        return None
    evaluation = judged(mesh, photographs, output)
    values = {measure.name: measure.value for measure in evaluation.measures}
    return {
        "view_set": "held out" if photographs.held_out else "fitted",
        "views": evaluation.settings["views"],
        "image_sizes": evaluation.settings["image_sizes"],
        "colours": evaluation.settings["colours"],
        **values,
    }


def _placements(mesh: "Mesh", options: ExportOptions) -> list[str]:
    """Axes and units of each file, a line each."""
    from dvr_cli.surfaces.files.placement import stated

    shift = options.placement.shift(mesh)
    return [stated(options.placement, path.name, shift) for path in options.request.files]


def describe_mesh(mesh: "Mesh") -> dict[str, Any]:
    """Size and soundness of a mesh, ready for JSON; lengths in world units."""
    from dvr_cli.surfaces.topology import faces_outward, is_manifold, is_watertight, signed_volume

    lower, upper = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "watertight": is_watertight(mesh),
        "manifold": is_manifold(mesh),
        "outward": faces_outward(mesh),
        "volume": signed_volume(mesh),
        "lower": lower.tolist(),
        "upper": upper.tolist(),
        "extent": (upper - lower).tolist(),
    }


def as_text(values: dict[str, Any]) -> str:
    """What was written, a line for the shape, one for the colours, one for each file's axes."""
    extent = " x ".join(f"{length:.4g}" for length in values["extent"])
    closed = "watertight" if values["watertight"] else "NOT watertight"
    lines = [
        f"Wrote {', '.join(values['written'])}: "
        f"{values['vertices']} vertices, {values['faces']} faces, {closed}, {extent} in world units."
    ]
    texture = values["texture"]
    if texture is not None and "size" in texture:
        lines.append(
            f"Texture: {texture['size']} x {texture['size']}, {100 * texture['seen']:.1f} % of the surface from "
            f"photographs, {texture['texels_per_unit']:.3g} texels per unit."
        )
    quality = values["quality"]
    if quality is not None and quality["psnr_covered"] is not None:
        count, which = len(quality["views"]), "held-out" if quality["view_set"] == "held out" else "fitted"
        lines.append(
            f"Beside {count} {which} photographs: PSNR {quality['psnr_covered']:.2f} dB where covered, "
            f"{quality['psnr']:.2f} dB over the mask, SSIM {quality['ssim']:.3f}."
        )
    return "\n".join([*lines, *values["placement"]])
