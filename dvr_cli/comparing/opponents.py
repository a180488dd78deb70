"""The baselines of a comparison: each made in a process of its own, measured, and kept on the disk.

A baseline sees what the run saw: the same views (without those held out), masks and region of interest. What it made
stays in its folder with a fingerprint of the inputs, and serves the next comparison with the same ones.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvr_cli import __version__
from dvr_cli.baselines.apart import run_apart
from dvr_cli.errors import DvrError
from dvr_cli.files import write_text

if TYPE_CHECKING:
    import numpy as np

    from dvr_cli.scenes.views import LoadedView, Scene
    from dvr_cli.surfaces.cloud import PointCloud
    from dvr_cli.surfaces.mesh import Mesh

FINEST_HULL, COARSEST_HULL = 256, 48
"""Samples along the hull's longest side; half as many as the photographs have pixels, within these limits."""


@dataclass(frozen=True)
class Task:
    """What a baseline is to work on; plain values, since it goes to another process."""

    root: str
    """Folder of the scene."""
    reading: dict[str, Any]
    """How the scene is read, as in scene.json."""
    image_size: int | None
    """Longest side of the photographs, pixels; None: full size."""
    trims: tuple[float, ...]
    cloud: str | None
    """A fused cloud to use instead of the scene's own."""
    device: str
    threads: int
    seed: int
    quiet: bool = False


@dataclass(frozen=True)
class MadeMesh:
    """One mesh of a baseline, as it came out: neither cleaned nor judged."""

    name: str
    """Of the column, e.g. "colmap, trim 7"."""
    trim: float | None
    file: str | None
    """Name of the PLY file within the baseline's folder; None when there is no mesh."""
    reason: str = ""
    """Why there is no mesh."""
    seconds: float = 0.0
    """From the photographs to this mesh."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """All meshes of one baseline."""

    meshes: tuple[MadeMesh, ...]
    peak_memory_gb: float | None
    settings: dict[str, Any]
    reused: bool = False
    """True when an earlier comparison made them."""


def make_baseline(name: str, task: Task, folder: Path, fingerprint: dict[str, Any], fresh: bool = False) -> Made:
    """Make a baseline, or take what lies in `folder` from the same inputs; `fresh` makes it anew.

    `fingerprint` says what the scene holds (`describe_scene`). CompareError, or another DvrError, when it fails whole.
    """
    wanted = _digest(name, task, fingerprint)
    earlier = None if fresh else _read_made(folder, wanted)
    if earlier is not None:
        return earlier
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    measured = run_apart(f"The baseline {name}", BASELINES[name], task, folder)
    meshes, settings = measured.result
    made = Made(meshes, measured.peak_memory_gb, settings)
    write_text(folder / "made.json", json.dumps({"inputs": wanted, **asdict(made)}, indent=1))
    return made


def _digest(name: str, task: Task, fingerprint: dict[str, Any]) -> str:
    """A hash of everything that the meshes depend on."""
    seen = {**asdict(task), "quiet": None, "threads": None, "root": None}
    cloud = None if task.cloud is None else hashlib.blake2b(Path(task.cloud).read_bytes()).hexdigest()
    text = json.dumps([__version__, name, seen, cloud, fingerprint.get("inputs"), fingerprint.get("views")])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read_made(folder: Path, wanted: str) -> Made | None:
    """What was made before, if it is whole and from the same inputs."""
    try:
        held = json.loads((folder / "made.json").read_text())
        if held.pop("inputs") != wanted:
            return None
        meshes = tuple(MadeMesh(**{**mesh, "notes": tuple(mesh["notes"])}) for mesh in held.pop("meshes"))
        made = replace(Made(meshes=meshes, **held), reused=True)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = all(mesh.file is None or (folder / Path(mesh.file).name).is_file() for mesh in meshes)
    return made if whole else None


class _Workshop:
    """What all baselines need while they work: the views, the clock, a voice, and a place for meshes."""

    def __init__(self, name: str, task: Task, folder: Path) -> None:
        from dvr_cli.fitting.scene_description import read_described_scene
        from dvr_cli.scenes.images import load_views

        self.name, self.task, self.folder = name, task, folder
        self._start = time.monotonic()
        self._said_at = -1e9
        self.scene: Scene = read_described_scene(Path(task.root), task.reading)
        self.views: list[LoadedView] = load_views(self.scene, task.image_size, task.threads)
        self.meshes: list[MadeMesh] = []

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        if not self.task.quiet:
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def progress(self, what: str) -> Callable[[int, int], None]:
        """A report of (done, of all) as a line every few seconds."""

        def report(done: int, total: int) -> None:
            if time.monotonic() - self._said_at >= 5.0:
                self._said_at = time.monotonic()
                self.say(f"{what}, {100 * done // max(total, 1)} %")

        return report

    def keep(self, label: str, trim: float | None, make: "Callable[[], Mesh]", notes: Sequence[str]) -> None:
        """Make a mesh and write it; a DvrError becomes the reason of a gap."""
        from dvr_cli.surfaces.export import write_mesh

        try:
            mesh = make()
            seconds = self.seconds()
            file = f"{len(self.meshes)}.ply"
            write_mesh(mesh, self.folder / file)
            self.meshes.append(MadeMesh(label, trim, file, "", seconds, tuple(notes)))
        except DvrError as error:
            self.meshes.append(MadeMesh(label, trim, None, str(error), self.seconds(), tuple(notes)))

    def keep_poisson(self, cloud: "PointCloud", notes: Sequence[str]) -> None:
        """Screened Poisson through the cloud, at every trim."""
        from dvr_cli.baselines.poisson import screened_poisson

        self.say(f"screened Poisson through {len(cloud.points)} points")
        try:
            surface = screened_poisson(cloud)
        except DvrError as error:
            self.meshes += [
                MadeMesh(f"{self.name}, trim {trim:g}", trim, None, str(error), self.seconds(), tuple(notes))
                for trim in self.task.trims
            ]
            return
        for trim in self.task.trims:
            self.keep(f"{self.name}, trim {trim:g}", trim, partial(surface.trimmed, trim), notes)

    def done(self, settings: dict[str, Any]) -> tuple[tuple[MadeMesh, ...], dict[str, Any]]:
        return tuple(self.meshes), {"image_size": self.task.image_size, **settings}


def make_colmap(task: Task, folder: Path) -> tuple[tuple[MadeMesh, ...], dict[str, Any]]:
    """Screened Poisson on COLMAP's fused cloud, or else on points triangulated here, with Delaunay beside it."""
    from dvr_cli.baselines.colmap import delaunay_mesh, fused_cloud, triangulate

    shop = _Workshop("colmap", task, folder)
    bounds = shop.scene.unit_from_world
    given = None if task.cloud is None else Path(task.cloud)
    found = fused_cloud(Path(task.root), given, shop.views, bounds)
    if found is not None:
        cloud, description = found
        note = f"Cloud: {description} The time that it took is not known and not counted."
        shop.keep_poisson(cloud, [note])
        return shop.done({"cloud": description})
    shop.say("no fused cloud in the scene; triangulating with the known cameras")
    report = shop.progress("triangulating")
    triangulated = triangulate(shop.views, folder / "work", task.threads, task.seed, report, bounds)
    note = f"Cloud: {triangulated.description}"
    shop.keep_poisson(triangulated.cloud, [note])
    by_sight = "Meshed by lines of sight (Labatut et al. 2009) here, since pycolmap comes without COLMAP's mesher."
    shop.keep("colmap, Delaunay", None, partial(delaunay_mesh, triangulated), [note, by_sight])
    shutil.rmtree(folder / "work", ignore_errors=True)
    return shop.done({"cloud": triangulated.description})


