"""`dvr export`: from a run to mesh files that other programs open."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dvr_cli.commands.export_request import (
    Components,
    ExportRequest,
    TextureKind,
    parse_bytes,
    parse_faces,
    parse_length,
    parse_share,
)
from dvr_cli.commands.options import (
    FLAG,
    JsonOption,
    QuietOption,
    RunOption,
    ThreadsOption,
    parse_image_size,
)
from dvr_cli.console import Output

if TYPE_CHECKING:
    from dvr_cli.surfaces.files.texture_images import ImageKind

SHAPE, COLOURS, PLACE = "Shape", "Colours", "Axes and units"
"""Panels of the help."""


def _option(panel: str, *names: str, **extra: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_default=False, **extra)


def export_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Meshes to write: .ply, .obj, .stl, .glb or .usdz.", show_default=False),
    ],
    run: RunOption = None,
    scene: Annotated[
        Path | None,
        typer.Option("--scene", help="Folder of the run's scene, if it has moved.", show_default=False),
    ] = None,
    mesh: Annotated[
        Path | None,
        typer.Option(
            "--mesh", help="Colour this mesh instead of the run's surface, e.g. one you retouched.", show_default=False
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        _option(
            SHAPE, "--resolution", min=8, max=1024, help="Samples per side of the cube. (default: the field's own)"
        ),
    ] = None,
    components: Annotated[
        Components,
        _option(
            SHAPE,
            "--components",
            help="Which separate parts to keep: supported are those that the masks show. (default: supported)",
        ),
    ] = "supported",
    faces: Annotated[
        Any,
        _option(
            SHAPE,
            "--faces",
            parser=parse_faces,
            metavar="N|all",
            help="Simplify to so many faces, e.g. 50k. (default: 100k with an atlas, else all)",
        ),
    ] = None,
    error: Annotated[
        Any,
        _option(
            SHAPE,
            "--error",
            parser=parse_length,
            metavar="LENGTH",
            help="Simplify as far as this moves the surface: 0.02% of the diagonal, or 0.5 in scene units.",
        ),
    ] = None,
    base: Annotated[
        Any,
        _option(
            SHAPE,
            "--base",
            parser=parse_share,
            metavar="SHARE",
            help="Cut the lowest part off, e.g. 2% of the height, and close it with a flat face to stand on.",
        ),
    ] = None,
    texture: Annotated[
        TextureKind | None,
        _option(
            COLOURS,
            "--texture",
            help="What holds the colours. (default: atlas for .glb, .obj and .usdz; vertex for .ply; none for .stl)",
        ),
    ] = None,
    texture_size: Annotated[
        int, _option(COLOURS, "--texture-size", min=64, max=8192, help="Side of the atlas, texels. (default: 4096)")
    ] = 4096,
    texture_format: Annotated[
        Literal["png", "jpeg", "webp"],
        _option(COLOURS, "--texture-format", help="Kind of image file; webp for .glb alone. (default: png)"),
    ] = "png",
    texture_limit: Annotated[
        Any,
        _option(
            COLOURS,
            "--texture-limit",
            parser=parse_bytes,
            metavar="BYTES",
            help="Largest image file, e.g. 8MB: quality goes first, then size.",
        ),
    ] = None,
    bake: Annotated[
        Literal["photographs", "field"] | None,
        _option(
            COLOURS,
            "--bake",
            help="Where colours come from: the photographs, or the run's own texture field. "
            "(default: photographs for an atlas, field for vertex colours)",
        ),
    ] = None,
    image_size: Annotated[
        Any,
        _option(
            COLOURS,
            "--image-size",
            parser=parse_image_size,
            metavar="PIXELS|full",
            help="Longest side of the photographs. (default: full, or what fits into 3 GB)",
        ),
    ] = None,
    judge: Annotated[
        bool | None,
        _option(
            COLOURS,
            "--judge/--no-judge",
            metavar=FLAG,
            help="Re-render the result beside photographs. (default: where colours come from them)",
        ),
    ] = None,
    up: Annotated[
        Literal["x", "-x", "y", "-y", "z", "-z", "cameras"] | None,
        _option(
            PLACE,
            "--up",
            help="The scene's axis that points up, or cameras: as they were held. .glb and .usdz are turned to y up.",
        ),
    ] = None,
    units: Annotated[
        Literal["m", "mm", "scene"],
        _option(
            PLACE, "--units", help="What one unit of the scene is; .glb and .usdz are then in metres. (default: scene)"
        ),
    ] = "scene",
    center: Annotated[
        bool, _option(PLACE, "--center", metavar=FLAG, help="Move the middle of the mesh to the origin.")
    ] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the surface of a run as FILE, in world units.

    The mesh is closed (open where a scene without masks ends), looks outwards and has normals where the format can hold
    them. A texture is baked from the photographs; what none of them shows comes from the run's own texture.
    """
    output = Output(quiet, as_json)
    request = ExportRequest(tuple(files), texture, faces, error)
    _check_files(request, texture_format)
    from dvr_cli.commands.exporting import ExportOptions, ShapeOptions, export
    from dvr_cli.commands.surface_of_run import chosen_run
    from dvr_cli.commands.texturing import TextureOptions
    from dvr_cli.surfaces.files.placement import Placement

    if mesh is not None and base is not None:
        raise typer.BadParameter("--base is cut in the run's field: it means nothing to a mesh given with --mesh.")
    colours = TextureOptions(
        bake=bake,
        size=texture_size,
        image_size=image_size if isinstance(image_size, int) else None,
        whole_images=image_size == "none",
        threads=threads,
    )
    shape = ShapeOptions(mesh, resolution, components, base)
    placement = Placement(None if up == "cameras" else up, units, center)
    options = ExportOptions(
        request, shape, colours, texture_format, texture_limit, placement, up == "cameras", scene, judge
    )
    exported = export(chosen_run(run, output.note), options, output)
    next_step = _next_step(request)
    output.result(f"{exported.text}\nNext: {next_step}", {**exported.values, "next": next_step})


def _next_step(request: ExportRequest) -> str:
    """The first coloured file that dvr reads, turned round; else a viewer."""
    from dvr_cli.surfaces.files.mesh_formats import FORMATS

    for path in request.files:
        if path.suffix.lower() in FORMATS and request.kind_of(path) != "none":
            return shlex.join(["dvr", "render", str(path), "--turntable", "turntable.webp"])
    return f"open {request.files[0]} in a mesh viewer, for example MeshLab or Blender"


def _check_files(request: ExportRequest, image_format: "ImageKind") -> None:
    """What can be said before anything heavy is loaded: formats, folders, and options that exclude each other."""
    from dvr_cli.surfaces.files.mesh_formats import CONTENT, IMAGE_KINDS, check_path

    for path in request.files:
        if path.suffix.lower() not in CONTENT:
            raise typer.BadParameter(f"{path}: there is no mesh format {path.suffix!r}: expected {', '.join(CONTENT)}.")
        check_path(path)
    request.check()
    for path in request.files:
        kinds = IMAGE_KINDS.get(path.suffix.lower(), ())
        if request.kind_of(path) == "atlas" and image_format not in kinds:
            able = " or ".join(kinds)
            raise typer.BadParameter(f"--texture-format {image_format}: {path.suffix} files hold {able}.")
