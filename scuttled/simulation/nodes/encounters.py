"""Encounters of a few nodes: links that move a few bytes at a time, and may be cut anywhere.

What `meetings` and `futures` share; each says itself what happens, what time it is on a node, and
how it saves.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from scuttled.models.map import Map
from scuttled.node.membership import NodeSettings
from scuttled.node.node import DEFAULT_MODEL, Node
from scuttled.protocol.host import End
from scuttled.protocol.link import Link
from scuttled.protocol.messages import Code
from scuttled.replica.hlc import Author
from scuttled.replica.rejoin import Rejoin
from scuttled.replica.update import Instant, NodeId
from scuttled.simulation.nodes.machine import MemoryDisk
from scuttled.simulation.world import EPOCH_MS

KEYS = "jkl"
SKEW_MS = 2000  # between clocks, at most
FORGET_AFTER_MS = 40_000

Pair = tuple[int, int]


class Walker:
    """One node, with the disk and the clock under it."""

    def __init__(self, number: int, rng: random.Random, *, stored: bool, mode: Rejoin) -> None:
        self.number = number
        self.rng = rng
        self.stored = stored
        self.mode = mode
        self.disk = MemoryDisk(NodeId(bytes([number]) * 8))
        self.offset_ms = rng.randint(-SKEW_MS, SKEW_MS)
        self.resets = 0  # in earlier runs
        self.unsaved: list[bytes] = []  # values replaced by writes that a kill would take back
        self.node = self._begin(Instant(0.0, EPOCH_MS + self.offset_ms))

    def _begin(self, now: Instant) -> Node:
        settings = NodeSettings(
            f"n{self.number}",
            "walkers",
            self.rng.randbytes(8),
            forget_after_ms=FORGET_AFTER_MS,
            rejoin=self.mode,
            collect_age_ms=0,
        )
        node = Node(self._author(), settings, stored=self.stored)
        node.begin(self.disk.load() if self.stored else (), now.wall_ms)
        return node

    def _author(self) -> Author:
        return Author(self.disk.node_id, self.disk.life)

    def restart(self, now: Instant) -> None:
        """Killed, and begun with what is on disk."""
        self.resets += len(self.node.replaced.resets)
        self.node = self._begin(now)

    def save(self, *, clocks: bool = True) -> None:
        while self.stored and (batch := self.node.durability.unsaved(clocks=clocks)) is not None:
            self.disk.write(batch)
            self.node.saved(batch)
        self.unsaved.clear()

    @property
    def model(self) -> Map:
        model = self.node.models[DEFAULT_MODEL]
        assert isinstance(model, Map)
        return model

    def shown(self, wall_ms: int) -> dict[str, bytes]:
        found = {key: self.model.find(key, wall_ms) for key in KEYS}
        return {key: slot.payload for key, slot in found.items() if slot is not None}


class Wire:
    """A connection: two links, and the bytes under way between them."""

    def __init__(self, ends: tuple[Walker, Walker], nows: tuple[Instant, Instant]) -> None:
        self.ends = ends
        self.links = (
            Link(ends[0].node, dialled="there", now=nows[0]),
            Link(ends[1].node, dialled="", now=nows[1]),
        )
        self.under_way = [b"", b""]  # from each end

    def move(self, end: int, now: Instant, *, most: int) -> bool:
        """Hand what `end` has sent to the other one, as far as `most` bytes; True if any came."""
        data, self.under_way[end] = self.under_way[end][:most], self.under_way[end][most:]
        if data:
            self.links[1 - end].receive(data, now)
        return bool(data)

    def draw(self, end: int, now: Instant) -> None:
        link = self.links[end]
        while link.wants_to_send(now):
            data = link.draw(now)
            if not data:
                break
            self.under_way[end] += data

    @property
    def over(self) -> bool:
        return any(link.ended is not None for link in self.links)

    def cut(self) -> None:
        for walker, link in zip(self.ends, self.links, strict=True):
            link.ended = link.ended or End(Code.PROTOCOL, "cut", by_peer=True)
            walker.node.gone(link)


class Encounters(ABC):
    """A few nodes, and the wires between them."""

    walkers: Sequence[Walker]

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311  (a simulation)
        self.now_s = 0.0
        self.wires: dict[Pair, Wire] = {}

    @abstractmethod
    def _now(self, walker: Walker) -> Instant:
        """The time by the clock of that node."""

    def _save(self, walker: Walker) -> None:
        """All of it, before two settle."""
        walker.save()

    def _save_some(self, walker: Walker) -> None:
        """Perhaps without its clocks: those may come to disk later."""
        walker.save(clocks=self.rng.random() < 0.7)

    def _connect(self, i: int, j: int) -> None:
        pair = (min(i, j), max(i, j))
        if pair not in self.wires:
            ends = self.walkers[i], self.walkers[j]
            self.wires[pair] = Wire(ends, (self._now(ends[0]), self._now(ends[1])))

    def _move_some(self) -> None:
        if not self.wires:
            return
        pair = self.rng.choice(list(self.wires))
        if self.rng.random() < 0.5:
            self._settle(pair)
            return
        wire = self.wires[pair]
        end = self.rng.randrange(2)
        if self.rng.random() < 0.7:
            wire.draw(end, self._now(wire.ends[end]))
        most = self.rng.choice((60, 300, 1 << 20))
        wire.move(end, self._now(wire.ends[1 - end]), most=most)
        if self.rng.random() < 0.7:
            self._save_some(wire.ends[1 - end])
        self._drop_ended()

    def _settle(self, pair: Pair) -> None:
        """Let two talk until nothing moves, or their link is over."""
        wire = self.wires[pair]
        for _ in range(40):
            moved = False
            for end in (0, 1):
                self._save(wire.ends[end])
                wire.draw(end, self._now(wire.ends[end]))
                moved |= wire.move(end, self._now(wire.ends[1 - end]), most=1 << 30)
            if not moved or wire.over:
                break
        self._drop_ended()

    def _drop_ended(self) -> None:
        for pair, wire in list(self.wires.items()):
            if wire.over:
                self._cut(pair)

    def _cut(self, pair: Pair) -> None:
        self.wires.pop(pair).cut()

    def _cut_all(self, walker: Walker) -> None:
        for pair in [pair for pair in self.wires if walker.number in pair]:
            self._cut(pair)
