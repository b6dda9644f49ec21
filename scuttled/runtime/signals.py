"""Signals of a daemon: noted from before it has anything to leave behind, to its last step.

SIGTERM and SIGINT ask it to stop, and may come again while it does; a second SIGINT asks it to
wait for nobody. SIGHUP ends nothing. They are dealt with when the loop turns; work that holds it
up for long, as a load does, asks `check` now and then.

They may come faster than a function of Python begins: one that were their handler would be called
within itself until the stack is full. So what the interpreter calls here is a method of a dict,
in which nothing can break; the loop is woken by the interpreter itself, through a pipe.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import trio

STOPPING = (signal.SIGTERM, signal.SIGINT)
HEEDED = (*STOPPING, signal.SIGHUP)
WAKE_BYTES = 65536  # what a pipe holds: one for each signal, dropped when it is full


class StopAsked(BaseException):
    """A signal asked the daemon to stop while the loop could not turn.

    Not an Exception: it is nobody's but the daemon's, whatever it passes through.
    """


class Signals:
    """Signals that came; `next` waits for one. Without `installed` none ever comes."""

    def __init__(self) -> None:
        # One that comes takes itself out, by a method that keeps nothing of what it is given.
        self._awaited: dict[int, FrameType | None] = dict.fromkeys(HEEDED)
        self._stop: int | None = None
        self._woken: int | None = None  # the end of the pipe that is read

    @property
    def stop(self) -> int | None:
        """The first signal that asked to stop."""
        if self._stop is None:
            self._stop = next((number for number in self._arrived() if number in STOPPING), None)
        return self._stop

    def _arrived(self) -> list[int]:
        """Those that came and are not yet dealt with; what asks to stop stands first."""
        return [number for number in HEEDED if number not in self._awaited]

    def check(self) -> None:
        """Raises StopAsked if one asked to stop. For work that can be begun again."""
        if self.stop is not None:
            raise StopAsked

    async def next(self) -> int:
        """The number of the next one. Of a kind that came twice by now, only once."""
        if self._woken is None:
            await trio.sleep_forever()
        while not self._arrived():
            await trio.lowlevel.wait_readable(self._woken)
            os.read(self._woken, WAKE_BYTES)
        number = self._arrived()[0]
        if self.stop is not None:
            _ignore()
        self._awaited[number] = None
        return number

    @contextmanager
    def installed(self) -> Iterator["Signals"]:
        """Takes the signals over, in the main thread: in others there are none.

        Once a stop is being dealt with, SIGTERM and SIGHUP are ignored, and after an end that
        went well they stay so: given back, a late one would end a process that has closed all
        with the wrong code.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        self._woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        woken_before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._awaited.pop) for number in HEEDED}
        try:
            yield self
        except BaseException:
            for number, action in before.items():
                signal.signal(number, action)
            raise
        else:
            _ignore()
            signal.signal(signal.SIGINT, before[signal.SIGINT])
        finally:
            signal.set_wakeup_fd(woken_before)
            os.close(self._woken)
            os.close(waking)
            self._woken = None


def _ignore() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
