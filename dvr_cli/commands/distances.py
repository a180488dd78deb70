"""What can be wrong with the options about distances to a reference, which `dvr evaluate` and `dvr compare` share."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dvr_cli.comparing.protocols import GeometryOptions


def check_distances(geometry: "GeometryOptions", protocol: str | None, reference: Path | None) -> None:
    """BadParameter for options that would be without effect, are no lengths, or are missing.

    `protocol`: as the command line names it, None where it does not.
    """
    from dvr_cli.comparing.protocols import APPLIES

    for name in geometry.foreign():
        option = f"--{name.replace('_', '-')}"
        wanted = APPLIES[name][0]
        raise typer.BadParameter(
            f"{option} belongs to the protocol {wanted}: pass --protocol {wanted}, or leave it out."
        )
    for name in ("thin", "max_distance", "threshold"):
        value = getattr(geometry, name)
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"--{name.replace('_', '-')} {value:g}: expected a length above 0.")
    if geometry.protocol == "dtu" and geometry.samples is not None and geometry.sampling != "uniform":
        raise typer.BadParameter(
            "--samples means nothing to the lattice of protocol dtu: leave it out, or use dvr evaluate --sampling "
            "uniform."
        )
    if protocol is not None and reference is None:
        raise typer.BadParameter(f"--protocol {protocol} says how distances to --reference are taken: pass one.")
    if geometry.protocol == "tanks" and geometry.threshold is None:
        raise typer.BadParameter("--protocol tanks needs --threshold, a distance in world units.")
