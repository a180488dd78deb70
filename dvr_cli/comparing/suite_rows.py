"""What a suite of scenes gives: one row per scene and preset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dvr_cli.comparing.measures import Evaluation, Measure
from dvr_cli.errors import CompareError


@dataclass(frozen=True)
class SuiteRow:
    """One scene, reconstructed with one preset."""

    scene: str
    preset: str
    status: Literal["done", "failed", "skipped"]
    seconds: float | None = None
    """Wall time of the reconstruction; None where it was not measured as a whole."""
    peak_memory_gb: float | None = None
    """10^9 bytes."""
    evaluations: tuple[Evaluation, ...] = ()
    mesh_path: str | None = None
    error: str | None = None
    """What went wrong, for a row that failed."""


def evaluation_from_json(values: Mapping[str, Any]) -> Evaluation:
    """The inverse of `Evaluation.as_json`, up to labels that it leaves out; CompareError for anything else."""
    try:
        measures = tuple(
            Measure(
                name, _number(held["value"]), str(held["unit"]), _better(held["better"]), str(held.get("label", ""))
            )
            for name, held in values["measures"].items()
        )
        settings = {str(key): value for key, value in values["settings"].items()}
        notes = tuple(map(str, values.get("notes", ())))
        return Evaluation(str(values["protocol"]), settings, measures, notes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CompareError(
            f"An evaluation cannot be read: {error!r}. Expected protocol, settings, measures and notes as "
            "dvr evaluate --json writes them."
        ) from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _better(value: Any) -> Literal["lower", "higher", "neither"]:
    if value not in ("lower", "higher", "neither"):
        raise ValueError(f"better is {value!r}")
    return value
