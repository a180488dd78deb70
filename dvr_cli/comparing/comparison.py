"""What a comparison holds before it becomes a report: one scene, one column per mesh, the same measurements for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dvr_cli.comparing.measures import Evaluation
from dvr_cli.scenes.views import LoadedView, Scene
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh


@dataclass(frozen=True)
class Column:
    """One mesh of a comparison, with what was measured on it."""

    name: str
    """Unique within the comparison, e.g. "dvr (fast)" or "colmap, trim 7"."""
    family: str
    """Columns of one family differ in one parameter only, e.g. the trim: "dvr", "colmap", "mvs", "visual-hull", ..."""
    mesh: Mesh
    """World coordinates, after the cleaning that all columns share."""
    evaluations: tuple[Evaluation, ...]
    trim: float | None = None
    """Of screened Poisson; None for meshes that come from elsewhere."""
    seconds: float | None = None
    """Wall time to make the mesh from the photographs; None where it was not measured."""
    peak_memory_gb: float | None = None
    """10^9 bytes, of the process that made it; None where it was not measured."""
    settings: dict[str, Any] | None = None
    """How the mesh was made, JSON-ready."""
    notes: tuple[str, ...] = ()
    """Whole sentences: which cloud it was, what was cut away, why there is a gap."""


@dataclass(frozen=True)
class Comparison:
    """Everything that a report shows."""

    scene: Scene
    views: Sequence[LoadedView]
    """The scene's photographs and masks at the size at which the columns were judged."""
    judged_views: tuple[int, ...]
    """Indices into `views` of those that the image measures are means over."""
    columns: tuple[Column, ...]
    reference: Mesh | PointCloud | None
    settings: dict[str, Any]
    """The command's configuration: protocol, cleaning, trims, seed and so on; JSON-ready."""
    missing: tuple[tuple[str, str], ...] = ()
    """(column, reason in a sentence) of what was asked for and could not be made."""
