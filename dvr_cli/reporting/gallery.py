"""The part of the page with pictures, as the template draws it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dvr_cli.comparing.comparison import Column, Comparison
from dvr_cli.reporting.document import deciding_row
from dvr_cli.reporting.measured import MeasuredProtocol
from dvr_cli.reporting.mesh_statistics import diagonal_of
from dvr_cli.reporting.pictures import Pictures, PictureSet
from dvr_cli.reporting.tables import Mark, family_mark
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh
from dvr_cli.viewing.error_colours import error_scale

_WORDS = {
    "shaded": "Shaded picture",
    "colour": "Colours",
    "normals": "Normals",
    "error": "Error",
    "missing": "What is missing",
}
_CHOICES = {"shaded": "shaded", "colour": "textured", "normals": "normals", "error": "error", "missing": "missing"}


@dataclass(frozen=True)
class Scale:
    """A legend for colours of errors."""

    kind: str
    text: str
    gradient: str
    """Colours of a CSS gradient."""
    middle: str
    end: str


def gallery_of(comparison: Comparison, protocols: Sequence[MeasuredProtocol], pictures: Pictures) -> dict[str, Any]:
    """Values of the template's `gallery`."""
    families = list(dict.fromkeys(column.family for column in comparison.columns))
    further = further_trims(comparison.columns, protocols)
    kinds = [kind for kind in _CHOICES if any(kind in drawn.uris for drawn in pictures.sets)]
    views = []
    for number, frame in enumerate(pictures.frames):
        sets = [drawn for drawn in pictures.sets if drawn.frame == number]
        views.append(
            {
                "name": comparison.views[frame.view].name,
                "photograph": pictures.photographs[number],
                "width": frame.camera.width,
                "height": frame.camera.height,
                "figures": [_figure(drawn, comparison, families, further) for drawn in sets],
            }
        )
    return {
        "views": views,
        "kinds": [(kind, _CHOICES[kind]) for kind in kinds],
        "choices": [(str(number), view["name"]) for number, view in enumerate(views)],
        "has_further": bool(further),
        "scales": scales_of(pictures, comparison.reference),
        "explained": _explained(comparison, kinds),
    }


def further_trims(columns: Sequence[Column], protocols: Sequence[MeasuredProtocol]) -> set[int]:
    """Meshes that another trim of their family stands for: all but the best by `deciding_row`."""
    row = deciding_row(protocols)
    further: set[int] = set()
    for family in dict.fromkeys(column.family for column in columns):
        members = [i for i, column in enumerate(columns) if column.family == family and column.trim is not None]
        if len(members) < 2:
            continue
        known = [index for index in members if row is not None and row.values[index] is not None]
        sign = 1 if row is not None and row.better == "higher" else -1
        best = max(known, key=lambda index: sign * row.values[index]) if known and row else members[0]  # type: ignore[operator]
        further |= set(members) - {best}
    return further


def scales_of(pictures: Pictures, reference: Mesh | PointCloud | None) -> list[Scale]:
    """The legends of the pictures of errors that there are."""
    scales = []
    if pictures.error_limit is not None:
        text = (
            "Colour error against the photograph (0 to 1)"
            if reference is None
            else "Distance from the mesh to the reference"
        )
        scales.append(scale_of("error", text, pictures.error_limit, reference))
    if pictures.missing_limit is not None:
        text = "Distance from the reference to the mesh"
        scales.append(scale_of("missing", text, pictures.missing_limit, reference))
    return scales


def scale_of(kind: str, text: str, limit: float, reference: Mesh | PointCloud | None) -> Scale:
    """A legend from 0 to `limit`, in world units and per cent of the reference's diagonal where there is one."""
    colours = ", ".join("#" + "".join(f"{value:02x}" for value in colour) for colour in error_scale()[::15].tolist())
    if reference is not None:
        diagonal = diagonal_of(reference.vertices if isinstance(reference, Mesh) else reference.points)
        share = f"; the end is {100 * limit / diagonal:.2g} % of the reference's diagonal" if diagonal > 0 else ""
        text += f", world units{share}"
    return Scale(kind, text, colours, f"{limit / 2:.4g}", f"{limit:.4g}")


def _figure(drawn: PictureSet, comparison: Comparison, families: Sequence[str], further: set[int]) -> dict[str, Any]:
    column = comparison.columns[drawn.subject] if drawn.subject >= 0 else None
    mark: Mark | None = None if column is None else family_mark(families, column.family)
    return {
        "subject": str(drawn.subject),
        "name": "reference" if column is None else column.name,
        "mark": mark,
        "further": drawn.subject in further,
        "pictures": [
            {"kind": kind, "uri": drawn.uris[kind], "words": words}
            for kind, words in _WORDS.items()
            if kind in drawn.uris
        ],
    }


def _explained(comparison: Comparison, kinds: Sequence[str]) -> str:
    if "error" not in kinds:
        return ""
    if comparison.reference is None:
        return "Errors compare each photograph with what other photographs say it should be, given the shape."
    text = "Errors are distances from each visible point of the mesh to the reference"
    if "missing" in kinds:
        text += "; “missing” shows the reference, coloured by the distance to the mesh"
    return text + ". All meshes share one scale."
