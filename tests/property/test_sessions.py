"""Three nodes, real links over pipes of bytes cut anywhere: I1, I2, I3 and I5 at every step.

Updates, deletions, dropped models, keys that expire, wall clocks that go back, disks that lag,
and kills at any moment.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.scenes import examples, state

from scuttled.models.map import Map
from scuttled.node.node import DEFAULT_MODEL, Node, NodeSettings
from scuttled.protocol.link import Link
from scuttled.replica.change import CLEAR, OWN, TEXT, slot_of
from scuttled.replica.hlc import Author
from scuttled.replica.update import Instant, NodeId, Update
from scuttled.simulation.history import History
from scuttled.simulation.nodes import MemoryDisk

NAMES = "abc"
PAIRS = ["ab", "ac", "bc"]
START = Instant(0.0, 1_000_000)


class Pipe:
    """A connection between two nodes: two links, and the bytes under way each way."""

    def __init__(self, one: Node, two: Node, now: Instant) -> None:
        self.ends = (Link(one, dialled=two.settings.name, now=now), Link(two, dialled="", now=now))
        self.bytes = (bytearray(), bytearray())  # sent by each end

    def draw(self, end: int, now: Instant) -> None:
        """One end says what it has to say, if its outlet has room."""
        if len(self.bytes[end]) < 4096 and self.ends[end].wants_to_send(now):
            self.bytes[end].extend(self.ends[end].draw(now))

    def deliver(self, end: int, most: int, now: Instant) -> None:
        """The other end gets the next bytes, which may end in the middle of a frame."""
        data = bytes(self.bytes[end][:most])
        del self.bytes[end][:most]
        if data:
            self.ends[1 - end].receive(data, now)

    @property
    def over(self) -> bool:
        return any(link.ended is not None for link in self.ends)


class Fleet(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = START
        self.history = History()
        self.nodes: dict[str, Node] = {}
        self.pipes: dict[str, Pipe] = {}
        self.disks = {name: MemoryDisk(NodeId(name.encode() * 8)) for name in NAMES}
        self.starts = 0
        for name in NAMES:
            self.start(name)
            self.save(name, clocks=True)

    def start(self, name: str) -> None:
        disk = self.disks[name]
        self.starts += 1
        settings = NodeSettings(name, "test", self.starts.to_bytes(8, "big"))
        node = self.nodes[name] = Node(Author(disk.node_id, disk.life), settings, stored=True)
        node.begin(disk.load(), self.now.wall_ms)

    def model(self, name: str) -> Map:
        model = self.nodes[name].models[DEFAULT_MODEL]
        assert isinstance(model, Map)
        return model

    # --- what may happen ---

    @rule(
        name=st.sampled_from(NAMES),
        key=st.sampled_from("jk"),
        what=st.sampled_from(["put", "put", "put", "discard", "expire", "clear"]),
    )
    def write(self, name: str, key: str, what: str) -> None:
        """Timestamps rise per source (I1): the history sees to it."""
        model, wall_ms = self.model(name), self.now.wall_ms
        update: Update | None
        if what == "discard":
            update = model.discard(key, wall_ms)
        elif what == "clear":
            update = model.fill(CLEAR, OWN, b"", wall_ms)
        else:
            ttl_ms = 150 if what == "expire" else 0
            update = model.put(key, TEXT, name.encode(), wall_ms, ttl_ms)
        if update is not None:
            self.history.claim(update.source, name)
            self.history.add(model.name, update, slot_of(update.record), model.log.end)
            self.nodes[name].accepted(model)

    @rule(name=st.sampled_from(NAMES), clocks=st.booleans())
    def save(self, name: str, clocks: bool) -> None:
        batch = self.nodes[name].durability.unsaved(clocks=clocks)
        if batch is not None:
            self.disks[name].write(batch)
            self.nodes[name].saved(batch)

    @rule(name=st.sampled_from(NAMES))
    def kill(self, name: str) -> None:
        """It starts again with what its disk has, which is all that was acknowledged (I5)."""
        for pair in PAIRS:
            if name in pair:
                self.cut(pair)
        self.history.note_acknowledged(self.nodes[name].models, name)
        self.start(name)
        self.history.forget_lost(self.nodes[name].models, name, self.nodes[name].author.source)

    @rule(pair=st.sampled_from(PAIRS))
    def connect(self, pair: str) -> None:
        if pair not in self.pipes:
            self.pipes[pair] = Pipe(self.nodes[pair[0]], self.nodes[pair[1]], self.now)

    @rule(pair=st.sampled_from(PAIRS))
    def cut(self, pair: str) -> None:
        pipe = self.pipes.pop(pair, None)
        if pipe is not None:
            for name, link in zip(pair, pipe.ends, strict=True):
                self.nodes[name].gone(link)

    @rule(pair=st.sampled_from(PAIRS), end=st.integers(0, 1), most=st.integers(1, 400))
    def talk(self, pair: str, end: int, most: int) -> None:
        if pair in self.pipes:
            self.pipes[pair].draw(end, self.now)
            self.pipes[pair].deliver(end, most, self.now)

    @rule(ms=st.integers(-3000, 200))
    def pass_time(self, ms: int) -> None:
        """The steady clock goes on; the wall clock may be set back."""
        self.now = Instant(self.now.mono_s + abs(ms) / 1000, self.now.wall_ms + ms)
        for node in self.nodes.values():
            node.expire(self.now.wall_ms)
        for pipe in self.pipes.values():
            for link in pipe.ends:
                link.tick(self.now)

    # --- what must hold ---

    @invariant()
    def every_clock_is_truthful(self) -> None:
        """I3: what a clock covers is in the state, or is outranked there (I2)."""
        for name in self.nodes:
            self.history.check_truthful(self.model(name), {})

    def teardown(self) -> None:
        """Heal everything: all converge, clocks and all."""
        if hasattr(self, "nodes"):
            for pair in PAIRS:
                self.cut(pair)
                self.connect(pair)
            for _ in range(60):
                self._talk_all()
            states: list[Any] = [state(self.model(name)) for name in NAMES]
            assert states[0] == states[1] == states[2]

    def _talk_all(self) -> None:
        self.now = Instant(self.now.mono_s + 0.06, self.now.wall_ms + 60)
        for name in NAMES:
            self.save(name, clocks=True)
        for pipe in self.pipes.values():
            for end in (0, 1):
                pipe.ends[end].tick(self.now)
                pipe.draw(end, self.now)
                pipe.deliver(end, 1 << 20, self.now)
            assert not pipe.over, pipe.ends[0].ended or pipe.ends[1].ended


TestFleet = Fleet.TestCase
TestFleet.settings = settings(examples(400), stateful_step_count=60)
