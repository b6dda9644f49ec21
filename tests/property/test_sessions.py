"""Three nodes, real links over pipes of bytes cut anywhere: I1, I2 and I3 at every step."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scuttled.core import link as link_room
from scuttled.core.hlc import Author
from scuttled.core.link import Link
from scuttled.core.slots import TEXT, slot_of
from scuttled.core.update import Instant, NodeId, Source, Update, outranks, timestamp_of
from scuttled.models.map import Map
from scuttled.node import DEFAULT_MODEL, Node, Settings

NAMES = "abc"
PAIRS = ["ab", "ac", "bc"]
START = Instant(0.0, 1_000_000)
SIZES = [1, 50, 1000, 1000]  # of pieces that are delivered
DRAW_BYTES = 40  # a frame then holds an update or two, and most have no commit


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
        self.draw_bytes, link_room.DRAW_BYTES = link_room.DRAW_BYTES, DRAW_BYTES
        self.now = START
        self.nodes: dict[str, Node] = {}
        self.pipes: dict[str, Pipe] = {}
        self.history: list[tuple[bytes, Source]] = []
        for name in NAMES:
            author = Author(NodeId(name.encode() * 8))
            node = Node(author, Settings(name, "test", name.encode() * 8), stored=True)
            node.begin((), self.now.wall_ms)
            self.nodes[name] = node
            self.save(name)

    def model(self, name: str) -> Map:
        model = self.nodes[name].models[DEFAULT_MODEL]
        assert isinstance(model, Map)
        return model

    # --- what may happen ---

    @rule(name=st.sampled_from(NAMES), key=st.sampled_from("jk"), delete=st.booleans())
    def write(self, name: str, key: str, delete: bool) -> None:
        model = self.model(name)
        update: Update | None
        if delete:
            update = model.discard(key, self.now.wall_ms)
        else:
            update = model.put(key, TEXT, name.encode(), self.now.wall_ms)
        if update is not None:
            self.history.append((update.record, update.source))
            self.nodes[name].accepted(model)

    @rule(name=st.sampled_from(NAMES))
    def save(self, name: str) -> None:
        batch = self.nodes[name].unsaved(clocks=True)
        if batch is not None:
            self.nodes[name].saved(batch)

    @rule(pair=st.sampled_from(PAIRS))
    def connect(self, pair: str) -> None:
        if pair not in self.pipes:
            pipe = self.pipes[pair] = Pipe(self.nodes[pair[0]], self.nodes[pair[1]], self.now)
            for end in (0, 1, 0, 1):  # to shake hands, and tell the clocks
                pipe.draw(end, self.now)
                pipe.deliver(end, 1 << 20, self.now)

    @rule(pair=st.sampled_from(PAIRS))
    def cut(self, pair: str) -> None:
        pipe = self.pipes.pop(pair, None)
        if pipe is not None:
            for name, link in zip(pair, pipe.ends, strict=True):
                self.nodes[name].gone(link)

    @rule(pair=st.sampled_from(PAIRS), end=st.integers(0, 1), most=st.sampled_from(SIZES))
    def talk(self, pair: str, end: int, most: int) -> None:
        if pair in self.pipes:
            self.pipes[pair].draw(end, self.now)
            self.pipes[pair].deliver(end, most, self.now)

    @rule(ms=st.integers(-3000, 200))
    def pass_time(self, ms: int) -> None:
        """The steady clock goes on; the wall clock may be set back."""
        self.now = Instant(self.now.mono_s + abs(ms) / 1000, self.now.wall_ms + ms)
        for pipe in self.pipes.values():
            for link in pipe.ends:
                link.tick(self.now)

    # --- what must hold ---

    @invariant()
    def timestamps_rise_per_source(self) -> None:
        """I1, in the order in which they were made."""
        last: dict[Source, int] = {}
        for record, source in self.history:
            assert timestamp_of(record) > last.get(source, 0)
            last[source] = timestamp_of(record)

    @invariant()
    def every_clock_is_truthful(self) -> None:
        """I3: what a clock covers is in the state, or is outranked there (I2)."""
        for name in self.nodes:
            model = self.model(name)
            for record, source in self.history:
                if model.clock.covers(source, timestamp_of(record)):
                    slot = model.lookup(slot_of(record))
                    assert slot is not None, f"{name} covers {record!r}, and lacks it"
                    mine = Update(b"", slot.timestamp, slot.source).record
                    assert not outranks(record, source, mine, slot.source)

    def teardown(self) -> None:
        """Heal everything: all converge, clocks and all."""
        if hasattr(self, "nodes"):
            link_room.DRAW_BYTES = self.draw_bytes
            for pair in PAIRS:
                self.cut(pair)
                self.connect(pair)
            for _ in range(60):
                self._talk_all()
            states = [self._state(name) for name in NAMES]
            assert states[0] == states[1] == states[2]
            clocks = [self.model(name).clock.copy_times() for name in NAMES]
            assert clocks[0] == clocks[1] == clocks[2]

    def _talk_all(self) -> None:
        self.now = Instant(self.now.mono_s + 0.06, self.now.wall_ms + 60)
        for name in NAMES:
            self.save(name)
        for pipe in self.pipes.values():
            for end in (0, 1):
                pipe.ends[end].tick(self.now)
                pipe.draw(end, self.now)
                pipe.deliver(end, 1 << 20, self.now)
            assert not pipe.over, pipe.ends[0].ended or pipe.ends[1].ended

    def _state(self, name: str) -> list[Any]:
        return sorted(self.model(name).history(Map("none", Author(NodeId(bytes(8)))).clock))


TestFleet = Fleet.TestCase
TestFleet.settings = settings(stateful_step_count=60)
