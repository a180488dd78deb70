"""Reconstructions of tiny scenes on disk, in about a second each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dvr_cli.config import Level, Losses, Optimiser, Photometric, Settings, Start
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.reconstruct import ReconstructionSummary, load_field, reconstruct
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.fitting.scene_description import describe_scene, read_described_scene
from dvr_cli.scenes.synthetic import synthetic_scene, write_scene
from dvr_cli.scenes.synthetic_shapes import Shape
from dvr_cli.scenes.views import Scene
from dvr_cli.surfaces.extraction import extract, to_world
from dvr_cli.surfaces.from_field import extract_field
from dvr_cli.surfaces.mesh import Mesh

# Every number that matters is given, so that tests do not move with the defaults.
TINY = Settings(
    preset="fast",
    image_size=800,
    levels=(
        Level(voxels=24, image_size=48, steps=15, patch_radius=2),
        Level(voxels=40, steps=25, patch_radius=2),
    ),
    start=Start(
        voxels=32, image_size=48, pixel_step=1, planes=48, sources=3, patch_radius=2, noise=0.01, least_score=0.4,
        tolerance=2.0, confirmations=2, free_votes=2, margin=1.5,
    ),
    losses=Losses(
        photometric=1.0, rgb=0.05, free_space=0.5, occupancy=0.5, inner_edges=0.3, margin=0.5, sparse_depth=1.0,
        depth=1.0,
    ),
    photometric=Photometric(share=0.5, neighbours=8, sources=4, keep=2, noise=0.01),
    optimiser=Optimiser(
        memory=0.8, damping=0.2, rate=0.5, final_rate=0.2, longest_step=0.2, smoothing=0.5, final_smoothing=0.15,
        largest_bump=2.0, redistancing=0.3, band=6.0, band_every=4, colour_rate=0.5,
    ),
    rays_per_step=2048,
    device="cpu",
    threads=1,
)  # fmt: skip


def write_tiny_scene(folder: Path, shape: Shape, views: int = 10, image_size: int = 96) -> Scene:
    """Write photographs of a shape and read them back as a scene with masks."""
    made, photographs, _ = synthetic_scene(shape, views=views, image_size=image_size)
    write_scene(folder, photographs, made.world_from_unit)
    return read_described_scene(folder, {"masks": True})


class Observer:
    """Remembers what a reconstruction reports, and asks it to stop once it has reported `stop_at` steps."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.messages: list[str] = []
        self.steps: list[StepReport] = []

    def report(self, event: StepReport | Message) -> None:
        if isinstance(event, Message):
            self.messages.append(event.text)
        elif event.stage.startswith("level"):
            # A network's fit to the hull, before the run's own steps, reports too.
            self.steps.append(event)

    def should_stop(self) -> bool:
        return self.stop_at is not None and bool(self.steps) and self.steps[-1].step >= self.stop_at


def fit(
    scene: Scene,
    path: Path,
    settings: Settings = TINY,
    observer: Observer | None = None,
    resume: bool = False,
    should_stop: Callable[[], bool] | None = None,
) -> ReconstructionSummary:
    """`reconstruct` into the folder `path`."""
    observer = observer or Observer()
    with RunFolder.create(path, settings, describe_scene(scene, {"masks": True}), resume) as run:
        return reconstruct(scene, settings, run, observer.report, should_stop or observer.should_stop)


def parameters_of(path: Path) -> dict[str, np.ndarray]:
    """All numbers of a run's field."""
    field, _ = load_field(RunFolder.open(path))
    return {name: parameter.detach().numpy() for name, parameter in field.named_parameters()}


def assert_same_field(first: Path, second: Path) -> None:
    """The fields of two runs are equal, bit by bit."""
    one, other = parameters_of(first), parameters_of(second)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def mesh_of(path: Path) -> Mesh:
    """The surface of a run in world units."""
    field, world_from_unit = load_field(RunFolder.open(path))
    return to_world(extract_field(field), world_from_unit)


def exact_mesh(shape: Shape, scene: Scene) -> Mesh:
    """The exact surface in world units."""
    mesh = extract(shape.value, shape.gradient, lambda points, _: shape.colour(points), resolution=96)
    return to_world(mesh, scene.world_from_unit)
