"""The arrival log: everything a model holds, numbered in the order in which this node accepted it.

Theory of operation. A position is given once and never changes or comes back. An update that is
superseded leaves a hole. A reader (storage, a link, a watcher) is therefore a number, its cursor;
it has no queue, and the memory that all readers together can cost is the log itself, which is
bounded by the state:

    position   0    1    2    3    4    5    6    7    8
    entry      a=1  .    c=1  .    .    b=2  .    d=1  a'=2      end = 9
                                        ^ a reader at 5 will see b=2, d=1, a'=2

Entries stand in segments of SEGMENT_ENTRIES. A full segment that is mostly holes is squeezed: it
keeps only its entries and their positions, and joins the one before it if both are small. So the
work is constant per update, no reader is renumbered, and there is no moment at which the whole
log is rewritten. (CouchDB's by-sequence index has the same shape.) Of holes in the latest segments
it is remembered what took their slots: see turns.

A full segment knows the newest stamp of each of its sources while they are few. A reader whose
peer has all of that steps over the segment without looking at its entries: to reconnect to a peer
that missed nothing costs one comparison a segment.

Measured on the structure: 14 us for 1,000 newer entries among 190,000, against 47 ms for the full
scan of npm scuttlebutt and chitchat.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from scuttled.replica.update import STAMP_BYTES, Source, Stamp

SEGMENT_ENTRIES = 4096
HEIRS_SEGMENTS = 4  # the latest, of whose holes it is known what fills their slots now
TOPS_SOURCES_MAX = 16  # above this, a segment's table of newest stamps costs more than it saves


class Entry(NamedTuple):
    record: bytes
    source: Source


class Heir(NamedTuple):
    """Heir of a hole: what took its slot."""

    stamp: Stamp  # of what stood there
    position: int  # of what took its slot; a hole by now, maybe


class Piece(NamedTuple):
    """Part of one segment, as parallel lists; `None` in `records` is a hole."""

    records: list[bytes | None]
    sources: list[Source]
    positions: "list[int] | range"
    next: int  # the cursor of a reader that has seen this piece
    heirs: dict[int, Heir]  # of its segment, by position


class Marks(NamedTuple):
    """Marks that storage keeps of a log, so that a reader's place outlives the daemon.

    Entries alone do not tell it: the last positions may be holes by now, and a hole has no row.
    """

    ahead: int = 0  # at or above it no position was given: noted ahead of use, as the hlc is
    forgotten: int = -1  # as of the log
    expired_ms: int = 0  # what expired by then was moved to where its readers meet it


class SegmentPrint(NamedTuple):
    """The hashes of a full segment's entries (see fingerprint)."""

    live: int
    sums: dict[int, int]
    expiring: list[tuple[int, int, int]]  # when, bucket, hash


class Segment:
    """Positions from `first` up to, not including, `end`."""

    __slots__ = (
        "end", "first", "heirs", "live", "positions", "printed", "records", "sources", "tops",
    )  # fmt: skip

    def __init__(self, first: int) -> None:
        self.first = first
        self.end = first
        self.records: list[bytes | None] = []
        self.sources: list[Source] = []
        self.positions: list[int] | None = None  # None: entry i stands at first + i
        self.live = 0
        self.heirs: dict[int, Heir] = {}  # of holes, while this is one of the latest segments
        self.tops: dict[Source, Stamp] | None = None  # once full; empty: too many sources
        self.printed: SegmentPrint | None = None  # its hashes, true while they count `live`

    def index(self, position: int) -> int:
        if self.positions is None:
            return position - self.first
        return bisect_left(self.positions, position)

    def spots(self) -> "list[int] | range":
        if self.positions is None:
            return range(self.first, self.first + len(self.records))
        return self.positions

    def squeeze(self) -> None:
        """Keep the entries, drop the holes."""
        self.heirs = {}
        kept = [
            (at, record, source)
            for at, record, source in zip(self.spots(), self.records, self.sources, strict=True)
            if record is not None
        ]
        self.positions = [at for at, _, _ in kept]
        self.records = [record for _, record, _ in kept]
        self.sources = [source for _, _, source in kept]

    def join(self, other: "Segment") -> None:
        """Take in the next segment; both were squeezed."""
        assert self.positions is not None
        assert other.positions is not None
        self.positions += other.positions
        self.records += other.records
        self.sources += other.sources
        self.live += other.live
        self.end = other.end
        self.tops = self.printed = None

    def known_to(self, peer: Mapping[Source, Stamp]) -> bool:
        """True if a peer that covers that has all of this full segment. May say no when it has."""
        if self.tops is None:
            self.tops = self.newest()
        if not self.tops:
            return self.live == 0
        return all(peer.get(source, b"") >= top for source, top in self.tops.items())

    def newest(self) -> dict[Source, Stamp]:
        """The newest stamp of each source; empty if there are too many."""
        if len(set(self.sources)) > TOPS_SOURCES_MAX:
            return {}
        tops: dict[Source, bytes] = {}
        for record, source in zip(self.records, self.sources, strict=True):
            if record is not None and record > tops.get(source, b""):
                tops[source] = record
        return {source: Stamp(record[:STAMP_BYTES]) for source, record in tops.items()}


