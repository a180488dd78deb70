"""From the entrants of a comparison to its columns: make the meshes, clean them by one rule, measure them by one."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvr_cli.commands.contestants import Entrants, SceneToRead, names_of_runs
from dvr_cli.console import Output, duration
from dvr_cli.errors import CompareError, DvrError
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from dvr_cli.comparing.comparison import Column, Comparison
    from dvr_cli.comparing.protocols import GeometryOptions
    from dvr_cli.comparing.shapes import Shape
    from dvr_cli.comparing.yardstick import Yardstick
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.surfaces.mesh import Mesh


@dataclass(frozen=True)
class ComparisonOptions:
    """What the command line says about a comparison."""

    image_size: int | None
    trims: tuple[float, ...]
    cloud: Path | None
    cull: int | None
    every: int
    lpips: bool
    geometry: "GeometryOptions"
    """How distances to the reference are taken."""
    reference: Path | None
    device: str
    threads: int
    seed: int
    fresh: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values for the report."""
        values = {**asdict(self), **asdict(self.geometry), "trims": list(self.trims)}
        del values["geometry"]
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


@dataclass(frozen=True)
class Entry:
    """A mesh before it is cleaned and measured."""

    name: str
    family: str
    mesh: "Callable[[], Mesh]"
    trim: float | None = None
    seconds: float | None = None
    peak_memory_gb: float | None = None
    settings: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def compare(
    entrants: Entrants, chosen: SceneToRead, options: ComparisonOptions, folder: Path, output: Output
) -> "Comparison":
    """Make, clean and measure all columns; what cannot be made is named as missing.

    CompareError when no mesh is left at all.
    """
    from dvr_cli.comparing.comparison import Comparison
    from dvr_cli.comparing.protocols import geometry_judge
    from dvr_cli.comparing.reference_files import read_shape
    from dvr_cli.comparing.yardstick import Yardstick, judged_views
    from dvr_cli.fitting.scene_description import split_views
    from dvr_cli.scenes.images import load_views

    scene, fitted, held_out = split_views(chosen.root, chosen.reading, chosen.used)
    # What can be wrong with the reference must not come out after minutes of work.
    reference = None if options.reference is None else read_shape(options.reference)
    cameras = [view.camera for view in scene.views]
    geometry = None if reference is None else geometry_judge(reference, options.geometry, cameras, check=False)
    output.note(f"{scene.name}: {count_of(len(scene.views), 'view')} ({scene.format})")
    missing: list[tuple[str, str]] = []
    entries = [*_runs(entrants, output), *_files(entrants, reference)]
    entries += _baselines(entrants, chosen, options, folder, output, missing)
    views = load_views(scene, options.image_size, options.threads)
    judged = judged_views(len(views), options.every, held_out)
    yardstick = Yardstick(views, fitted, judged, geometry, options.cull, options.lpips)
    columns = list(_columns(entries, yardstick, output, missing))
    if not columns:
        reasons = "\n".join(f"{name}: {reason}" for name, reason in missing)
        raise CompareError(f"There is nothing to compare.\n{reasons}" if missing else "There is nothing to compare.")
    settings = options.as_json() | {"held_out_views": len(held_out), "judged_views": list(judged)}
    return Comparison(scene, views, judged, tuple(columns), reference, settings, tuple(missing))


def _columns(
    entries: list[Entry], yardstick: "Yardstick", output: Output, missing: list[tuple[str, str]]
) -> "Iterator[Column]":
    """Every mesh, cleaned and measured."""
    from dvr_cli.comparing.comparison import Column

    for entry in entries:
        start = time.monotonic()
        try:
            mesh, cut = yardstick.cleaned(entry.mesh())
            evaluations = yardstick.measured(mesh)
        except DvrError as error:
            output.note(f"{entry.name} is left out: {str(error).splitlines()[0]}")
            missing.append((entry.name, str(error)))
            continue
        output.note(f"Measured {entry.name} in {duration(time.monotonic() - start)}")
        notes = entry.notes if cut is None else (*entry.notes, cut)
        yield Column(
            entry.name, entry.family, mesh, evaluations, entry.trim, entry.seconds, entry.peak_memory_gb,
            entry.settings, notes,
        )  # fmt: skip


