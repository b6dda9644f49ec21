"""Those who want to be told what becomes of a model, in the process that holds it.

They are one more reader of the arrival log. So they are told after an update has its place in
state and log, never in the midst of it, and a write made by somebody who is being told is the
next thing in the log: told in its turn, and sent like any other. (npm tells inside of applying:
there such a write goes out first and hides the one it answers to, for ever.)
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from scuttled.errors import UsageError
from scuttled.replica.arrival_log import ArrivalLog
from scuttled.replica.update import (
    TIMESTAMP_MAX,
    Run,
    Source,
    Stamp,
    Update,
    node_of,
    rev_text,
    stamp,
)
from scuttled.replica.version_vector import Clock

EVENTS = (
    "update", "change", "stale", "unverified", "removed", "unstream", "unclone", "dispose",
)  # fmt: skip

OF_ONE_KEY = "change:"  # and a key: an event, too

_EVER = stamp(TIMESTAMP_MAX)

Callback = Callable[..., Any]


class Gone(Enum):
    """The type of GONE, which stands where no value is any more. None is a value: JSON's null."""

    GONE = "gone"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "GONE"

    __str__ = __repr__


GONE: Final = Gone.GONE


class UpdateEvent(NamedTuple):
    """An accepted update, as the event `update` tells it."""

    key: str  # as the data type names what was written: the key of a map, row and field of a doc
    value: Any  # GONE if that was deleted, or has expired
    source: str  # id of the node that wrote it; that of the model itself: a write made here
    update: Update  # the update itself, by which it can be kept and merged again

    @property
    def change(self) -> bytes:
        """The bytes of the change."""
        return self.update.change

    @property
    def timestamp(self) -> int:
        """Time of the write: ticks of 1/4096 ms since the epoch."""
        return self.update.timestamp

    @property
    def rev(self) -> str:
        """The name of this update, for good and on every node."""
        return rev_text(self.update.timestamp, self.update.source)


class Observed(Protocol):
    """Model that is observed: a Scuttlebutt, which stands above this file."""

    clock: Clock
    log: ArrivalLog

    def told(self, update: Update) -> tuple[str, Any]: ...
    def receive(self, runs: Iterable[Run], limit: Stamp) -> object: ...
    def commit(self, times: Iterable[tuple[Source, int]]) -> bool: ...


def _by_parts(callback: Callback) -> Callback:
    """A callback of three arguments is given key, value and source, as in the seed."""
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):
        return callback
    try:
        signature.bind(None)
    except TypeError:
        return lambda event: callback(event.key, event.value, event.source)
    return callback


def entries_from(log: ArrivalLog, cursor: int) -> Iterator[tuple[bytes, Source]]:
    """Entries from a position on, up to the end as it is when that is reached."""
    while cursor < log.end:
        piece = log.piece(cursor, log.end)
        cursor = piece.next
        for record, source in zip(piece.records, piece.sources, strict=True):
            if record is not None:
                yield record, source


