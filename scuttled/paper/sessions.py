"""The paper's first experiment over the real core: maps, arrival logs and sessions.

It has the timetable of `gossip`, and each node is a real `Map`. A meeting is a real session: both
ends say their CLOCK, draw one DELTA each of as many updates as the budget says, and take the
other's. Nothing is chosen here; what goes first is what `Session` draws. `copies` only keeps the
books: it is told what the doorway of each map has accepted.

What a session knows of its peer makes all the difference, and there are three ways to run it:

    "keys"      each key has a source of its own, and the clock that is said names what is held of
                each, key by key. This is the paper's precise reconciliation, and so it is what the
                orders of `orders` are to be compared with.
    "clocks"    a node is one source and says its true clock, which only commits move (I3). Each
                meeting is a session of its own, as if two daemons had just been connected.
    "lasting"   likewise, but the session of two nodes lasts from one meeting to the next, and
                remembers what was sent.

The second and third break down under overload: docs/paper.md tells why, and why daemons do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from scuttled.models.map import Map
from scuttled.paper.measurements import Measurements
from scuttled.paper.replicas import Copies
from scuttled.paper.schedule import (
    BUDGET,
    FIG2_S,
    KEYS,
    LIMITED_FROM_S,
    NODES,
    UNLIMITED,
    Event,
    Timetable,
    rate_per_s,
)
from scuttled.protocol.messages import Delta, Reset
from scuttled.protocol.send_order import RECORD_OVERHEAD
from scuttled.protocol.session import Session
from scuttled.replica.change import TEXT, slot_of
from scuttled.replica.hlc import Author
from scuttled.replica.update import STAMP_BYTES, Instant, NodeId, Source, Stamp, make_source

Knows = Literal["keys", "clocks", "lasting"]
SKEW_MS = 60_000
EPOCH_MS = 1_700_000_000_000
DIGITS = 10  # of keys and values: all records have the same length, so bytes count updates


@dataclass
class Replica:
    """One node: its map, and what it holds of each source, for "keys"."""

    node: int
    model: Map
    author: Author
    stamps: dict[Source, Stamp] = field(default_factory=dict)
    booked: int = 0  # the log's end, as far as the books are kept


class Sessions:
    """All nodes, and who has met whom."""

    def __init__(self, seed: int, nodes: int, keys: int, knows: Knows) -> None:
        self.knows = knows
        self.timetable = Timetable(seed, nodes, keys)
        self.copies = Copies(nodes, keys)
        self.replicas = [_replica(node) for node in range(nodes)]
        self.lasting: dict[tuple[int, int], tuple[Session, Session]] = {}
        for index, number in enumerate(self.copies.latest.tolist()):
            self._put(index, number, 0.0)
        self.update_bytes = len(self.replicas[0].model.log.entry(0).record) + RECORD_OVERHEAD

    def second(self, second: int, rate: float, budget: int) -> None:
        """All that happens in one second; a message holds `budget` updates."""
        nodes = len(self.replicas)
        for event in self.timetable.second(second, [rate] * nodes):
            if event.is_write:
                self.copies.write(event.node, event.other, event.at_s)
                index = event.node * self.copies.keys + event.other
                self._put(index, self.copies.writes, event.at_s)
            else:
                self.meet(event, budget)

    def meet(self, event: Event, budget: int) -> None:
        """Both draw before either takes; what is saved at once is acknowledged at once."""
        now = _instant(event.at_s)
        ends = (event.node, event.other)
        sessions = self._sessions(min(ends), max(ends))
        drawn = [session.next_delta(budget * self.update_bytes, now) for session in sessions]
        for session, delta in zip(reversed(sessions), drawn, strict=True):
            self._take(session, delta, now)
        for session, peer in (sessions, sessions[::-1]):
            if (have := session.receipts.next(session.round)) is not None:
                peer.receive_have(have)

    def draw(self, giver: int, taker: int, budget: int, at_s: float) -> set[int]:
        """The keys that a DELTA of that moment would hold; nothing is sent."""
        session, _ = self._open(giver, taker)
        delta = session.next_delta(budget * self.update_bytes, _instant(at_s))
        runs = delta.runs if delta is not None else []
        return {_index_of(record) for _, records in runs for record in records}

    def _put(self, index: int, number: int, at_s: float) -> None:
        node, key = divmod(index, self.copies.keys)
        replica = self.replicas[node]
        if self.knows == "keys":
            replica.author.source = make_source(replica.author.node_id, key + 1)
        value = b"%0*d" % (DIGITS, number)
        replica.model.put(f"{index:0{DIGITS}d}", TEXT, value, _instant(at_s).wall_ms)
        self._book(replica)

    def _take(self, session: Session, delta: Delta | Reset | None, now: Instant) -> None:
        if not isinstance(delta, Delta):
            assert delta is None, "nobody forgets here, so nobody resets"
            return
        session.receive_delta(delta, now)
        self._book(self.replicas[int.from_bytes(session.model.author.node_id, "big")])

    def _book(self, replica: Replica) -> None:
        """Keep the books of what the doorway has numbered since."""
        log = replica.model.log
        held = self.copies.held[replica.node]
        while replica.booked < log.end:
            piece = log.piece(replica.booked, log.end)
            replica.booked = piece.next
            for record, source in zip(piece.records, piece.sources, strict=True):
                if record is not None:
                    held[_index_of(record)] = int(record[-DIGITS:])
                    replica.stamps[source] = Stamp(record[:STAMP_BYTES])

    def _sessions(self, one: int, other: int) -> tuple[Session, Session]:
        if self.knows != "lasting":
            return self._open(one, other)
        if (one, other) not in self.lasting:
            self.lasting[one, other] = self._open(one, other)
        return self.lasting[one, other]

    def _open(self, one: int, other: int) -> tuple[Session, Session]:
        """Two ends that have just heard each other's CLOCK."""
        replicas = self.replicas[one], self.replicas[other]
        first, second = (Session(replica.model, SKEW_MS) for replica in replicas)
        clocks = [first.clock_message(), second.clock_message()]
        if self.knows == "keys":  # told below: what is held, where the clock tells commits
            clocks = [replace(clock, times={}) for clock in clocks]
        first.receive_clock(clocks[1])
        second.receive_clock(clocks[0])
        if self.knows == "keys":
            first.theirs, second.theirs = dict(replicas[1].stamps), dict(replicas[0].stamps)
        return first, second


def _replica(node: int) -> Replica:
    author = Author(NodeId(node.to_bytes(8, "big")))
    return Replica(node, Map("paper", author), author)


def _instant(at_s: float) -> Instant:
    return Instant(at_s, EPOCH_MS + int(at_s * 1000))


def _index_of(record: bytes) -> int:
    return int(slot_of(record))


def run_sessions(
    seed: int,
    knows: Knows = "keys",
    *,
    nodes: int = NODES,
    keys: int = KEYS,
    budget: int = BUDGET,
    seconds: Sequence[int] = range(FIG2_S),
) -> Measurements:
    """As `gossip.run_fig2`, by the real core."""
    cluster = Sessions(seed, nodes, keys, knows)
    course = Measurements(f"sessions, {knows}", nodes)
    for second in seconds:
        limited = second >= LIMITED_FROM_S
        cluster.second(second, rate_per_s(second), budget if limited else UNLIMITED)
        course.measure(cluster.copies, second + 1)
    return course
