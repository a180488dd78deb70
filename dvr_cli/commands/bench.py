"""`dvr bench`: reconstruct, export and evaluate a list of scenes, and put the numbers into one table."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvr_cli.commands.options import (
    DeviceOption,
    JsonOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    output_folder,
    parse_preset,
)
from dvr_cli.console import Output
from dvr_cli.errors import ConfigError
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from dvr_cli.comparing.bench_runs import SuiteResult
    from dvr_cli.comparing.suite import Suite


def bench_command(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE", help="A TOML file with scenes, or a built-in suite: synthetic, dtu.", show_default=False
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", metavar="NAME=FOLDER", help="What {NAME} in the suite's paths stands for.", show_default=False
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            parser=parse_preset,
            metavar="NAME",
            help="Use this preset instead of the suite's; may be repeated.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="SCENE", help="Run this scene alone; may be repeated.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into. (default: bench/SUITE)", show_default=False)
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Reconstruct, export and evaluate every scene of SUITE.

    What is finished is kept: the same command goes on where it was stopped. One table and a report stand at the end.
    """
    from dvr_cli.comparing.bench_runs import BenchInterruptedError, BenchPlace, run_scene
    from dvr_cli.comparing.suite import read_suite

    output = Output(quiet, as_json)
    chosen = read_suite(suite, _places(data or []))
    folder = output_folder(out if out is not None else Path("bench") / Path(suite).stem)
    common = [("--device", device), ("--threads", threads), ("--seed", seed)]
    options = tuple(word for option, value in common if value is not None for word in (option, str(value)))
    place = BenchPlace(folder, options, quiet)
    results = []
    try:
        for scene in _chosen_scenes(chosen, only or []):
            for name in preset or scene.presets or ("fast",):
                results.append(run_scene(scene, name, place, output.note))
    except BenchInterruptedError as stopped:
        kept = count_of(len(results), "result is", "results are")
        output.note(f"Stopped; {kept} in {folder / 'results'}. Go on with the same command.")
        raise typer.Exit(stopped.exit_code) from None
    _conclude(chosen, results, folder, output)


def _places(given: list[str]) -> dict[str, Path]:
    """`NAME=FOLDER` options as a table."""
    places = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name.isidentifier() or not folder:
            raise typer.BadParameter(f"--data {text!r} is not of the form NAME=FOLDER.")
        places[name] = Path(folder)
    return places


def _chosen_scenes(suite: "Suite", only: list[str]) -> list[Any]:
    scenes = suite.settled()
    known = [scene.name for scene in scenes]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ConfigError(f"The suite has no scene {', '.join(unknown)}. Known: {', '.join(known)}.")
    return [scene for scene in scenes if not only or scene.name in only]


def _conclude(suite: "Suite", results: "list[SuiteResult]", folder: Path, output: Output) -> None:
    """The table, the report, and exit code 1 when a scene has failed."""
    from dataclasses import asdict

    from dvr_cli.comparing.table import suite_table
    from dvr_cli.reporting.suite_report import write_suite_report

    rows, line = [result.row() for result in results], shlex.join(["dvr", *sys.argv[1:]])
    report = write_suite_report(rows, folder, title=suite.title, command_line=line)
    failed = [result for result in results if result.status == "failed"]
    text = suite_table(results)
    for result in failed:
        first = result.error.splitlines()[-1] if result.error else "no message"
        text += f"\n{result.scene} ({result.preset}) failed: {first}"
    text += f"\nWrote {report}."
    if failed:
        text += "\nNext: mend what failed and give the same command again; what is done is kept."
    values = {"suite": suite.title, "report": str(report), "results": [asdict(result) for result in results]}
    output.result(text, values)
    if failed:
        raise typer.Exit(1)
