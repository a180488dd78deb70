"""Stopping on request: the first Ctrl-C (or SIGTERM) asks the engine to save and end, the second ends at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether, and by which signal, the user has asked to stop."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.signal: int | None = None
        self._note = note
        self._said = False

    def __call__(self) -> bool:
        """True once a stop was asked for; the engine polls this."""
        # Said here and not in the signal's handler, which may interrupt a print half-way and must not print itself.
        if self.signal is not None and not self._said:
            self._said = True
            self._note("Stopping and saving. Once more to abort at once.")
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as shells count: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stop_on_signals(note: Callable[[str], None]) -> Iterator[StopRequest]:
    """Within the block the first SIGINT or SIGTERM sets the request, the second raises KeyboardInterrupt.

    `note` is called once with a line for the user. The earlier handlers come back at the end of the block.
    """
    request = StopRequest(note)

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.signal is not None:
            raise KeyboardInterrupt
        request.signal = number

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
