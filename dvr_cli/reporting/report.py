"""Write the report of a comparison: report.json with everything, and report.html, one page that needs no network."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dvr_cli.comparing.comparison import Comparison
from dvr_cli.errors import CompareError
from dvr_cli.files import disk_errors, write_text
from dvr_cli.reporting.curves import curves_of
from dvr_cli.reporting.document import memory_of, report_of, seconds_of
from dvr_cli.reporting.drawing import draw_curve
from dvr_cli.reporting.framing import Frame, choose_views, frame_view
from dvr_cli.reporting.gallery import gallery_of
from dvr_cli.reporting.measured import MeasuredProtocol, MeasuredRow, side_by_side
from dvr_cli.reporting.page import render_page
from dvr_cli.reporting.pictures import PhotographErrors, Pictures, draw_pictures
from dvr_cli.reporting.scene_section import scene_section
from dvr_cli.reporting.schema import Report
from dvr_cli.reporting.stage import stage_of
from dvr_cli.reporting.tables import RowHead, Table, family_mark, flattened, protocol_section, table_of
from dvr_cli.scenes.listing import count_of
from dvr_cli.surfaces.mesh import Mesh

PICTURE_VIEWS = 4
PICTURE_SIZE = 420
"""Longest side of a picture, pixels."""
_MANY_MESHES = 12
"""From here on pictures are smaller, so that the page stays below 15 MB."""

_ADVICE = "Free some space, or name another folder with --out."

ReportProgress = Callable[[str], None]


def write_report(
    comparison: Comparison,
    folder: Path,
    *,
    title: str | None = None,
    command_line: str | None = None,
    seed: int | None = None,
    created: datetime | None = None,
    photograph_errors: PhotographErrors | None = None,
    picture_views: int = PICTURE_VIEWS,
    picture_size: int = PICTURE_SIZE,
    progress: ReportProgress | None = None,
) -> Path:
    """Write `folder/report.json` and `folder/report.html`, each under a temporary name first; returns the page's path.

    `photograph_errors` draws errors when there is no reference; by default those of virtual rephotography. Pictures
    show `picture_views` of the judged views, `picture_size` pixels on their longer side.
    `progress` is told in words what is being done. CompareError when there is no column, when two columns have the
    same name, or when the files cannot be written.
    """
    _check(comparison)
    # Before the work, so that a folder that cannot be made costs nothing.
    with disk_errors(folder, CompareError, _ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
    report = report_of(comparison, title, command_line, seed, created)
    if comparison.reference is None and photograph_errors is None:
        photograph_errors = _rephotography_errors(comparison)
    frames = _frames(comparison, picture_views, picture_size)
    page = _page(comparison, report, frames, photograph_errors, progress)
    with disk_errors(folder, CompareError, _ADVICE):
        write_text(folder / "report.json", report.model_dump_json(indent=1))
        write_text(folder / "report.html", page)
    return folder / "report.html"


def _check(comparison: Comparison) -> None:
    names = [column.name for column in comparison.columns]
    if not names:
        reasons = " ".join(f"{name}: {reason}" for name, reason in comparison.missing)
        raise CompareError(f"There is no mesh to report on. {reasons or 'Name a run or a mesh to compare.'}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CompareError(f"Two meshes of the comparison are called {twice[0]!r}: expected names that differ.")


def _page(
    comparison: Comparison,
    report: Report,
    frames: list[Frame],
    photograph_errors: PhotographErrors | None,
    progress: ReportProgress | None,
) -> str:
    columns = comparison.columns
    protocols = side_by_side([column.evaluations for column in columns])
    families = list(dict.fromkeys(column.family for column in columns))
    pictures = draw_pictures(comparison, frames, photograph_errors, progress)
    viewer = stage_of(comparison, frames, pictures.error_limit, progress)
    heads = _row_heads(comparison, families)
    section = scene_section(comparison)
    curves = curves_of(columns, protocols)
    values: dict[str, Any] = {
        "scene_line": _scene_line(report),
        "overview": _overview(comparison, protocols, heads),
        "notes": _notes(comparison),
        "families": [{"name": family, "mark": family_mark(families, family)} for family in families],
        "has_lines": any(line.connected for curve in curves for line in curve.lines),
        "curves": [_curve(curve, families, number) for number, curve in enumerate(curves)],
        "gallery": gallery_of(comparison, protocols, pictures),
        "viewer": viewer,
        "protocols": [protocol_section(protocol, heads) for protocol in protocols],
        "mesh_table": _mesh_table(report, heads),
        "scene_section": section,
        "scene_facts": _scene_facts(report),
        "settings": _settings(report),
        "made": [
            {"name": column.name, "settings": flattened(column.settings)}
            for column in report.columns
            if column.settings
        ],
        "size": _megabytes(pictures, viewer, "" if section is None else section.picture),
    }
    return render_page("report.html.j2", report, ["page.js", "viewer.js"], values)


def _frames(comparison: Comparison, count: int, size: int) -> list[Frame]:
    """The judged views to be shown, cut to the object; any views when none was judged."""
    views, world_from_unit = comparison.views, comparison.scene.world_from_unit
    candidates = comparison.judged_views or tuple(range(len(views)))
    longest = size if len(comparison.columns) <= _MANY_MESHES else round(0.85 * size)
    return [frame_view(views, index, world_from_unit, longest) for index in choose_views(views, candidates, count)]


def _rephotography_errors(comparison: Comparison) -> PhotographErrors | None:
    """Errors of virtual rephotography; None when there is no second photograph to predict from."""
    from dvr_cli.comparing.rephotography import Rephotographer, error_picture

    views = comparison.views
    if len(views) < 2:
        return None

    def of_mesh(mesh: Mesh) -> Callable[[int], Float[np.ndarray, "h w"]]:
        machine = Rephotographer(mesh, views)
        return lambda index: error_picture(machine.predict(index), views[index])

    return of_mesh


def _row_heads(comparison: Comparison, families: list[str]) -> list[RowHead]:
    heads, previous = [], None
    first_with: dict[tuple[str, ...], int] = {}
    for index, column in enumerate(comparison.columns):
        heads.append(
            RowHead(
                column.name,
                family_mark(families, column.family),
                begins=previous is not None and column.family != previous,
                notes=f"note-{first_with.setdefault(column.notes, index)}" if column.notes else "",
                tooltip=" ".join(column.notes),
            )
        )
        previous = column.family
    return heads


def _overview(comparison: Comparison, protocols: tuple[MeasuredProtocol, ...], heads: list[RowHead]) -> Table:
    groups = [(protocol.short_title, protocol.key_rows) for protocol in protocols if protocol.key_rows]
    cost = (seconds_of(comparison.columns), memory_of(comparison.columns))
    known = tuple(row for row in cost if any(value is not None for value in row.values))
    groups += [("Cost", known)] if known else []
    return table_of("Overview: the main numbers of every mesh", heads, groups)


def _mesh_table(report: Report, heads: list[RowHead]) -> Table:
    meshes = [column.mesh for column in report.columns]
    rows = [
        MeasuredRow("faces", "faces", "", "neither", tuple(float(mesh.faces) for mesh in meshes)),
        MeasuredRow("vertices", "vertices", "", "neither", tuple(float(mesh.vertices) for mesh in meshes)),
        MeasuredRow("components", "parts", "", "neither", tuple(float(mesh.components) for mesh in meshes)),
        MeasuredRow("watertight", "watertight", "1 = yes", "neither", tuple(float(mesh.watertight) for mesh in meshes)),
        MeasuredRow("area", "area", "square world units", "neither", tuple(mesh.area for mesh in meshes)),
        MeasuredRow("volume", "volume", "cubic world units", "neither", tuple(mesh.volume for mesh in meshes)),
    ]
    return table_of("The meshes themselves", heads, [("Meshes", rows)])


def _notes(comparison: Comparison) -> list[dict[str, str]]:
    """Notes with the names of the meshes that share them; the first of these gives the place its identifier."""
    of: dict[str, list[int]] = {}
    for index, column in enumerate(comparison.columns):
        if column.notes:
            of.setdefault(" ".join(column.notes), []).append(index)
    names = [column.name for column in comparison.columns]
    return [
        {"identifier": f"note-{members[0]}", "name": "; ".join(names[index] for index in members), "text": text}
        for text, members in of.items()
    ]


def _curve(curve: Any, families: list[str], number: int) -> dict[str, Any]:
    from markupsafe import Markup

    # The drawing escapes names itself.
    return {
        "svg": Markup(draw_curve(curve, families, f"curve-{number}")),
        "title": f"{curve.y.heading} against {curve.x.heading}",
    }


def _scene_line(report: Report) -> str:
    scene = report.scene
    parts = [f"Scene {scene.name} ({scene.format})", count_of(scene.views, "view")]
    if scene.image_width is not None:
        parts.append(f"judged at {scene.image_width} × {scene.image_height} pixels")
    parts.append("no reference" if report.reference is None else f"with a reference ({report.reference.kind})")
    return " · ".join(parts)


def _scene_facts(report: Report) -> list[tuple[str, str]]:
    scene, reference = report.scene, report.reference
    facts = [
        ("name", scene.name),
        ("format", scene.format),
        ("views", f"{scene.views}, {scene.views_with_mask} with a mask"),
        ("region of interest", scene.bounds_source),
        (
            "judged views",
            f"{len(scene.judged_views)}: {', '.join(scene.judged_views)}" if scene.judged_views else "none",
        ),
    ]
    if reference is not None:
        faces = f", {reference.faces:,} faces" if reference.faces else ""
        facts.append(("reference", f"{reference.kind}, {reference.points:,} points{faces}".replace(",", "\u202f")))
        facts.append(("diagonal of the reference", f"{reference.diagonal:.6g} world units"))
    return facts


def _settings(report: Report) -> list[tuple[str, str]]:
    """The configuration; what was left unset in one line."""
    unset = [name for name, value in report.settings.items() if value is None]
    pairs = flattened({name: value for name, value in report.settings.items() if name not in unset})
    if report.seed is not None and "seed" not in report.settings:
        pairs.append(("seed", str(report.seed)))
    return [*pairs, ("not set", ", ".join(unset))] if unset else pairs


def _megabytes(pictures: Pictures, viewer: dict[str, Any] | None, rig: str) -> str:
    count = sum(len(uri) for drawn in pictures.sets for uri in drawn.uris.values())
    count += sum(map(len, pictures.photographs)) + len(rig) + 100_000
    if viewer is not None:
        count += sum(len(v) for mesh in viewer["data"]["meshes"] for v in mesh.values() if isinstance(v, str))
    return f"{count / 1e6:.1f}"
