"""What commands that follow a stream share: signals at the right moment, and cursor files.

A tail must not lose or repeat a line when it is stopped and started again. So a signal takes
effect only while the command waits: for the daemon, or for room in its output. What was read but
not written is not covered by the cursor, what was written is. Nothing is ever half done.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any
from zlib import crc32

from scuttled.cli import files
from scuttled.errors import DataError, NoInput, Stopped, StorageError, UsageError

CHUNK_BYTES = 4096  # PIPE_BUF of Linux: what poll() promises can be written without blocking
_CHECK = b"crc32="  # before the check of a cursor file
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Patience:
    """Waits that signals can end; between them signals are only noted."""

    def __init__(self) -> None:
        self._waiting = False
        self._seen: int | None = None
        self._child: int | None = None

    @contextmanager
    def installed(self) -> Iterator["Patience"]:
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
        """What is ready; [] if nothing is by `until` (monotonic seconds). Raises Stopped."""
        timeout_ms = None if until is None else max(0, until - time.monotonic()) * 1000
        try:
            self._waiting = True
            self.check()
            return poller.poll(timeout_ms)
        finally:
            self._waiting = False


def stdout_fd() -> int:
    """Where a tail writes. Raises StorageError if it is closed: 1 may be another file by now."""
    if sys.stdout is None:
        raise StorageError("answer not written: standard output is closed")
    return sys.stdout.fileno()


class LineWriter:
    """stdout, line by line: a line is out as a whole or not begun, unless it is a long one."""

    def __init__(self, fd: int, patience: Patience) -> None:
        self._fd = fd
        self._patience = patience
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> None:
        """All of it. Raises BrokenPipeError, StorageError, Stopped."""
        view = memoryview(data)
        while view:
            self._patience.wait(self._room)
            try:
                view = view[os.write(self._fd, view[:CHUNK_BYTES]) :]
            except BlockingIOError:  # somebody made our stdout non-blocking
                time.sleep(0.01)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise StorageError(f"answer not written: {error.strerror}") from error


class Source:
    """Waits for the daemon, for the end of the time, or for the reader of stdout to go away.

    `socket_fd` None: there is no daemon now.
    """

    def __init__(self, socket_fd: int | None, stdout_fd: int, patience: Patience) -> None:
        self._patience = patience
        self._stdout_fd = stdout_fd
        self._news = select.poll()
        if socket_fd is not None:
            self._news.register(socket_fd, select.POLLIN)
        self._news.register(stdout_fd, 0)  # errors only: `watch | head -1` ends with its head

    def wait(self, until: float | None) -> bool:
        """False if the time is over. Raises BrokenPipeError, Stopped."""
        ready = dict(self._patience.wait(self._news, until))
        if self._stdout_fd in ready:
            raise BrokenPipeError
        return bool(ready)


class CursorFile:
    """Where a tail left off, in a file that is replaced as a whole.

        9f3ac21b44d0e713.1.3610a686:default=12
        crc32=5d0a9c1e

    A flipped bit in a number would skip changes without a word, so the file has a check. What
    older versions wrote has none, and is believed.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._saved = ""
        self._was_read = False  # something, from the file

    def read(self) -> str:
        """The cursor, or "" if there is none yet (an empty file, as mktemp makes it, too)."""
        if self.path is None:
            return ""
        try:
            with files.open_to_read(self.path) as file, files.reading(self.path):
                self._saved = self._checked(file.read())
        except NoInput:
            if os.path.exists(self.path):
                raise
        self._was_read = bool(self._saved)
        return self._saved

    def _checked(self, data: bytes) -> str:
        """The cursor in the file. Raises DataError if its check does not fit."""
        cursor, *checks = data.strip().splitlines() or [b""]
        if checks == [_check(cursor)] or not (checks or _CHECK in cursor):
            return cursor.decode("utf-8", "surrogateescape")
        raise DataError(
            f"going on from {self.path}: it is damaged: its check does not fit",
            hint=f"mv {self.path} {self.path}.old",
        )

    @contextmanager
    def named(self) -> Iterator[None]:
        """Around what may find that the cursor from this file is none: the file is named then."""
        try:
            yield
        except UsageError as error:
            if not self._was_read:
                raise
            hint = error.hint or f"mv {self.path} {self.path}.old"
            raise UsageError(f"going on from {self.path}: {error.message}", hint=hint) from error

    def save(self, cursor: str) -> None:
        """Does nothing if it is saved already. Raises CantCreate, StorageError."""
        if self.path is not None and cursor and cursor != self._saved:
            check = _check(cursor.encode("utf-8", "surrogateescape")).decode()
            files.write_whole(self.path, f"{cursor}\n{check}\n")
            self._saved = cursor


def _check(cursor: bytes) -> bytes:
    return _CHECK + b"%08x" % crc32(cursor)


def run_command(argv: list[str], value: bytes, environ: dict[str, Any], patience: Patience) -> int:
    """Runs `argv` with `value` on its standard input; its exit code as a shell names it.

    A signal to us is passed on and the end of the command awaited, so that whether the change was
    dealt with is known.
    """
    import subprocess

    try:
        process = subprocess.Popen(  # noqa: S603 - to run what the user names is the purpose
            argv, stdin=subprocess.PIPE, env={**os.environ, **environ}
        )
    except OSError as error:
        raise UsageError(f"{argv[0]!r} can't be run: {error.strerror}") from error
    with patience.passing_on(process.pid):
        process.communicate(value)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
