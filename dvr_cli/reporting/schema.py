"""The schema of report.json, as pydantic models; docs/report.md describes it field by field.

Numbers that are not finite do not exist in JSON: they are null. Lengths are in world units unless a measure's own unit
says otherwise. `schema_version` goes up when a field changes its meaning or goes away; new fields may come without.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from dvr_cli.reporting.json_values import finite_or_none, json_ready

SCHEMA_VERSION = 1
"""Of both documents; a `Literal` in the models holds it."""

Number = Annotated[float | None, BeforeValidator(finite_or_none)]
"""A number, or null where it is unknown, undefined or not finite."""

Settings = Annotated[dict[str, JsonValue], BeforeValidator(json_ready)]
"""Names and plain values; numpy's values, paths and tuples are turned into such."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeasureReport(_Model):
    """One number."""

    label: str
    value: Number
    unit: str
    better: Literal["lower", "higher", "neither"]


class EvaluationReport(_Model):
    """The numbers of one protocol for one mesh."""

    protocol: str
    settings: Settings = Field(description="Everything that the numbers depend on: thresholds, sampling, counts, seed.")
    measures: dict[str, MeasureReport] = Field(description="By name, in the protocol's order.")
    notes: list[str] = []


class MeshReport(_Model):
    """What a mesh is, without any judgement."""

    vertices: int
    faces: int
    area: Number = Field(description="Square world units.")
    volume: Number = Field(description="Cubic world units, positive when faces look outwards; null for open surfaces.")
    watertight: bool = Field(description="Every edge belongs to exactly two faces.")
    components: int = Field(description="Parts that share no vertex.")
    has_colors: bool
    lower_corner: list[float] = Field(description="Of the bounding box of all faces; empty without faces.")
    upper_corner: list[float]


class ColumnReport(_Model):
    """One mesh with everything that was measured on it."""

    name: str
    family: str
    trim: Number = None
    seconds: Number = Field(None, description="Wall time from the photographs to the mesh.")
    peak_memory_gb: Number = Field(None, description="10^9 bytes, of the process that made the mesh.")
    settings: Settings | None = None
    notes: list[str] = []
    mesh: MeshReport
    evaluations: list[EvaluationReport]


class MissingReport(_Model):
    """A column that was asked for and could not be made."""

    name: str
    reason: str


class SceneReport(_Model):
    """What was photographed, and how the photographs were used."""

    name: str
    format: str
    views: int
    views_with_mask: int
    image_width: int | None = Field(description="Of the first photograph as judged, pixels; null without photographs.")
    image_height: int | None
    bounds_source: str
    judged_views: list[str] = Field(description="Names of the views that measures on images are means over.")


class ReferenceReport(_Model):
    """The surface that distances were measured to."""

    kind: Literal["mesh", "points"]
    points: int = Field(description="Vertices of a mesh, points of a cloud.")
    faces: int
    diagonal: Number = Field(description="Of the bounding box, world units.")


class MachineReport(_Model):
    """Where this ran."""

    cpu: str
    cores: int = Field(description="That the process may use.")
    memory_gb: Number = Field(description="10^9 bytes, of the machine.")
    gpu: str | None = Field(description="Its name when torch was in use and saw one.")
    system: str
    python: str


class Report(_Model):
    """A comparison: report.json."""

    schema_version: Literal[1] = 1
    title: str
    created: AwareDatetime
    dvr_version: str
    command_line: str | None
    seed: int | None
    scene: SceneReport
    reference: ReferenceReport | None
    settings: Settings
    summary: list[str] = Field(description="Sentences: which mesh is best in which measure.")
    columns: list[ColumnReport]
    missing: list[MissingReport]
    machine: MachineReport
    packages: dict[str, str] = Field(description="Versions of the libraries that numbers may depend on.")


class SuiteRowReport(_Model):
    """One scene with one preset."""

    scene: str
    preset: str
    status: Literal["done", "failed", "skipped"]
    seconds: Number = None
    peak_memory_gb: Number = None
    mesh_path: str | None = None
    error: str | None = None
    evaluations: list[EvaluationReport]


class SuiteMeanReport(_Model):
    """Means over the scenes that one preset finished; a measure is there when all of them have it."""

    preset: str
    scenes: int
    seconds: Number = None
    peak_memory_gb: Number = None
    evaluations: list[EvaluationReport]


class SuiteReport(_Model):
    """A suite of scenes: report.json of `dvr bench`."""

    schema_version: Literal[1] = 1
    title: str
    created: AwareDatetime
    dvr_version: str
    command_line: str | None
    settings: Settings
    rows: list[SuiteRowReport]
    means: list[SuiteMeanReport]
    machine: MachineReport
    packages: dict[str, str]
