"""A replicated object: what every data type gets from here, and the two methods it writes itself.

As in the text this project was born from, a subclass writes

    history(clock)          all updates it holds that the clock does not cover, in rank order
    apply_update(update)    take an update into the state; False if a higher rank was there

and has replication, storage and watching for it. Where an update fills a place of its own (a
key, an element, a field), `slots.Slots` does both, faster.

The order of effects (I4): an update is checked, then applied, then numbered in the arrival log;
the clock moves last, and only by `commit` or by a write of this node's own.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

from scuttled.errors import DataError, UsageError
from scuttled.replica.arrival_log import SEGMENT_ENTRIES, ArrivalLog, Marks, Segment
from scuttled.replica.hlc import Author
from scuttled.replica.observers import Callback, Observers
from scuttled.replica.saved_marks import SavedMarks
from scuttled.replica.signatures import believed
from scuttled.replica.sources import (
    Crowding,
    check_author,
    check_bridged,
    check_together,
    crowding,
    has_room,
    overfull,
)
from scuttled.replica.update import (
    CHANGE_BYTES_MAX,
    STAMP_BYTES,
    TICKS_PER_MS,
    Run,
    Source,
    Stamp,
    Update,
    source_text,
    stamp,
    timestamp_of,
)
from scuttled.replica.version_vector import Clock

COMPACT_ENTRIES_MIN = 1024
RESET_GAP = 1 << 24  # positions: more than anybody writes while a state is gathered
DOUBT_AGAIN_TICKS = 60_000 * TICKS_PER_MS  # until what was not believed is asked for again


class Received(NamedTuple):
    """Outcome of a batch: the log positions it took, and what was left out."""

    start: int
    end: int
    future: dict[Source, Stamp]  # by source, the earliest stamp that was refused (I9)
    refused: int = 0  # how many were
    doubted: Mapping[str, int] = {}  # how many were not believed, by cause


class Husk(NamedTuple):
    """Husk of a model before a RESET. To free a million updates at once takes 0.1 s."""

    dicts: list[dict[Any, Any]]
    segments: list[Segment]

    def shed(self, count: int) -> bool:
        """Let go of about so many updates; False if that was all."""
        del self.segments[-max(count // SEGMENT_ENTRIES, 1) :]
        for held in self.dicts:
            for _ in range(min(count, len(held))):
                held.popitem()
        return bool(self.segments) or any(self.dicts)


def change_bytes(change: Any) -> bytes:
    """A change as it is kept. Raises UsageError."""
    if isinstance(change, bytes):
        return change
    try:
        return json.dumps(change, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"a change that JSON can't say: {error}") from None


def _new_author() -> Author:
    """Somebody who never wrote before. A node hands in its own, and never comes here."""
    from scuttled.replica.default_author import new_author

    return new_author()


class Scuttlebutt(ABC):
    """One model on one node. Pure: time comes in as an argument, bytes go out.

    Its name is what both ends of a stream know it by. Without an author it has one of its own,
    who never wrote before; models that share a stream share an author. Raises UsageError at
    arguments of another kind.
    """

    data_type: ClassVar[str]

    def __init__(self, name: str = "default", author: Author | None = None) -> None:
        if not isinstance(name, str):
            raise UsageError(f"a model's name that is a {type(name).__name__}, not text")
        if not (author is None or isinstance(author, Author)):
            raise UsageError(f"an author that is a {type(author).__name__}: see new_author")
        self.name = name
        self.author = author or _new_author()
        self.clock = Clock()
        self.saved = SavedMarks()  # what storage has of clock and floor
        self.floor = Clock()  # below it, deletes were forgotten: see members
        self.unclaimed = False  # it holds more than its clock says: see future
        self.hurry_to = 0  # what stands below in the log is hurried for: see `hurry`
        self.log = ArrivalLog()
        self._compact_at = COMPACT_ENTRIES_MIN
        self._hashed: tuple[int, bytes] | None = None  # clock revision and hash
        self.observers: Observers | None = None

    @abstractmethod
    def history(self, clock: Clock) -> Iterable[Update]:
        """All updates held that `clock` does not cover, in rank order."""

    @abstractmethod
    def apply_update(self, update: Update) -> bool:
        """Take an update into the state. False, and no change, if a higher rank dominates it.

        Raises RemoteProtocolError if the change is not one of this type; the state is as before.
        """

    def to_json(self) -> Any:
        """All of it, in the form that JSON has for such a thing. Here: the changes, in order."""
        return [update.change.decode("utf-8", "replace") for update in self.history(Clock())]

    def whole(self) -> tuple[str, bytes]:
        """All of it as one value: its kind (text, bytes, json) and its bytes."""
        # JSON's own escape for half of a surrogate pair, which UTF-8 can't hold.
        text = json.dumps(self.to_json(), ensure_ascii=False)
        return "json", text.encode(errors="backslashreplace")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.id}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be pickled or copied, since two replicas must not "
            "write as one author: use save() and load(), clone(), or to_json() for what it holds"
        )

    @property
    def id(self) -> str:
        """Of the node, or the program, that it is a replica of: 16 hexadecimal digits."""
        return self.author.node_id.hex()

    def now_ms(self) -> int:
        """The wall clock, as this node's owner reads it."""
        return self.author.now_ms()

    # --- the ways in; all go through `_accept` (I6) ---

    def local_update(self, change: Any) -> Update:
        """Write a change now: bytes as they are, anything else as JSON.

        Raises UsageError if it is neither.
        """
        return self.write(change_bytes(change), self.now_ms())

    def write(self, change: bytes, wall_ms: int) -> Update:
        """Stamp, apply and number a change of this node's own.

        Raises, and nothing was done: Refused if its author would be a source too many, DataError
        at a change larger than peers take (I7).
        """
        if self.observers is not None:
            self.observers.admit()
        author = self.author
        if len(change) > CHANGE_BYTES_MAX:
            raise DataError(f"a change of {len(change)} bytes, at most {CHANGE_BYTES_MAX}")
        if not self.clock[author.source]:
            check_author(self.clock, author, self.name)
        update = Update(change, author.hlc.next(wall_ms), author.source)
        if author.signer is not None:
            update = self._sealed(update)
        self._accept(author.source, [update.record])
        self.clock.rise(author.source, update.timestamp)
        if self.observers is not None:
            self.observers.tell()
        return update

    def adopt(self, change: bytes, timestamp: int, source: Source) -> bool:
        """A change that reached this node alone, from somebody who can't gossip (a bridge).

        It keeps the time it was made at. The source is one that only this node writes under, so
        the clock may follow; it must rise, and False says that it does not: nothing was done.
        Callers have refused what is too far ahead (I9). Raises Refused at a source too many (I7).
        """
        known = self.clock[source]
        if timestamp <= known:
            return False
        if not known:
            check_bridged(self.clock, self.author, self.name)
        self.author.hlc.observe(timestamp)
        self._accept(source, [self._sealed(Update(change, timestamp, source)).record])
        self.clock.rise(source, timestamp)
        self._tell()
        return True

    def _sealed(self, update: Update) -> Update:
        sign = self.author.signer
        if sign is None:
            return update
        return Update.of(sign(self.name, update.source, update.record), update.source)

    def receive(self, runs: Iterable[Run], limit: Stamp) -> Received:
        """Merge a peer's updates, in any order. The clock does not move; that is `commit` (I3).

        Updates stamped above `limit` are refused (I9). Raises RemoteProtocolError at a record
        that is none; runs before it are kept, which is harmless, since no clock claims them.
        """
        self._admit()
        start = self.log.end
        future: dict[Source, Stamp] = {}
        refused = 0
        doubted = Counter[str]()
        told = runs = runs if self.observers is None else list(runs)
        if self.author.verifier is not None:
            runs, doubted, sources = believed(self.author.verifier, self.name, runs)
            # As of the future: no commit is heeded, and it is asked for again later (I4).
            later = stamp(timestamp_of(limit) + DOUBT_AGAIN_TICKS)
            future.update(dict.fromkeys(sources, later))
        for source, records in runs:
            if not records:
                continue
            newest = max(records)
            if newest[:STAMP_BYTES] > limit:
                late = [record for record in records if record[:STAMP_BYTES] > limit]
                records = [record for record in records if record[:STAMP_BYTES] <= limit]
                future[source] = Stamp(min(late)[:STAMP_BYTES])
                refused += len(late)
                if not records:
                    continue
                newest = max(records)
            self.author.hlc.observe(timestamp_of(newest))
            self._accept(source, records)
        received = Received(start, self.log.end, future, refused, doubted)
        if self.observers is not None:
            if doubted:
                self.observers.doubted(told, runs)
            self.observers.heard(runs, start)
            self.observers.tell()
        return received

    def commit(self, times: Iterable[tuple[Source, int]]) -> bool:
        """A peer's word that nothing these times cover is missing here (I3).

        Raises TooManySources if it brings more than a clock can have; it has not moved then.
        """
        self._admit()
        told = dict(times)
        clock = self.clock
        check_together(clock, told, self.name)
        rose = clock.merge(told.items())
        self.author.hlc.observe(clock[self.author.source])  # our next write lies above it (I1)
        self._tell()
        return rose

    @property
    def has_room(self) -> bool:
        """True if its author may write: as one of its sources, or as a new one (I7)."""
        return has_room(self.clock, self.author)

    @property
    def overfull(self) -> str:
        """Why no peer can be told of it: it has too many sources; "" if it has not."""
        return overfull(self.clock, self.name)

    @property
    def crowding(self) -> Crowding | None:
        """Distance to the bound of sources; None below half of it."""
        return crowding(self.clock, self.name, self.author)

    def _admit(self) -> None:
        if self.observers is not None:
            self.observers.admit()

    def _tell(self) -> None:
        if self.observers is not None:
            self.observers.tell()

    def _accept(self, source: Source, records: Sequence[bytes]) -> None:
        log = self.log
        for record in records:
            if self.apply_update(Update.of(record, source)):
                log.append(record, source)
        if log.live >= self._compact_at:
            self._compact()

    def _compact(self) -> None:
        """Make holes of what `history` no longer holds; amortised over the updates since."""
        held = {(stamp(update.timestamp), update.source) for update in self.history(Clock())}
        cursor = 0
        log = self.log
        while cursor < log.end:
            piece = log.piece(cursor, log.end)
            cursor = piece.next
            for at, record, source in zip(
                piece.positions, piece.records, piece.sources, strict=True
            ):
                if record is not None and (record[:STAMP_BYTES], source) not in held:
                    log.free(at)
        self._compact_at = max(COMPACT_ENTRIES_MIN, 2 * log.live)

    # --- those who watch, in this process ---

    def on(self, event: str, callback: Callback) -> Callback:
        """Have a callback told of an event from now on; the callback, for `off`.

        update(event)       an update was accepted, a write of one's own or another's: key, value
                            and source in one UpdateEvent; or three arguments: f(key, value, source)
        change(key, value)  the same, as the data type shows it; value GONE: it is deleted
        change:KEY(value)   the same, of that key alone
        stale(Update)       came, but was known or is outranked
        removed(Update)     is no longer part of the history
        unverified(Update)  came, but is not signed as it should be
        unstream(left)      a stream ended, so many are left; unclone(left): likewise
        dispose()

        It is called after everything has its place, so it may write. What it raises comes out
        where the update came in, once all others were told. Raises UsageError at another event.
        """
        self.observed.add(event, callback)
        return callback

    def off(self, event: str, callback: Callback) -> None:
        """No longer; nothing if it was not told."""
        self.observed.discard(event, callback)

    @property
    def observed(self) -> Observers:
        """Observers of it; a model that nobody asks of has none."""
        if self.observers is None:
            self.observers = Observers(self)
        return self.observers

    def told(self, update: Update) -> tuple[str, Any]:
        """An update as events tell it: key and value. Here: the source, and the bytes."""
        return source_text(update.source), update.change

    @property
    def streams(self) -> int:
        """Number of streams that replicate it now."""
        return len(self.observed.closers)

    def clone(self) -> Self:
        """Another one with the same author; what is written to either shows in both, at once."""
        clone = type(self)(self.name, self.author)
        self.observed.join(clone.observed)
        return clone

    def dispose(self) -> None:
        """End its streams, and part from its clones. It can still be used, alone.

        What was written until now is sent first, and a stream is over once the other end has it,
        or takes no more of it.
        """
        observed = self.observed
        observed.admit()
        observed.fire("dispose")
        for end in (*observed.closers, *observed.clones):
            end()

    # --- rejoining ---

    def blank(self) -> "Scuttlebutt":
        """An empty replica, in which a peer's whole state is gathered.

        Its log begins where no reader of ours has been, so all of them will start over.
        """
        blank = type(self)(self.name, self.author)
        blank.log = ArrivalLog(self.log.end + RESET_GAP)
        return blank

    def become(self, whole: "Scuttlebutt") -> "Husk":
        """Take over all that `blank` has become: state, clock and floor, in one step (RESET).

        The clock may go back. Until storage has it all, what it had stays the durable state.
        What this was is handed out, to be let go of piece by piece.
        """
        husk = Husk([], [*self.log.segments])
        husk.dicts.extend(held for held in vars(self).values() if isinstance(held, dict))
        assert self.log.end <= whole.log.forgotten + 1, "more was written than fits in the gap"
        whole.log.replace(self.log)
        whole.saved = SavedMarks(self.saved.clock, replaced=whole.log.stored)
        whole.observers = self.observers
        # All fields are one state, so all of them go, whatever a data type calls its own. Named
        # one by one, the field of a user's type, or of tomorrow's, would outlive the RESET; in an
        # object of their own, they would cost each update on the hot path a hop.
        vars(self).clear()
        vars(self).update(vars(whole))
        for times in (self.clock, self.floor):
            for _, time in times.items():
                self.author.hlc.observe(time)
        return husk

    def hurry(self) -> None:
        """A writer waits until others have what the log holds now: peers are asked to save it."""
        self.hurry_to = self.log.end

    @property
    def is_system(self) -> bool:
        """True if it is the cluster's own, like the rows of members: names with _ in front are."""
        return self.name.startswith("_")

    @property
    def expired_ms(self) -> int:
        """Time up to which what expired stands where readers meet it; 0 where nothing expires."""
        return 0

    @property
    def durable_clock(self) -> Clock:
        """Clock of what is on disk (or needs no disk)."""
        return self.saved.clock if self.log.stored else self.clock

    # --- storage ---

    def restore(
        self,
        positions: list[int],
        records: list[bytes],
        sources: list[Source],
        clock: Mapping[Source, int],
        floor: Mapping[Source, int] | None = None,
        marks: Marks = Marks(),  # noqa: B008 - it can't be changed
    ) -> None:
        """Take up what storage kept, once, before anything else.

        The saved clock may lag behind. What this node wrote itself it has all of, so its own
        entry covers its latest record; of others it claims what was saved, no more.
        """
        self.log.restore(positions, records, sources, marks)
        self._index(positions, records, sources)
        self.clock.merge(clock.items())
        revision = self.clock.revision
        self.floor.merge((floor or {}).items())
        own = self.author.source
        for record, source in zip(records, sources, strict=True):
            if source == own:
                self.clock.rise(own, timestamp_of(record))
        self.saved.note(self.clock.items(), revision, self.floor.revision)
        self.author.hlc.observe(timestamp_of(max(records, default=bytes(STAMP_BYTES))))
        for _, time in self.clock.items():
            self.author.hlc.observe(time)

    def _index(self, positions: list[int], records: list[bytes], sources: list[Source]) -> None:
        for position, record, source in zip(positions, records, sources, strict=True):
            if not self.apply_update(Update.of(record, source)):
                self.log.free(position)

    def clock_hash(self) -> bytes:
        """Eight bytes that are equal where name and clock are; kept until the clock moves."""
        if self._hashed is None or self._hashed[0] != self.clock.revision:
            digest = blake2b(self.name.encode(), digest_size=8)
            for source, time in sorted(self.clock.items()):
                digest.update(source + stamp(time))
            self._hashed = (self.clock.revision, digest.digest())
        return self._hashed[1]

    @property
    def is_saved(self) -> bool:
        """True if all of this model, clock included, is on disk (or needs no disk)."""
        log = self.log
        return not log.stored or (
            log.saved == log.end and not log.freed and self.saved.are_of(self.clock, self.floor)
        )
