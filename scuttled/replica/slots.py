"""Models in which every change fills a slot, and the highest rank in a slot wins (I2).

What a change looks like is told in changes. A data type says what a slot is (map: a key) and how
its payload reads. All else comes from here: rank, history, tombstones, expiry, counting.

The log is the store: `_slots` only says at which position a slot's update stands. Measured on
1 M small updates: 250 bytes a key, 1.7 M applied a second.

Slots whose name begins with NUL are the model's own: OPTIONS holds its settings, CLEAR a mark
under which everything older is void (dropping a model). They are replicated like any other slot,
which keeps clocks truthful: what CLEAR dominates is dominated by something in this very state.
"""

import json
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, ClassVar

from scuttled.errors import DataError, RemoteProtocolError
from scuttled.replica.change import (
    CLEAR,
    DELETED,
    EXPIRES,
    EXPIRY_BYTES,
    KIND_AT,
    KIND_BITS,
    KINDS,
    LENGTH_AT,
    OPTIONS,
    OWN,
    SLOT_AT,
    SLOT_BYTES_MAX,
    Slot,
    check_parts,
    make_change,
    parse,
    slot_of,
)
from scuttled.replica.hlc import Author
from scuttled.replica.observers import GONE
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.tombstones import IsStable, Tombstones
from scuttled.replica.update import (
    STAMP_BYTES,
    Source,
    Update,
    outranks,
    stamp,
    timestamp_of,
)
from scuttled.replica.version_vector import Clock

OPTION_MS_MAX = 100 * 366 * 86_400_000  # a hundred years
EXPIRED_PER_CALL_MAX = 2048  # so that a million keys that expire together do not stall the loop


def _odd_slot(length: int, there: int) -> str:
    if there < length:
        return f"an update whose slot of {length} bytes ends after {there}"
    return f"an update for a slot of {length} bytes, at most {SLOT_BYTES_MAX}"


