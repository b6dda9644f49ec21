"""A listener: hears each event once, whatever becomes of it, of the daemon or of the cluster.

What it has heard is a clock, not a place in a log, since places do not outlive a RESET or a lost
tail, and times do. The clock of the model is truthful (I3): when it covers an event, all earlier
ones of that source are here. So a listener is told of what is covered, by rank, and of each source
without a gap; what it has heard is then said by one time for each source. And it is told only of
what is on disk: an event that a power cut can take back may come again under that very time.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from scuttled.core.changes import Slot, parse
from scuttled.core.clock import Clock
from scuttled.core.log import ArrivalLog
from scuttled.core.update import Source, Stamp, parse_source, source_text, timestamp_of
from scuttled.errors import UsageError

SCAN_ENTRIES_MAX = 10_000  # looked at in one call, so that a long history does not stall the loop


class Heard(NamedTuple):
    """An event, and the cursor of a listener that has heard all up to it."""

    name: str
    kind: str
    payload: bytes
    slot: Slot


class Emitter(Protocol):
    """A model of events."""

    log: ArrivalLog
    clock: Clock

    def event(self, slot: Slot) -> tuple[str, str, bytes]: ...
    def now_ms(self) -> int: ...


class Listener:
    """One reader of a model of events; of all names or some."""

    def __init__(
        self, model: Emitter, names: Collection[str] = (), heard: Mapping[Source, int] | None = None
    ) -> None:
        self.model = model
        self.heard = dict(heard or {})
        self._names = frozenset(names)
        self._log = model.log
        self._cursor = 0
        self._waiting: deque[tuple[Stamp, Source, int]] = deque()  # by rank: not heard yet
        self.close: Callable[[], object] = lambda: None  # whoever wakes it may say how to end
        self._looked = (-1, -1)  # revision of the clock and durable position, the last time

    def has_something(self) -> bool:
        """Whether `next` may have news. Cheap."""
        log = self.model.log
        if log is not self._log or self._cursor < log.end:
            return True
        return bool(self._waiting) and self._looked != (self.model.clock.revision, log.durable)

    def next(self, most: int) -> list[Heard]:
        """At most so many events, by rank; maybe none although `has_something`."""
        if not self._gather():
            return []
        log, clock = self.model.log, self.model.clock
        durable, revision = log.durable, clock.revision
        found: list[Heard] = []
        kept: list[tuple[Stamp, Source, int]] = []
        blocked: set[Source] = set()
        while self._waiting and len(found) < most:
            at, source, position = entry = self._waiting.popleft()
            time = timestamp_of(at)
            if source in blocked or position >= durable or not clock.covers(source, time):
                blocked.add(source)
                kept.append(entry)
                continue
            self.heard[source] = time
            if (event := self._event(position)) is not None:
                found.append(event)
        self._looked = (revision, durable) if len(found) < most else (-1, -1)
        self._waiting.extendleft(reversed(kept))
        return found

    def _gather(self) -> bool:
        """Take note of what was accepted since; False if there is more of it."""
        log = self.model.log
        if log is not self._log:  # a RESET: what counts is what was heard
            self._log, self._cursor = log, 0
            self._waiting.clear()
        stop = min(log.end, max(self._cursor, log.first) + SCAN_ENTRIES_MAX)
        self._cursor = max(self._cursor, min(log.first, log.end))
        news = []
        while self._cursor < stop:
            piece = log.piece(self._cursor, stop)
            self._cursor = piece.next
            for at, record, source in zip(
                piece.positions, piece.records, piece.sources, strict=True
            ):
                if record is not None and timestamp_of(record) > self.heard.get(source, 0):
                    news.append((Stamp(record[:8]), source, at))
        if news:
            self._waiting = deque(sorted([*self._waiting, *news]))
        return self._cursor >= log.end

    def _event(self, position: int) -> Heard | None:
        """None if it was removed, has expired or is not for this listener."""
        piece = self._log.piece(position, position + 1)
        if not piece.records or piece.records[0] is None:
            return None
        slot = parse(piece.records[0], piece.sources[0])
        if not slot.shown(self.model.now_ms()):
            return None
        name, kind, payload = self.model.event(slot)
        return Heard(name, kind, payload, slot) if not self._names or name in self._names else None

    def cursor(self) -> str:
        """What was heard, as text; `read_cursor` reads it, on any node."""
        return ",".join(f"{source_text(source)}={time}" for source, time in self.heard.items())


def read_cursor(text: str) -> dict[Source, int]:
    """What a listener's cursor says. Raises UsageError."""
    heard: dict[Source, int] = {}
    try:
        for part in text.split(",") if text else ():
            name, _, time = part.partition("=")
            source = parse_source(name)
            if source is None or not 0 <= int(time) < 2**63:
                raise ValueError
            heard[source] = int(time)
    except ValueError:
        raise UsageError(f"cursor '{text:.80}' is not one that `on` gave") from None
    return heard
