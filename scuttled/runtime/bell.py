"""What every trio room needs: a bell to be woken by, when to write, and what time it is."""

import os
import select
import time
from threading import get_ident

import trio

from scuttled.replica.update import Instant

AT_ONCE_BYTES = 4096


class Wakeup:
    """Wakes one waiting task; rung while nobody waits, the next wait ends at once.

    It parks the task itself: a `trio.Event` for each wait costs twice as much, and a turn of the
    loop where the bell was rung before. There may be one waiter at a time.

    It is rung in the thread of its waiter. Trio can't be woken from another one, and would hand
    the waiter to a loop that runs there: so that is refused before anything moves.
    """

    def __init__(self) -> None:
        self._rung = False
        self._waiter: trio.lowlevel.Task | None = None
        self._thread = 0  # of the waiter

    def ring(self) -> None:
        """Wake the waiter. Raises RuntimeError in a thread that is not the waiter's."""
        if self._waiter is not None:
            if get_ident() != self._thread:
                raise RuntimeError("a bell was rung in a thread in which nobody waits for it")
            waiter, self._waiter = self._waiter, None
            trio.lowlevel.reschedule(waiter)
        self._rung = True

    async def heard(self) -> None:
        """Return once it was rung since the last time. Not a checkpoint if it was by now."""
        if not self._rung:
            assert self._waiter is None, "two tasks wait for one bell"
            self._waiter = trio.lowlevel.current_task()
            self._thread = get_ident()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._rung = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


class StreamWriter:
    """The sending side of a stream, for its one writer: what is sent is chosen last.

    Does what trio's `wait_send_all_might_not_block` and `send_all` do, but asks the kernel
    first: a socket that can take a small message, the common case, costs a system call each and
    not two turns of the loop. Large ones take trio's way, which lets others run.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else None
        self._poll = select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLOUT)

    async def wait(self) -> None:
        """Return when the stream can take more. Not a checkpoint if it can by now."""
        if self._fd is None or not self._poll.poll(0):
            await self._stream.wait_send_all_might_not_block()

    async def send_all(self, data: bytes) -> None:
        sent = 0
        if self._fd is not None and data and len(data) <= AT_ONCE_BYTES:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                pass
        if sent < len(data):
            await self._stream.send_all(data[sent:])


def read_clocks() -> Instant:
    """The two clocks, for a core that must not look itself; before 1970 it is 1970."""
    return Instant(time.monotonic(), max(time.time_ns() // 1_000_000, 0))
