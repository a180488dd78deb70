"""Calls into COLMAP that say nothing and can be stopped.

Its log goes to the process's standard error past Python's own streams; only its level is changed here, so that progress
can be shown meanwhile.
"""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from dvr_cli.preparing.stages import Stop, Stopped

Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS = 0.2
FATAL_ONLY = 3
"""COLMAP's highest level of its log."""


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Log nothing of COLMAP's below its fatal errors within the block."""
    import pycolmap

    earlier = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = FATAL_ONLY
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = earlier


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep Pillow's warnings about damaged EXIF and large photographs from the terminal within the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def stoppable(call: Callable[[Any], Result], stop: Stop) -> Result:
    """Run `call(cancellation token)` in a thread of its own and wait; Stopped when `stop` says so in between.

    Python handles signals between calls only, and some of COLMAP's take minutes.
    """
    import pycolmap

    token = pycolmap.CancellationToken()
    with quiet_logs(), ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, token)
        try:
            while not future.done():
                wait([future], timeout=SECONDS_BETWEEN_LOOKS)
                if stop():
                    token.cancel()
        except BaseException:
            token.cancel()
            raise
        try:
            result = future.result()
        except InterruptedError:
            # How COLMAP's calls end when they are cancelled.
            raise Stopped from None
    if token.is_cancelled:
        raise Stopped
    return result
