"""Streams that are followed over all restarts of their daemon, for `watch` and `on`.

When the daemon goes away, it is waited for at the same socket, and asked to go on behind what was
dealt with. So a restart, clean or not, is one line on stderr and nothing else.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import click

from scuttled.cli.cursor_file import CursorFile
from scuttled.cli.deferred_signals import DeferredSignals
from scuttled.cli.interruptible_io import DaemonWait, stdout_fd
from scuttled.cli.settings import Settings
from scuttled.client.client import TIMEOUT_S, Client, Stream
from scuttled.client.rows import ChangeRow
from scuttled.control.cursors import Clocks, clocks_text, merge_clocks, split_cursor
from scuttled.errors import Stopped, TimedOut, Unavailable

NO_RECONNECT = "End with 69 when the daemon goes away; else it is waited for."
CLOCK_CHARS_IN_LINE = 4096  # about 100 sources; a cursor file has the whole clock, however long

# Between looks for a daemon that went away, doubling.
_RETRY_MIN_S = 0.05
_RETRY_MAX_S = 1.0


class ResumePoint(NamedTuple):
    """Up to where rows were dealt with."""

    cursor: str
    clock: str  # behind the @ of a cursor (cursors)

    @property
    def text(self) -> str:
        return f"{self.cursor}@{self.clock}" if self.clock else self.cursor

    @property
    def short(self) -> str:
        """For a line of output: without a clock that is long."""
        return self.cursor if len(self.clock) > CLOCK_CHARS_IN_LINE else self.text


Ask = Callable[[Client], Stream]  # the request, from where the stream is by now
Take = Callable[[list[ChangeRow], Clocks], None]
"""Deals with rows, as many as it wants; the clock is true behind the last one."""


class _StreamEnded(Unavailable):
    """The daemon is there, and ended the stream: to ask again would not help."""


class ResumedStream:
    """A stream of rows, and up to where they were dealt with.

    Whoever takes the rows says so: `behind` gives the place behind the next row, `place` is set to
    it once that row is dealt with, and `seen` counts.
    """

    def __init__(
        self,
        settings: Settings,
        noted: CursorFile,
        *,
        start: str,
        limit: int | None,
        awaits_live: bool = False,
    ) -> None:
        """`start`: the cursor to begin behind, or "". Raises UsageError if it is none."""
        self.settings = settings
        self.signals = DeferredSignals()
        self.fd = stdout_fd()
        self.seen = 0
        self.awaits_live = awaits_live  # a snapshot has begun, and not ended with `live` yet
        with noted.named():
            cursor, self._clocks = split_cursor(start)
        self._clock_text = clocks_text(self._clocks)
        self.place = ResumePoint(cursor, self._clock_text)
        self._noted = noted
        self._limit = limit

    @property
    def full(self) -> bool:
        """True once `-n` is reached."""
        return self._limit is not None and self.seen >= self._limit

    def behind(self, row: ChangeRow, clock: Clocks) -> ResumePoint:
        """The place behind that row, which is dealt with next."""
        if row.op == "reset":  # what was dealt with before counts no more
            self._clocks = {}
            self._clock_text = ""
            self.awaits_live = True
        elif row.op == "live":
            self.awaits_live = False
        if clock:
            self._merge(clock)
        return ResumePoint(row.cursor, self._clock_text)

    def _merge(self, clock: Clocks) -> None:
        merge_clocks(self._clocks, clock)
        self._clock_text = clocks_text(self._clocks)

    def note(self) -> None:
        """Writes the cursor down if it moved."""
        self._noted.save(self.place.text)

    def follow(self, ask: Ask, take: Take, until: float | None, *, reconnect: bool) -> None:
        """Until there were enough rows, the time is over, or a signal ends it."""
        try:
            with self.signals.installed(), self._noted.named():
                self._follow_restarts(ask, take, until, reconnect=reconnect)
        except Stopped as stop:
            raise click.exceptions.Exit(stop.code) from None

    def _follow_restarts(
        self, ask: Ask, take: Take, until: float | None, *, reconnect: bool
    ) -> None:
        client = self.settings.connect()
        absence = _Absence(self, client.path)
        while True:
            try:
                with client:
                    self._follow_one(client, ask(client), take, until, absence)
                return
            except _StreamEnded:
                raise
            except Unavailable as error:
                if not reconnect:
                    raise
                again = absence.wait(error, until)
            if again is None:
                return
            client = again

    def _follow_one(
        self, client: Client, stream: Stream, take: Take, until: float | None, absence: "_Absence"
    ) -> None:
        """With one daemon. However it ends, the cursor is noted."""
        news = DaemonWait(client.fileno(), self.fd, self.signals)
        try:
            while True:
                rows = stream.poll()
                if client.daemon:
                    absence.end()
                if rows:
                    take([ChangeRow.of(row) for row in rows], stream.clock)
                elif stream.clock:
                    # It rose alone: all that it covers is dealt with.
                    self._merge(stream.clock)
                    self.place = ResumePoint(self.place.cursor, self._clock_text)
                if self.full or (until is not None and time.monotonic() >= until):
                    return
                if stream.buffered():
                    continue
                # Before each wait, for that is where a signal may end us.
                self.note()
                if not stream.running():
                    raise _StreamEnded("daemon ended the watch")
                if not news.wait(until):
                    return
        finally:
            self.note()


class _Absence:
    """The time without a daemon: a line when it begins, and a look for it now and then.

    It is looked for at the socket where it was: another one may be another cluster's.
    """

    def __init__(self, stream: ResumedStream, path: str) -> None:
        self._stream = stream
        self._path = path
        self._pause_s = _RETRY_MIN_S
        self._is_away = False

    def end(self) -> None:
        """It has answered."""
        if self._is_away:
            self._stream.settings.say("scuttled: the daemon is back")
        self._is_away = False
        self._pause_s = _RETRY_MIN_S

    def wait(self, why: Unavailable, until: float | None) -> Client | None:
        """A connection to where it was; None if the time was over before. Raises Stopped."""
        settings = self._stream.settings
        if not self._is_away:
            settings.say(f"scuttled: {why.message}: waiting for it to come back")
        self._is_away = True
        nothing = DaemonWait(None, self._stream.fd, self._stream.signals)
        while until is None or time.monotonic() < until:
            pause_end = time.monotonic() + self._pause_s
            nothing.wait(pause_end if until is None else min(pause_end, until))
            self._pause_s = min(2 * self._pause_s, _RETRY_MAX_S)
            timeout_s = settings.timeout_s
            try:
                return Client.connect([self._path], TIMEOUT_S if timeout_s is None else timeout_s)
            except (Unavailable, TimedOut):
                pass
        return None