class ArrivalLog:
    """Arrival log: all that a model holds, in order of arrival.

    `end` is the next position. While `stored`, storage is a reader with two marks: it has taken
    what stands below `taken` and written what stands below `saved`; `freed` lists what became a
    hole below `taken`, for it to delete. What replaced them all stands at or below `replaced`:
    a hole must not come to disk before that. Readers that speak to others stop at `visible`:
    what is not saved is not sent (I5), unless this node is `adrift`: its disk fails, and it is
    marked as one that may forget. What is acknowledged stands below `durable`, always.

    What was collected (a tombstone that is no longer needed) leaves nothing behind: a reader
    that stands at or below `forgotten` may have missed a deletion, and has to start over.
    `marks` is what storage has noted of all this.
    """

    __slots__ = (
        "_firsts", "_heirs_from", "adrift", "born", "end", "forgotten", "freed", "live", "marks",
        "removed", "replaced", "saved", "segments", "stored", "tail", "taken",
    )  # fmt: skip

    def __init__(self, first: int = 0) -> None:
        self.born = first  # where it began: 0, or behind the gap that a RESET leaves
        self.end = first
        self.live = 0
        self.tail = Segment(first)
        self.segments = [self.tail]
        self._firsts = [first]
        self._heirs_from = first
        self.stored = False
        self.adrift = False
        self.taken = first
        self.saved = first
        self.freed: list[int] = []
        self.replaced = first
        self.forgotten = first - 1
        self.marks = Marks()
        self.removed: list[tuple[bytes, Source]] | None = None  # kept if an observer asks

    @property
    def visible(self) -> int:
        return self.saved if self.stored and not self.adrift else self.end

    @property
    def durable(self) -> int:
        """Below this position all is on disk, or needs no disk."""
        return self.saved if self.stored else self.end

    @property
    def first(self) -> int:
        """Nothing stands below; far from 0 after a RESET."""
        return self.segments[0].first

    # --- what storage does ---

    def begin_stored(self) -> None:
        """Storage reads it from now on."""
        self.stored = True

    def replace(self, before: "ArrivalLog") -> None:
        """Take that one's place (RESET): storage stands where it stood, below all that is here."""
        self.stored = before.stored
        self.saved = before.saved

    def drift(self, adrift: bool) -> None:
        """Readers that speak to others pass what is not saved, or no longer do."""
        self.adrift = adrift

    def take(self, upto: int) -> list[int]:
        """Storage writes what stands below; the positions that it is to delete."""
        self.taken = upto
        return list(self.freed)

    def note_saved(self, upto: int, freed_count: int, marks: Marks | None) -> None:
        """That is on disk, and so many of the oldest holes; marks, if they were noted anew."""
        self.saved = upto
        del self.freed[:freed_count]
        if marks is not None:
            self.marks = marks

    def forget_saved(self) -> None:
        """Storage has nothing any more, and begins anew."""
        self.saved = 0
        self.taken = 0
        self.replaced = 0
        self.marks = Marks()
        self.freed.clear()

    # --- adding, and making holes ---

    def room(self) -> int:
        """Entries that the tail still takes, at least one; a full tail is sealed first."""
        left = SEGMENT_ENTRIES - len(self.tail.records)
        if left > 0:
            return left
        self._seal()
        return SEGMENT_ENTRIES

    def append(self, record: bytes, source: Source) -> int:
        """Number a new entry. (A batch may do the same by hand, within `room`: see slots.)"""
        self.room()
        position = self.end
        self.tail.records.append(record)
        self.tail.sources.append(source)
        self.added(1)
        return position

    def added(self, count: int) -> None:
        """`count` entries were put at the tail."""
        self.end += count
        self.live += count
        self.tail.end = self.end
        self.tail.live += count

    def entry(self, position: int) -> Entry:
        """The entry at a position that is not a hole."""
        segment = self._segment(position)
        at = segment.index(position)
        record = segment.records[at]
        assert record is not None, f"position {position} is a hole"
        return Entry(record, segment.sources[at])

    def free(self, position: int, heir: int = -1) -> None:
        """Make a hole, since a higher rank fills the slot, or is about to: at the log's end.

        `heir` is where that will stand, if it is of the same slot.
        """
        # What storage is to write as one: a hole and what made it (I5), which comes next.
        self.replaced = self.tail.first + len(self.tail.records)
        segment = self._segment(position)
        at = segment.index(position)
        # With the stamp that it had: a reader keeps the place in line that the key had by it.
        if heir >= 0 and segment.first >= self._heirs_from:
            segment.heirs[position] = Heir(Stamp((segment.records[at] or b"")[:STAMP_BYTES]), heir)
        if self.removed is not None and (record := segment.records[at]) is not None:
            self.removed.append((record, segment.sources[at]))
        segment.records[at] = None
        segment.live -= 1
        self.live -= 1
        if self.stored and position < self.taken:  # else it was never on disk
            self.freed.append(position)
        if segment is not self.tail and segment.live * 4 < len(segment.records):
            self._squeeze(segment)

    def forget(self, position: int) -> None:
        """Make a hole that nothing fills: what stood there need not be known any more (collected).

        It may come to disk at any time; the floor comes with it.
        """
        replaced = self.replaced
        self.free(position)
        self.replaced = replaced
        self.forgotten = max(self.forgotten, position)

    def heir(self, position: int) -> int:
        """Position of what by now fills the slot of a hole; -1 if it is not known."""
        passed = []
        segment = self._segment(position)
        # An heir may be a hole by now, too: a key that is written often leaves a chain of them.
        while (link := segment.heirs.get(position)) is not None:
            passed.append((segment, position, link))
            position = link.position
            segment = self._segment(position)
        for before, hole, link in passed[:-1]:  # the next one has a short way
            before.heirs[hole] = Heir(link.stamp, position)
        at = segment.index(position)
        spots = segment.spots()
        there = at < len(spots) and spots[at] == position and segment.records[at] is not None
        return position if there else -1

    def piece(self, cursor: int, stop: int) -> Piece:
        """Entries from `cursor` up to `stop`, as far as one segment goes; maybe none."""
        at = max(bisect_right(self._firsts, cursor) - 1, 0)
        segment = self.segments[at]
        if segment.end <= cursor and at + 1 < len(self.segments):
            segment = self.segments[at + 1]
        start = segment.index(max(cursor, segment.first))
        upto = segment.index(min(stop, segment.end)) if stop > segment.first else start
        spots = segment.spots()[start:upto]
        return Piece(
            segment.records[start:upto],
            segment.sources[start:upto],
            spots,
            max(cursor, min(stop, segment.end)),
            segment.heirs,
        )

    def past_gap(self, cursor: int) -> int:
        """The first position from `cursor` on where anything may stand; at most `end`.

        A RESET and a start leave gaps, which are as long as many segments.
        """
        at = max(bisect_right(self._firsts, cursor) - 1, 0)
        segment = self.segments[at]
        index = segment.index(cursor)
        if segment.positions is not None and index < len(segment.positions):
            return max(cursor, segment.positions[index])
        if cursor < segment.end or at + 1 == len(self.segments):
            return min(max(cursor, segment.first), max(self.end, cursor))
        return max(cursor, self.segments[at + 1].first)

    def step_over(self, cursor: int, stop: int, peer: Mapping[Source, Stamp]) -> int:
        """`cursor`, past the full segments that hold nothing new to a peer that covers `peer`."""
        at = max(bisect_right(self._firsts, cursor) - 1, 0)
        while cursor < stop and at < len(self.segments) - 1:
            segment = self.segments[at]
            if segment.end > cursor and not segment.known_to(peer):
                break
            cursor = max(cursor, min(segment.end, stop))
            at += 1
        return cursor

    def count_between(self, start: int, stop: int) -> int:
        """Count of entries there; looks into the segments at the two ends only."""
        if start >= stop:
            return 0
        count = 0
        for segment in self.segments[max(bisect_right(self._firsts, start) - 1, 0) :]:
            if segment.first >= stop:
                break
            if segment.first >= start and segment.end <= stop:
                count += segment.live
            else:
                low = segment.index(max(start, segment.first))
                high = segment.index(min(stop, segment.end))
                count += sum(record is not None for record in segment.records[low:high])
        return count

    def prepare(self, at: int) -> int:
        """Have a full segment know its newest stamps before `step_over` asks; the next one's index.

        So the work for a whole log can be done a little at a time.
        """
        if at < len(self.segments) - 1 and self.segments[at].tops is None:
            self.segments[at].tops = self.segments[at].newest()
        return at + 1

    def count_missing(self, peer: Mapping[Source, Stamp]) -> int:
        """Entries lacking at one that covers `peer`; full segments that it has cost one look."""
        cursor = 0
        count = 0
        while (cursor := self.step_over(cursor, self.end, peer)) < self.end:
            piece = self.piece(cursor, self.end)
            cursor = piece.next
            count += sum(
                record is not None and record[:STAMP_BYTES] > peer.get(source, b"")
                for record, source in zip(piece.records, piece.sources, strict=True)
            )
        return count

    def restore(
        self,
        positions: list[int],
        records: list[bytes],
        sources: list[Source],
        marks: Marks = Marks(),  # noqa: B008 - it can't be changed
    ) -> None:
        """Take up what storage kept: entries in order of position, behind all there is.

        What comes next stands at `marks.ahead` or above, so no reader's place comes to mean
        another update than it did before the restart.
        """
        for at in range(0, len(positions), SEGMENT_ENTRIES):
            self._restore_segment(
                positions[at : at + SEGMENT_ENTRIES],
                list(records[at : at + SEGMENT_ENTRIES]),
                sources[at : at + SEGMENT_ENTRIES],
            )
        if marks.ahead > self.end:
            self.end = self.tail.first = self.tail.end = marks.ahead  # the tail is empty
            self._firsts[-1] = self.end
        self.forgotten = max(self.forgotten, marks.forgotten)
        self.marks = marks
        self.saved = self.taken = self.end

    def _restore_segment(
        self, positions: list[int], records: list[bytes | None], sources: list[Source]
    ) -> None:
        tail = self.tail
        dense = positions[-1] - positions[0] + 1 == len(positions)
        if not tail.records:
            tail.first = positions[0]
            self._firsts[-1] = tail.first
        tail.records = records
        tail.sources = sources
        tail.positions = None if dense else positions
        tail.live = len(records)
        self.live += len(records)
        self.end = tail.end = positions[-1] + 1
        self._open_tail()

    def _seal(self) -> None:
        full = self.tail
        self._open_tail()
        if full.live * 4 < len(full.records):
            self._squeeze(full)

    def _open_tail(self) -> None:
        self.tail = Segment(self.end)
        self.segments.append(self.tail)
        self._firsts.append(self.end)
        latest = self.segments[-HEIRS_SEGMENTS:]
        self._heirs_from = latest[0].first
        for segment in self.segments[-HEIRS_SEGMENTS - 1 : -HEIRS_SEGMENTS]:
            segment.heirs = {}

    def _segment(self, position: int) -> Segment:
        if position >= self.tail.first:
            return self.tail
        return self.segments[bisect_right(self._firsts, position) - 1]

    def _squeeze(self, segment: Segment) -> None:
        segment.squeeze()
        at = bisect_right(self._firsts, segment.first) - 1
        before = self.segments[at - 1] if at else None
        if before is not None and before.live + segment.live <= SEGMENT_ENTRIES // 2:
            before.squeeze()
            before.join(segment)
        elif segment.live:
            return
        del self.segments[at]
        del self._firsts[at]