class Observers:
    """Of one model.

    Whoever is to be told is told, whatever others raise; the first error comes out where the
    update came in, when that is done.
    """

    def __init__(self, model: Observed) -> None:
        self.model = model
        self.guards: set[Callable[[], None]] = set()  # raise where it must not be changed from
        self.wakers: set[Callable[[], None]] = set()  # something is new, be it the clock alone
        self.closers: set[Callable[[], None]] = set()  # of streams; `dispose` calls them
        self.clones: set[Callable[[], None]] = set()
        self.joined: set[Observers] = set()  # of the clones
        # Of each event the callbacks, as they were given and as they are called.
        self._callbacks: dict[str, list[tuple[Callback, Callback]]] = {}
        self._cursor = model.log.end
        self._telling = False
        self._errors: list[Exception] = []  # raised since the last one came out

    def add(self, event: str, callback: Callback) -> None:
        """Raises UsageError at an event that there is not, or at what can't be called."""
        known = isinstance(event, str) and (event in EVENTS or event.startswith(OF_ONE_KEY))
        if not known:
            raise UsageError(
                f"event {event!r:.40}, there is {', '.join(EVENTS)}, and {OF_ONE_KEY}KEY"
            )
        if not callable(callback):
            raise UsageError(f"a callback that is a {type(callback).__name__}: it can't be called")
        if not self._callbacks:
            self._cursor = self.model.log.end
        called = _by_parts(callback) if event == "update" else callback
        self._callbacks.setdefault(event, []).append((callback, called))
        if event == "removed" and self.model.log.removed is None:
            self.model.log.removed = []

    def discard(self, event: str, callback: Callback) -> None:
        """Take the callback out, once; nothing if it is not there."""
        held = self._callbacks.get(event, [])
        for pair in held:
            if pair[0] == callback:
                held.remove(pair)
                return

    def fire(self, event: str, *args: object) -> None:
        """Tell all callbacks of an event. Raises the first error of theirs."""
        self._fire(event, *args)
        self._raise_first()

    def _fire(self, event: str, *args: object) -> None:
        for _, callback in tuple(self._callbacks.get(event, ())):
            self._call(callback, *args)

    def _call(self, callback: Callback, *args: object) -> None:
        try:
            callback(*args)
        except Exception as error:
            self._errors.append(error)

    def _raise_first(self) -> None:
        if self._errors:
            first, *more = self._errors
            self._errors = []
            if more:
                first.add_note(f"and {len(more)} more that callbacks of the same model raised")
            raise first

    def doubted(self, runs: Iterable[Run], kept: Iterable[Run]) -> None:
        """Tell of those that were not believed: unverified."""
        for (source, records), (_, taken) in zip(runs, kept, strict=True):
            believed = set(taken)
            for record in records:
                if record not in believed:
                    self._fire("unverified", Update.of(record, source))

    def heard(self, runs: Iterable[Run], start: int) -> None:
        """Tell of those not in the log from `start` on: known, or outranked, which is stale."""
        if not self._callbacks.get("stale"):
            return
        taken = set(entries_from(self.model.log, start))
        for source, records in runs:
            for record in records:
                if (record, source) not in taken:
                    self._fire("stale", Update.of(record, source))

    def admit(self) -> None:
        """Ask the guards, and those of all clones, whether the model may be changed from here.

        Called before anything moves. Raises what a guard raises.
        """
        asked = {self}
        to_ask = [self]
        while to_ask:
            observers = to_ask.pop()
            for guard in tuple(observers.guards):
                guard()
            more = observers.joined - asked
            asked |= more
            to_ask += more

    def tell(self) -> None:
        """The log has grown, or the clock has moved."""
        for wake in tuple(self.wakers):
            self._call(wake)
        if self._telling:
            return  # whoever tells comes to it
        self._telling = True
        try:
            self._tell_updates()
        finally:
            self._telling = False
        self._raise_first()

    def _tell_updates(self) -> None:
        log = self.model.log
        while self._callbacks and (self._cursor < log.end or log.removed):
            removed = log.removed
            log.removed = None if log.removed is None else []
            start = self._cursor
            self._cursor = log.end
            for record, source in list(entries_from(log, start)):
                update = Update.of(record, source)
                key, value = self.model.told(update)
                self._fire("update", UpdateEvent(key, value, node_of(source).hex(), update))
                self._fire("change", key, value)
                self._fire(f"{OF_ONE_KEY}{key}", value)
            for record, source in removed or ():
                self._fire("removed", Update.of(record, source))
            log = self.model.log

    # --- clones ---

    def join(self, other: "Observers") -> None:
        """From now on what either model has, the other has too, at once."""
        there = _forward(self.model, other.model)
        back = _forward(other.model, self.model)
        self.wakers.add(there)
        other.wakers.add(back)

        def part() -> None:
            self.wakers.discard(there)
            other.wakers.discard(back)
            self.joined.discard(other)
            other.joined.discard(self)
            for one in (self, other):
                one.clones.discard(part)
                one.fire("unclone", len(one.clones))

        self.clones.add(part)
        other.clones.add(part)
        self.joined.add(other)
        other.joined.add(self)
        there()


def _forward(model: Observed, other: Observed) -> Callable[[], None]:
    """Has `other` take over what is new in `model`."""
    cursor = 0
    under_way = False

    def forward() -> None:
        nonlocal cursor, under_way
        if under_way:
            return  # what it was called for is an echo
        start = cursor
        cursor = model.log.end
        under_way = True
        try:
            runs = [(source, [record]) for record, source in entries_from(model.log, start)]
            if runs:
                other.receive(runs, _EVER)
            if not other.clock.covers_all(model.clock.items()):
                other.commit(model.clock.items())
        finally:
            under_way = False

    return forward