def _runs(entrants: Entrants, output: Output) -> Iterator[Entry]:
    """The meshes of runs, with the time and memory that their summaries tell."""
    for name, run in zip(names_of_runs(entrants.runs), entrants.runs, strict=True):
        summary, notes = run.summary or {}, []
        if not run.finished:
            output.note(f"{run.path} has not come to its end; its last checkpoint is compared.")
            notes.append("The run has not come to its end; this is its last checkpoint.")
        seconds = summary.get("seconds")
        if summary.get("resumed_from") is not None:
            seconds, notes = None, [*notes, "The run was resumed, so its time as a whole is not known."]
        mesh, extraction = _mesh_of(run, output)
        seconds = None if seconds is None else seconds + extraction
        memory = summary.get("peak_memory_gb")
        settings = run.settings.model_dump(mode="json")
        yield Entry(name, "dvr", partial(_same, mesh), None, seconds, memory, settings, tuple(notes))


def _same(mesh: "Mesh") -> "Mesh":
    return mesh


def _mesh_of(run: "RunFolder", output: Output) -> "tuple[Mesh, float]":
    """The mesh that `dvr export` would write, and the seconds it takes."""
    from dvr_cli.commands.surface_of_run import mesh_of_run

    start = time.monotonic()
    mesh = mesh_of_run(run, None, "supported", output.note)
    return mesh, time.monotonic() - start


def _files(entrants: Entrants, reference: "Shape | None") -> Iterator[Entry]:
    """Meshes from elsewhere; whether they are of this scene is asked when they are read."""
    for path in entrants.files:
        settings = {"file": str(path)}
        yield Entry(path.name, path.name, partial(_mesh_from_elsewhere, path, reference), settings=settings)


def _mesh_from_elsewhere(path: Path, reference: "Shape | None") -> "Mesh":
    from dvr_cli.comparing.sanity import check_extents
    from dvr_cli.surfaces.export import read_mesh

    mesh = read_mesh(path)
    if reference is not None:
        check_extents(mesh, reference)
    return mesh


def _baselines(
    entrants: Entrants,
    chosen: SceneToRead,
    options: ComparisonOptions,
    folder: Path,
    output: Output,
    missing: list[tuple[str, str]],
) -> Iterator[Entry]:
    """The meshes of the baselines named; they see what the runs saw, and so not the views held out."""
    from dvr_cli.comparing.opponents import Task, make_baseline
    from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
    from dvr_cli.surfaces.export import read_mesh

    if not entrants.baselines:
        return
    fingerprint = describe_scene(read_described_scene(chosen.root, chosen.reading), chosen.reading)
    task = Task(
        str(chosen.root), chosen.reading, options.image_size, options.trims,
        None if options.cloud is None else str(options.cloud), options.device, options.threads, options.seed,
        output.quiet,
    )  # fmt: skip
    for name in entrants.baselines:
        place = folder / "baselines" / name
        output.note(f"Baseline {name}")
        try:
            made = make_baseline(name, task, place, fingerprint, options.fresh)
        except DvrError as error:
            output.note(f"{name} is left out: {str(error).splitlines()[0]}")
            missing.append((name, str(error)))
            continue
        if made.reused:
            output.note(f"{name}: taken from {place}, made before from the same input (--fresh makes it anew)")
        for mesh in made.meshes:
            if mesh.file is None:
                missing.append((mesh.name, mesh.reason))
                continue
            path = place / Path(mesh.file).name
            yield Entry(
                mesh.name, name, partial(read_mesh, path), mesh.trim, mesh.seconds, made.peak_memory_gb,
                made.settings, mesh.notes,
            )  # fmt: skip
