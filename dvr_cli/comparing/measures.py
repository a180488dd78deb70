"""What a measurement says: a number with its name, unit and direction, and the protocol that it was taken by."""

from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class Measure:
    """One measured number."""

    name: str
    """Key in JSON, e.g. `accuracy_mean`; unique within an evaluation."""
    value: float | None
    """None where the quantity is not defined, e.g. the mean distance of no points."""
    unit: str
    """E.g. "world units", "mm", "% of diagonal", "dB", "pixels"; "" for a plain ratio."""
    better: Better
    label: str = ""
    """In words for a table's heading; the name with spaces when empty."""

    @property
    def heading(self) -> str:
        """What a table calls it."""
        return self.label or self.name.replace("_", " ")


@dataclass(frozen=True)
class Evaluation:
    """All numbers that one protocol gives for one mesh."""

    protocol: str
    """E.g. "dtu", "tanks", "plain", "image", "silhouette", "rephotography"."""
    settings: dict[str, Any]
    """Everything that the numbers depend on (thresholds, sampling, counts, seed), JSON-ready."""
    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = field(default=())
    """What a reader must know: points dropped, views without a mask, and the like; whole sentences."""

    def value(self, name: str) -> float | None:
        """The number of a measure; KeyError when the evaluation has none of that name."""
        for measure in self.measures:
            if measure.name == name:
                return measure.value
        raise KeyError(f"{self.protocol} has no measure {name}: it has {[measure.name for measure in self.measures]}")

    def as_json(self) -> dict[str, Any]:
        """Plain values, as in report.json and with --json."""
        measures = {
            measure.name: {"value": measure.value, "unit": measure.unit, "better": measure.better}
            for measure in self.measures
        }
        return {"protocol": self.protocol, "settings": self.settings, "measures": measures, "notes": list(self.notes)}
