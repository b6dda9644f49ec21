"""Taking back the future: what a node does with stamps that lie too far ahead of its clock.

A node whose wall clock was ahead has stamped what it wrote then in the future, and took what
others with such a clock wrote. Since timestamps only rise (I1) and nobody takes what is too far
ahead (I9), it would be cut off until time catches up. When `timekeeping` says so, it takes all of
that back, in one step and one transaction on disk, and goes on under a new life:

* What it wrote itself is issued anew, in order of rank, stamped after all that is left. So it
  outranks what it had superseded here, and the node's clock may go on to claim that: it is only
  capped, at the greatest time that is left (`sane`). This is truthful (I3): what the clock covers
  is in the state, or outranked there by what was issued anew.
* What others wrote in the future is theirs to issue anew. It is not for us to stamp it as of now:
  its writer may have done so long ago, and a value that somebody wrote over that since would be
  lost. So it is kept at the very bottom, stamped 1, 2, 3, below all that anybody ever wrote, and
  shows only where nobody knows better, as when its writer is gone. A deletion is left out.
  But what it had superseded here is gone, and outranked by nothing. So the clock of such a model
  claims nothing any more but the new life, its floor is let go, and peers send all that they have;
  below a peer's floor there is a RESET, as ever. The same if a floor lies in the future (a
  deletion was forgotten by all, whose clocks were ahead), and for CLEAR, which is never issued
  anew: as of now it would void what others wrote since.

The rules were tried in simulation/nodes/futures, with each of them broken on purpose.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from scuttled.errors import DataError, Refused
from scuttled.replica.arrival_log import ArrivalLog, Entry, Piece
from scuttled.replica.change import CLEAR, DELETED, OWN, make_change, parse, slot_of
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import KEYS_BYTES_MAX, KEYS_MAX, NAMED_MAX
from scuttled.replica.scuttlebutt import Husk, Scuttlebutt
from scuttled.replica.signatures import unsealed
from scuttled.replica.slots import Slots
from scuttled.replica.update import STAMP_BYTES, TICKS_PER_MS, Source, node_of, stamp, timestamp_of
from scuttled.units import format_duration


@dataclass(slots=True)
class TakenBack:
    """Report of a future that was taken back."""

    at_ms: int
    ahead_ms: int
    life: int
    issued: list[str] = field(default_factory=list)  # keys written anew, the first KEYS_MAX
    issued_count: int = 0
    kept_count: int = 0  # of others, at the bottom
    dropped_count: int = 0  # of others that were deletions or over; and each CLEAR
    unclaimed: list[str] = field(default_factory=list)  # models that peers send anew
    named_chars: int = 0  # of the keys

    def note(self, key: str) -> None:
        """Name one more, if there is room."""
        if len(self.issued) < KEYS_MAX and self.named_chars + len(key) <= KEYS_BYTES_MAX // 4:
            self.named_chars += len(key)
            self.issued.append(key)

    @property
    def words(self) -> str:
        """For the log."""
        names = ", ".join(self.issued[:NAMED_MAX])
        more = ", ..." if self.issued_count > NAMED_MAX else ""
        issued = f"{self.issued_count} of its own ({names}{more})" if names else "none of its own"
        words = (
            f"the clock was ahead: what was stamped up to {format_duration(self.ahead_ms / 1000)} "
            f"in the future is taken back, and this node goes on as life {self.life}; updates "
            f"issued anew: {issued}"
        )
        if self.kept_count or self.dropped_count:
            words += (
                f"; of others {self.kept_count} are kept for want of anything newer, "
                f"{self.dropped_count} deletions or drops let go"
            )
        if self.unclaimed:
            words += f"; asking the peers for all of {', '.join(self.unclaimed)}"
        return words


def take_back(
    models: Collection[Scuttlebutt], author: Author, now_ms: int, limit: int
) -> tuple[TakenBack, list[Scuttlebutt], list[Husk]]:
    """Leave nothing that is stamped above `limit`, in any of a node's models.

    What came of it, the models that are others now, and what they were before: to be let go of
    piece by piece. Storage has to write them in one transaction, with the life and the hlc.
    """
    author.live_as(author.life + 1)
    ahead_ms = author.hlc.last // TICKS_PER_MS - now_ms
    report = TakenBack(now_ms, ahead_ms, author.life)
    sane = max((_sane_of(model, limit) for model in models), default=0)
    parts = [_Part(model, author, now_ms, limit) for model in models if _holds_future(model, limit)]
    husks = [part.become_what_is_left(sane) for part in parts]
    # Lowest first: below a CLEAR that is left nothing can be kept.
    author.hlc.last = 0
    for part in sorted(parts, key=lambda part: part.void):
        part.keep_of_others(report)
    author.hlc.last = max(author.hlc.last, sane)
    for part in parts:
        part.issue_own(report)
    users = [part for part in parts if not part.model.is_system]
    report.unclaimed += [part.model.name for part in users if part.unclaimed]
    return report, [part.model for part in parts], husks


def _times_of(model: Scuttlebutt) -> Iterable[int]:
    yield from (time for _, time in model.clock.items())
    yield from (time for _, time in model.floor.items())
    yield from map(timestamp_of, _records_of(model))


def _records_of(model: Scuttlebutt) -> Iterable[bytes]:
    for piece in _pieces(model.log):
        yield from (record for record in piece.records if record is not None)


def _pieces(log: ArrivalLog) -> Iterable[Piece]:
    cursor = log.first
    while cursor < log.end:
        piece = log.piece(cursor, log.end)
        cursor = piece.next
        yield piece


def _sane_of(model: Scuttlebutt, limit: int) -> int:
    """The greatest time that is left: all that a capped clock claims lies at or below."""
    return max((time for time in _times_of(model) if time <= limit), default=0)


def _holds_future(model: Scuttlebutt, limit: int) -> bool:
    return any(time > limit for time in _times_of(model))


class _Part:
    """A model, what is left of it, and what it held in the future."""

    def __init__(self, model: Scuttlebutt, author: Author, now_ms: int, limit: int) -> None:
        self.model = model
        self.author = author
        self.left = model.blank()
        self.own: list[Entry] = []  # to be issued anew, by rank
        self.others: list[Entry] = []  # to be kept at the bottom, by rank
        self.let_go = 0
        self.expired: set[Entry] = set()
        self.unclaimed = any(time > limit for _, time in model.floor.items())
        self.now_ms = now_ms
        bound = stamp(limit)
        for piece in _pieces(model.log):
            runs: list[tuple[Source, list[bytes]]] = []
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is None:
                    continue
                if record[:STAMP_BYTES] > bound:
                    self._sort_out(Entry(record, source))
                elif runs and runs[-1][0] == source:
                    runs[-1][1].append(record)
                else:
                    runs.append((source, [record]))
            self.left.receive(runs, bound)
        for entries in (self.own, self.others):
            entries.sort(key=lambda entry: (entry.record[:STAMP_BYTES], entry.source))

    def _sort_out(self, entry: Entry) -> None:
        own = node_of(entry.source) == self.author.node_id
        slot = parse(*entry) if isinstance(self.model, Slots) else None
        is_clear = slot is not None and slot.slot == CLEAR
        # What it had superseded is gone, and nothing that we write now will outrank that.
        self.unclaimed |= not own or is_clear or self.model.is_system
        if self.model.is_system:
            pass  # rows of members are written anew by whom they are about
        elif own and not is_clear:
            self.own.append(entry)
        elif is_clear or (slot is not None and slot.kind == DELETED):
            self.let_go += 1
        else:
            self.others.append(entry)

    def become_what_is_left(self, sane: int) -> Husk:
        """Clock and floor are what may still be claimed."""
        model = self.model
        left = self.left
        self.expired = {
            entry
            for entry in (*self.own, *self.others)
            if isinstance(model, Slots) and model.has_expired(slot_of(entry.record))
        }
        if self.own and not model.has_room:  # for one more life; in an empty clock there is
            self.unclaimed = True
        if not self.unclaimed:
            left.clock.merge([(source, min(time, sane)) for source, time in model.clock.items()])
            left.floor.merge(model.floor.items())
        left.unclaimed = self.unclaimed
        return model.become(left)

    @property
    def void(self) -> int:
        """The time of the CLEAR that is left; 0: there is none."""
        clear = self.left.lookup(CLEAR) if isinstance(self.left, Slots) else None
        return clear.timestamp if clear is not None else 0

    def keep_of_others(self, report: TakenBack) -> None:
        """Below all that anybody knows, from 1 on."""
        author = self.author
        author.hlc.observe(self.void)
        for entry in self.others:
            if entry not in self.expired and self._write(entry, 0):
                report.kept_count += 1
            else:
                self.let_go += 1
        report.dropped_count += self.let_go

    def issue_own(self, report: TakenBack) -> None:
        for entry in self.own:
            if not self._write(entry, self.now_ms):
                report.dropped_count += 1
                continue
            report.issued_count += 1
            report.note(_label(self.model, entry))

    def _write(self, entry: Entry, wall_ms: int) -> bool:
        """False if it can't be: a version before this one may have taken what is too large now."""
        try:
            self.model.write(self._change(entry), wall_ms)
        except (Refused, DataError):
            return False
        return True

    def _change(self, entry: Entry) -> bytes:
        """The change to be written again. A lease keeps its length, and one that was over is."""
        if not isinstance(self.model, Slots):
            return entry.record[STAMP_BYTES:]
        slot = parse(*entry)
        if not slot.expires_ms:
            return unsealed(entry.record)[STAMP_BYTES:]
        length_ms = slot.expires_ms - slot.timestamp // TICKS_PER_MS
        expires_ms = slot.expires_ms
        if entry in self.expired:
            expires_ms = self.now_ms
        elif length_ms > 0:  # else a jump has set it right already
            expires_ms = self.now_ms + length_ms
        return make_change(slot.slot, slot.kind, slot.payload, expires_ms, slot.origin)


def _label(model: Scuttlebutt, entry: Entry) -> str:
    if not isinstance(model, Slots):
        return model.name
    slot = parse(*entry)
    label = slot.slot if slot.kind in (DELETED, OWN) else model.label(slot)
    return label.decode("utf-8", "backslashreplace").lstrip("\0")
