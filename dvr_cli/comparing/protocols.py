"""From the name of a protocol and its parameters to one function that measures any shape against the reference.

Files are read and parameters checked when the function is made, so that what is wrong comes out before long work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dvr_cli.comparing.measures import Evaluation
from dvr_cli.comparing.sanity import check_cameras, check_extents
from dvr_cli.comparing.shapes import Shape
from dvr_cli.errors import CompareError
from dvr_cli.scenes.views import Camera

Protocol = Literal["plain", "dtu", "tanks"]

APPLIES = {
    "thresholds": ("plain",),
    "threshold": ("tanks",),
    "sampling": ("dtu",),
    "obs_mask": ("dtu",),
    "plane": ("dtu",),
    "max_distance": ("dtu",),
    "thin": ("dtu",),
    "crop": ("tanks",),
    "align": ("tanks",),
}
"""Parameters that only some protocols have."""


@dataclass(frozen=True)
class GeometryOptions:
    """How distances to a reference are taken; None stands for the protocol's own default."""

    protocol: Protocol = "plain"
    samples: int | None = None
    """Points on each mesh: of plain, of tanks, and of uniform sampling in dtu."""
    seed: int = 0
    workers: int = -1
    thresholds: tuple[float, ...] | None = None
    """Per cent of the reference's diagonal."""
    threshold: float | None = None
    """World units."""
    sampling: Literal["lattice", "uniform"] | None = None
    obs_mask: Path | None = None
    plane: Path | None = None
    max_distance: float | None = None
    """mm."""
    thin: float | None = None
    """mm."""
    crop: Path | None = None
    align: bool = False

    def foreign(self) -> list[str]:
        """Names of parameters that are set and mean nothing to the protocol."""
        given = {name: getattr(self, name) for name in APPLIES}
        return [
            name for name, value in given.items() if value not in (None, False) and self.protocol not in APPLIES[name]
        ]


def geometry_judge(
    reference: Shape, options: GeometryOptions, cameras: Sequence[Camera] | None = None, check: bool = True
) -> Callable[[Shape], Evaluation]:
    """The function that measures a shape against the reference; with cameras, `plain` counts only what they see.

    With `check` a shape that seems to be in other units or elsewhere is refused; without, it is known to belong here.

    Raises CompareError for files that cannot be used and for a protocol that lacks a parameter, and the function does
    for a shape that cannot be compared.
    """
    if cameras is not None:
        check_cameras(reference, cameras, "the reference")
    if options.protocol == "dtu":
        return _dtu_judge(reference, options, check)
    if options.protocol == "tanks":
        return _tanks_judge(reference, options, check)
    from dvr_cli.comparing.plain import SAMPLES, THRESHOLDS, plain

    def judge(shape: Shape) -> Evaluation:
        notes = check_extents(shape, reference) if check else ()
        found = plain(
            shape,
            reference,
            samples=options.samples or SAMPLES,
            thresholds=options.thresholds or THRESHOLDS,
            cameras=cameras,
            seed=options.seed,
            workers=options.workers,
        )
        return with_notes(found, notes)

    return judge


def with_notes(evaluation: Evaluation, notes: Sequence[str]) -> Evaluation:
    """The evaluation with these notes before its own."""
    return replace(evaluation, notes=(*notes, *evaluation.notes))


def _dtu_judge(reference: Shape, options: GeometryOptions, check: bool) -> Callable[[Shape], Evaluation]:
    from dvr_cli.comparing.dtu import MAX_DISTANCE, THIN, dtu
    from dvr_cli.comparing.dtu_files import read_observed_volume, read_plane

    observed = None if options.obs_mask is None else read_observed_volume(options.obs_mask)
    plane = None if options.plane is None else read_plane(options.plane)

    def judge(shape: Shape) -> Evaluation:
        # Where the volume says what belongs to the object, surroundings do no harm however large they are.
        notes = check_extents(shape, reference) if check and observed is None else ()
        found = dtu(
            shape,
            reference,
            observed,
            plane,
            thin_to=THIN if options.thin is None else options.thin,
            max_distance=MAX_DISTANCE if options.max_distance is None else options.max_distance,
            sampling=options.sampling or "lattice",
            samples=options.samples,
            seed=options.seed,
            workers=options.workers,
        )
        return with_notes(found, notes)

    return judge


def _tanks_judge(reference: Shape, options: GeometryOptions, check: bool) -> Callable[[Shape], Evaluation]:
    from dvr_cli.comparing.crop_volume import read_crop_volume
    from dvr_cli.comparing.tanks import tanks

    if options.threshold is None:
        raise CompareError(
            "The protocol tanks needs a distance: pass --threshold in world units.\n"
            "Tanks and Temples has one per scene, e.g. 0.003 for Ignatius."
        )
    threshold = options.threshold
    crop = None if options.crop is None else read_crop_volume(options.crop)

    def judge(shape: Shape) -> Evaluation:
        notes = check_extents(shape, reference) if check and crop is None and not options.align else ()
        found = tanks(
            shape,
            reference,
            threshold,
            crop=crop,
            alignment=options.align,
            samples=options.samples,
            seed=options.seed,
            workers=options.workers,
        )
        return with_notes(found, notes)

    return judge
