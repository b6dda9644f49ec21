"""Signals of a command that follows a stream: they take effect only while it waits.

A stream must not lose or repeat a line when it is stopped and started again. So a signal is only
noted while rows are dealt with, and ends the command where it waits: for the daemon, or for room
in its output. What was read but not written is not covered by the cursor, what was written is.
Nothing is ever half done.
"""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from scuttled.errors import Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DeferredSignals:
    """Waits that signals can end; between them signals are only noted."""

    def __init__(self) -> None:
        self._waiting = False  # a signal ends it now; else it is only noted
        self._seen: int | None = None  # the first one that came
        self._child: int | None = None  # the process that signals are passed on to

    @contextmanager
    def installed(self) -> Iterator["DeferredSignals"]:
        """Takes the signals over, and gives them back at the end."""
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield self
        finally:
            for number, action in before.items():
                signal.signal(number, action)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = self._seen or number
        if self._waiting:
            self._waiting = False  # what follows the wait is not to be interrupted again
            raise Stopped(number)
        if self._child is not None and number != signal.SIGINT:  # a terminal sends ^C to both
            with suppress(ProcessLookupError):
                os.kill(self._child, number)

    @contextmanager
    def passing_on(self, pid: int) -> Iterator[None]:
        """Signals go to this child too, which has not been waited for yet."""
        self._child = pid
        try:
            yield
        finally:
            self._child = None

    def check(self) -> None:
        """Raises Stopped if a signal came since the last wait."""
        if self._seen is not None:
            raise Stopped(self._seen)

    def wait(self, poller: "select.poll", until: float | None = None) -> list[tuple[int, int]]:
        """Descriptors that are ready; [] if none is by `until` (monotonic s). Raises Stopped."""
        timeout_ms = None if until is None else max(0, until - time.monotonic()) * 1000
        try:
            self._waiting = True
            self.check()
            return poller.poll(timeout_ms)
        finally:
            self._waiting = False
