"""A reader of a model whose place is a clock: each update once, none before its time.

Places in a log do not outlive a RESET or a lost tail, and times do. A model's clock is truthful
(I3): when it covers an update, all earlier ones of that source are in the state, or outranked
there. So this reader gives what is covered, by rank, and of each source in order; what it has
given is then said by one time for each source. And it gives only what is on disk: what a power
cut can take back may come again under that very time (I5).
"""

from collections import deque
from collections.abc import Mapping

from scuttled.replica.change import Slot, parse
from scuttled.replica.slots import Slots
from scuttled.replica.update import STAMP_BYTES, Source, Stamp, timestamp_of

SCAN_ENTRIES_MAX = 10_000  # looked at in one call, so that a long history does not stall the loop

_Entry = tuple[Stamp, Source, int]  # and its position


class Follower:
    """Follows one model, from a clock on."""

    def __init__(self, model: Slots, given: Mapping[Source, int] | None = None) -> None:
        self.model = model
        self.given = dict(given or {})
        self._log = model.log
        self._cursor = 0
        self._waiting: deque[_Entry] = deque()  # by rank: not given yet
        self._looked = (-1, -1)  # revision of the clock and durable position, the last time

    def has_something(self) -> bool:
        """True while `next_slot` may have news. Cheap."""
        log = self.model.log
        if log is not self._log or self._cursor < log.end:
            return True
        return bool(self._waiting) and self._looked != (self.model.clock.revision, log.durable)

    def next_slot(self) -> Slot | None:
        """The next update that still stands, be it a deletion; None: look at `has_something`."""
        if not self._gather():
            return None
        log = self.model.log
        clock = self.model.clock
        kept: list[_Entry] = []
        blocked: set[Source] = set()
        found = None
        while self._waiting and found is None:
            at, source, position = entry = self._waiting.popleft()
            time = timestamp_of(at)
            if source in blocked or position >= log.durable or not clock.covers(source, time):
                blocked.add(source)
                kept.append(entry)
                continue
            self.given[source] = time
            piece = self._log.piece(position, position + 1)
            if piece.records and (record := piece.records[0]) is not None:
                found = parse(record, piece.sources[0])
        self._looked = (-1, -1) if found is not None else (clock.revision, log.durable)
        self._waiting.extendleft(reversed(kept))
        return found

    def _gather(self) -> bool:
        """Take note of what was accepted since; False if there is more of it."""
        log = self.model.log
        if log is not self._log:  # a RESET: what counts is what was given
            self._log = log
            self._cursor = 0
            self._waiting.clear()
        self._cursor = max(self._cursor, min(log.first, log.end))
        stop = min(log.end, self._cursor + SCAN_ENTRIES_MAX)
        news: list[_Entry] = []
        while self._cursor < stop:
            piece = log.piece(self._cursor, stop)
            self._cursor = piece.next
            for at, record, source in zip(
                piece.positions, piece.records, piece.sources, strict=True
            ):
                if record is not None and timestamp_of(record) > self.given.get(source, 0):
                    news.append((Stamp(record[:STAMP_BYTES]), source, at))
        if news:
            self._waiting = deque(sorted([*self._waiting, *news]))
        return self._cursor >= log.end
