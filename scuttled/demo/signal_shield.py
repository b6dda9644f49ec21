"""Signals of the demo: heeded at any point but between a process's start and its being noted."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from scuttled.errors import Stopped


class SignalShield:
    """Signals end the demo wherever it is, but never between a process's start and its noting.

    Outside of `heeded` they are only noted. The first one that takes effect is the last, so that
    the cleaning up is not interrupted.
    """

    def __init__(self) -> None:
        self._seen: int | None = None  # the first one that came, heeded or not
        self._heeding = False

    def __enter__(self) -> "SignalShield":
        ours = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, self._come) for number in ours}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)
        if kind is None and self._seen is not None:  # it came while we were cleaning up
            raise Stopped(self._seen)

    def _come(self, number: int, frame: FrameType | None) -> None:
        self._seen = self._seen or number
        self._check()

    def _check(self) -> None:
        if self._heeding and self._seen is not None:
            self._heeding = False
            raise Stopped(self._seen)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Raises Stopped in here."""
        self._heeding = True
        try:
            self._check()
            yield
        finally:
            self._heeding = False

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Raises Stopped at the end of it, not within."""
        before = self._heeding
        self._heeding = False
        try:
            yield
        finally:
            self._heeding = before
        self._check()
