"""The part of `dvr reconstruct` that `dvr demo` shares: from a scene and settings to a finished run.

Imported inside the commands only, because the engine brings torch with it.
"""

from dataclasses import asdict

from dvr_cli.commands.stopping import stop_on_signals
from dvr_cli.config import Settings
from dvr_cli.console import Output
from dvr_cli.fitting.events import Message
from dvr_cli.fitting.reconstruct import ReconstructionSummary, reconstruct
from dvr_cli.fitting.run_folder import RunFolder
from dvr_cli.scenes.views import Scene


def fit_scene(scene: Scene, settings: Settings, run: RunFolder, output: Output) -> tuple[ReconstructionSummary, int]:
    """Reconstruct with progress on stderr and write the summary of the run.

    Returns the summary and an exit code: 0, or the one that tells by which signal it was stopped. The engine has saved
    in either case.
    """
    with output.progress() as report, stop_on_signals(lambda text: report(Message(text))) as stop:
        summary = reconstruct(scene, settings, run, report, stop)
    # A finished run that is resumed keeps the numbers of the session that did the work.
    if summary.resumed_from != summary.steps or not run.finished:
        run.write_summary(asdict(summary))
    return summary, 0 if summary.finished else stop.exit_code
