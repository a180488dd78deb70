"""What `dvr evaluate` does: find the shape and its scene, cut where asked, measure by every judge that applies."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvr_cli.commands.evaluation_text import evaluation_text
from dvr_cli.commands.reading import Reading
from dvr_cli.commands.scene_views import SceneChoice, SceneViews, find_scene, run_of
from dvr_cli.commands.surface_of_run import mesh_of_run
from dvr_cli.console import Output
from dvr_cli.errors import CompareError, DvrError
from dvr_cli.files import disk_errors, write_text
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from dvr_cli.comparing.measures import Evaluation
    from dvr_cli.comparing.protocols import GeometryOptions
    from dvr_cli.comparing.shapes import Shape
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.scenes.views import LoadedView


@dataclass(frozen=True)
class Judging:
    """What the command line asks for."""

    mesh: Path
    reference: Path | None
    geometry: "GeometryOptions"
    scene: Path | None
    reading: Reading
    image_size: int | None
    every: int
    cull: float | None
    """Pixels of the masks at `image_size`; None: nothing is cut away."""
    lpips: bool
    threads: int | None


@dataclass(frozen=True)
class Result:
    """Everything that was measured."""

    judging: Judging
    scene: Path | None
    evaluations: tuple["Evaluation", ...]
    notes: tuple[str, ...]
    next: str

    def as_json(self) -> dict[str, Any]:
        """One object with plain values."""
        reference = self.judging.reference
        return {
            "mesh": str(self.judging.mesh),
            "reference": None if reference is None else str(reference),
            "scene": None if self.scene is None else str(self.scene),
            "evaluations": [evaluation.as_json() for evaluation in self.evaluations],
            "notes": list(self.notes),
            "next": self.next,
        }

    def as_text(self, written: Path | None) -> str:
        """A block per evaluation."""
        blocks = [evaluation_text(evaluation) for evaluation in self.evaluations]
        end = [f"Wrote {written}."] if written is not None else []
        return "\n\n".join(blocks) + "\n\n" + "\n".join([*end, f"Next: {self.next}"])

    def write(self, path: Path) -> None:
        """Write the JSON to a file; CompareError when that fails."""
        with disk_errors(path, CompareError, "Choose another place for --out."):
            write_text(path, json.dumps(self.as_json(), indent=1) + "\n")


def evaluate(judging: Judging, output: Output) -> Result:
    """Measure as asked; DvrError for whatever cannot be measured."""
    from dvr_cli.comparing.lpips import Lpips
    from dvr_cli.comparing.protocols import geometry_judge
    from dvr_cli.comparing.reference_files import read_shape
    from dvr_cli.comparing.sanity import check_cameras
    from dvr_cli.surfaces.mesh import Mesh

    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        output.note(text)

    run = run_of(judging.mesh)
    if judging.lpips:
        # Whether it is installed must not come out after minutes of work.
        Lpips()
    reference = None if judging.reference is None else read_shape(judging.reference)
    found = _scene_of(judging, run, note)
    cameras = None if found is None else [view.camera for view in found.scene.views]
    judge = None if reference is None else geometry_judge(reference, judging.geometry, cameras)
    shape = read_shape(judging.mesh, note) if run is None else _shape_of_run(run, note)
    if judge is None and not isinstance(shape, Mesh):
        raise CompareError(
            f"{judging.mesh} is a cloud: it has no silhouette and hides nothing, so photographs cannot judge it.\n"
            "Pass a mesh, or a --reference to measure its distance to."
        )
    if cameras is not None:
        check_cameras(shape, cameras, "the mesh")
    views = None if found is None else _loaded(found, judging, output)
    cut: dict[str, Any] = {}
    if judging.cull is not None:
        if views is None:
            raise CompareError("--cull needs the masks of a scene, and the run's cannot be read: pass --scene.")
        shape, cut = _culled(shape, views, judging, note)
    evaluations: list[Evaluation] = []
    if judge is not None:
        output.note(f"Measuring distances to the reference (protocol {judging.geometry.protocol})")
        evaluations.append(judge(shape))
    if found is not None and views is not None:
        evaluations += _by_photographs(shape, views, found, judging, note, output)
    evaluations = [replace(evaluation, settings=evaluation.settings | cut) for evaluation in evaluations]
    root = None if found is None else found.scene.root
    return Result(judging, root, tuple(evaluations), tuple(notes), _next_step(judging, run))


def _shape_of_run(run: "RunFolder", note: Callable[[str], None]) -> "Shape":
    """The mesh that `dvr export` would write."""
    if not run.finished:
        note("The run has not come to its end; its last checkpoint is measured.")
    return mesh_of_run(run, None, "supported", note)


def _scene_of(judging: Judging, run: "RunFolder | None", note: Callable[[str], None]) -> SceneViews | None:
    """The scene named, or that of the run; None, and a note, when the run's is gone and a reference is there."""

    def lost(error: DvrError) -> None:
        reason = str(error).splitlines()[0]
        note(f"The run's scene cannot be read, so all of the surface counts and no photograph does. {reason}")

    choice = SceneChoice(judging.scene, judging.reading)
    return find_scene(choice, run, None if judging.reference is None else lost)


