"""The command line `dvr`: its commands, and how errors become messages and exit codes.

Exit codes: 0 done; 1 bad input or a problem of the machine (disk, memory); 2 misuse of the command line; 70 a bug;
130 and 143 stopped by Ctrl-C or SIGTERM. Nothing heavy is imported here, so that `dvr --help` answers at once.
"""

import atexit
import gc
import os
import sys
import traceback
from collections.abc import Callable
from inspect import cleandoc
from typing import Annotated

import typer

from dvr_cli import __version__
from dvr_cli.commands.arguments import Command
from dvr_cli.commands.bench import bench_command
from dvr_cli.commands.compare import compare_command
from dvr_cli.commands.convert import convert_command
from dvr_cli.commands.demo import demo_command
from dvr_cli.commands.evaluate import evaluate_command
from dvr_cli.commands.export import export_command
from dvr_cli.commands.formats import formats_command
from dvr_cli.commands.inspect import inspect_command
from dvr_cli.commands.options import FLAG
from dvr_cli.commands.prepare import prepare_command
from dvr_cli.commands.reconstruct import reconstruct_command
from dvr_cli.commands.render import render_command
from dvr_cli.console import say, usable_streams
from dvr_cli.errors import DvrError

EXIT_BAD_INPUT = 1
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="dvr",
    help="Calibrated photographs in, a textured mesh in your own units out.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks are for bugs only, and on request: see `main`.
    pretty_exceptions_enable=False,
)


def _register(name: str, command: Callable[..., None]) -> None:
    """Add a command whose help is its docstring, without the source's line breaks, which Typer would keep."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    app.command(name, cls=Command, help="\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs))(command)


_register("reconstruct", reconstruct_command)
_register("export", export_command)
_register("render", render_command)
_register("evaluate", evaluate_command)
_register("compare", compare_command)
_register("bench", bench_command)
_register("inspect", inspect_command)
_register("prepare", prepare_command)
_register("convert", convert_command)
_register("formats", formats_command)
_register("demo", demo_command)


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"dvr {__version__}")
        raise typer.Exit()
    return asked


@app.callback(epilog="Start with: dvr demo")
def _common(
    version: Annotated[
        bool, typer.Option("--version", metavar=FLAG, callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", metavar=FLAG, help="Show tracebacks (or set DVR_DEBUG=1).")] = False,
) -> None:
    if debug:
        os.environ["DVR_DEBUG"] = "1"


def main(arguments: list[str] | None = None) -> None:
    """Run a command line (that of the process by default) and exit with its code; never returns."""
    usable_streams()
    # Looking for cycles among all that torch has imported takes most of a second, and the process ends anyway.
    atexit.register(gc.freeze)
    # While it imports, that search takes a quarter of a second. Young cycles are looked for as ever.
    gc.set_threshold(700, 10, 1000)
    # Matrices are small here. A second thread of NumPy's makes none of them faster, but then waits for the next one,
    # busily, on a core that others could use.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app(arguments, prog_name="dvr")
    except DvrError as error:
        _fail(f"Error: {error}", error.exit_code)
    except SystemExit as end:
        # Typer makes this of a Ctrl-C that no command handles, and says nothing.
        if _was_interrupted(end):
            _fail("Interrupted.", EXIT_INTERRUPTED)
        raise
    except KeyboardInterrupt:
        _fail("Interrupted.", EXIT_INTERRUPTED)
    except MemoryError:
        _fail("Error: there is not enough memory. Try a smaller --image-size, or fewer --views.", EXIT_BAD_INPUT)
    except OSError as error:
        _fail(f"Error: {error}. Check the path, its permissions and the space on the disk.", EXIT_BAD_INPUT)
    except Exception as error:
        _fail(
            f"Internal error: {type(error).__name__}: {error}\n"
            "This is a bug in dvr, not in your input. Please report it with the command line, the output of "
            "dvr --version and the traceback (dvr --debug ...).",
            EXIT_BUG,
        )


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether a KeyboardInterrupt stands anywhere in the chain of exceptions that led to this one."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _fail(message: str, code: int) -> None:
    """Say why on stderr, with the traceback of the current exception when debugging, and exit."""
    if os.environ.get("DVR_DEBUG"):
        traceback.print_exc()
    say(message, sys.stderr)
    sys.exit(code)
