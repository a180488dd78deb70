"""The scene behind a comparison: a picture of cameras and hull, and what a diagnosis finds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dvr_cli.comparing.comparison import Comparison
from dvr_cli.diagnosis.diagnose import diagnose_views
from dvr_cli.diagnosis.findings import Finding
from dvr_cli.diagnosis.rig_picture import rig_picture
from dvr_cli.reporting.encoding import picture_uri


@dataclass(frozen=True)
class SceneSection:
    """Values of the template's section on the scene."""

    picture: str
    """A data URI."""
    width: int
    height: int
    verdict: str
    findings: tuple[Finding, ...]
    coverage: dict[str, Any] | None
    """As `dvr inspect --json` has it."""


def scene_section(comparison: Comparison) -> SceneSection | None:
    """Diagnose the views that the comparison has in memory, decoding and matching nothing again; None without any."""
    if not comparison.views:
        return None
    diagnosis = diagnose_views(comparison.scene, comparison.views)
    picture = rig_picture(comparison.scene, diagnosis)
    coverage = diagnosis.figures.get("coverage")
    return SceneSection(
        picture_uri(np.asarray(picture, dtype=np.float64) / 255),
        picture.width,
        picture.height,
        diagnosis.verdict,
        diagnosis.findings,
        coverage if isinstance(coverage, dict) else None,
    )
