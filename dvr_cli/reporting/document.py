"""From a comparison to the document that report.json holds."""

from collections.abc import Sequence
from datetime import UTC, datetime

from dvr_cli import __version__
from dvr_cli.comparing.comparison import Column, Comparison
from dvr_cli.comparing.measures import Evaluation
from dvr_cli.reporting.machine import describe_machine, package_versions
from dvr_cli.reporting.measured import MeasuredProtocol, MeasuredRow, finite, side_by_side
from dvr_cli.reporting.mesh_statistics import diagonal_of, mesh_statistics
from dvr_cli.reporting.schema import (
    ColumnReport,
    EvaluationReport,
    MeasureReport,
    MissingReport,
    ReferenceReport,
    Report,
    SceneReport,
)
from dvr_cli.reporting.summary import summary_sentences
from dvr_cli.scenes.listing import count_of
from dvr_cli.surfaces.cloud import PointCloud
from dvr_cli.surfaces.mesh import Mesh


def report_of(
    comparison: Comparison,
    title: str | None = None,
    command_line: str | None = None,
    seed: int | None = None,
    created: datetime | None = None,
) -> Report:
    """Everything about a comparison but its pictures; `seed` is taken from the settings when it is not given."""
    columns = comparison.columns
    protocols = side_by_side([column.evaluations for column in columns])
    known_seed = comparison.settings.get("seed") if seed is None else seed
    return Report(
        title=title or f"{comparison.scene.name}: {count_of(len(columns), 'mesh', 'meshes')} compared",
        created=created or now(),
        dvr_version=__version__,
        command_line=command_line,
        seed=known_seed if isinstance(known_seed, int) else None,
        scene=_scene(comparison),
        reference=_reference(comparison.reference),
        settings=comparison.settings,
        summary=summary_sentences([column.name for column in columns], protocols, seconds_of(columns)),
        columns=[_column(column) for column in columns],
        missing=[MissingReport(name=name, reason=reason) for name, reason in comparison.missing],
        machine=describe_machine(),
        packages=package_versions(),
    )


def now() -> datetime:
    """This second, with the zone of this machine."""
    return datetime.now(UTC).astimezone().replace(microsecond=0)


def seconds_of(columns: Sequence[Column]) -> MeasuredRow:
    """Times of the meshes."""
    return MeasuredRow("seconds", "time", "s", "lower", tuple(finite(column.seconds) for column in columns))


def memory_of(columns: Sequence[Column]) -> MeasuredRow:
    """Peak memory of the meshes."""
    values = tuple(finite(column.peak_memory_gb) for column in columns)
    return MeasuredRow("peak_memory_gb", "peak memory", "GB", "lower", values)


def evaluation_report(evaluation: Evaluation) -> EvaluationReport:
    """An evaluation as report.json holds it."""
    measures = {
        measure.name: MeasureReport(
            label=measure.heading, value=measure.value, unit=measure.unit, better=measure.better
        )
        for measure in evaluation.measures
    }
    return EvaluationReport(
        protocol=evaluation.protocol,
        settings=evaluation.settings,
        measures=measures,
        notes=list(evaluation.notes),
    )


def deciding_row(protocols: Sequence[MeasuredProtocol]) -> MeasuredRow | None:
    """The measure by which one of several trims stands for its family: a distance both ways, else photographs."""
    rows = [row for protocol in protocols for row in protocol.rows if row.better != "neither"]
    for prefix in ("overall", "chamfer", "f_score", "f1", "ncc", "psnr", "iou"):
        for row in rows:
            if row.name.startswith(prefix):
                return row
    return rows[0] if rows else None


def _column(column: Column) -> ColumnReport:
    return ColumnReport(
        name=column.name,
        family=column.family,
        trim=column.trim,
        seconds=column.seconds,
        peak_memory_gb=column.peak_memory_gb,
        settings=column.settings,
        notes=list(column.notes),
        mesh=mesh_statistics(column.mesh),
        evaluations=[evaluation_report(evaluation) for evaluation in column.evaluations],
    )


def _scene(comparison: Comparison) -> SceneReport:
    scene, views = comparison.scene, comparison.views
    return SceneReport(
        name=scene.name,
        format=scene.format,
        views=len(views),
        views_with_mask=sum(view.mask is not None for view in views),
        image_width=views[0].camera.width if views else None,
        image_height=views[0].camera.height if views else None,
        bounds_source=scene.bounds_source,
        judged_views=[views[index].name for index in comparison.judged_views],
    )


def _reference(reference: Mesh | PointCloud | None) -> ReferenceReport | None:
    if reference is None:
        return None
    is_mesh = isinstance(reference, Mesh)
    points = reference.vertices if isinstance(reference, Mesh) else reference.points
    faces = len(reference.faces) if isinstance(reference, Mesh) else 0
    return ReferenceReport(
        kind="mesh" if is_mesh else "points", points=len(points), faces=faces, diagonal=diagonal_of(points)
    )
