"""What `watch` and `on` share: a stream that is followed over all restarts of its daemon.

When the daemon goes away, it is waited for at the same socket, and asked to go on behind what was
dealt with. So a restart, clean or not, is one line on stderr and nothing else.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import click

from scuttled.cli.following import CursorFile, Patience, Source, stdout_fd
from scuttled.cli.settings import Settings
from scuttled.client.client import TIMEOUT_S, Client, Row, Stream
from scuttled.control.cursors import Clocks, clocks_text, merge_clocks, split_cursor
from scuttled.errors import Stopped, TimedOut, Unavailable

CHANGES = ("set", "del", "expire", "event")
NO_RECONNECT = "End with 69 when the daemon goes away; else it is waited for."
CLOCK_CHARS_IN_LINE = 4096  # about 100 sources; a cursor file has the whole clock, however long
RETRY_S = (0.05, 1.0)  # between looks for a daemon that went away, doubling


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


class Sink:
    """Takes changes in order, and knows up to where they are dealt with."""

    def __init__(
        self,
        settings: Settings,
        patience: Patience,
        noted: CursorFile,
        *,
        limit: int | None,
        start: str,
    ) -> None:
        """`start`: the cursor to begin behind, or "". Raises UsageError if it is none."""
        self.settings = settings
        self.patience = patience
        self.fd = stdout_fd()
        self.seen = 0
        self.awaits_live = False  # a snapshot has begun, and not ended with `live` yet
        with noted.named():
            cursor, self._clocks = split_cursor(start)
        self._clock_text = clocks_text(self._clocks)
        self.place = ResumePoint(cursor, self._clock_text)
        self.noted = noted
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether `-n` is reached."""
        return self._limit is not None and self.seen >= self._limit

    def take(self, rows: list[Row], clock: Clocks) -> None:
        """Deals with rows, as many as it wants; `clock` is true behind the last one."""
        raise NotImplementedError

    def learn(self, clock: Clocks) -> None:
        """The clock rose, and all that it covers is dealt with."""
        self._merge(clock)
        self.place = ResumePoint(self.place.cursor, self._clock_text)

    def behind(self, row: Row, clock: Clocks) -> ResumePoint:
        """The place behind that row, which is dealt with next."""
        if row[0] == "reset":  # what was dealt with before counts no more
            self._clocks = {}
            self._clock_text = ""
            self.awaits_live = True
        elif row[0] == "live":
            self.awaits_live = False
        if clock:
            self._merge(clock)
        return ResumePoint(row[7], self._clock_text)

    def _merge(self, clock: Clocks) -> None:
        merge_clocks(self._clocks, clock)
        self._clock_text = clocks_text(self._clocks)

    def note(self) -> None:
        """Writes the cursor down if it moved."""
        self.noted.save(self.place.text)


class _StreamEnded(Unavailable):
    """The daemon is there, and ended the stream: to ask again would not help."""


Ask = Callable[[Client], Stream]


def follow(ask: Ask, sink: Sink, until: float | None, *, reconnect: bool) -> None:
    """Until the sink has enough, the time is over, or a signal ends it."""
    try:
        with sink.patience.installed(), sink.noted.named():
            _follow_restarts(ask, sink, until, reconnect=reconnect)
    except Stopped as stop:
        raise click.exceptions.Exit(stop.code) from None


def _follow_restarts(ask: Ask, sink: Sink, until: float | None, *, reconnect: bool) -> None:
    client = sink.settings.connect()
    absence = _Absence(sink, client.path)
    while True:
        try:
            with client:
                _follow(client, ask(client), sink, until, absence)
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


def _follow(
    client: Client, stream: Stream, sink: Sink, until: float | None, absence: "_Absence"
) -> None:
    """Until the sink has enough or the time is over. However it ends, the cursor is noted."""
    source = Source(client.fileno(), sink.fd, sink.patience)
    try:
        while True:
            rows = stream.poll()
            if client.daemon:
                absence.end()
            if rows:
                sink.take(rows, stream.clock)
            elif stream.clock:
                sink.learn(stream.clock)
            if sink.full or (until is not None and time.monotonic() >= until):
                return
            if stream.buffered():
                continue
            sink.note()
            if not stream.running():
                raise _StreamEnded("daemon ended the watch")
            if not source.wait(until):
                return
    finally:
        sink.note()


class _Absence:
    """What is said and done while the daemon is away: a line, and a look for it now and then.

    It is looked for at the socket where it was: another one may be another cluster's.
    """

    def __init__(self, sink: Sink, path: str) -> None:
        self._sink = sink
        self._path = path
        self._pause_s = RETRY_S[0]
        self._is_away = False

    def end(self) -> None:
        """It has answered."""
        if self._is_away:
            self._sink.settings.say("scuttled: the daemon is back")
        self._is_away = False
        self._pause_s = RETRY_S[0]

    def wait(self, why: Unavailable, until: float | None) -> Client | None:
        """A connection to where it was; None if the time was over before. Raises Stopped."""
        sink = self._sink
        if not self._is_away:
            sink.settings.say(f"scuttled: {why.message}: waiting for it to come back")
        self._is_away = True
        nothing = Source(None, sink.fd, sink.patience)
        while until is None or time.monotonic() < until:
            pause_end = time.monotonic() + self._pause_s
            nothing.wait(pause_end if until is None else min(pause_end, until))
            self._pause_s = min(2 * self._pause_s, RETRY_S[1])
            timeout_s = sink.settings.timeout_s
            try:
                return Client.connect([self._path], TIMEOUT_S if timeout_s is None else timeout_s)
            except (Unavailable, TimedOut):
                pass
        return None
