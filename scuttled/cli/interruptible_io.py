"""Waits of a command that follows a stream: for room in its output, and for its daemon."""

import os
import select
import sys
import time

from scuttled.cli.deferred_signals import DeferredSignals
from scuttled.errors import StorageError

CHUNK_BYTES = 4096  # PIPE_BUF of Linux: what poll() promises can be written without blocking


def stdout_fd() -> int:
    """Descriptor of stdout. Raises StorageError if it is closed: 1 may be another file by now."""
    if sys.stdout is None:
        raise StorageError("answer not written: standard output is closed")
    return sys.stdout.fileno()


class LineWriter:
    """stdout, line by line: a line is out as a whole or not begun, unless it is a long one."""

    def __init__(self, fd: int, signals: DeferredSignals) -> None:
        self._fd = fd
        self._signals = signals
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> None:
        """All of it. Raises BrokenPipeError, StorageError, Stopped."""
        view = memoryview(data)
        while view:
            self._signals.wait(self._room)
            try:
                view = view[os.write(self._fd, view[:CHUNK_BYTES]) :]
            except BlockingIOError:  # somebody made our stdout non-blocking
                time.sleep(0.01)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise StorageError(f"answer not written: {error.strerror}") from error


class DaemonWait:
    """Waits for the daemon, for the end of the time, or for the reader of stdout to go away.

    `socket_fd` None: there is no daemon now.
    """

    def __init__(self, socket_fd: int | None, stdout_fd: int, signals: DeferredSignals) -> None:
        self._signals = signals
        self._stdout_fd = stdout_fd
        self._news = select.poll()
        if socket_fd is not None:
            self._news.register(socket_fd, select.POLLIN)
        self._news.register(stdout_fd, 0)  # errors only: `watch | head -1` ends with its head

    def wait(self, until: float | None) -> bool:
        """False if the time is over. Raises BrokenPipeError, Stopped."""
        ready = dict(self._signals.wait(self._news, until))
        if self._stdout_fd in ready:
            raise BrokenPipeError
        return bool(ready)
