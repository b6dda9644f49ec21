"""Rejoining by a RESET: a peer's whole state takes the place of a node's own.

The node lay below the peer's floor: it may hold what was deleted, with the deletion forgotten by
all others. So it takes over the peer's state and clock in one step. What it alone holds is then
issued anew, as writes of now: of its own (`rejoin = "own"`), of anybody's (`all`), or nothing
(`none`). If its own source's clock went back by that, it begins a new life, since what it has
told others under the old one would be missing (I5). What became of each key is reported.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from scuttled.replica.arrival_log import Entry
from scuttled.replica.change import CLEAR, Slot, parse
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Husk
from scuttled.replica.signatures import unsealed
from scuttled.replica.slots import Slots
from scuttled.replica.update import STAMP_BYTES, TICKS_PER_MS, node_of, stamp

KEYS_MAX = 1000  # named in a report; the rest is counted
KEYS_BYTES_MAX = 64 << 10  # of these: all reports there can be must fit in an answer of `status`
NAMED_MAX = 10  # of these in a line of the log
BOTTOM_MAX = 86_400_000 * TICKS_PER_MS  # stamps of what is kept for want of better: see future


class Rejoin(StrEnum):
    """Updates that are issued anew."""

    OWN = "own"
    ALL = "all"
    NONE = "none"


@dataclass(slots=True)
class Rejoined:
    """Report of what became of a model at a RESET."""

    model: str
    peer: str
    at_ms: int
    held: int = 0  # updates before
    covered: int = 0  # of these, what the peer's clock covers: kept, or superseded there
    taken: int = 0  # updates in the peer's state
    issued: list[str] = field(default_factory=list)  # keys written anew, the first KEYS_MAX
    issued_count: int = 0
    dropped: list[str] = field(default_factory=list)  # keys whose update nobody else may have
    dropped_count: int = 0
    life: int = 0  # the new one; 0: none was needed
    named_bytes: int = 0  # of all keys that are named

    def note(self, keys: list[str], slot: Slot) -> None:
        """Name one more, if there is room."""
        if len(keys) < KEYS_MAX and self.named_bytes + len(slot.slot) <= KEYS_BYTES_MAX:
            self.named_bytes += len(slot.slot)
            keys.append(slot.slot.decode("utf-8", "replace").lstrip("\0"))

    @property
    def lost_nothing(self) -> bool:
        """True if this node held nothing that the peer had not: it has but caught up."""
        return not (self.issued_count or self.dropped_count)

    @property
    def words(self) -> str:
        """For the log."""
        if self.lost_nothing:
            return (
                f"model {self.model}: took over the state of {self.peer}, {self.taken} updates "
                f"(of {self.held} here all were known there)"
            )
        life = f"; going on as life {self.life}" if self.life else ""
        return (
            f"model {self.model} was reset to the state of {self.peer}, which has forgotten "
            f"deletions that this node never saw: {self.covered} of {self.held} updates here were "
            f"known there, {_named(self.issued, self.issued_count)} issued anew, "
            f"{_named(self.dropped, self.dropped_count)} dropped{life}"
        )


def rejoin(model: Slots, whole: Slots, author: Author, mode: Rejoin, report: Rejoined) -> Husk:
    """Let `model` become `whole`, issue anew what `mode` says, and note it all in `report`.

    What has a higher rank in the peer's state is superseded, as ever, and not worth a word.
    """
    alone = _held_alone(model, whole)
    report.held = model.log.live
    report.taken = whole.log.live
    report.covered = report.held - len(alone)
    if model.clock[author.source] > whole.clock[author.source]:
        author.live_as(author.life + 1)
        report.life = author.life
    unclaimed = model.unclaimed
    husk = model.become(whole)
    for entry in sorted(alone, key=lambda entry: (entry.record[:STAMP_BYTES], entry.source)):
        slot = parse(*entry)
        if model.dominates(slot):
            continue
        if 0 < slot.expires_ms <= report.at_ms:
            continue
        own = node_of(slot.source) == author.node_id and slot.timestamp > BOTTOM_MAX
        # Of a model whose clock was given up (see future) nobody else may have that either.
        own |= unclaimed and slot.timestamp > BOTTOM_MAX
        # A CLEAR of now would void what others wrote since. And a peer's state may be so full of
        # sources that there is no place for our new life.
        wanted = mode is Rejoin.ALL or (mode is Rejoin.OWN and own)
        if slot.slot != CLEAR and wanted and model.has_room:
            model.write(unsealed(entry.record)[STAMP_BYTES:], report.at_ms)
            report.issued_count += 1
            report.note(report.issued, slot)
        else:
            report.dropped_count += 1
            report.note(report.dropped, slot)
    return husk


def _held_alone(model: Slots, whole: Slots) -> list[Entry]:
    """Entries that the peer's clock does not cover; full segments that it covers cost one look."""
    peer = {source: stamp(time) for source, time in whole.clock.items()}
    log = model.log
    cursor = 0
    alone: list[Entry] = []
    while (cursor := log.step_over(cursor, log.end, peer)) < log.end:
        piece = log.piece(cursor, log.end)
        cursor = piece.next
        alone += [
            Entry(record, source)
            for record, source in zip(piece.records, piece.sources, strict=True)
            if record is not None and record[:STAMP_BYTES] > peer.get(source, b"")
        ]
    return alone


def _named(keys: list[str], count: int) -> str:
    """`3 (a, b, c)`, `no key`."""
    if not count:
        return "none"
    more = ", ..." if count > NAMED_MAX else ""
    return f"{count} ({', '.join(keys[:NAMED_MAX])}{more})"