class Slots(Scuttlebutt):
    """The base of every data type whose changes fill slots."""

    strict: ClassVar[bool] = False  # whether `check_slot` is to see plain text too
    settings: ClassVar[tuple[str, ...]] = ()  # names of the options that it heeds

    def __init__(self, name: str = "default", author: Author | None = None) -> None:
        super().__init__(name, author)
        self._slots: dict[bytes, int] = {}  # where in the log a slot's update stands
        self._expiries: list[tuple[int, bytes, int]] = []  # heap of (when, slot, position)
        self._expired: set[bytes] = set()  # slots whose expiry was announced
        self._expired_ms = 0  # what was due by then was announced, if it was here
        self._tombstones = Tombstones()
        self._void: tuple[bytes, Source] | None = None  # rank of CLEAR
        self._cleared_by: Source | None = None  # of a CLEAR just accepted, and not yet in force
        self.bytes = 0  # of records held

    # --- reading ---

    @property
    def count(self) -> int:
        """Number of filled slots; those whose expiry was announced are no longer."""
        own = (CLEAR in self._slots) + (OPTIONS in self._slots)
        return len(self._slots) - self._tombstones.deleted - own - len(self._expired)

    def count_shown(self) -> int:
        """Number of slots that a reader sees now."""
        now_ms = self.now_ms()
        unannounced = sum(
            when <= now_ms and self._slots.get(slot) == position
            for when, slot, position in self._expiries
        )
        return self.count - unannounced

    def label(self, slot: Slot) -> bytes:
        """Label of a slot where keys are shown and matched; here its name."""
        return slot.slot

    def value(self, slot: Slot) -> tuple[str, bytes]:
        """Value that a filled slot shows: text, bytes or json, and the bytes."""
        return KINDS[slot.kind], slot.payload

    def is_gone(self, slot: Slot) -> bool:
        """True if what was deleted there is gone for a reader, too."""
        return True

    def find_label(self, label: bytes) -> Slot | None:
        """Slot that a reader sees under that label; looks at all there is."""
        return next((slot for slot in self.shown() if self.label(slot) == label), None)

    def shown(self) -> Iterable[Slot]:
        """All slots that a reader sees, by label."""
        now_ms = self.now_ms()
        slots = (parse(*self.log.entry(position)) for position in self._slots.values())
        return sorted((slot for slot in slots if slot.shown(now_ms)), key=self.label)

    def told(self, update: Update) -> tuple[str, Any]:
        """An update as events tell it: its label, and its value as Python has it, or GONE."""
        slot = parse(update.record, update.source)
        key = self.label(slot).decode("utf-8", "backslashreplace")
        if not slot.shown(self.now_ms()):
            return key, GONE
        kind, data = self.value(slot)
        if kind == "json":
            try:
                return key, json.loads(data)
            except (ValueError, RecursionError):
                pass  # a peer's doing
        return key, data if kind == "bytes" else data.decode("utf-8", "backslashreplace")

    @property
    def options(self) -> dict[str, Any]:
        """The settings of this model that all nodes share."""
        found = self.lookup(OPTIONS)
        try:
            options = json.loads(found.payload) if found is not None else {}
        except (ValueError, RecursionError):
            return {}
        return options if isinstance(options, dict) else {}

    def set_options(self, wall_ms: int, **options: Any) -> Update:
        """Change some of them."""
        whole = json.dumps({**self.options, **options}).encode()
        return self.fill(OPTIONS, OWN, whole, wall_ms)

    @property
    def keeps_deleted(self) -> bool:
        """True if deletions are never forgotten, for the sake of replicas that are no members."""
        return self.options.get("keep_deleted") is True

    def option_ms(self, name: str) -> int:
        """A setting that is a time, in ms; 0 if there is none that makes sense."""
        if OPTIONS not in self._slots:  # each write asks
            return 0
        found = self.options.get(name, 0)
        return min(max(found, 0), OPTION_MS_MAX) if type(found) is int else 0

    def lookup(self, slot: bytes) -> Slot | None:
        """Slot by its name, be it deleted or expired."""
        position = self._slots.get(slot)
        return None if position is None else parse(*self.log.entry(position))

    def slot_names(self) -> list[bytes]:
        """All slots that are filled or were; those whose name begins with NUL are our own."""
        return list(self._slots)

    def dominates(self, other: Slot) -> bool:
        """True if what is here outranks that: in its very slot, or by having dropped all."""
        void = self._void
        found = self.lookup(other.slot)
        if void is not None and (stamp(other.timestamp), other.source) < void:
            return True
        return found is not None and (found.timestamp, found.source) > (
            other.timestamp,
            other.source,
        )

    def live(self, slot: bytes, wall_ms: int) -> Slot | None:
        """Slot as a reader sees it at that time."""
        found = self.lookup(slot)
        return found if found is not None and found.shown(wall_ms) else None

    def history(self, clock: Clock) -> Iterable[Update]:
        """All updates held that `clock` does not cover, in rank order."""
        entries = map(self.log.entry, self._slots.values())
        updates = (Update.of(record, source) for record, source in entries)
        missing = (
            update for update in updates if not clock.covers(update.source, update.timestamp)
        )
        return sorted(missing, key=itemgetter(1, 2))

    # --- writing ---

    def fill(
        self, slot: bytes, kind: int, payload: bytes, wall_ms: int, expires_ms: int = 0
    ) -> Update:
        """Write a slot on this node. Raises DataError at a name longer than peers take (I7)."""
        if len(slot) > SLOT_BYTES_MAX:
            raise DataError(f"a slot of {len(slot)} bytes, at most {SLOT_BYTES_MAX}")
        return self.write(make_change(slot, kind, payload, expires_ms), wall_ms)

    def drop(self, wall_ms: int) -> int:
        """Void everything written so far, here and everywhere; how many keys went."""
        gone = self.count
        self.fill(CLEAR, OWN, b"", wall_ms)
        return gone

    @property
    def cleared(self) -> bool:
        """Dropped, and not written to since."""
        return self._void is not None and self.count == 0 and OPTIONS not in self._slots

    def expire(self, wall_ms: int) -> int:
        """Move what has expired to the end of the log, where readers meet it; how many were.

        Nothing is sent for it: every node knows by itself. At most EXPIRED_PER_CALL_MAX a call.
        """
        count = 0
        heap = self._expiries
        while heap and heap[0][0] <= wall_ms and count < EXPIRED_PER_CALL_MAX:
            _, slot, position = heappop(heap)
            if self._slots.get(slot) == position:
                record, source = self.log.entry(position)
                self.log.free(position)
                position = self.log.append(record, source)
                self._slots[slot] = position
                self._tombstones.expire(slot, position)
                self._expired.add(slot)
                count += 1
        if count:
            self._expired_ms = max(self._expired_ms, wall_ms)
        return count

    @property
    def expired_ms(self) -> int:
        if not self._expiries:
            return self._expired_ms
        due_ms, _, _ = self._expiries[0]  # of what came late, or did not fit in one call
        return min(self._expired_ms, due_ms - 1)

    def has_expired(self, slot: bytes) -> bool:
        """True if `expire` has announced it."""
        return slot in self._expired

    def next_expiry_ms(self) -> int | None:
        """Milliseconds at which `expire` has something to do."""
        return self._expiries[0][0] if self._expiries else None

    def leases(self) -> Iterable[tuple[int, Slot]]:
        """Slots that are to expire and have not, and where in the log they stand."""
        for _, slot, position in self._expiries:
            if self._slots.get(slot) == position:
                yield position, parse(*self.log.entry(position))

    # --- forgetting deletions ---

    def collect(self, is_stable: IsStable, before_ms: int, *, alone: bool = False) -> int:
        """Let go of tombstones, and of what expired, that all members cover; how many.

        What went raises the floor: who lies below it may hold what a tombstone had deleted; if we
        were always `alone`, nobody can. Only what was deleted (or expired) before `before_ms`, so
        that watchers meet it first. Looks at the oldest of them (`tombstones`).
        """
        gone = 0
        for slot, position, grave in self._tombstones.stable(self.log, is_stable, before_ms):
            if not alone:
                self.floor.rise(grave.source, grave.timestamp)
            del self._slots[slot]
            self._forget(slot, position, self.log.entry(position).record, collected=True)
            gone += 1
        return gone

    def graves(self) -> list[Slot]:
        """The oldest of what waits to be collected."""
        return self._tombstones.oldest(self.log)

    @property
    def grave_count(self) -> int:
        """Deleted or expired slots that wait to be collected."""
        return len(self._tombstones)

    @property
    def tombstones(self) -> int:
        """Deletions among them."""
        return self._tombstones.deleted

    # --- the doorway ---

    def apply_update(self, update: Update) -> bool:
        """Take one update into slots and log; False if a higher rank was there."""
        before = self.log.end
        self._accept(update.source, [update.record])
        return self.log.end > before

    def _accept(self, source: Source, records: Sequence[bytes]) -> None:
        """Take records of one source into slots and log; those outranked vanish.

        The hot path: a batch is taken in stretches that fit the log's tail segment.
        """
        if self._void is not None:
            void = self._void
            records = [record for record in records if (record[:STAMP_BYTES], source) >= void]
        done = 0
        total = len(records)
        while done < total:
            upto = min(total, done + self.log.room())
            self._accept_stretch(source, records[done:upto] if upto - done < total else records)
            done = upto

    def _accept_stretch(self, source: Source, records: Sequence[bytes]) -> None:
        """Records that fit the tail. One that is wrong leaves those before it, and nothing else."""
        log = self.log
        slots = self._slots
        strict = self.strict
        put_record = log.tail.records.append
        put_source = log.tail.sources.append
        first = log.end
        end = first  # the position of the next one; the log is told at the end how many came
        size = 0
        try:
            for record in records:
                length = record[LENGTH_AT] << 8 | record[LENGTH_AT + 1]
                slot = record[SLOT_AT : SLOT_AT + length]
                if not length == len(slot) <= SLOT_BYTES_MAX:
                    raise RemoteProtocolError(_odd_slot(length, len(slot)))
                # Not signed, no deletion, no expiry, no slot of the model's own: nearly all are so.
                plain = DELETED < record[KIND_AT] < OWN
                if strict or not plain or not slot.isascii() or slot < b"\x01":
                    self._check(record, slot)
                position = slots.get(slot)
                if position is not None:
                    old = log.entry(position)
                    # The higher rank stands, whichever came first (I2).
                    if not outranks(record, source, *old):
                        continue
                    # A hole in the log; a reader who was to come by finds what fills the slot (I6).
                    self._forget(slot, position, old.record, heir=end)
                elif not plain and self._was_collected(record, source):
                    continue
                slots[slot] = end
                put_record(record)
                put_source(source)
                size += len(record)
                if not plain:
                    self._note(record, slot, end)
                end += 1
        except IndexError:
            raise RemoteProtocolError("an update too short to name its slot") from None
        finally:  # also before an error: slots and log must agree on what was taken
            log.added(end - first)
            self.bytes += size
            if self._cleared_by is not None:
                self._wipe()

    def _was_collected(self, record: bytes, source: Source) -> bool:
        """True if it is a deletion that was under way to us when all had it, and we forgot it."""
        return record[KIND_AT] & KIND_BITS == DELETED and self.floor[source] >= timestamp_of(record)

    def _check(self, record: bytes, slot: bytes) -> None:
        """Demand on a record that is not plain. Raises RemoteProtocolError, nothing changed."""
        bits = record[KIND_AT]
        kind = bits & KIND_BITS
        if bits & EXPIRES if kind in (DELETED, OWN) else kind not in KINDS:
            raise RemoteProtocolError(f"an update of the unknown kind {bits}")
        if slot not in (CLEAR, OPTIONS) if kind == OWN else slot[:1] == b"\x00":
            raise RemoteProtocolError(f"an update of kind {kind} for the slot {slot!r:.60}")
        if bits > KIND_BITS:
            check_parts(record, SLOT_AT + len(slot))
        self.check_slot(slot)

    def check_slot(self, slot: bytes) -> None:
        """A data type's own demand on slots; here UTF-8. Raises RemoteProtocolError."""
        try:
            slot.decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError(f"a slot that is not UTF-8: {slot!r:.60}") from None

    def _forget(
        self, slot: bytes, position: int, record: bytes, *, collected: bool = False, heir: int = -1
    ) -> None:
        """Let go of what stood in a slot: a hole in the log, and one less in the counts."""
        if collected:
            self.log.forget(position)
        else:
            self.log.free(position, heir)
        self.bytes -= len(record)
        kind = record[KIND_AT]
        if kind & KIND_BITS == DELETED:
            self._tombstones.outranked(slot, deleted=True)
        elif kind & EXPIRES:
            self._expired.discard(slot)
            self._tombstones.outranked(slot, deleted=False)

    def _note(self, record: bytes, slot: bytes, position: int) -> None:
        """A deletion, a time of expiry or a slot of the model's own has come in."""
        kind = record[KIND_AT]
        if kind & KIND_BITS == DELETED:
            self._tombstones.delete(slot, position)
        elif kind & EXPIRES:
            at = SLOT_AT + len(slot)
            when = int.from_bytes(record[at : at + EXPIRY_BYTES], "big")
            heappush(self._expiries, (when, slot, position))
        elif slot == CLEAR:
            self._cleared_by = self.log.entry(position).source

    def _wipe(self) -> None:
        """Drop all that CLEAR outranks."""
        assert self._cleared_by is not None
        record, source = self.log.entry(self._slots[CLEAR])
        self._cleared_by = None
        self._void = void = (record[:STAMP_BYTES], source)
        for slot, position in list(self._slots.items()):
            old, old_source = self.log.entry(position)
            if (old[:STAMP_BYTES], old_source) < void:
                self._forget(slot, position, old)
                del self._slots[slot]

    def _index(self, positions: list[int], records: list[bytes], sources: list[Source]) -> None:
        slots = self._slots
        log = self.log
        self._expired_ms = log.marks.expired_ms
        for position, record, source in zip(positions, records, sources, strict=True):
            slot = slot_of(record)
            earlier = slots.get(slot)
            if earlier is not None:
                # storage had no time to delete one of the two
                old = log.entry(earlier)
                if not outranks(record, source, *old):
                    log.free(position)
                    continue
                self._forget(slot, earlier, old.record)
            slots[slot] = position
            self.bytes += len(record)
            if not DELETED < record[KIND_AT] < OWN:
                self._note_again(record, slot, position)
        if CLEAR in slots:
            self._cleared_by = log.entry(slots[CLEAR]).source
            self._wipe()

    def _note_again(self, record: bytes, slot: bytes, position: int) -> None:
        """The same for what storage kept: an expiry is announced once, not at each start."""
        expires_ms = 0
        if record[KIND_AT] & EXPIRES:
            expires_ms = parse(record, self.author.source).expires_ms
        if 0 < expires_ms <= self._expired_ms:
            self._expired.add(slot)
            self._tombstones.expire(slot, position)
        else:
            self._note(record, slot, position)
