"""The kinds of fields that can be fitted: what each brings to the start, the loop and the checkpoints.

`fitting.levels` and `fitting.course` ask here and know no kind by name. docs/adding_a_field.md says what a new one
needs.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dvr_cli.config import Settings
from dvr_cli.fields.grid import GridField
from dvr_cli.fields.kinds import AnyField
from dvr_cli.fitting.course import Course
from dvr_cli.fitting.depth_terms import DepthTargets
from dvr_cli.fitting.events import Message, StepReport
from dvr_cli.fitting.grid_kind import GridKind
from dvr_cli.fitting.network_kind import NetworkKind
from dvr_cli.kernels.views import ViewArrays


@runtime_checkable
class Stepper(Protocol):
    """Takes the steps of one level of one run."""

    def step(self, level_step: int, share: float, generator: torch.Generator) -> list[dict[str, Tensor]]:
        """One step; `share` is how far the level is, in [0, 1). Returns what `fitting.meter` shall average.

        All random choices come from the generator, which depends on seed and step alone.
        """
        ...


@runtime_checkable
class Kind(Protocol):
    """What the fitting loop needs to know about a kind of field."""

    torch_threads: int | None
    """Threads that torch shall use in the steps of a level; None: all that the settings allow."""
    needs_masks: bool
    """Whether nothing can be done without masks."""

    def begin(
        self,
        first_grid: Callable[[], GridField],
        settings: Settings,
        device: torch.device,
        report: Callable[[StepReport | Message], None],
        stop: Callable[[], None],
    ) -> AnyField:
        """The field before the first step.

        `first_grid` makes the carved hull, `report` is told what takes long, `stop` raises when the user wants it.
        """
        ...

    def stepper(
        self,
        course: Course,
        stack: ViewArrays,
        depth: DepthTargets,
        settings: Settings,
        report: Callable[[Message], None],
    ) -> Stepper:
        """Bring field and optimiser of the course to its level, unless a checkpoint has; ready for its steps."""
        ...

    def pack(self, field: Any, optimiser: Any) -> dict[str, Any]:
        """Field and optimiser as tensors and plain values, copied to the CPU; keys of a checkpoint."""
        ...

    def unpack(self, state: dict[str, Any], device: torch.device) -> tuple[AnyField, Any]:
        """The inverse; KeyError, TypeError, ValueError, IndexError or RuntimeError for a damaged checkpoint."""
        ...


KINDS: dict[str, Kind] = {"grid": GridKind(), "mlp": NetworkKind("mlp"), "mlp-small": NetworkKind("mlp-small")}
