"""`dvr demo`: the whole way, from photographs to a mesh and its error, on a scene made on the spot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvr_cli.commands.options import DeviceOption, JsonOption, PresetOption, QuietOption, SeedOption, ThreadsOption
from dvr_cli.commands.reconstruct import with_steps
from dvr_cli.console import Output
from dvr_cli.errors import RunError
from dvr_cli.files import disk_errors, write_text

if TYPE_CHECKING:
    from dvr_cli.comparing.metrics import SurfaceDistance
    from dvr_cli.scenes.synthetic_shapes import Shape
    from dvr_cli.scenes.views import LoadedView, Scene
    from dvr_cli.surfaces.mesh import Mesh

VIEWS = 48
IMAGE_SIZE = 320
STEPS_SHARE = 0.4
"""Of the steps of the levels used: on photographs as small as these, more bring nothing."""
FINEST_VOXELS = 128
"""Finer levels of the preset are left out: their voxels would be smaller than a pixel."""
SAMPLES = 200_000
PICTURED_VIEWS = (3, 12)
ERROR_SHARE = 0.005
"""Errors of this share of the diagonal are drawn in full red (outside) or blue (inside)."""
MARK = "made_by_dvr_demo.txt"
"""A file in the scene that says whose it is: only such a scene is replaced."""
WRITES = ("scene", "run", "demo.ply", "comparison.png")


def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder to write into.")] = Path("demo"),
    preset: PresetOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Reconstruct a built-in object and measure the error.

    Photographs of an exactly known surface are made, reconstructed and exported; the distance between the two surfaces
    is printed and drawn. An earlier demo in the same folder is replaced.
    """
    from dvr_cli.config_io import resolve_settings

    output = Output(quiet, as_json)
    settings = resolve_settings(preset, None, {"device": device, "threads": threads, "seed": seed})
    coarse = tuple(level for level in settings.levels if level.voxels <= FINEST_VOXELS)
    settings = settings.model_copy(update={"levels": coarse})
    settings = with_steps(settings, round(STEPS_SHARE * sum(level.steps for level in settings.levels)))

    from dvr_cli.commands.fit import fit_scene
    from dvr_cli.commands.surface_of_run import mesh_of_run
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
    from dvr_cli.surfaces.exact import exact_surface
    from dvr_cli.surfaces.export import write_mesh

    check_folder(out)
    output.note(f"Making {VIEWS} photographs of the built-in object in {out / 'scene'}")
    shape, views = make_demo_scene(out / "scene")
    reading = {"masks": True}
    scene = read_described_scene(out / "scene", reading)
    with RunFolder.create(out / "run", settings, describe_scene(scene, reading), overwrite=True) as run:
        summary, exit_code = fit_scene(scene, settings, run, output)
        if exit_code:
            raise typer.Exit(exit_code)
        mesh = mesh_of_run(run, None, "supported", output.note)
    write_mesh(mesh, out / "demo.ply")
    reference = exact_surface(shape, scene.world_from_unit)
    draw_comparison(out / "comparison.png", mesh, reference, shape, scene, views)
    _print_result(out, measure(mesh, reference), summary.seconds, output)


def make_demo_scene(folder: Path) -> "tuple[Shape, list[LoadedView]]":
    """Write photographs, masks and cameras of the built-in object; returns its exact shape and the photographs."""
    from dvr_cli.scenes.synthetic import synthetic_scene, write_scene

    scene, views, shape = synthetic_scene(views=VIEWS, image_size=IMAGE_SIZE)
    with disk_errors(folder, RunError, "Free some space, or name another folder with --out."):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MARK, "This scene was made by dvr demo, which replaces it when it runs here again.\n")
        write_scene(folder, views, scene.world_from_unit)
    return shape, views


def check_folder(out: Path) -> None:
    """RunError where the demo would replace anything that is not of an earlier demo's making."""
    from dvr_cli.fitting.run_folder import check_target

    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: the demo needs a folder. Name another one with --out.")
    foreign = [name for name in WRITES if (out / name).exists()]
    if foreign and not (out / "scene" / MARK).is_file():
        raise RunError(
            f"{out} already holds {', '.join(foreign)}, not made by dvr demo, which would replace that.\n"
            "Name another folder with --out."
        )
    check_target(out / "run", resume=False, overwrite=True)


def measure(mesh: "Mesh", reference: "Mesh") -> "SurfaceDistance":
    """Distance between a mesh and the exact surface."""
    import numpy as np

    from dvr_cli.comparing.metrics import surface_distance

    return surface_distance(mesh, reference, SAMPLES, np.random.default_rng(0))


def draw_comparison(
    path: Path, mesh: "Mesh", reference: "Mesh", shape: "Shape", scene: "Scene", views: "list[LoadedView]"
) -> None:
    """Photograph, reconstruction (textured and plain), exact surface and signed error, from two sides."""
    import numpy as np

    from dvr_cli.comparing.metrics import distance_to_shape
    from dvr_cli.viewing.render import render_mesh, render_values
    from dvr_cli.viewing.sheet import contact_sheet, write_picture

    error = distance_to_shape(mesh.vertices, shape.value, scene.unit_from_world)
    limit = ERROR_SHARE * float(np.linalg.norm(np.ptp(reference.vertices, axis=0)))
    pictures = []
    for index in PICTURED_VIEWS:
        camera = views[index].camera
        pictures += [
            (f"photograph {index + 1} of {len(views)}", views[index].image),
            ("reconstruction, textured", render_mesh(mesh, camera, "colour", background="dark")),
            ("reconstruction, shape", render_mesh(mesh, camera)),
            ("exact shape", render_mesh(reference, camera)),
            (f"error: red {100 * ERROR_SHARE:g} % outside, blue inside", render_values(mesh, camera, error, limit)),
        ]
    write_picture(path, contact_sheet(pictures, columns=5))


def _print_result(out: Path, found: "SurfaceDistance", seconds: float, output: Output) -> None:
    values: dict[str, Any] = {
        "mesh": str(out / "demo.ply"),
        "picture": str(out / "comparison.png"),
        "seconds": seconds,
        "chamfer": found.chamfer,
        "chamfer_percent": found.chamfer_percent,
        "accuracy": found.accuracy,
        "completeness": found.completeness,
        "f_score": found.f_score,
        "threshold": found.threshold,
        "next": "dvr reconstruct SCENE --masks",
    }
    text = (
        f"Chamfer distance to the exact surface: {found.chamfer:.4g} world units "
        f"({found.chamfer_percent:.3f} % of the diagonal)\n"
        f"F-score at {found.threshold:.3g} ({100 * found.threshold / found.diagonal:.1f} %): {found.f_score:.4f}\n"
        f"Wrote {out / 'demo.ply'}; compare with the exact surface in {out / 'comparison.png'}.\n"
        "Next: your own photographs with dvr reconstruct SCENE --masks"
    )
    output.result(text, values)
