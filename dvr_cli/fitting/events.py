"""What the engine reports while it works; `console` shows it. Plain values, so that neither side imports the other."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """The state of the optimisation after a step."""

    stage: str
    """What is being done, in words a user understands, e.g. "level 2 of 3"."""
    step: int
    """Steps done, of the whole run."""
    steps: int
    """Steps planned for the whole run."""
    losses: dict[str, float]
    """What each term reports, by its name; docs/run_folder.md says what each number is."""
    psnr: float | None
    """Of the pixels of the last measurement, dB."""
    silhouette_iou: float | None
    """Intersection over union of rendered and given silhouettes, in [0, 1]."""
    seconds_left: float | None
    """Estimate for the whole run; None while unknown."""


@dataclass(frozen=True)
class Message:
    """One line for the user, e.g. the start of a stage or a fallback that was taken."""

    text: str