def _loaded(found: SceneViews, judging: Judging, output: Output) -> "list[LoadedView]":
    from dvr_cli.scenes.images import load_views

    output.note(f"Decoding {count_of(len(found.scene.views), 'photograph')}")
    bare = replace(found.scene, depth_map_paths=None)
    return load_views(bare, judging.image_size, judging.threads)


def _culled(
    shape: "Shape", views: "Sequence[LoadedView]", judging: Judging, note: Callable[[str], None]
) -> "tuple[Shape, dict[str, Any]]":
    """What the masks leave of a shape, and how it was cut, for the settings of every number."""
    from dvr_cli.surfaces.cloud import PointCloud
    from dvr_cli.surfaces.culling import MaskCuller

    assert judging.cull is not None
    culler = MaskCuller(views, judging.cull)
    sizes = sorted({f"{view.camera.width}x{view.camera.height}" for view in views if view.mask is not None})
    setting = {
        "cull": {"pixels": judging.cull, "mask_sizes": sizes, "masks": len([v for v in views if v.mask is not None])}
    }
    if isinstance(shape, PointCloud):
        kept = culler.keeps(shape.points)
        if not kept.any():
            raise CompareError("Nothing remains of the cloud inside the masks: check that it belongs to this scene.")
        note(f"{1 - kept.mean():.1%} of the points lay outside the masks and were cut away.")
        normals, colors = (None if array is None else array[kept] for array in (shape.normals, shape.colors))
        return PointCloud(shape.points[kept], normals, colors), setting
    culled = culler.cull(shape)
    note(f"{culled}, dilated by {judging.cull:g} pixels at {', '.join(sizes)}.")
    return culled.mesh, setting


def _by_photographs(
    shape: "Shape",
    views: "Sequence[LoadedView]",
    found: SceneViews,
    judging: Judging,
    note: Callable[[str], None],
    output: Output,
) -> "Iterator[Evaluation]":
    """Colours, silhouettes and rephotography: on views that were fitted, then on those that were held out."""
    from dvr_cli.comparing.photographs import judge_images, judge_silhouettes
    from dvr_cli.comparing.rephotography import rephotograph
    from dvr_cli.surfaces.mesh import Mesh
    from dvr_cli.viewing.shading import has_colours

    if not isinstance(shape, Mesh):
        note("A cloud hides nothing and has no silhouette, so photographs cannot judge it.")
        return
    has_masks = any(view.mask is not None for view in views)
    if not has_masks:
        note("The scene was read without masks, so silhouettes are not judged. (--masks, where it has some)")
    for name, indices in (("fitted", found.fitted[:: judging.every]), ("held out", found.held_out)):
        if not indices:
            continue
        output.note(f"Judging by {count_of(len(indices), 'photograph')} ({name})")
        results = [rephotograph(shape, views, indices)]
        if has_masks:
            results.append(judge_silhouettes(shape, views, indices))
        if has_colours(shape):
            results.append(judge_images(shape, views, indices, lpips=judging.lpips))
        for result in results:
            yield replace(result, settings={"view_set": name, **result.settings})
    if not has_colours(shape):
        note("The mesh has neither a texture nor vertex colours, so only its shape is judged.")


def _next_step(judging: Judging, run: "RunFolder | None") -> str:
    if run is not None:
        return f"dvr compare {judging.mesh} --baseline visual-hull"
    if judging.reference is not None and judging.scene is None:
        return "pass --scene to count only what its cameras see, and to judge by its photographs"
    return "dvr compare to set it beside other methods"
