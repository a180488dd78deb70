"""Colours for an exported mesh: photographs found again, an atlas made and baked, the result judged by re-rendering."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dvr_cli.commands.export_request import TextureKind
from dvr_cli.commands.scene_views import SceneChoice, find_scene
from dvr_cli.console import Output
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.scenes.listing import count_of, listed

if TYPE_CHECKING:
    from dvr_cli.comparing.measures import Evaluation
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.scenes.views import LoadedView
    from dvr_cli.surfaces.extraction import ColourFunction
    from dvr_cli.surfaces.mesh import Mesh

Bake = Literal["photographs", "field"]

MOST_BYTES = 3_000_000_000
"""Photographs are used as large as they are, unless all of them decoded would take more memory than this."""
BYTES_PER_PIXEL = 13
"""Of a view in memory: three single precision numbers and the mask."""
JUDGED_VIEWS = 6
"""Photographs that judge the texture, at most."""


@dataclass(frozen=True)
class Photographs:
    """The photographs of a run's scene in memory."""

    views: "list[LoadedView]"
    fitted: tuple[int, ...]
    """Indices of the views that the run used, and that colours come from."""
    held_out: tuple[int, ...]
    """Indices of the views kept for judging."""

    @property
    def sources(self) -> "list[LoadedView]":
        """The views that colours come from."""
        return [self.views[index] for index in self.fitted]

    @property
    def judged(self) -> tuple[int, ...]:
        """The views that the result is judged by: some of those held out, or else of the others, evenly spread."""
        among = self.held_out or self.fitted
        step = -(-len(among) // JUDGED_VIEWS)
        return among[::step]


@dataclass(frozen=True)
class TextureOptions:
    """What the command line says about colours."""

    bake: Bake | None
    """None: the photographs for an atlas, the field for vertex colours, which are there without any photograph."""
    size: int
    """Side of the atlas, texels."""
    image_size: int | None
    """Longest side of the photographs; None: as they are, as far as memory goes."""
    whole_images: bool
    """Whatever memory that takes, when `image_size` is None."""
    threads: int | None

    def from_photographs(self, kind: TextureKind) -> bool:
        """Whether colours of this kind come from photographs, where there are any."""
        return self.bake == "photographs" or (self.bake is None and kind == "atlas")


def find_photographs(run: "RunFolder", root: Path | None, options: TextureOptions, output: Output) -> "Photographs":
    """Decode the photographs of the run's scene, at `root` if it has moved. SceneError when they cannot be read."""
    from dvr_cli.fitting.scene_description import changed_photographs
    from dvr_cli.scenes.images import load_views

    found = find_scene(SceneChoice(root), run)
    assert found is not None  # A run always knows its scene.
    scene = found.scene
    if changed := changed_photographs(scene, run.scene_description, run.path):
        output.note(
            f"Since the run these changed: {listed(changed, 3)}. Colours are taken from what is there now; they may "
            "not fit the surface."
        )
    size = options.image_size
    if size is None and not options.whole_images:
        size = affordable_size([(view.camera.height, view.camera.width) for view in scene.views])
        if size is not None:
            output.note(f"Photographs are used at {size} pixels to save memory. (--image-size says otherwise)")
    output.note(f"Decoding {count_of(len(scene.views), 'photograph')}")
    views = load_views(replace(scene, depth_map_paths=None), size, options.threads)
    return Photographs(views, found.fitted, found.held_out)


def affordable_size(shapes: list[tuple[int, int]], most_bytes: int = MOST_BYTES) -> int | None:
    """Longest side at which pictures of these sizes fit into memory together; None when they do as they are.

    >>> affordable_size([(3000, 4000)] * 100, 3_000_000_000)
    1754
    """
    needed = BYTES_PER_PIXEL * sum(height * width for height, width in shapes)
    if needed <= most_bytes:
        return None
    return max(1, int(max(max(shape) for shape in shapes) * (most_bytes / needed) ** 0.5))


def coloured(
    mesh: "Mesh",
    kinds: set[TextureKind],
    photographs: Photographs | None,
    colour: "ColourFunction | None",
    options: TextureOptions,
    output: Output,
) -> "tuple[Mesh, dict[str, Any]]":
    """The mesh with vertex colours and a texture as far as `kinds` needs them, and facts about them for the user.

    Without photographs colours are those of `colour` (the texture field) alone.
    """
    facts: dict[str, Any] = {}
    sources = {kind: _sources(kind, photographs, options) for kind in kinds}
    colors = None
    if "vertex" in kinds:
        # A run's own surface has the field's colours already; another mesh has none.
        kept = not sources["vertex"] and mesh.colors is not None
        colors = mesh.colors if kept else _vertex_colours(mesh, sources["vertex"], colour, options, output)
        facts["vertex_colours_from"] = "photographs" if sources["vertex"] else "field"
    mesh = replace(mesh, colors=colors)
    if "atlas" in kinds:
        mesh, about = _with_atlas(mesh, sources["atlas"], colour, options, output)
        facts |= {"baked_from": "photographs" if sources["atlas"] else "field", **about}
    return mesh, facts


def _sources(kind: TextureKind, photographs: Photographs | None, options: TextureOptions) -> "list[LoadedView]":
    """The views that colours of this kind are taken from."""
    return photographs.sources if photographs is not None and options.from_photographs(kind) else []


def judged(mesh: "Mesh", photographs: Photographs, output: Output) -> "Evaluation":
    """The colours of a mesh re-rendered beside photographs: PSNR and SSIM, on held-out views when there are some."""
    from dvr_cli.comparing.photographs import judge_images

    which = "held-out" if photographs.held_out else "fitted"
    output.note(f"Judging the colours by {count_of(len(photographs.judged), f'{which} photograph')}")
    return judge_images(mesh, photographs.views, photographs.judged)


def _vertex_colours(
    mesh: "Mesh",
    sources: "list[LoadedView]",
    colour: "ColourFunction | None",
    options: TextureOptions,
    output: Output,
) -> "Any":
    """Colours at the vertices, by the rule of the texture."""
    from dvr_cli.surfaces.baking.bake import vertex_colours

    with output.progress() as report:
        found = vertex_colours(
            mesh, sources, None, colour, shares(report, "colouring the vertices"), threads=options.threads
        )
    for note in found.notes:
        output.note(note)
    return found.mesh.colors


def _with_atlas(
    mesh: "Mesh",
    sources: "list[LoadedView]",
    colour: "ColourFunction | None",
    options: TextureOptions,
    output: Output,
) -> "tuple[Mesh, dict[str, Any]]":
    """The mesh with a baked texture, and facts about it."""
    from dvr_cli.surfaces.baking.bake import bake
    from dvr_cli.surfaces.unwrapping.atlas import make_atlas

    output.note(f"Laying {len(mesh.faces)} faces out in a texture of {options.size} x {options.size} texels")
    atlas = make_atlas(mesh, options.size)
    with output.progress() as report:
        baked = bake(
            mesh,
            atlas.corners,
            options.size,
            sources,
            None,
            colour,
            shares(report, "baking the texture"),
            threads=options.threads,
        )
    for note in (*atlas.notes, *baked.notes):
        output.note(note)
    facts = {
        "size": options.size,
        "charts_by": atlas.method,
        "coverage": atlas.coverage,
        "texels_per_unit": atlas.texels_per_unit,
        "seen": baked.seen,
        "gains": baked.gains,
        "notes": [*atlas.notes, *baked.notes],
    }
    return replace(mesh, texture=baked.texture), facts


def shares(
    report: Callable[[StepReport | Message], None], stage: str, clock: Callable[[], float] = time.monotonic
) -> Callable[[float], None]:
    """A listener for shares of work done that tells a progress display, with the time left, in whole per cents."""
    began, said = clock(), -1

    def listen(share: float) -> None:
        nonlocal said
        done = int(100 * share)
        if done == said:
            return
        said = done
        # The first per cents say too little about the rest.
        left = (clock() - began) * (1 - share) / share if share > 0.05 else None
        report(StepReport(stage, done, 100, {}, None, None, left))

    return listen
