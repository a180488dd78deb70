"""`dvr export`: from a run to mesh files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dvr_cli.commands.options import JsonOption, QuietOption, RunOption
from dvr_cli.console import Output
from dvr_cli.errors import DvrError

if TYPE_CHECKING:
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.scenes.views import LoadedView
    from dvr_cli.surfaces.cleaning import Cleaned
    from dvr_cli.surfaces.mesh import Mesh

# Longest side of the masks that decide which components stay: the margin around them is a few pixels.
MASK_SIZE = 400


def export_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Meshes to write: .ply, .obj, .stl or .glb.", show_default=False),
    ],
    run: RunOption = None,
    resolution: Annotated[
        int | None,
        typer.Option("--resolution", help="Samples per side of the cube. (default: the field's own)"),
    ] = None,
    components: Annotated[
        Literal["largest", "supported", "all"],
        typer.Option("--components", help="Which separate parts to keep: supported are those that the masks show."),
    ] = "supported",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the surface of a run as FILE, in world units.

    The mesh is closed, looks outwards and has normals and vertex colours where the format can hold them. Axes are those
    of the scene in every format; .glb files are not turned to make y point up.
    """
    output = Output(quiet, as_json)
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.surfaces.export import check_path, write_mesh

    for path in files:
        check_path(path)
    chosen = RunFolder.latest() if run is None else RunFolder.open(run)
    if run is None:
        output.note(f"Run: {chosen.path} (the latest; name another with --run)")
    if not chosen.finished:
        output.note("The run has not come to its end; its last checkpoint is exported.")
    cleaned = mesh_of_run(chosen, resolution, components, output.note)
    for path in files:
        write_mesh(cleaned.mesh, path)
    values = {"run": str(chosen.path), "files": [str(path) for path in files], **describe_mesh(cleaned.mesh)}
    next_step = f"open {files[0]} in a mesh viewer, for example MeshLab or Blender"
    output.result(as_text(files, values) + f"\nNext: {next_step}.", {**values, "next": next_step})


def mesh_of_run(
    run: "RunFolder",
    resolution: int | None,
    components: Literal["largest", "supported", "all"],
    note: Callable[[str], None],
) -> "Cleaned":
    """The cleaned surface of the run's newest checkpoint in world units; `note` is told what was left out and why."""
    from dvr_cli.fitting.reconstruct import load_field
    from dvr_cli.surfaces.cleaning import clean
    from dvr_cli.surfaces.extraction import to_world
    from dvr_cli.surfaces.from_field import extract_field

    field, world_from_unit = load_field(run)
    mesh = to_world(extract_field(field, resolution), world_from_unit)
    views = views_with_masks(run, note) if components == "supported" else []
    cleaned = clean(mesh, views, components)
    removed = {"speck": cleaned.specks, "inner cavity": cleaned.cavities, "unsupported part": cleaned.unsupported}
    phrases = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in removed.items() if count]
    if phrases:
        note(f"Left out of {cleaned.components} components: {', '.join(phrases)}. (--components all keeps everything)")
    return cleaned


def views_with_masks(run: "RunFolder", note: Callable[[str], None]) -> "Sequence[LoadedView]":
    """The views of the run's scene with small masks; none, and a note, when the scene cannot be read any more."""
    from dvr_cli.fitting.scene_description import read_described_scene
    from dvr_cli.scenes.images import small_masks

    description = run.scene_description
    try:
        scene = read_described_scene(Path(description["root"]), description.get("options", {}))
        return small_masks(scene.views, MASK_SIZE)
    except DvrError as error:
        reason = str(error).splitlines()[0]
        note(f"The scene's masks cannot be read, so all parts but specks and cavities stay. {reason}")
        return []


def describe_mesh(mesh: "Mesh") -> dict[str, Any]:
    """Size and soundness of a mesh, ready for JSON; lengths in world units."""
    from dvr_cli.surfaces.topology import faces_outward, is_watertight, signed_volume

    lower, upper = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "watertight": is_watertight(mesh),
        "outward": faces_outward(mesh),
        "volume": signed_volume(mesh),
        "lower": lower.tolist(),
        "upper": upper.tolist(),
        "extent": (upper - lower).tolist(),
    }


def as_text(files: Sequence[Path], values: dict[str, Any]) -> str:
    """What was written, in two lines."""
    extent = " x ".join(f"{length:.4g}" for length in values["extent"])
    closed = "watertight" if values["watertight"] else "NOT watertight"
    return (
        f"Wrote {', '.join(str(path) for path in files)}: "
        f"{values['vertices']} vertices, {values['faces']} faces, {closed}, {extent} in world units."
    )
