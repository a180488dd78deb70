"""The surface of a run as a mesh: extracted, cleaned and, where asked for, cut flat and simplified."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dvr_cli.errors import DvrError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.scenes.views import LoadedView
    from dvr_cli.surfaces.cleaning import Cleaned
    from dvr_cli.surfaces.extraction import ColourFunction
    from dvr_cli.surfaces.mesh import Mesh

Components = Literal["largest", "supported", "all"]
Note = Callable[[str], None]

# Longest side of the masks that decide which components stay: the margin around them is a few pixels.
MASK_SIZE = 400

# Samples a side from which extracting a network is slow enough to say so.
MANY_SAMPLES = 256


@dataclass(frozen=True)
class FlatBase:
    """Where the object is cut off, so that it stands on a flat face."""

    up: "Float[np.ndarray, '3']"
    """Unit vector in the world."""
    share: float
    """Of the object's extent along `up`: what lies lower than that above its lowest point goes."""


class RunSurface:
    """The field of a run's newest checkpoint, and meshes of its surface in world units."""

    def __init__(self, run: "RunFolder", note: Note) -> None:
        """`note` is told when an older checkpoint has to serve; RunError when the run has none that can be used."""
        from dvr_cli.fitting.reconstruct import load_field
        from dvr_cli.surfaces.from_field import field_functions

        self._run, self._settings = run, run.settings
        # Networks cost so much per point that a GPU is worth its start.
        self._field, self.world_from_unit = load_field(
            run, "cpu" if self._settings.field == "grid" else "auto", lambda message: note(message.text)
        )
        self._value, self._gradient, self._colour = field_functions(self._field)

    def mesh(self, resolution: int | None, components: Components, note: Note, base: FlatBase | None = None) -> "Mesh":
        """The cleaned surface; `note` is told what was left out and why."""
        from dvr_cli.fitting.surroundings import too_few_masks
        from dvr_cli.surfaces.cleaning import clean
        from dvr_cli.surfaces.extraction import to_world

        samples = self._own_resolution() if resolution is None else resolution
        if base is not None:
            self._cut(base, samples)
        is_network = self._settings.field != "grid"
        if is_network and samples > MANY_SAMPLES:
            note(f"Extracting a network at {samples} samples a side takes minutes on a CPU; --resolution 128 does not.")
        mesh = self._extracted(samples, coloured=not is_network)
        if is_network:
            mesh = self._refined(mesh, on_level_set=base is None)
        mesh = to_world(mesh, self.world_from_unit)
        views = [] if components == "all" else views_with_masks(self._run, note)
        if views and too_few_masks(views):
            return self._opened(mesh, views, components == "largest", note)
        cleaned = clean(mesh, views if components == "supported" else [], components)
        if said := left_out(cleaned):
            note(said)
        return cleaned.mesh

    def _refined(self, mesh: "Mesh", on_level_set: bool) -> "Mesh":
        """The surface of a network, refined as in the paper, with colours; what was cut flat is no level set."""
        import numpy as np

        from dvr_cli.surfaces.refinement import refine

        steps = self._settings.network.refinement if on_level_set else 0
        mesh = refine(mesh, self._field, steps=steps, seed=self._settings.seed)
        assert mesh.normals is not None
        return replace(mesh, colors=np.clip(np.nan_to_num(self._colour(mesh.vertices, -mesh.normals)), 0.0, 1.0))

    def _opened(self, mesh: "Mesh", views: "Sequence[LoadedView]", only_largest: bool, note: Note) -> "Mesh":
        """Without masks: the part of the surface that photographs show."""
        import numpy as np

        from dvr_cli.fitting.seen_depth import load_seen, supporting_views
        from dvr_cli.scenes.cameras import similarity_scale
        from dvr_cli.surfaces.opening import LEAST_PART, SEEING_VIEWS, opened

        unit_from_world = np.array(self._run.scene_description["unit_from_world"], dtype=np.float64)
        cube_from_world = np.linalg.inv(self.world_from_unit)
        cameras = [view.camera for view in views]
        seen = load_seen(self._run.path, len(views))
        supported = None
        if seen is not None:
            spacing = 2 * self._field.half_width / (self._own_resolution() - 1)
            voxel = spacing * similarity_scale(self.world_from_unit)
            supported = supporting_views(seen, cameras, mesh.vertices, voxel) >= SEEING_VIEWS
        least_part = 1.0 if only_largest else LEAST_PART
        found = opened(mesh, cameras, unit_from_world, cube_from_world, least_part, supported)
        note(
            f"No masks: {found.removed_share:.0%} of the area is cut off (the border of the region of interest, what "
            "fewer than two photographs show or agree about), so the mesh is open. --components all keeps everything, "
            "closed."
        )
        return found.mesh

    def colour(self) -> "ColourFunction":
        """RGB of the texture field at world points seen along world directions."""
        import numpy as np

        from dvr_cli.scenes.cameras import apply, similarity_scale

        unit_from_world = np.linalg.inv(self.world_from_unit)
        rotation = unit_from_world[:3, :3] / similarity_scale(unit_from_world)

        def at(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
            return np.clip(self._colour(apply(unit_from_world, points), directions @ rotation.T), 0, 1)

        return at

    def onto_level_set(self, mesh: "Mesh") -> "Mesh":
        """The mesh with its vertices moved back onto the surface, and normals and colours of the field."""
        import numpy as np

        from dvr_cli.surfaces.extraction import to_world
        from dvr_cli.surfaces.level_set import onto_level_set

        there = to_world(mesh, np.linalg.inv(self.world_from_unit))
        wall = self._field.half_width
        on_surface = onto_level_set(there, self._value, self._gradient, lower=-wall, upper=wall)
        moved = to_world(on_surface, self.world_from_unit)
        assert moved.normals is not None
        return replace(moved, colors=self.colour()(moved.vertices, -moved.normals))

    def _own_resolution(self) -> int:
        """Samples per side unless someone asks for another number: a grid's own, a network's by its settings."""
        from dvr_cli.surfaces.from_field import own_resolution

        return own_resolution(self._field) if self._settings.field == "grid" else self._settings.levels[-1].voxels

    def _extracted(self, samples: int, coloured: bool = True) -> "Mesh":
        """The level set in unit space."""
        from dvr_cli.surfaces.extraction import extract
        from dvr_cli.surfaces.from_field import own_sampling

        return extract(
            self._value, self._gradient, self._colour if coloured else None, resolution=samples,
            lower=-self._field.half_width, upper=self._field.half_width, sampling=own_sampling(self._field),
        )  # fmt: skip

    def _cut(self, base: FlatBase, samples: int) -> None:
        """From here on the field is that of the object without what lies below the base."""
        from dvr_cli.surfaces.base import base_offset, with_flat_base

        up = base.up @ self.world_from_unit[:3, :3]
        up = up / (up @ up) ** 0.5
        whole = self._extracted(samples, coloured=False)
        offset = base_offset(whole, up, base.share)
        self._value, self._gradient = with_flat_base(self._value, self._gradient, up, offset)


def mesh_of_run(run: "RunFolder", resolution: int | None, components: Components, note: Note) -> "Mesh":
    """The cleaned surface of the run's newest checkpoint in world units, coloured by its texture field."""
    return RunSurface(run, note).mesh(resolution, components, note)


def left_out(cleaned: "Cleaned") -> str | None:
    """What cleaning removed, in a sentence; None when nothing was."""
    removed = {"speck": cleaned.specks, "inner cavity": cleaned.cavities, "unsupported part": cleaned.unsupported}
    plural = {"inner cavity": "inner cavities"}
    phrases = [
        f"{count} {name if count == 1 else plural.get(name, name + 's')}" for name, count in removed.items() if count
    ]
    if not phrases:
        return None
    return f"Left out of {cleaned.components} components: {', '.join(phrases)}. (--components all keeps everything)"


def views_with_masks(run: "RunFolder", note: Note) -> "Sequence[LoadedView]":
    """The views of the run's scene with small masks; none, and a note, when the scene cannot be read any more."""
    from dvr_cli.fitting.scene_description import read_described_scene
    from dvr_cli.scenes.images import small_masks

    try:
        scene = read_described_scene(Path(run.scene_description["root"]), run.reading)
        return small_masks(scene.views, MASK_SIZE)
    except DvrError as error:
        reason = str(error).splitlines()[0]
        note(f"The scene's masks cannot be read, so all parts but specks and cavities stay. {reason}")
        return []


def chosen_run(folder: Path | None, note: Note) -> "RunFolder":
    """The run named, or else the latest in ./runs, and a note which; a note too when it has not come to its end."""
    from dvr_cli.fitting.run_folder import RunFolder

    run = RunFolder.latest() if folder is None else RunFolder.open(folder)
    if folder is None:
        note(f"Run: {run.path} (the latest; name another with --run)")
    if not run.finished:
        note("The run has not come to its end; its last checkpoint is exported.")
    return run