def make_mvs(task: Task, folder: Path) -> tuple[tuple[MadeMesh, ...], dict[str, Any]]:
    """Screened Poisson on a dense cloud made here."""
    from dvr_cli.baselines.mvs import MvsSettings, dense_cloud
    from dvr_cli.scenes.mask_repair import with_holes_filled

    shop = _Workshop("mvs", task, folder)
    settings, bounds, views = MvsSettings(), shop.scene.unit_from_world, shop.views
    if all(view.mask is not None for view in views):
        # As a reconstruction does: a hole in one mask would cut through the object in all depth maps.
        views, _ = with_holes_filled(views, bounds)
    report = shop.progress("depth maps")
    cloud = dense_cloud(views, bounds, settings, report, device=task.device, threads=task.threads, seed=task.seed)
    shop.keep_poisson(cloud, [f"Cloud: {len(cloud.points)} points by multi-view stereo made here."])
    return shop.done(asdict(settings))


def make_visual_hull(task: Task, folder: Path) -> tuple[tuple[MadeMesh, ...], dict[str, Any]]:
    """The largest shape that the masks allow."""
    from dvr_cli.baselines.visual_hull import visual_hull

    shop = _Workshop("visual-hull", task, folder)
    unit_from_world: np.ndarray = shop.scene.unit_from_world
    longest = max(max(view.camera.height, view.camera.width) for view in shop.views)
    resolution = min(FINEST_HULL, max(COARSEST_HULL, longest // 2))
    shop.keep("visual hull", None, partial(visual_hull, shop.views, unit_from_world, resolution), [])
    return shop.done({"resolution": resolution})


BASELINES: dict[str, Callable[[Task, Path], tuple[tuple[MadeMesh, ...], dict[str, Any]]]] = {
    "colmap": make_colmap,
    "mvs": make_mvs,
    "visual-hull": make_visual_hull,
}
"""What `--baseline` knows by name."""
