"""Masks for a scene that has none: the method that its photographs allow, kept in a folder and used again.

Photographs before a background of one colour need nothing else. Otherwise the object is what lies in the region of
interest, told from the rest by sparse points and by the colours within and without.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dvr_cli.scenes.hull import sampled
from dvr_cli.scenes.masks.auto.background import FITS, SolidBackground, is_solid, solid_background
from dvr_cli.scenes.masks.auto.colours import colour_model, counted
from dvr_cli.scenes.masks.auto.edges import with_soft_edges
from dvr_cli.scenes.masks.auto.photographs import Photograph, in_parallel, load_photographs
from dvr_cli.scenes.masks.auto.quality import mask_qualities, quality_notes
from dvr_cli.scenes.masks.auto.rounds import Evidence, Made, refined
from dvr_cli.scenes.masks.auto.seeds import find_seeds
from dvr_cli.scenes.masks.auto.storing import AutoMasks, fingerprint, store, stored
from dvr_cli.scenes.views import Scene

LONGEST_SIDE = 800
"""Pixels of the masks; their edges are found to a fraction of a pixel."""
MANY_VIEWS, LONGEST_SIDE_OF_MANY = 200, 480
"""With more views than this masks are smaller, for the sake of memory and time."""
SMALLEST_HALVED = 320
"""Pixels of the longest side; smaller photographs are worked on as they are."""
SOLID_ROUNDS = (0.0, 1.5, 1.5)
"""Rounds before a background of one colour, by what each gives for being inside the hull (`rounds.refined`) ..."""
REGION_ROUNDS = (0.0, 0.0, 0.0, 0.5, 1.0, 1.0)
"""... and before any other."""


def make_masks(
    scene: Scene,
    folder: Path,
    threads: int | None = None,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> AutoMasks:
    """Masks of all views of a scene, in `folder` as NAME.png (8 bits, white = object, soft edges).

    Masks that the scene has are ignored. What lies in the folder from the same photographs and settings is used again.
    `report(done, total)` is called in this thread; `Stopped` is raised when `should_stop` says so, and nothing is
    written then. The result depends on the seed but not on the number of threads (None: all cores).
    """
    longest = LONGEST_SIDE if len(scene.views) <= MANY_VIEWS else LONGEST_SIDE_OF_MANY
    made_from = fingerprint(scene, {"longest": longest, "seed": seed})
    names = [view.name for view in scene.views]
    if (before := stored(folder, made_from, names)) is not None:
        return before
    total = 3 + len(REGION_ROUNDS)
    done = 0

    def step_done() -> None:
        nonlocal done
        done += 1
        if report:
            report(min(done, total), total)

    photographs = load_photographs(scene, longest, threads)
    step_done()
    method, made = _made(scene, photographs, threads, seed, step_done, should_stop)
    softened = in_parallel(_softened, list(zip(made, photographs, strict=True)), threads, should_stop)
    quality = dict(zip(names, mask_qualities(photographs, made), strict=True))
    notes = quality_notes(quality, names)
    result = store(folder, made_from, method, dict(zip(names, softened, strict=True)), quality, notes)
    if report:
        report(total, total)
    return result


def _softened(pair: tuple[Made, Photograph]) -> Float[np.ndarray, "h w"]:
    made, photograph = pair
    return with_soft_edges(made.soft, photograph.image)


def _made(
    scene: Scene,
    photographs: Sequence[Photograph],
    threads: int | None,
    seed: int,
    step_done: Callable[[], None],
    should_stop: Callable[[], bool] | None,
) -> tuple[str, list[Made]]:
    """The name of the method and its masks: all rounds but the last on photographs of half the size."""
    solid = is_solid(in_parallel(_background, photographs, threads, should_stop))
    step_done()
    rounds: tuple[float, ...] = SOLID_ROUNDS if solid else REGION_ROUNDS
    first: list[Bool[np.ndarray, "h w"]] | None = None
    if max(photographs[0].region.shape) >= SMALLEST_HALVED:
        small = in_parallel(Photograph.halved, photographs, threads, should_stop)
        evidence, first = _known(scene, small, solid, threads, seed)
        made = refined(small, evidence, first, scene.unit_from_world, rounds[:-1], threads, step_done, should_stop)
        first = [sampled(m.mask, *p.region.shape) for m, p in zip(made, photographs, strict=True)]
        rounds = rounds[-1:]
    evidence, guess = _known(scene, photographs, solid, threads, seed)
    made = refined(
        photographs, evidence, first or guess, scene.unit_from_world, rounds, threads, step_done, should_stop
    )
    return ("background" if solid else "region"), made


def _known(
    scene: Scene, photographs: Sequence[Photograph], solid: bool, threads: int | None, seed: int
) -> tuple[list[Evidence], list[Bool[np.ndarray, "h w"]]]:
    """Evidence that is there before any mask, and first guesses of the masks."""
    if solid:
        backgrounds = in_parallel(_background, photographs, threads)
        return [Evidence(background, None) for background in backgrounds], _first_of_solid(photographs, backgrounds)
    seeds, _ = find_seeds(scene, photographs, seed)
    return [Evidence(None, each.hints) for each in seeds], [each.first for each in seeds]


def _background(photograph: Photograph) -> SolidBackground:
    return solid_background(photograph.image)


def _first_of_solid(
    photographs: Sequence[Photograph], backgrounds: Sequence[SolidBackground]
) -> list[Bool[np.ndarray, "h w"]]:
    """What differs from the background within the region of interest, and not by colours that are seen around it."""
    differs = [b.distance(p.image) > FITS for p, b in zip(photographs, backgrounds, strict=True)]
    inside: Float[np.ndarray, "bins3"] = np.asarray(
        sum(counted(p.bins[d & p.region]) for p, d in zip(photographs, differs, strict=True))
    )
    around: Float[np.ndarray, "bins3"] = np.asarray(
        sum(counted(p.bins[d & ~p.region]) for p, d in zip(photographs, differs, strict=True))
    )
    object_model, around_model = colour_model(inside), colour_model(around)
    return [
        d & p.region & (2 * object_model.density_of(p.bins) > around_model.density_of(p.bins))
        for p, d in zip(photographs, differs, strict=True)
    ]
