"""Clocks of a watch: they say here what was told elsewhere, and there what was told here.

A model's clock is truthful (I3): when it covers an update, that is in the state, or outranked
there. So a watch that has read a log up to where it ended at some moment has told all that the
clock of that moment covers. That is handed to the watcher, and given back on any node.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from scuttled.control.cursors import EXPIRED
from scuttled.errors import UsageError
from scuttled.replica.change import Slot
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import Source, parse_source, source_text
from scuttled.replica.version_vector import Clock


class Stamped(Protocol):
    """A slot, or an update."""

    @property
    def timestamp(self) -> int: ...
    @property
    def source(self) -> Source: ...


class Passed:
    """Updates of one model that a cursor's clock covers, so that a watch passes over them.

    A node may be behind the one where the cursor was given. What it has then may be outranked by
    what the watcher knows; so it is not told before the node's own clock covers as much, and what
    is told then stands in the log as it is at that moment.
    """

    def __init__(self, times: Mapping[str, int]) -> None:
        """Raises UsageError."""
        self.expired_ms = times.get(EXPIRED, 0)
        self.times: dict[Source, int] = {}
        for text, time in times.items():
            source = parse_source(text)
            if source is not None:
                self.times[source] = time
            elif text != EXPIRED:
                raise UsageError(f"clock with '{text:.60}', which is not a source")
        self.checked = False  # that no deletion was forgotten which it does not cover
        self._end: int | None = None  # what it covers stands below
        self._looked: tuple[Clock, int] | None = None  # at which clock, at which revision of it

    def holds_back(self, model: Scuttlebutt) -> bool:
        """True while the node does not have as much."""
        if self._end is None:
            looked = (model.clock, model.clock.revision)
            known = self._looked
            if known is None or known[0] is not looked[0] or known[1] != looked[1]:
                self._looked = looked
                if model.clock.covers_all(self.times.items()):
                    self._end = model.log.end
        return self._end is None

    def covers(self, told: Stamped) -> bool:
        return told.timestamp <= self.times.get(told.source, 0)

    def covers_all(self, times: Iterable[tuple[Source, int]]) -> bool:
        return all(self.times.get(source, 0) >= time for source, time in times)

    def has_news(self, model: Slots, slot: Slot) -> bool:
        """True if that slot was told, and has expired since."""
        return slot.expires_ms > self.expired_ms and model.has_expired(slot.slot)

    def is_behind(self, at: int) -> bool:
        """True once nothing that it covers can come to a reader that stands there."""
        return self._end is not None and at >= self._end


class Rise:
    """Rise of one model's clock that a watcher has yet to be told.

    That is noted, with where the log ends, and handed out when the watch has read so far.
    """

    def __init__(self, expired_ms: int) -> None:
        self._of: Clock | None = None
        self._revision = 0  # of the clock, as it was noted last
        self._expired_ms = expired_ms
        self._noted: dict[str, int] = {}
        self._end = 0

    def is_due(self, model: Scuttlebutt, at: int) -> bool:
        """True if `take` has something. Cheap."""
        if self._noted:
            return at >= self._end
        return at >= model.log.end and self._has_risen(model)

    def take(self, model: Scuttlebutt, at: int) -> dict[str, int]:
        """The times that rose and are told to a reader that stands there; {} if none are yet."""
        if not self._noted and self._has_risen(model):
            self._note(model)
        if at < self._end:
            return {}
        noted = self._noted
        self._noted = {}
        return noted

    def _has_risen(self, model: Scuttlebutt) -> bool:
        return (
            self._of is not model.clock
            or self._revision != model.clock.revision
            or self._expired_ms != model.expired_ms
        )

    def _note(self, model: Scuttlebutt) -> None:
        clock = model.clock
        if self._of is not clock:  # the first one, or a RESET's
            self._of = clock
            self._revision = 0
        self._noted = {source_text(source): time for source, time in clock.since(self._revision)}
        if self._expired_ms != model.expired_ms:
            self._expired_ms = self._noted[EXPIRED] = model.expired_ms
        self._revision = clock.revision
        self._end = model.log.end
