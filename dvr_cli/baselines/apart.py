"""Work in a process of its own: measured in time and memory, and harmless when it crashes or is stopped.

Libraries written in C++ may not listen to Ctrl-C and may take the process down with them; a process of its own can be
ended at any time, and its peak memory is that of the work alone.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from dvr_cli.errors import CompareError, DvrError
from dvr_cli.fitting.memory import peak_memory_gb


@dataclass(frozen=True)
class Measured:
    """What the work returned, and what it took."""

    result: Any
    seconds: float
    """Wall time, the start of the process and its imports included."""
    peak_memory_gb: float | None
    """10^9 bytes, of the process; None where the system does not tell."""


def run_apart(what: str, work: Callable[..., Any], *arguments: Any) -> Measured:
    """Call `work`, a function at the top level of a module, with picklable arguments in a fresh process.

    A DvrError of the work is raised here again, any other exception as a RuntimeError with the traceback as its text.
    CompareError, with `what` was going on, when the process dies.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, work, arguments), daemon=True)
    start = time.monotonic()
    process.start()
    sender.close()
    try:
        kind, value, memory = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        raise CompareError(_death(what, process.exitcode)) from None
    finally:
        # Only after an exception, Ctrl-C above all, is it still alive.
        if process.is_alive():
            process.kill()
            process.join()
        receiver.close()
    if kind == "error":
        raise value
    if kind == "bug":
        raise RuntimeError(f"{what} failed:\n{value}")
    return Measured(value, time.monotonic() - start, memory)


def _child(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Run the work and send what came of it."""
    import traceback

    try:
        outcome = ("value", work(*arguments), peak_memory_gb())
    except DvrError as error:
        outcome = ("error", error, None)
    except KeyboardInterrupt:
        sys.exit(130)
    except MemoryError:
        outcome = ("error", CompareError("There is not enough memory. Try a smaller --image-size."), None)
    except Exception:
        outcome = ("bug", traceback.format_exc(), None)
    sender.send(outcome)
    sender.close()


def _death(what: str, exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        reason = f"its process was ended by signal {-exit_code}"
        advice = "Signal 9 often means that memory ran out: try a smaller --image-size." if exit_code == -9 else ""
        return f"{what} did not come to its end: {reason}. {advice}".rstrip()
    return f"{what} did not come to its end: its process ended with code {exit_code} and no result."
