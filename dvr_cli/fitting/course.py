"""How far a run is: its place in the schedule, the field and what the optimiser carries, and all of it as a checkpoint.

What a checkpoint holds of field and optimiser depends on the kind of field (`fitting.kinds`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from dvr_cli.errors import RunError
from dvr_cli.fields.kinds import AnyField

FORMAT = 3
READABLE = (2, FORMAT)
"""Format 2 is that of grids alone: the same without a kind."""
_PLACE = ("level", "level_step", "step", "seconds", "psnr", "silhouette_iou")


@dataclass
class Course:
    """Where a run stands. `level == len(settings.levels)` means that it has come to its end."""

    cube_from_world: Float[np.ndarray, "4 4"]
    field: AnyField
    level: int = 0
    level_step: int = 0
    """Steps done on this level."""
    step: int = 0
    """Steps done in all."""
    seconds: float = 0.0
    """Time that the start and the steps took so far, in all sessions."""
    optimiser: Any = None
    """What the kind of field keeps between steps; None between levels."""
    psnr: float | None = None
    """As last measured, dB."""
    silhouette_iou: float | None = None
    """As last measured."""

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain values, copied: the run may go on while they are written."""
        from dvr_cli.fitting.kinds import KINDS  # kinds work on courses, so they import this module

        return {
            "format": FORMAT,
            "kind": self.field.kind,
            "cube_from_world": torch.as_tensor(self.cube_from_world, dtype=torch.float64).clone(),
            **{name: getattr(self, name) for name in _PLACE},
            **KINDS[self.field.kind].pack(self.field, self.optimiser),
        }

    @classmethod
    def from_checkpoint(cls, state: dict[str, Any], device: torch.device) -> "Course":
        """The inverse of `to_checkpoint`; RunError when the checkpoint is of another version or incomplete."""
        from dvr_cli.fitting.kinds import KINDS

        found = state.get("format")
        if found not in READABLE:
            raise RunError(
                f"The checkpoint has format {found!r}: this version reads formats {READABLE[0]} to {FORMAT}. "
                "Use the version of dvr that made the run, or start it anew with --overwrite."
            )
        try:
            field, optimiser = KINDS[state.get("kind", "grid")].unpack(state, device)
            course = cls(state["cube_from_world"].numpy(), field, optimiser=optimiser)
            for name in _PLACE:
                setattr(course, name, state[name])
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
            raise RunError(f"The checkpoint is incomplete: {error!r}. Start the run anew with --overwrite.") from error
        if not course.is_finite():
            raise RunError("The checkpoint holds values that are not numbers. Start the run anew with --overwrite.")
        return course

    def is_finite(self) -> bool:
        """False when the field holds NaN or infinity anywhere: no step brings it back."""
        # A sum is finite only if all its terms are, and needs no memory.
        return all(bool(parameter.detach().sum().isfinite()) for parameter in self.field.parameters())
