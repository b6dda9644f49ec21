"""Spread of a write to everybody, and its cost: real replicas that meet at random.

Each of n nodes writes once. Then there are rounds: in each, every node opens a session with one
other node at random, both ends say their CLOCK, draw what the other lacks, and commit. All draw
from what they had when the round began, as the theory of rumours has it; so a node that is met
twice in a round may be sent the same twice. What is counted are the frames as they go over a wire.

The theory, for one rumour on the complete graph (Karp et al. 2000): push-pull takes
log3 n + log2 ln n + O(1) rounds until the last node has it. Nobody can do with less than
n - 1 updates received, each by one node, for each write.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from math import log, log2
from statistics import fmean

from scuttled.errors import UsageError
from scuttled.models.map import Map
from scuttled.paper.answer import Findings
from scuttled.protocol import codec
from scuttled.protocol.messages import Delta, Message
from scuttled.protocol.session import Session
from scuttled.replica.change import TEXT
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant, NodeId, Source

NODES_MAX = 5000  # each holds all: memory grows by the square
ROUNDS_MAX = 200  # never seen above 20
EPOCH_MS = 1_700_000_000_000
SKEW_MS = 60_000
FRAME_BYTES = 64 << 10  # of updates in one DELTA; a meeting has as many as it takes
HASH_BYTES = 16


@dataclass
class Spread:
    """Figures of a spread."""

    nodes: int
    seed: int
    rounds: list[int] = field(default_factory=list)  # of each write, until all had it
    payload: int = 0  # updates in DELTAs
    payload_bytes: int = 0
    digest_bytes: int = 0  # of CLOCKs and HAVEs
    traffic: str = ""  # a hash over all frames, in order

    @property
    def theory_rounds(self) -> float:
        return log(self.nodes, 3) + log2(log(self.nodes))

    @property
    def mean_rounds(self) -> float:
        return fmean(self.rounds)

    @property
    def most_rounds(self) -> int:
        return max(self.rounds)

    @property
    def payload_each(self) -> float:
        """Updates that a node was sent; n - 1 at least."""
        return self.payload / self.nodes

    @property
    def verdict(self) -> str:
        took = f"{self.most_rounds} rounds, a write in {self.mean_rounds:.1f} on average"
        theory = f"theory: {self.theory_rounds:.1f}"
        return f"seed {self.seed}: {self.nodes} nodes converged in {took} ({theory})"

    def told(self) -> Findings:
        """All of it."""
        each = {
            "update_bytes_each": round(self.payload_bytes / self.nodes),
            "clock_bytes_each": round(self.digest_bytes / self.nodes),
        }
        rows = [
            ["rounds, mean of the writes", f"{self.mean_rounds:.2f}", f"{self.theory_rounds:.2f}"],
            ["rounds, the last write", f"{self.most_rounds}", ""],
            ["updates to a node", f"{self.payload_each:.0f}", f"{self.nodes - 1}"],
            ["bytes of updates to a node", f"{each['update_bytes_each']}", ""],
            ["bytes of clocks to a node", f"{each['clock_bytes_each']}", ""],
            ["traffic", self.traffic, ""],
        ]
        fields = {
            "nodes": self.nodes,
            "seed": self.seed,
            "rounds_mean": round(self.mean_rounds, 3),
            "rounds_max": self.most_rounds,
            "rounds_theory": round(self.theory_rounds, 3),
            "updates_each": round(self.payload_each, 3),
            "updates_least": self.nodes - 1,
            **each,
            "traffic": self.traffic,
            "verdict": self.verdict,
        }
        return Findings(["FIGURE", "HERE", "THEORY"], rows, rows, [fields], self.verdict)


class Crowd:
    """All nodes; `heard` counts for each source how many have its write."""

    def __init__(self, nodes: int, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  (a simulation)
        self.found = Spread(nodes, seed)
        self.models = [_replica(number) for number in range(nodes)]
        self.heard: dict[Source, int] = {}
        self._hash = blake2b(digest_size=HASH_BYTES)
        self._now = Instant(0.0, EPOCH_MS)
        for number, model in enumerate(self.models):
            model.put(f"node/{number}", TEXT, b"%d" % self.rng.getrandbits(32), EPOCH_MS)
            self.heard[model.author.source] = 1

    def run(self) -> Spread:
        """Rounds, until every write is everywhere and every clock says so."""
        for number in range(1, ROUNDS_MAX + 1):
            self._round(number)
            if len(self.found.rounds) == len(self.models) and self.agree:
                break
        assert self.agree, f"seed {self.found.seed}: not converged in {ROUNDS_MAX} rounds"
        self.found.traffic = self._hash.hexdigest()
        return self.found

    @property
    def agree(self) -> bool:
        """True once all clocks are the same: each then covers all, and is truthful (I3)."""
        first = self.models[0].clock
        return all(len(m.clock) == len(self.models) and m.clock == first for m in self.models)

    def _round(self, number: int) -> None:
        self._now = Instant(float(number), EPOCH_MS + number * 1000)
        nodes = len(self.models)
        drawn = []
        for one in range(nodes):
            other = self.rng.randrange(nodes - 1)
            ends = self._meet(self.models[one], self.models[other + (other >= one)])
            for session, peer in (ends, ends[::-1]):
                drawn += [(peer, delta) for delta in self._draw(session)]
        for session, delta in drawn:
            received = session.receive_delta(delta, self._now)
            self._count(session.model, received.start, received.end, number)

    def _meet(self, one: Map, other: Map) -> tuple[Session, Session]:
        """A session whose two ends have said their CLOCK."""
        first = Session(one, SKEW_MS)
        second = Session(other, SKEW_MS)
        clocks = first.clock_message(), second.clock_message()
        self.found.digest_bytes += sum(map(self._sent, clocks))
        first.receive_clock(clocks[1])
        second.receive_clock(clocks[0])
        return first, second

    def _draw(self, session: Session) -> Iterator[Delta]:
        while (delta := session.next_delta(FRAME_BYTES, self._now)) is not None:
            assert isinstance(delta, Delta), "nobody forgets here, so nobody resets"
            self.found.payload += sum(len(records) for _, records in delta.runs)
            self.found.payload_bytes += self._sent(delta)
            yield delta

    def _sent(self, message: Message) -> int:
        frame = codec.encode(message)
        self._hash.update(frame)
        return len(frame)

    def _count(self, model: Scuttlebutt, start: int, end: int, number: int) -> None:
        """Note who wrote what the doorway has accepted; what comes twice is not."""
        while start < end:
            piece = model.log.piece(start, end)
            start = piece.next
            for source in piece.sources:
                self.heard[source] += 1
                if self.heard[source] == len(self.models):
                    self.found.rounds.append(number)


def _replica(number: int) -> Map:
    return Map("spread", Author(NodeId(number.to_bytes(8, "big"))))


def spread(nodes: int, seed: int) -> Spread:
    """Run it. Raises UsageError at a number of nodes that is out of bounds."""
    if not 2 <= nodes <= NODES_MAX:
        raise UsageError(f"{nodes} nodes: 2 to {NODES_MAX} can be simulated")
    return Crowd(nodes, seed).run()
