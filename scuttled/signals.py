"""Signals of a daemon: noted from before it has anything to leave behind, to its last step.

SIGTERM and SIGINT ask it to stop, and may come again while it does; a second SIGINT asks it to
wait for nobody. SIGHUP ends nothing. They are dealt with when the loop turns; work that holds it
up for long, as a load does, is broken off by an exception if it can be.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import trio

from scuttled.waking import Bell

STOPPING = (signal.SIGTERM, signal.SIGINT)
HEEDED = (*STOPPING, signal.SIGHUP)


class StopAsked(BaseException):
    """A signal asked the daemon to stop while the loop could not turn.

    Not an Exception: it may come between any two steps, and is nobody's but the daemon's.
    """


class Signals:
    """What signals have asked for; `next` waits for one. Without `installed` none ever comes."""

    def __init__(self) -> None:
        self.stop: int | None = None
        """The first signal that asked to stop."""
        self._arrived: dict[int, None] = {}  # and not yet dealt with, in order
        self._breaks_off = False
        self._bell = Bell()

    def note(self, number: int) -> None:
        """It came. May be called between any two steps of the daemon; wakes nobody."""
        if self.stop is None and number in STOPPING:
            self.stop = number
        self._arrived[number] = None

    async def next(self) -> int:
        """The number of the next one. Of a kind that came twice by now, only once."""
        while not self._arrived:
            await self._bell.heard()
        number = next(iter(self._arrived))
        del self._arrived[number]
        return number

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Around work that can be begun again: raises StopAsked in its midst, or at its end."""
        self._breaks_off = True
        try:
            self._check()
            yield
        finally:
            self._breaks_off = False
        self._check()  # an exception does not get out of everywhere

    def _check(self) -> None:
        if self.stop is not None:
            raise StopAsked

    @contextmanager
    def installed(self) -> Iterator["Signals"]:
        """Takes the signals over, in the main thread: in others there are none.

        From the first one on that asks to stop, SIGTERM and SIGHUP are ignored, and after an end
        that went well they stay so: given back, a late one would end a process that has closed
        all with the wrong code.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        token = trio.lowlevel.current_trio_token()

        def come(number: int, frame: FrameType | None) -> None:
            self.note(number)
            if self.stop is not None:
                _ignore()
            token.run_sync_soon(self._bell.ring, idempotent=True)
            if self._breaks_off:
                self._check()

        before = {number: signal.signal(number, come) for number in HEEDED}
        try:
            yield self
        except BaseException:
            for number, action in before.items():
                signal.signal(number, action)
            raise
        _ignore()
        signal.signal(signal.SIGINT, before[signal.SIGINT])


def _ignore() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
